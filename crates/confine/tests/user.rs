//! Real processes, as root of a user namespace an ordinary user can make.

#![allow(unsafe_code, reason = "raw system calls")]
#![allow(clippy::print_stderr, reason = "a test that cannot run here says so")]

#[path = "common/process.rs"]
mod process;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Read;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use confine::seccomp::{Action, Arch, Condition, Profile, Program, Rule, compile};
use confine::{
    Abi, CapSet, Capabilities, Capability, Confinement, Ids, IoClass, IoPriority, Landlock, Lsms,
    OomScoreAdj, Part, Personality, Policy, Resource, Rlimit, Scheduler, Scopes, getrlimit,
};
use process::{
    Ended, apply, caps, field_of, fork, in_user_namespace, isolated, number, status, syscall,
    try_step, wait,
};
use rustix::io::Errno;

/// Ends the process when something allocates while it must not.
struct Trap;

static ARMED: AtomicBool = AtomicBool::new(false);

fn spring() {
    if ARMED.load(Ordering::Relaxed) {
        // SAFETY: ends the process.
        unsafe { libc::_exit(99) }
    }
}

// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Trap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        spring();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        spring();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static TRAP: Trap = Trap;

fn default_filter() -> Program {
    Program::default_for(CapSet::DEFAULT, Arch::NATIVE)
}

/// What a workload gets by default, as root of the container.
fn workload() -> Confinement {
    Confinement::builder()
        .capabilities(Capabilities::for_user(CapSet::DEFAULT, 0))
        .last_capability(confine::caps::last_supported())
        .no_new_privs(true)
        .seccomp(default_filter())
        .build()
        .unwrap()
}

/// Landlock must be there in the VM; elsewhere a kernel may have been booted without it.
fn landlock() -> Option<Abi> {
    let abi = Abi::observe();
    if abi != Abi::NONE {
        return Some(abi);
    }
    assert!(
        std::env::var_os("CTR_VM").is_none(),
        "the VM's kernel has Landlock"
    );
    eprintln!("SKIPPED: this kernel has no Landlock");
    None
}

#[test]
fn the_default_confinement_shows_in_proc_status() {
    in_user_namespace(|| {
        apply(&workload());
        for field in ["CapEff", "CapPrm", "CapBnd"] {
            assert_eq!(caps(field), CapSet::DEFAULT, "{field}");
        }
        for field in ["CapInh", "CapAmb"] {
            assert_eq!(caps(field), CapSet::EMPTY, "{field}");
        }
        assert_eq!(
            (status("NoNewPrivs").as_str(), status("Seccomp").as_str()),
            ("1", "2")
        );
        assert_eq!(status("Seccomp_filters"), "1");
    });
}

#[test]
fn the_init_keeps_the_right_to_signal_and_no_other() {
    in_user_namespace(|| {
        let program = Program::init_filter(Arch::NATIVE);
        let init = Confinement::init(Ids::default(), program).unwrap();
        // Opened before: the filter lets an init open nothing. It shows the time of the read.
        let mut file = std::fs::File::open("/proc/self/status").unwrap();
        apply(&init);
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let kill = format!("{:016x}", CapSet::from(Capability::KILL).bits());
        let none = format!("{:016x}", 0);
        let expected = [
            ("CapEff", kill.as_str()),
            ("CapPrm", &kill),
            ("CapInh", &none),
            ("CapAmb", &none),
            ("NoNewPrivs", "1"),
            ("Seccomp", "2"),
        ];
        for (field, value) in expected {
            assert_eq!(field_of(&text, field), value, "{field}");
        }
        assert_eq!(syscall(number("openat"), &[]), Err(Errno::PERM));
        assert_eq!(syscall(number("socket"), &[1, 1, 0]), Err(Errno::PERM));
        assert_eq!(syscall(number("execve"), &[]), Err(Errno::PERM));
    });
}

#[test]
fn a_bounding_set_cut_before_is_inherited_and_not_cut_again() {
    in_user_namespace(|| {
        apply(&Confinement::bounding(
            CapSet::DEFAULT,
            confine::caps::last_supported(),
        ));
        assert_eq!(caps("CapBnd"), CapSet::DEFAULT);
        let rest = Confinement::builder()
            .capabilities(Capabilities::for_user(CapSet::DEFAULT, 0))
            .bounding_is_cut()
            .no_new_privs(true)
            .build()
            .unwrap();
        assert_eq!(rest.len(), 2);
        isolated(|| {
            apply(&rest);
            assert_eq!(
                (caps("CapBnd"), caps("CapEff")),
                (CapSet::DEFAULT, CapSet::DEFAULT)
            );
        });
    });
}

#[test]
fn an_init_under_its_filter_can_fork_nothing_but_wait_and_forward_signals() {
    in_user_namespace(|| {
        let workload = fork(|| {
            loop {
                std::thread::sleep(std::time::Duration::from_secs(1));
            }
        });
        let program = Program::init_filter(Arch::NATIVE);
        apply(&Confinement::init(Ids::default(), program).unwrap());
        assert_eq!(syscall(number("clone"), &[17]), Err(Errno::PERM));
        assert_eq!(
            syscall(number("kill"), &[workload as u64, libc::SIGTERM as u64]),
            Ok(0)
        );
        assert_eq!(wait(workload), Ended::Killed(libc::SIGTERM));
    });
}

/// The steps run between clone and exec: whatever allocates there can hang or tear shared memory.
#[test]
fn no_step_allocates() {
    let abi = landlock().unwrap_or(Abi::NONE);
    in_user_namespace(|| {
        let read = vec!["/usr".into(), "/proc".into(), "/etc/passwd".into()];
        let write = vec!["/tmp".into(), "/dev".into()];
        let everything = Confinement::builder()
            .umask(0o27)
            .personality(Personality::Linux)
            .scheduler(Scheduler {
                policy: Policy::Batch,
                nice: 3,
                ..Scheduler::default()
            })
            .io_priority(IoPriority {
                class: IoClass::BestEffort,
                level: 6,
            })
            .landlock(
                Landlock {
                    read,
                    write,
                    scopes: Scopes::ALL,
                },
                abi,
            )
            .ids(Ids::default())
            .capabilities(Capabilities {
                inheritable: CapSet::from(Capability::CHOWN),
                ambient: CapSet::from(Capability::CHOWN),
                ..Capabilities::for_user(CapSet::DEFAULT, 0)
            })
            .no_new_privs(true)
            .rlimit(Rlimit {
                resource: Resource::CORE,
                soft: Some(0),
                hard: Some(0),
            })
            .seccomp(default_filter())
            .build()
            .unwrap();
        ARMED.store(true, Ordering::Relaxed);
        let mut failed = None;
        for step in 0..everything.len() {
            if let Err(errno) = try_step(&everything, step) {
                failed = failed.or(Some((step, errno)));
            }
        }
        ARMED.store(false, Ordering::Relaxed);
        assert_eq!(
            failed.map(|(step, errno)| (everything.describe(step), errno)),
            None
        );
        assert_eq!(caps("CapAmb"), CapSet::from(Capability::CHOWN));
    });
}

#[test]
fn what_must_be_denied_is_denied_with_the_right_errno() {
    const DENIED: &str = "mount umount2 pivot_root unshare setns ptrace process_vm_readv process_vm_writev keyctl \
         add_key request_key bpf perf_event_open userfaultfd io_uring_setup io_uring_enter \
         io_uring_register kexec_load kexec_file_load init_module finit_module delete_module \
         fsopen fsconfig fsmount fspick move_mount open_tree mount_setattr open_by_handle_at syslog \
         swapon swapoff acct settimeofday clock_settime sethostname setdomainname chroot quotactl \
         fanotify_init kcmp pidfd_getfd process_madvise lookup_dcookie vhangup mbind move_pages";
    in_user_namespace(|| {
        apply(&workload());
        for name in DENIED.split_ascii_whitespace() {
            assert_eq!(syscall(number(name), &[]), Err(Errno::PERM), "{name}");
        }
        for name in [
            "clone3",
            "open_tree_attr",
            "file_setattr",
            "lsm_set_self_attr",
        ] {
            assert_eq!(syscall(number(name), &[]), Err(Errno::NOSYS), "{name}");
        }
        for unknown in [480, 600, 4000, 0x4000_0000 + 39] {
            assert_eq!(syscall(unknown, &[]), Err(Errno::NOSYS), "{unknown:#x}");
        }
    });
}

#[test]
fn new_namespaces_are_denied_and_processes_are_not() {
    in_user_namespace(|| {
        apply(&workload());
        let sigchld = libc::SIGCHLD as u64;
        for flag in [
            libc::CLONE_NEWUSER,
            libc::CLONE_NEWNS,
            libc::CLONE_NEWNET,
            libc::CLONE_NEWPID,
            libc::CLONE_NEWIPC,
            libc::CLONE_NEWUTS,
            libc::CLONE_NEWCGROUP,
        ] {
            let flags = flag as u32 as u64;
            assert_eq!(
                syscall(number("clone"), &[flags | sigchld]),
                Err(Errno::PERM),
                "{flags:#x}"
            );
        }
        isolated(|| {});
        std::thread::spawn(|| {}).join().unwrap();
    });
}

/// TIOCSTI is 0x5412; the kernel looks at 32 bits of the command, and so must the filter.
#[test]
fn terminal_injection_is_denied_also_with_high_bits_set() {
    in_user_namespace(|| {
        apply(&workload());
        for command in [0x5412, 0x5412 | 1 << 40, 0x541c, 0x541c | 1 << 32] {
            assert_eq!(
                syscall(number("ioctl"), &[0, command]),
                Err(Errno::PERM),
                "{command:#x}"
            );
        }
        // FIONCLEX on a descriptor that is not open: the call itself goes through.
        assert_eq!(syscall(number("ioctl"), &[9999, 0x5450]), Err(Errno::BADF));
    });
}

#[test]
fn only_harmless_personalities_can_be_set() {
    const ADDR_NO_RANDOMIZE: u64 = 0x4_0000;
    const READ_IMPLIES_EXEC: u64 = 0x40_0000;
    in_user_namespace(|| {
        apply(&workload());
        assert_eq!(syscall(number("personality"), &[0xffff_ffff]), Ok(0));
        assert_eq!(syscall(number("personality"), &[8]), Ok(0));
        for domain in [ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC, 8 | ADDR_NO_RANDOMIZE] {
            assert_eq!(
                syscall(number("personality"), &[domain]),
                Err(Errno::PERM),
                "{domain:#x}"
            );
        }
    });
}

#[test]
fn four_socket_families_exist_and_netlink_only_for_routes() {
    let (stream, datagram, raw) = (1, 2, 3);
    in_user_namespace(|| {
        apply(&workload());
        let socket =
            |family: u64, kind, protocol| syscall(number("socket"), &[family, kind, protocol]);
        for family in (0..=46).filter(|family| ![1, 2, 10, 16].contains(family)) {
            for kind in [stream, datagram, raw] {
                assert_eq!(socket(family, kind, 0), Err(Errno::AFNOSUPPORT), "{family}");
            }
            assert_eq!(
                socket(family | 1 << 32, stream, 0),
                Err(Errno::AFNOSUPPORT),
                "{family}"
            );
        }
        for family in [1, 2] {
            assert!(socket(family, stream, 0).is_ok(), "{family}");
        }
        // IPv6 may be off in the kernel, then it says so itself.
        assert!(matches!(
            socket(10, datagram, 0),
            Ok(_) | Err(Errno::AFNOSUPPORT)
        ));
        assert!(socket(16, raw, 0).is_ok());
        for protocol in 1..23 {
            assert_eq!(
                socket(16, raw, protocol),
                Err(Errno::PROTONOSUPPORT),
                "{protocol}"
            );
        }
        let pair = |family| syscall(number("socketpair"), &[family, stream, 0, 0]);
        assert_eq!(pair(1), Err(Errno::FAULT));
        assert_eq!(pair(30), Err(Errno::AFNOSUPPORT));
    });
}

/// `int 0x80` reaches the 32-bit table, where 20 is getpid and 39 mkdir.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_32_bit_table_is_out_of_reach() {
    fn getpid_i386() -> i64 {
        let result: i64;
        // SAFETY: getpid takes no pointers; the entry clobbers r8 to r11 at most.
        unsafe {
            std::arch::asm!("int 0x80", inlateout("rax") 20_i64 => result,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _);
        }
        result
    }
    let reachable = wait(fork(|| assert!(getpid_i386() > 0)));
    if reachable != Ended::Exited(0) {
        eprintln!("SKIPPED: this kernel has no 32-bit system calls ({reachable:?})");
        return;
    }
    in_user_namespace(|| {
        apply(&workload());
        assert_eq!(getpid_i386() as i32, -Errno::NOSYS.raw_os_error());
    });
}

#[test]
fn programs_run_under_the_default_filter() {
    let programs: [(&str, &[&str], &str); 6] = [
        (
            "/bin/sh",
            &["-c", "echo $(echo hello | cat); exit 0"],
            "hello",
        ),
        (
            "/usr/bin/python3",
            &[
                "-c",
                "import threading, subprocess, socket, tempfile, random
t = threading.Thread(target=lambda: None); t.start(); t.join()
socket.socket(); tempfile.TemporaryFile(); print(subprocess.check_output(['echo', 'snake']))",
            ],
            "snake",
        ),
        ("/usr/bin/apt-get", &["--version"], "apt "),
        ("/usr/sbin/nginx", &["-V"], ""),
        ("/usr/bin/redis-server", &["--version"], "Redis"),
        ("/usr/bin/perl", &["-e", "print 6 * 7"], "42"),
    ];
    for (program, arguments, expected) in programs {
        if !std::path::Path::new(program).exists() {
            assert_ne!(program, "/bin/sh");
            eprintln!("SKIPPED: {program} is not installed");
            continue;
        }
        in_user_namespace(|| {
            apply(&workload());
            let output = Command::new(program).args(arguments).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && text.contains(expected),
                "{program}: {output:?}"
            );
        });
    }
}

#[test]
fn a_filter_without_no_new_privs_is_refused_to_the_unprivileged() {
    let bare = Confinement::builder()
        .seccomp(default_filter())
        .build()
        .unwrap();
    in_user_namespace(|| {
        apply(
            &Confinement::builder()
                .capabilities(Capabilities::NONE)
                .build()
                .unwrap(),
        );
        assert_eq!(try_step(&bare, 0), Err(Errno::ACCESS));
        assert!(
            bare.hint(0, Errno::ACCESS)
                .unwrap()
                .contains("no_new_privs")
        );
    });
}

#[test]
fn without_no_new_privs_the_filter_comes_before_the_capabilities_go() {
    in_user_namespace(|| {
        let confinement = Confinement::builder()
            .capabilities(Capabilities::for_user(CapSet::DEFAULT, 0))
            .seccomp(default_filter())
            .build()
            .unwrap();
        apply(&confinement);
        assert_eq!(
            (status("NoNewPrivs").as_str(), status("Seccomp").as_str()),
            ("0", "2")
        );
        assert_eq!(caps("CapEff"), CapSet::DEFAULT);
    });
}

#[test]
fn killing_actions_kill() {
    let killed_by = |action| {
        wait(fork(|| {
            let mut profile = Profile::new(Action::Allow);
            profile.add("sethostname", Rule::always(action)).unwrap();
            let program = compile(&profile, Arch::NATIVE).unwrap();
            let builder = Confinement::builder().no_new_privs(true).seccomp(program);
            apply(&builder.build().unwrap());
            let _ = syscall(number("sethostname"), &[]);
        }))
    };
    assert_eq!(killed_by(Action::KillProcess), Ended::Killed(libc::SIGSYS));
    assert_eq!(killed_by(Action::KillThread), Ended::Killed(libc::SIGSYS));
    assert_eq!(killed_by(Action::Trap(0)), Ended::Killed(libc::SIGSYS));
    assert_eq!(killed_by(Action::Log), Ended::Exited(0));
}

#[test]
fn the_kernel_takes_a_filter_of_four_thousand_instructions_and_answers_as_the_model() {
    let mut profile = Profile::new(Action::Allow);
    let calls: Vec<(u32, &str)> = Arch::NATIVE
        .syscalls()
        .filter(|(_, name)| {
            ["sched_", "mq_", "timer_"]
                .iter()
                .any(|start| name.starts_with(start))
        })
        .collect();
    for (nr, name) in &calls {
        for value in 0..30_u16 {
            let conditions = vec![
                Condition::int_is(5, u32::from(value)),
                Condition::int_is(4, *nr),
            ];
            profile
                .add(
                    name,
                    Rule {
                        action: Action::Errno(100 + value),
                        conditions,
                    },
                )
                .unwrap();
        }
    }
    let program = compile(&profile, Arch::NATIVE).unwrap();
    assert!(
        program.instructions().len() > 3000,
        "{}",
        program.instructions().len()
    );
    isolated(|| {
        let builder = Confinement::builder().no_new_privs(true).seccomp(program);
        apply(&builder.build().unwrap());
        for (nr, name) in &calls {
            for value in [0, 1, 29] {
                let answer = syscall(*nr, &[u64::MAX, 0, 0, 0, u64::from(*nr), value]);
                let expected = Errno::from_raw_os_error(100 + value as i32);
                assert_eq!(answer, Err(expected), "{name} {value}");
            }
        }
    });
}

#[test]
fn a_listener_is_handed_out_and_a_filter_that_needs_one_is_refused_without() {
    let mut profile = Profile::new(Action::Allow);
    profile
        .add("sethostname", Rule::always(Action::Notify))
        .unwrap();
    let program = compile(&profile, Arch::NATIVE).unwrap();
    let without = Confinement::builder()
        .no_new_privs(true)
        .seccomp(program.clone())
        .build();
    assert!(matches!(without, Err(confine::Error::NoListener)));
    isolated(|| {
        let builder = Confinement::builder()
            .no_new_privs(true)
            .seccomp(program)
            .listener();
        let confinement = builder.build().unwrap();
        apply(&confinement);
        let fd = confinement.listener().unwrap();
        let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        assert_eq!(link.to_str(), Some("anon_inode:seccomp notify"));
    });
}

#[test]
fn limits_are_set_and_cannot_be_raised_again() {
    in_user_namespace(|| {
        let limit = Rlimit {
            resource: Resource::NOFILE,
            soft: Some(40),
            hard: Some(50),
        };
        let builder = Confinement::builder()
            .rlimit(limit)
            .no_new_privs(true)
            .seccomp(default_filter());
        apply(&builder.build().unwrap());
        assert_eq!(getrlimit(Resource::NOFILE).unwrap(), limit);
        let higher = Rlimit {
            hard: Some(51),
            ..limit
        };
        let raise = Confinement::builder().rlimit(higher).build().unwrap();
        assert_eq!(try_step(&raise, 0), Err(Errno::PERM));
        assert!(
            raise
                .hint(0, Errno::PERM)
                .unwrap()
                .contains("CAP_SYS_RESOURCE")
        );
    });
}

#[test]
fn umask_scheduler_and_priorities_are_taken_on() {
    isolated(|| {
        let confinement = Confinement::builder()
            .umask(0o77)
            .scheduler(Scheduler {
                policy: Policy::Batch,
                nice: 7,
                ..Scheduler::default()
            })
            .io_priority(IoPriority {
                class: IoClass::Idle,
                level: 0,
            })
            .personality(Personality::Linux32)
            .build()
            .unwrap();
        apply(&confinement);
        assert_eq!(status("Umask"), "0077");
        let batch = 3;
        assert_eq!(syscall(number("sched_getscheduler"), &[0]), Ok(batch));
        // The call answers 20 - nice.
        assert_eq!(syscall(number("getpriority"), &[0, 0]), Ok(13));
        assert_eq!(syscall(number("ioprio_get"), &[1, 0]), Ok(3 << 13));
        assert_eq!(
            std::fs::read_to_string("/proc/self/personality")
                .unwrap()
                .trim(),
            "00000008"
        );
    });
}

#[test]
fn the_parent_writes_a_childs_oom_score_adj() {
    let child = fork(|| {
        loop {
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
    });
    let pid = rustix::process::Pid::from_raw(child).unwrap();
    let proc = std::fs::File::open("/proc").unwrap();
    let written = OomScoreAdj::new(555)
        .unwrap()
        .write(std::os::fd::AsFd::as_fd(&proc), pid);
    let read = std::fs::read_to_string(format!("/proc/{child}/oom_score_adj"));
    // SAFETY: no pointers; the child is ours and not yet waited for.
    unsafe { libc::kill(child, libc::SIGKILL) };
    wait(child);
    written.unwrap();
    assert_eq!(read.unwrap().trim(), "555");
}

#[test]
fn landlock_keeps_to_the_paths_given() {
    let Some(abi) = landlock() else { return };
    let base = std::env::temp_dir().join(format!("confine-landlock-{}", std::process::id()));
    let (readable, writable, other) = (base.join("r"), base.join("w"), base.join("o"));
    for directory in [&readable, &writable, &other] {
        std::fs::create_dir_all(directory).unwrap();
        std::fs::write(directory.join("file"), "x").unwrap();
    }
    let landlock = Landlock {
        // A file as well as a directory: the rights for directories would be EINVAL on it.
        read: vec![readable.clone(), "/proc".into(), other.join("file")],
        write: vec![writable.clone()],
        scopes: Scopes::ALL,
    };
    in_user_namespace(|| {
        let builder = Confinement::builder()
            .landlock(landlock, abi)
            .no_new_privs(true);
        apply(&builder.seccomp(default_filter()).build().unwrap());
        let kind = |result: std::io::Result<()>| result.map_err(|error| error.kind());
        let denied = Err(std::io::ErrorKind::PermissionDenied);
        assert_eq!(std::fs::read_to_string(readable.join("file")).unwrap(), "x");
        assert_eq!(std::fs::read_to_string(other.join("file")).unwrap(), "x");
        assert_eq!(kind(std::fs::write(readable.join("file"), "y")), denied);
        assert_eq!(kind(std::fs::write(other.join("file"), "y")), denied);
        assert_eq!(kind(std::fs::remove_file(readable.join("file"))), denied);
        assert_eq!(kind(std::fs::read_dir(&other).map(drop)), denied);
        assert_eq!(kind(std::fs::read("/etc/passwd").map(drop)), denied);
        assert_eq!(kind(std::fs::write(writable.join("new"), "z")), Ok(()));
        assert_eq!(
            kind(std::fs::create_dir(writable.join("directory"))),
            Ok(())
        );
        assert_eq!(kind(std::fs::remove_file(writable.join("file"))), Ok(()));
    });
    std::fs::remove_dir_all(&base).unwrap();
}

#[test]
fn a_missing_landlock_path_fails_its_own_step() {
    let Some(abi) = landlock() else { return };
    let read = vec!["/usr".into(), "/does/not/exist".into()];
    let landlock = Landlock {
        read,
        write: Vec::new(),
        scopes: Scopes::NONE,
    };
    let confinement = Confinement::builder()
        .landlock(landlock, abi)
        .no_new_privs(true)
        .build()
        .unwrap();
    isolated(|| {
        let results: Vec<_> = (0..3).map(|step| try_step(&confinement, step)).collect();
        assert_eq!(results, [Ok(()), Ok(()), Err(Errno::NOENT)]);
        assert_eq!(confinement.part(2), Part::LandlockRules(Some(1)));
        assert!(
            confinement
                .hint(2, Errno::NOENT)
                .unwrap()
                .contains("does not exist")
        );
    });
}

/// Two domains side by side, as of a workload and of a process that entered its container later.
#[test]
fn the_signal_scope_separates_siblings() {
    let Some(abi) = landlock().filter(|abi| abi.number() >= 6) else {
        eprintln!("SKIPPED: Landlock has no scopes before ABI 6");
        return;
    };
    let domain = |scopes| {
        let landlock = Landlock {
            scopes,
            ..Landlock::default()
        };
        Confinement::builder()
            .landlock(landlock, abi)
            .no_new_privs(true)
            .build()
            .unwrap()
    };
    for (scopes, expected) in [(Scopes::ALL, Err(Errno::PERM)), (Scopes::NONE, Ok(0))] {
        isolated(|| {
            let sibling = fork(|| {
                apply(&domain(scopes));
                std::thread::sleep(std::time::Duration::from_millis(200));
            });
            apply(&domain(scopes));
            assert_eq!(
                syscall(number("kill"), &[sibling as u64, 0]),
                expected,
                "{scopes:?}"
            );
            // Waiting is not signalling: the scope does not forbid it.
            assert_eq!(wait(sibling), Ended::Exited(0));
        });
    }
}

#[test]
fn a_label_is_refused_where_no_module_enforces_it() {
    let lsms = Lsms::observe(std::path::Path::new("/sys"));
    let asked = [
        (lsms.apparmor, confine::Label::AppArmor("x".to_owned())),
        (lsms.selinux, confine::Label::SeLinux("u:r:t:s0".to_owned())),
    ];
    for (active, label) in asked {
        let built = Confinement::builder().label(label, lsms.clone()).build();
        assert_eq!(
            matches!(built, Err(confine::Error::LsmInactive { .. })),
            !active
        );
    }
}
