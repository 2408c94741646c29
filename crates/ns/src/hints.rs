//! What an errno means where its name misleads, keyed on the operation.

use rustix::io::Errno;

use crate::error::Error;
use crate::flags::Namespaces;
use crate::status::WaitStatus;

pub(crate) fn hint(error: &Error) -> Option<&'static str> {
    match error {
        Error::Clone {
            namespaces,
            into_cgroup,
            errno,
        } => clone(*namespaces, *into_cgroup, *errno),
        Error::Join { errno, .. } => join(*errno),
        Error::Own { call, errno } => own(call, *errno),
        Error::Exec { errno, .. } => exec(*errno),
        Error::KilledInSetup {
            status:
                WaitStatus::Signaled {
                    signal: libc::SIGKILL,
                    ..
                },
        } => Some("memory.events of its cgroup says whether the OOM killer did it"),
        Error::Write { path, errno, .. } => write(&path.to_string_lossy(), *errno),
        _ => None,
    }
}

fn clone(namespaces: Namespaces, into_cgroup: bool, errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::PERM if namespaces.contains(Namespaces::NEWUSER) => {
            "user namespaces are not allowed here: see sysctl kernel.unprivileged_userns_clone, \
             kernel.apparmor_restrict_unprivileged_userns, or the caller is in a chroot or behind \
             a seccomp filter"
        }
        Errno::PERM => "needs CAP_SYS_ADMIN, or a user namespace of its own beside the others",
        Errno::NOSPC | Errno::USERS => {
            "a limit on namespaces is reached: see the sysctls user.max_*_namespaces, and at most \
             32 levels of user and pid namespaces nest"
        }
        Errno::NOSYS => "needs Linux 5.3, or a seccomp filter refuses clone3",
        Errno::BUSY if into_cgroup => {
            "the cgroup has controllers enabled for its children (cgroup.subtree_control), so it \
             cannot hold processes itself"
        }
        Errno::OPNOTSUPP if into_cgroup => "the cgroup is in an invalid domain (cgroup.type)",
        Errno::ACCESS if into_cgroup => {
            "cgroup.procs of the cgroup, or of the one it shares with the caller, may not be \
             written by this user"
        }
        Errno::NOENT | Errno::NODEV if into_cgroup => "the cgroup has been removed",
        Errno::AGAIN => "a limit on processes is reached: pids.max of a cgroup, or RLIMIT_NPROC",
        Errno::INVAL => "the kernel lacks one of these namespaces, or flags contradict each other",
        _ => return None,
    })
}

fn join(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL => {
            "the descriptor is of another kind of namespace, or the caller is in that user \
             namespace already"
        }
        Errno::SRCH => "the process behind the pidfd has ended",
        Errno::PERM => {
            "needs CAP_SYS_ADMIN in the user namespace that owns the target: join that one first"
        }
        _ => return None,
    })
}

fn own(call: &str, errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::PERM if call.starts_with("prctl(PR_SET_PDEATHSIG") => {
            "the seccomp filter must allow prctl, which is called after it"
        }
        Errno::ACCESS if call.contains("timens_offsets") => {
            "the namespace has a process already, or the caller is not dumpable"
        }
        Errno::RANGE if call.contains("timens_offsets") => {
            "clock and offset together must not be negative, nor go past 146 years"
        }
        Errno::NOENT if call.contains("/dev/ptmx") => {
            "a terminal needs a devpts at /dev/pts and a /dev/ptmx in the container"
        }
        Errno::MFILE if call.starts_with("recvmsg") => {
            "RLIMIT_NOFILE is too low for the descriptors passed"
        }
        _ => return None,
    })
}

fn exec(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::NOENT => {
            "when the file exists, its interpreter does not: the loader an ELF file asks for, or \
             what stands behind #!"
        }
        Errno::NOEXEC => "not a program for this machine, or a script without #!",
        Errno::ACCESS => "not executable for this user, or the mount is noexec",
        Errno::TOOBIG => "arguments and environment are too long together",
        _ => return None,
    })
}

fn write(path: &str, errno: Errno) -> Option<&'static str> {
    if !path.ends_with("id_map") && !path.ends_with("setgroups") {
        return None;
    }
    Some(match errno {
        Errno::PERM if path.ends_with("setgroups") => {
            "setgroups can be denied only before gid_map is written"
        }
        Errno::PERM => {
            "the map has ids that the caller may not give away (CAP_SETUID and CAP_SETGID over \
             them; without, only its own one, with setgroups denied), or was written before"
        }
        Errno::INVAL => "lines overlap, are too many, or name ids the parent namespace lacks",
        Errno::ACCESS => "the child is not dumpable (any more)",
        Errno::NOENT | Errno::SRCH => "the child has ended",
        _ => return None,
    })
}
