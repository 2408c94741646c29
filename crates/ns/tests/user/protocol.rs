//! What the parent hears, and who dies with whom.

#![allow(unsafe_code, reason = "steps make raw system calls")]

use std::os::fd::{AsFd, RawFd};

use ns::{
    Child, Errno, Error, Init, Namespaces, Program, Steps, TimeOffsets, WaitStatus, pidfd, spawn,
};

use crate::CONTAINER;
use crate::common::{self, Do, alone, check, in_fork, run, sh, start};

#[test]
fn a_program_runs_in_new_namespaces_of_every_kind() {
    alone(|| {
        let program = sh("for ns in /proc/self/ns/*; do readlink $ns; done");
        let child = Child {
            namespaces: Namespaces::all(),
            ..Child::new(&program)
        };
        let ended = run(child).expect("it runs");
        assert_eq!(ended.status, WaitStatus::Exited(0));
        let own = ns::NamespaceIds::of_self().expect("/proc").to_string();
        let inside: Vec<&str> = ended.output.lines().collect();
        assert_eq!(inside.len(), 10, "{inside:?}");
        for link in own.split(' ') {
            assert!(!inside.contains(&link), "{link} is shared: {inside:?}");
        }
    });
}

#[test]
fn a_child_reports_the_failing_step_of_every_phase() {
    alone(|| {
        let good = Do(3, |_, _: &[RawFd]| Ok(()));
        let bad = Do(
            9,
            |step, _: &[RawFd]| if step == 7 { Err(Errno::NOSPC) } else { Ok(()) },
        );
        let program = sh("sleep 10");
        let lists: [[&dyn Steps; 4]; 4] = [
            [&bad, &good, &good, &good],
            [&good, &bad, &good, &good],
            [&good, &good, &bad, &good],
            [&good, &good, &good, &bad],
        ];
        for (expected, [first, second, third, fourth]) in lists.into_iter().enumerate() {
            let child = Child {
                namespaces: CONTAINER,
                setup: vec![first, second],
                workload: vec![third],
                init: Some(Init {
                    confine: vec![fourth],
                }),
                ..Child::new(&program)
            };
            match start(&child, &[]) {
                Err(Error::Step {
                    phase,
                    step: 7,
                    errno: Errno::NOSPC,
                }) => {
                    assert_eq!(phase, expected);
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn a_missing_program_and_one_without_the_right_are_told_apart() {
    alone(|| {
        let c = |paths: &[&str]| {
            let paths = paths
                .iter()
                .map(|path| std::ffi::CString::new(*path).expect("no NUL"));
            Program::new(paths.collect(), vec![c"true".into()], vec![])
        };
        for (paths, expected, at) in [
            (vec!["/nonexistent/a", "/nonexistent/b"], Errno::NOENT, 0),
            (vec!["/proc/version/x"], Errno::NOTDIR, 0),
            (
                vec!["/nonexistent/a", "/proc/version", "/nonexistent/b"],
                Errno::ACCESS,
                1,
            ),
        ] {
            for init in [None, Some(Init::default())] {
                let program = c(&paths);
                let child = Child {
                    namespaces: CONTAINER,
                    init,
                    ..Child::new(&program)
                };
                match start(&child, &[]) {
                    Err(Error::Exec { path, index, errno }) => {
                        assert_eq!((errno, index), (expected, at));
                        assert_eq!(path.to_str(), Some(paths[at]));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        let program = c(&["/nonexistent/a", "/bin/true"]);
        let ended = run(Child {
            namespaces: CONTAINER,
            ..Child::new(&program)
        });
        assert_eq!(
            ended.expect("the second is there").status,
            WaitStatus::Exited(0)
        );
    });
}

#[test]
fn death_during_set_up_is_told_apart_from_failure() {
    alone(|| {
        let die = Do(1, |_, _: &[RawFd]| common::die());
        let killed = WaitStatus::Signaled {
            signal: libc::SIGKILL,
            core_dumped: false,
        };
        let program = sh("sleep 10");
        let plain = Child {
            namespaces: Namespaces::NEWUSER,
            setup: vec![&die],
            ..Child::new(&program)
        };
        let below_init = Child {
            namespaces: CONTAINER,
            init: Some(Init::default()),
            workload: vec![&die],
            ..Child::new(&program)
        };
        for child in [plain, below_init] {
            match start(&child, &[]) {
                Err(Error::KilledInSetup { status }) => assert_eq!(status, killed),
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn a_child_that_allocates_is_caught_by_these_tests() {
    alone(|| {
        let allocate = Do(1, |step, _: &[RawFd]| {
            std::hint::black_box(vec![step; 10]);
            Ok(())
        });
        let program = sh("true");
        let child = Child {
            setup: vec![&allocate],
            ..Child::new(&program)
        };
        match start(&child, &[]) {
            Err(Error::KilledInSetup { status }) => assert_eq!(status, WaitStatus::Exited(99)),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn killing_the_parent_before_go_ends_the_child_with_126() {
    alone(|| {
        for relay in [false, true] {
            let child = orphan(relay, |spawned| {
                std::mem::forget(spawned);
            });
            assert_eq!(
                common::wait_for(child),
                WaitStatus::Exited(126),
                "relay: {relay}"
            );
        }
    });
}

#[test]
fn a_running_child_dies_with_its_parent_unless_told_to_outlive_it() {
    alone(|| {
        let go = |spawned: ns::Spawned<'_>| {
            common::map_self(&spawned);
            std::mem::forget(spawned.go(&[]).expect("it runs"));
        };
        let killed = WaitStatus::Signaled {
            signal: libc::SIGKILL,
            core_dumped: false,
        };
        for init in [None, Some(Init::default())] {
            let program = sh("sleep 1000");
            let child = Child {
                namespaces: CONTAINER,
                init: init.clone(),
                ..Child::new(&program)
            };
            assert_eq!(common::wait_for(orphan_of(&child, go)), killed);
            let program = sh("sleep 0.1; exit 5");
            let child = Child {
                namespaces: CONTAINER,
                init,
                outlive_parent: true,
                ..Child::new(&program)
            };
            assert_eq!(
                common::wait_for(orphan_of(&child, go)),
                WaitStatus::Exited(5)
            );
        }
    });
}

/// A child whose parent has died; ours to wait for.
fn orphan(relay: bool, then: impl FnOnce(ns::Spawned<'_>)) -> i32 {
    let program = sh("true");
    let userns = ns::new_user_namespace(|_| Ok(())).expect("a user namespace");
    let mut child = Child {
        namespaces: Namespaces::NEWNS,
        ..Child::new(&program)
    };
    if relay {
        child.join.push((userns.as_fd(), Namespaces::NEWUSER));
    } else {
        child.namespaces |= Namespaces::NEWUSER;
    }
    orphan_of(&child, then)
}

fn orphan_of(child: &Child<'_>, then: impl FnOnce(ns::Spawned<'_>)) -> i32 {
    let (read, write) = common::pipe();
    common::adopt_orphans();
    let parent = in_fork(|| {
        let spawned = spawn(child).expect("a child");
        common::write(&write, &spawned.pid().as_raw_nonzero().to_string());
        then(spawned);
    });
    assert_eq!(parent, WaitStatus::Exited(0));
    drop(write);
    common::read_all(read).parse().expect("a pid")
}

#[test]
fn dropping_a_child_that_waits_kills_and_reaps_it() {
    alone(|| {
        let program = sh("true");
        let child = Child::new(&program);
        let spawned = spawn(&child).expect("a child");
        let pid = spawned.pid();
        drop(spawned);
        assert_eq!(rustix::process::test_kill_process(pid), Err(Errno::SRCH));
    });
}

#[test]
fn passed_descriptors_arrive_in_order() {
    alone(|| {
        let pipes: Vec<_> = (0..253).map(|_| common::pipe()).collect();
        let fds: Vec<_> = pipes.iter().map(|(_, write)| write.as_fd()).collect();
        let say = Do(253, |step, passed: &[RawFd]| {
            let number = step as u8;
            // SAFETY: one byte, alive until after the call.
            check(unsafe { libc::write(passed[step], (&raw const number).cast(), 1) } as i32)
        });
        let program = sh("true");
        let child = Child {
            setup: vec![&say],
            ..Child::new(&program)
        };
        let running = start(&child, &fds).expect("it runs");
        pidfd::wait(running.pidfd.as_fd()).expect("our child");
        for (number, (read, _)) in pipes.iter().enumerate() {
            let mut byte = [0];
            assert_eq!(rustix::io::read(read, &mut byte), Ok(1));
            assert_eq!(usize::from(byte[0]), number);
        }
        let too_many: Vec<_> = fds.iter().chain(&fds[..1]).copied().collect();
        match start(&child, &too_many) {
            Err(Error::TooManyFds {
                count: 254,
                max: 253,
            }) => {}
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn what_contradicts_itself_is_refused_before_the_clone() {
    let program = sh("true");
    let none = Program::new(vec![], vec![], vec![]);
    let own = ns::Namespace::of_self(Namespaces::NEWNET).expect("/proc");
    let base = Child::new(&program);
    for (child, reason) in [
        (
            Child {
                init: Some(Init::default()),
                ..base.clone()
            },
            "an init needs a pid namespace of its own (CLONE_NEWPID)",
        ),
        (
            Child {
                namespaces: Namespaces::NEWPID,
                init: Some(Init::default()),
                beside_threads: true,
                ..base.clone()
            },
            "an init would keep what threads beside its parent had in memory",
        ),
        (
            Child {
                time_offsets: Some(TimeOffsets::default()),
                ..base.clone()
            },
            "time offsets need a time namespace of its own (CLONE_NEWTIME)",
        ),
        (
            Child {
                namespaces: Namespaces::NEWNET,
                join: vec![(own.as_fd(), Namespaces::NEWNET)],
                ..base.clone()
            },
            "a namespace is both joined and made",
        ),
        (Child::new(&none), "the program has no path"),
    ] {
        match spawn(&child).err() {
            Some(Error::Invalid(given)) => assert_eq!(given, reason),
            other => panic!("{other:?}"),
        }
    }
}
