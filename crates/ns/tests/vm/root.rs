//! Root, without a user namespace or with a large one.

use std::os::fd::RawFd;

use ns::{
    Child, ClockOffset, Errno, IdMap, IdMaps, Init, Namespaces, Setgroups, Steps, TimeOffsets,
    WaitStatus, spawn, write_maps,
};

use crate::common::{self, Do, alone, check, own_proc, run, sh};

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn every_namespace_but_the_users_is_new() {
    alone(|| {
        let program = sh("for ns in /proc/self/ns/*; do readlink $ns; done");
        let namespaces = Namespaces::all() - Namespaces::NEWUSER;
        let ended = run(Child {
            namespaces,
            ..Child::new(&program)
        })
        .expect("it runs");
        let own = ns::NamespaceIds::of_self().expect("/proc").to_string();
        let shared: Vec<&str> = own
            .split(' ')
            .filter(|link| ended.output.lines().any(|line| line == *link))
            .collect();
        assert_eq!(shared.len(), 1, "{shared:?}");
        assert!(shared[0].starts_with("user:["), "{shared:?}");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn many_ids_are_mapped_and_groups_can_be_set() {
    alone(|| {
        let ids = vec![IdMap {
            inside: 0,
            outside: 1_000_000,
            count: 65_536,
        }];
        let maps = IdMaps {
            uids: ids.clone(),
            gids: ids,
        };
        let become_user = Do(3, |step, _: &[RawFd]| {
            let groups = [7, 65_535];
            // SAFETY: two groups, alive until after the call; integers.
            check(unsafe {
                match step {
                    0 => libc::setgroups(2, groups.as_ptr()),
                    1 => libc::setresgid(100, 100, 100),
                    _ => libc::setresuid(1000, 1000, 1000),
                }
            })
        });
        let (read, write) = common::pipe();
        let stdout = common::first_becomes(1);
        let program = sh("id -u; id -G; cat /proc/self/uid_map");
        let child = Child {
            namespaces: Namespaces::NEWUSER,
            setup: vec![&stdout],
            workload: vec![&become_user],
            ..Child::new(&program)
        };
        let spawned = spawn(&child).expect("a child");
        write_maps(spawned.pid(), &maps, Setgroups::Allow).expect("root may");
        let twice = write_maps(spawned.pid(), &maps, Setgroups::Allow).expect_err("only once");
        assert_eq!(twice.errno(), Some(Errno::PERM));
        let late = write_maps(spawned.pid(), &maps, Setgroups::Deny).expect_err("too late");
        assert_eq!(late.errno(), Some(Errno::PERM));
        assert!(late.hint().is_some(), "{late}");
        spawned
            .go(&[std::os::fd::AsFd::as_fd(&write)])
            .expect("it runs");
        drop(write);
        let output = common::read_all(read);
        let mut lines = output.lines();
        assert_eq!(lines.next(), Some("1000"));
        assert_eq!(lines.next(), Some("100 7 65535"));
        let map: Vec<&str> = lines
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        assert_eq!(map, ["0", "1000000", "65536"]);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_change_of_ids_does_not_save_a_child_from_its_parents_death() {
    alone(|| {
        let change = Do(1, |_, _: &[RawFd]| {
            // SAFETY: integers.
            check(unsafe { libc::setresuid(1000, 1000, 1000) })
        });
        let program = sh("exec sleep 1000");
        let killed = WaitStatus::Signaled {
            signal: libc::SIGKILL,
            core_dumped: false,
        };
        let none: Vec<&dyn Steps> = vec![];
        for (setup, workload) in [
            (vec![&change as &dyn Steps], none.clone()),
            (none, vec![&change]),
        ] {
            let child = Child {
                setup,
                workload,
                ..Child::new(&program)
            };
            let (read, write) = common::pipe();
            common::adopt_orphans();
            let parent = common::in_fork(|| {
                let running = spawn(&child)
                    .and_then(|spawned| spawned.go(&[]))
                    .expect("it runs");
                common::write(&write, &running.pid.as_raw_nonzero().to_string());
            });
            assert_eq!(parent, WaitStatus::Exited(0));
            drop(write);
            let pid = common::read_all(read).parse().expect("a pid");
            assert_eq!(common::wait_for(pid), killed);
        }
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn roots_init_is_closed_to_a_workload_without_capabilities() {
    alone(|| {
        let drop_all = Do(64, |step, _: &[RawFd]| {
            // SAFETY: integers only.
            let result =
                unsafe { libc::prctl(libc::PR_CAPBSET_DROP, step as libc::c_ulong, 0, 0, 0) };
            // There are fewer than 64 capabilities.
            check(result).or_else(|errno| {
                if errno == Errno::INVAL {
                    Ok(())
                } else {
                    Err(errno)
                }
            })
        });
        let program = sh(
            "tr '\\0' '\\n' </proc/1/cmdline | head -n 1; cat /proc/1/comm
            readlink /proc/1/exe || echo no exe; readlink /proc/1/fd/* || echo no fd
            head -c 1 /proc/1/mem || echo no mem; grep CapEff /proc/self/status",
        );
        let proc = own_proc();
        let child = Child {
            namespaces: Namespaces::NEWPID | Namespaces::NEWNS,
            setup: vec![&proc],
            workload: vec![&drop_all],
            init: Some(Init::default()),
            ..Child::new(&program)
        };
        let ended = run(child).expect("it runs");
        let lines: Vec<&str> = ended.output.lines().collect();
        let expected = [
            "ctr-init",
            "ctr-init",
            "no exe",
            "no fd",
            "no mem",
            "CapEff:\t0000000000000000",
        ];
        assert_eq!(lines, expected);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn roots_clocks_start_at_the_offsets_asked_for() {
    alone(|| {
        for init in [None, Some(Init::default())] {
            let program = sh("cat /proc/uptime");
            let child = Child {
                namespaces: Namespaces::NEWPID | Namespaces::NEWTIME,
                init,
                time_offsets: Some(TimeOffsets {
                    monotonic: ClockOffset {
                        seconds: 5,
                        nanoseconds: 0,
                    },
                    boottime: ClockOffset {
                        seconds: 86_400,
                        nanoseconds: 1,
                    },
                }),
                ..Child::new(&program)
            };
            let ended = run(child).expect("it runs");
            let seconds = ended
                .output
                .split('.')
                .next()
                .and_then(|text| text.parse::<u32>().ok());
            assert!(
                seconds.is_some_and(|seconds| seconds >= 86_400),
                "{}",
                ended.output
            );
        }
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_second_program_joins_roots_container_through_its_init() {
    alone(|| {
        let program = sh("exec sleep 1000");
        let proc = own_proc();
        let kinds = Namespaces::all() - Namespaces::NEWUSER - Namespaces::NEWTIME;
        let container = Child {
            namespaces: kinds,
            setup: vec![&proc],
            init: Some(Init::default()),
            ..Child::new(&program)
        };
        let first = common::start(&container, &[]).expect("it runs");
        // Before it executes anything, nothing in there may look into it.
        let program = sh("cat /proc/1/comm; readlink /proc/self/ns/pid");
        let target = std::os::fd::AsFd::as_fd(&first.pidfd);
        let ended = run(Child {
            join: vec![(target, kinds)],
            ..Child::new(&program)
        });
        let pids = ns::NamespaceIds::of(first.pid).expect("root may");
        let pids = pids.get(Namespaces::NEWPID).expect("it has one").inode;
        assert_eq!(
            ended.expect("it runs").output,
            format!("ctr-init\npid:[{pids}]\n")
        );
        ns::pidfd::send_signal(target, libc::SIGKILL).expect("our child");
        ns::pidfd::wait(target).expect("our child");
    });
}
