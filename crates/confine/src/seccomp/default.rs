//! The filter a container gets when nothing is asked for: an allow list, a strict subset of Docker's.
//!
//! What is not on it fails with EPERM; calls that are newer than Linux 6.1 fail with ENOSYS, and so do
//! numbers without a name, because programs that use them must be able to do without: EPERM for clone3
//! and faccessat2 broke every program of a new glibc in older engines.
//!
//! A capability that was added opens the calls that are of no use without it.

use std::borrow::Cow;

use super::profile::{Action, Comparison, Condition, Profile, Rule};
use crate::{CapSet, Capability};

/// Allowed with any arguments.
const ALLOWED: &[&str] = &[
    // files
    "access cachestat chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 \
     faccessat faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat \
     fcntl fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstatfs fsync \
     ftruncate futimesat getcwd getdents getdents64 getxattr getxattrat inotify_add_watch \
     inotify_init inotify_init1 inotify_rm_watch lchown lgetxattr link linkat listmount \
     listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat memfd_create mkdir \
     mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 pipe pipe2 pread64 \
     preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv \
     removexattr removexattrat rename renameat renameat2 rmdir sendfile setxattr setxattrat \
     splice stat statfs statmount statx symlink symlinkat sync sync_file_range syncfs tee \
     truncate umask unlink unlinkat utime utimensat utimes vmsplice write writev",
    // waiting for files
    "epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 \
     io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit poll ppoll pselect6 \
     select signalfd signalfd4",
    // sockets that exist
    "accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg \
     recvmsg sendmmsg sendmsg sendto setsockopt shutdown",
    // memory
    "brk madvise map_shadow_stack membarrier memfd_secret mincore mlock mlock2 mlockall mmap \
     mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect \
     process_mrelease remap_file_pages",
    // System V and POSIX IPC
    "mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv \
     msgsnd semctl semget semop semtimedop shmat shmctl shmdt shmget",
    // processes
    "arch_prctl execve execveat exit exit_group fork get_robust_list getcpu getpgid getpgrp \
     getpid getppid getpriority getrlimit getrusage getsid gettid ioprio_get ioprio_set \
     landlock_add_rule landlock_create_ruleset landlock_restrict_self pidfd_open \
     pidfd_send_signal prctl prlimit64 restart_syscall rseq sched_get_priority_max \
     sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler \
     sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler \
     sched_yield seccomp set_robust_list set_tid_address setpgid setpriority setrlimit setsid \
     times uretprobe vfork wait4 waitid futex futex_requeue futex_wait futex_waitv futex_wake",
    // ids and capabilities
    "capget capset getegid geteuid getgid getgroups getresgid getresuid getuid setfsgid setfsuid \
     setgid setgroups setregid setresgid setresuid setreuid setuid",
    // signals
    "kill pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn \
     rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sigaltstack tgkill tkill",
    // time and the system
    "adjtimex alarm clock_adjtime clock_getres clock_gettime clock_nanosleep getitimer getrandom \
     gettimeofday nanosleep setitimer sysinfo time timer_create timer_delete timer_getoverrun \
     timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime uname",
];

/// Denied, and newer than Linux 6.1: whoever calls them knows what to do without them. clone3 is older,
/// but its flags lie in memory where a filter cannot look; the C libraries fall back to clone.
const ABSENT: &str = "clone3 file_getattr file_setattr listns lsm_get_self_attr lsm_list_modules \
     lsm_set_self_attr open_tree_attr rseq_slice_yield uprobe";

/// Allowed when the capability is there: without it the kernel refuses them anyway, and they are a way
/// into rarely used code.
const WITH_CAPABILITY: &[(Capability, &str)] = &[
    (Capability::DAC_READ_SEARCH, "open_by_handle_at"),
    (
        Capability::SYS_ADMIN,
        "clone3 fanotify_init fanotify_mark fsconfig fsmount fsopen fspick mount mount_setattr \
         move_mount open_tree quotactl quotactl_fd setdomainname sethostname setns syslog \
         umount2 unshare",
    ),
    (Capability::SYS_BOOT, "reboot"),
    (Capability::SYS_CHROOT, "chroot"),
    (
        Capability::SYS_NICE,
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    (Capability::SYS_PACCT, "acct"),
    (
        Capability::SYS_PTRACE,
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    (Capability::SYS_RAWIO, "ioperm iopl"),
    (Capability::SYS_TIME, "clock_settime settimeofday"),
    (Capability::SYS_TTY_CONFIG, "vhangup"),
    (Capability::SYSLOG, "syslog"),
    (Capability::BPF, "bpf"),
    (Capability::PERFMON, "perf_event_open"),
];

/// Those that make a difference to the filter; none of them is a default one.
pub(super) const RELEVANT: CapSet = {
    let mut set = CapSet::of(&[
        Capability::SYS_ADMIN,
        Capability::NET_ADMIN,
        Capability::NET_RAW,
    ]);
    let mut i = 0;
    while i < WITH_CAPABILITY.len() {
        set = set.union(CapSet::of(&[WITH_CAPABILITY[i].0]));
        i += 1;
    }
    set
};
const _: () = assert!(RELEVANT.intersection(CapSet::DEFAULT).is_empty());

/// `CLONE_NEW*` but NEWTIME, whose bit is part of clone(2)'s exit signal.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;

/// Execution domains that change nothing of the memory layout: PER_LINUX, PER_LINUX32, both with
/// UNAME26, and the question which one is set.
const PERSONALITIES: [u32; 5] = [0, 8, 0x0002_0000, 0x0002_0008, 0xffff_ffff];

/// Put characters into a terminal's input (CVE-2017-5226) or paste into the console: TIOCSTI, TIOCLINUX.
const TERMINAL_IOCTLS: [u32; 2] = [0x5412, 0x541c];

const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;
const AF_PACKET: u32 = 17;
const NETLINK_ROUTE: u32 = 0;
const EAFNOSUPPORT: u16 = 97;
const EPROTONOSUPPORT: u16 = 93;

fn names(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.split_ascii_whitespace()
}

impl Profile {
    /// The default filter, for the default capabilities.
    pub fn default_profile() -> Self {
        Self::default_for(CapSet::DEFAULT)
    }

    /// The default filter for a container with these capabilities in its bounding set.
    ///
    /// Denied whatever the capabilities: io_uring, keyrings (add_key, keyctl, request_key), kexec, kernel
    /// modules, userfaultfd, pivot_root, swapon, modify_ldt. They are global, or their code has been the way
    /// out of containers too often.
    pub fn default_for(capabilities: CapSet) -> Self {
        let with = WITH_CAPABILITY
            .iter()
            .filter(|(needs, _)| capabilities.contains(*needs));
        let lists = ALLOWED.iter().copied().chain(with.map(|(_, list)| *list));
        let allow = |name| (Cow::Borrowed(name), vec![Rule::always(Action::Allow)]);
        let mut profile = Self::new(Action::EPERM);
        // Collected at once, which sorts once; a name may come twice, with the same rule.
        profile.rules = lists.flat_map(names).map(allow).collect();
        for name in names(ABSENT) {
            // After the rule that may allow it: the first that holds answers.
            profile.add_known(Cow::Borrowed(name), Rule::always(Action::ENOSYS));
        }
        profile.add_clone(capabilities);
        profile.add_sockets(capabilities);
        for domain in PERSONALITIES {
            profile.when(
                "personality",
                Action::Allow,
                vec![Condition::int_is(0, domain)],
            );
        }
        for command in TERMINAL_IOCTLS {
            profile.when("ioctl", Action::EPERM, vec![Condition::int_is(1, command)]);
        }
        profile.when("ioctl", Action::Allow, Vec::new());
        profile
    }

    /// For an init that is all set up: it waits for signals, reaps processes and reports by a socket it
    /// has. It opens nothing, and no path or address is among what it may name.
    pub fn init_profile() -> Self {
        let mut profile = Self::new(Action::EPERM);
        for name in names(INIT) {
            profile.add_known(Cow::Borrowed(name), Rule::always(Action::Allow));
        }
        profile
    }

    fn add_clone(&mut self, capabilities: CapSet) {
        let conditions = if capabilities.contains(Capability::SYS_ADMIN) {
            Vec::new()
        } else {
            let none = Comparison::MaskedEq {
                mask: CLONE_NAMESPACES,
                value: 0,
            };
            vec![Condition { arg: 0, is: none }]
        };
        self.when("clone", Action::Allow, conditions);
    }

    /// Families and protocols are refused as a kernel would that was built without them, which programs
    /// know how to handle.
    fn add_sockets(&mut self, capabilities: CapSet) {
        let family = |number| Condition::int_is(0, number);
        for number in [AF_UNIX, AF_INET, AF_INET6] {
            self.when("socket", Action::Allow, vec![family(number)]);
        }
        if capabilities.contains(Capability::NET_RAW) {
            self.when("socket", Action::Allow, vec![family(AF_PACKET)]);
        }
        if capabilities.contains(Capability::NET_ADMIN) {
            self.when("socket", Action::Allow, vec![family(AF_NETLINK)]);
        } else {
            let route = vec![family(AF_NETLINK), Condition::int_is(2, NETLINK_ROUTE)];
            self.when("socket", Action::Allow, route);
            self.when(
                "socket",
                Action::Errno(EPROTONOSUPPORT),
                vec![family(AF_NETLINK)],
            );
        }
        self.when("socket", Action::Errno(EAFNOSUPPORT), Vec::new());
        self.when("socketpair", Action::Allow, vec![family(AF_UNIX)]);
        self.when("socketpair", Action::Errno(EAFNOSUPPORT), Vec::new());
    }

    fn when(&mut self, name: &'static str, action: Action, conditions: Vec<Condition>) {
        self.add_known(Cow::Borrowed(name), Rule { action, conditions });
    }
}

/// What a waiting init needs, with what a C library may do below it: allocate, abort.
const INIT: &str = "brk close close_range exit exit_group futex getpid gettid kill mmap mprotect munmap prctl \
     read recvfrom recvmsg restart_syscall rt_sigaction rt_sigpending rt_sigprocmask \
     rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait sendmsg sendto sigaltstack tgkill \
     wait4 waitid write";

#[cfg(test)]
mod tests {
    use super::super::{Arch, SyscallData, compile};
    use super::*;

    fn all_lists() -> impl Iterator<Item = &'static str> {
        let with = WITH_CAPABILITY.iter().map(|(_, list)| *list);
        ALLOWED
            .iter()
            .copied()
            .chain([ABSENT, INIT])
            .chain(with)
            .flat_map(names)
    }

    #[test]
    fn every_name_is_one() {
        let unknown: Vec<&str> = all_lists()
            .filter(|name| !super::super::is_known(name))
            .collect();
        assert_eq!(unknown, Vec::<&str>::new());
    }

    #[test]
    fn no_name_is_listed_twice() {
        let allowed: Vec<&str> = ALLOWED.iter().flat_map(|group| names(group)).collect();
        for list in [&allowed, &names(ABSENT).collect(), &names(INIT).collect()] {
            let mut sorted: Vec<&str> = list.clone();
            sorted.sort_unstable();
            let before = sorted.len();
            sorted.dedup();
            assert_eq!(sorted.len(), before);
        }
        assert!(
            !allowed
                .iter()
                .any(|name| names(ABSENT).any(|absent| absent == *name))
        );
    }

    #[test]
    fn a_capability_makes_a_difference_if_and_only_if_it_is_listed() {
        for capability in CapSet::ALL.iter() {
            let with = CapSet::DEFAULT.union(CapSet::from(capability));
            let differs = Profile::default_for(with) != Profile::default_profile();
            assert_eq!(RELEVANT.contains(capability), differs, "{capability:?}");
        }
        assert_eq!(
            Profile::default_for(CapSet::EMPTY),
            Profile::default_profile()
        );
    }

    #[test]
    fn what_is_newer_than_linux_6_1_is_allowed_or_seems_absent() {
        const LAST_OF_6_1: u32 = 450;
        let profile = Profile::default_profile();
        for arch in [Arch::X86_64, Arch::Aarch64] {
            for (number, name) in arch.syscalls().filter(|(number, _)| *number > LAST_OF_6_1) {
                let answer = profile.decide(arch, &SyscallData::of(arch, number));
                assert!(
                    [Action::Allow, Action::ENOSYS].contains(&answer),
                    "{name}: {answer:?}"
                );
            }
        }
    }

    #[test]
    fn the_tree_is_at_most_nine_comparisons_deep() {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let program = compile(&Profile::default_profile(), arch).unwrap();
            let steps = |nr| program.steps(&SyscallData::of(arch, nr)).unwrap();
            // Two loads, the architecture and the answer are in every path.
            let with_arguments = ["clone", "ioctl", "personality", "socket", "socketpair"];
            let deepest = arch
                .syscalls()
                .filter(|(_, name)| !with_arguments.contains(name))
                .map(|(number, _)| steps(number) - 4)
                .max();
            assert!(deepest <= Some(9), "{arch:?}: {deepest:?}");
            assert!(
                program.instructions().len() < 300,
                "{}",
                program.instructions().len()
            );
        }
    }
}
