//! Born in a cgroup.

use std::fs;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::PathBuf;

use ns::{Child, Errno, Error, Init, Namespaces, WaitStatus, pidfd};
use rustix::fs::{Mode, OFlags};

use crate::common::{self, Do, alone, run, sh, start};

const KILLED: WaitStatus = WaitStatus::Signaled {
    signal: libc::SIGKILL,
    core_dumped: false,
};

/// A cgroup below the root, where the VM has all controllers enabled. Removed at the end.
struct Group(PathBuf);

impl Group {
    fn new(name: &str, values: &[(&str, &str)]) -> Self {
        let group = Self(format!("/sys/fs/cgroup/ns-{name}-{}", std::process::id()).into());
        fs::create_dir(&group.0).expect("the VM's root may");
        for (file, value) in values {
            fs::write(group.0.join(file), value).expect(file);
        }
        group
    }

    fn open(&self) -> OwnedFd {
        rustix::fs::open(&self.0, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .expect("it is there")
    }

    fn name(&self) -> &str {
        self.0
            .file_name()
            .and_then(|name| name.to_str())
            .expect("ASCII")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Fails where a test has removed it, or has left a process: the VM looks for leftovers.
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_child_is_born_in_its_cgroup_which_is_the_root_of_its_namespace() {
    alone(|| {
        let group = Group::new("born", &[]);
        let dir = group.open();
        let net = ns::new_user_namespace(|_| Ok(())).expect("root may");
        let made = Namespaces::NEWPID | Namespaces::NEWCGROUP;
        let program = sh("cat /proc/self/cgroup");
        for init in [None, Some(Init::default())] {
            for join in [vec![], vec![(net.as_fd(), Namespaces::NEWUSER)]] {
                let child = Child {
                    namespaces: made,
                    cgroup: Some(dir.as_fd()),
                    init: init.clone(),
                    join,
                    ..Child::new(&program)
                };
                let ended = run(child).expect("it runs");
                assert_eq!(ended.output, "0::/\n");
            }
            let child = Child {
                namespaces: Namespaces::NEWPID,
                cgroup: Some(dir.as_fd()),
                init,
                ..Child::new(&program)
            };
            let ended = run(child).expect("it runs");
            assert_eq!(ended.output, format!("0::/{}\n", group.name()));
        }
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_cgroup_that_cannot_hold_processes_is_named_with_a_hint() {
    alone(|| {
        let program = sh("true");
        let refused = |group: &OwnedFd| {
            let child = Child {
                cgroup: Some(group.as_fd()),
                ..Child::new(&program)
            };
            let error = start(&child, &[]).expect_err("it cannot");
            assert!(
                matches!(
                    error,
                    Error::Clone {
                        into_cgroup: true,
                        ..
                    }
                ),
                "{error:?}"
            );
            assert!(error.hint().is_some(), "{error:?}");
            error.errno()
        };
        let parent = Group::new("parent", &[("cgroup.subtree_control", "+memory")]);
        assert_eq!(refused(&parent.open()), Some(Errno::BUSY));
        let full = Group::new("full", &[("pids.max", "0")]);
        assert_eq!(refused(&full.open()), Some(Errno::AGAIN));
        let gone = Group::new("gone", &[]);
        let dir = gone.open();
        fs::remove_dir(&gone.0).expect("it is empty");
        assert_eq!(refused(&dir), Some(Errno::NOENT));
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_cgroup_without_room_for_the_workload_says_which_call_failed() {
    alone(|| {
        let group = Group::new("one", &[("pids.max", "1")]);
        let dir = group.open();
        let program = sh("true");
        let child = Child {
            namespaces: Namespaces::NEWPID,
            cgroup: Some(dir.as_fd()),
            init: Some(Init::default()),
            ..Child::new(&program)
        };
        match start(&child, &[]) {
            Err(Error::Own {
                call: "clone3(CLONE_PIDFD)",
                errno: Errno::AGAIN,
            }) => {}
            other => panic!("{other:?}"),
        }
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_oom_killer_during_set_up_is_told_apart_from_failure() {
    alone(|| {
        let limits = [("memory.max", "4194304"), ("memory.swap.max", "0")];
        let group = Group::new("small", &limits);
        let dir = group.open();
        let eat = Do(1, |_, _: &[RawFd]| {
            let size = 64 << 20;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: memory of our own, which nobody looks at.
            let area = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) };
            common::check(if area == libc::MAP_FAILED { -1 } else { 0 })?;
            // SAFETY: inside the area.
            unsafe { std::ptr::write_bytes(area.cast::<u8>(), 1, size) };
            Ok(())
        });
        let program = sh("true");
        for init in [None, Some(Init::default())] {
            let child = Child {
                namespaces: Namespaces::NEWPID,
                cgroup: Some(dir.as_fd()),
                workload: vec![&eat],
                init,
                ..Child::new(&program)
            };
            match start(&child, &[]) {
                Err(error @ Error::KilledInSetup { status: KILLED }) => {
                    assert!(error.hint().is_some());
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_container_killed_as_a_whole_by_the_oom_killer_reports_nothing() {
    alone(|| {
        let limits = [
            ("memory.max", "8388608"),
            ("memory.swap.max", "0"),
            ("memory.oom.group", "1"),
        ];
        let group = Group::new("oom", &limits);
        let dir = group.open();
        let program = sh("x=0123456789; while :; do x=$x$x; done");
        let child = Child {
            namespaces: Namespaces::NEWPID,
            cgroup: Some(dir.as_fd()),
            init: Some(Init::default()),
            ..Child::new(&program)
        };
        let running = start(&child, &[]).expect("it runs");
        assert_eq!(running.read_exit(), None);
        assert_eq!(pidfd::wait(running.pidfd.as_fd()), Ok(KILLED));
        let events = fs::read_to_string(group.0.join("memory.events")).expect("memory is enabled");
        assert!(events.contains("oom_group_kill 1"), "{events}");
    });
}
