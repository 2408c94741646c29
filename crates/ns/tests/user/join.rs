//! Namespaces entered, kept and mapped.

#![allow(unsafe_code, reason = "steps make raw system calls")]

use std::os::fd::AsFd;

use ns::{Child, Errno, Error, Init, Namespaces, WaitStatus, pidfd, spawn};

use crate::CONTAINER;
use crate::common::{self, alone, in_fork, own_proc, run, sh, start};

#[test]
fn a_second_program_joins_a_running_container() {
    alone(|| {
        let program = sh("exec sleep 1000");
        let proc = own_proc();
        let container = Child {
            namespaces: CONTAINER | Namespaces::NEWNET,
            setup: vec![&proc],
            init: Some(Init::default()),
            ..Child::new(&program)
        };
        let first = start(&container, &[]).expect("it runs");
        // Not init's pidfd: that is not dumpable, and its namespaces are closed to ordinary users.
        let target = first
            .workload_pidfd
            .as_ref()
            .expect("an init stands between")
            .as_fd();
        let kinds = CONTAINER | Namespaces::NEWNET;
        let program = sh(
            "cat /proc/1/comm; grep -c . /proc/net/dev; echo $$ >/dev/null; id -u
            for kind in user pid mnt uts ipc cgroup net; do readlink /proc/self/ns/$kind; done",
        );
        // Until it executes the program, nothing in there may trace it.
        let closed =
            common::Do(
                1,
                |_, _: &[std::os::fd::RawFd]| match rustix::process::dumpable_behavior()? {
                    rustix::process::DumpableBehavior::NotDumpable => Ok(()),
                    _ => Err(Errno::PERM),
                },
            );
        let second = Child {
            join: vec![(target, kinds)],
            setup: vec![&closed],
            ..Child::new(&program)
        };
        let ended = run(second).expect("it runs");
        assert_eq!(ended.status, WaitStatus::Exited(0));
        let mut lines = ended.output.lines();
        assert_eq!(lines.next(), Some("ctr-init"));
        assert_eq!(lines.next(), Some("3"), "lo and two lines of heading");
        assert_eq!(lines.next(), Some("0"));
        let own = ns::NamespaceIds::of_self().expect("/proc").to_string();
        let shared: Vec<&str> = lines
            .filter(|link| own.split(' ').any(|own| own == *link))
            .collect();
        assert_eq!(shared, [""; 0]);
        pidfd::send_signal(first.pidfd.as_fd(), libc::SIGKILL).expect("our child");
        pidfd::wait(first.pidfd.as_fd()).expect("our child");
    });
}

#[test]
fn some_namespaces_are_joined_and_others_made() {
    alone(|| {
        let program = sh("exec sleep 1000");
        let namespaces = Namespaces::NEWUSER | Namespaces::NEWNET | Namespaces::NEWUTS;
        let first = start(
            &Child {
                namespaces,
                ..Child::new(&program)
            },
            &[],
        )
        .expect("it runs");
        let (read, write) = common::pipe();
        let program = sh("read line");
        let stdin = common::first_becomes(0);
        let own_pids = Namespaces::NEWPID | Namespaces::NEWIPC;
        let child = Child {
            join: vec![(
                first.pidfd.as_fd(),
                Namespaces::NEWUSER | Namespaces::NEWNET,
            )],
            namespaces: own_pids,
            setup: vec![&stdin],
            init: Some(Init::default()),
            ..Child::new(&program)
        };
        let second = spawn(&child)
            .expect("a child")
            .go(&[read.as_fd()])
            .expect("it runs");
        let of = |pid| ns::NamespaceIds::of(pid).expect("our child");
        let own = ns::NamespaceIds::of_self().expect("/proc");
        // Init is not dumpable, so an ordinary user looks at the workload.
        let workload = workload_pid(&second);
        let joined = of(workload).shared_with(&of(first.pid));
        assert!(
            joined.contains(Namespaces::NEWUSER | Namespaces::NEWNET),
            "{joined}"
        );
        assert!(
            !joined.intersects(own_pids | Namespaces::NEWUTS),
            "{joined}"
        );
        let shared = of(workload).shared_with(&own);
        assert!(
            shared.contains(Namespaces::NEWUTS) && !shared.intersects(own_pids),
            "{shared}"
        );
        common::write(&write, "go\n");
        assert_eq!(second.read_exit(), Some(WaitStatus::Exited(0)));
        pidfd::wait(second.pidfd.as_fd()).expect("ours, not the go-between's");
        pidfd::send_signal(first.pidfd.as_fd(), libc::SIGKILL).expect("our child");
        pidfd::wait(first.pidfd.as_fd()).expect("our child");
        // SAFETY: no pointer is given.
        let left = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
        assert_eq!(left, -1, "the go-between was reaped");
    });
}

fn workload_pid(running: &ns::Running) -> ns::Pid {
    let fd = running
        .workload_pidfd
        .as_ref()
        .expect("an init stands between");
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", common::raw(fd)));
    let info = info.expect("our descriptor");
    let pid = info
        .lines()
        .find_map(|line| line.strip_prefix("Pid:"))
        .expect("a pidfd");
    ns::Pid::from_raw(pid.trim().parse().expect("a number")).expect("not 0")
}

#[test]
fn a_namespace_that_cannot_be_joined_is_named() {
    alone(|| {
        let net = ns::Namespace::of_self(Namespaces::NEWNET).expect("/proc");
        let userns = ns::new_user_namespace(|_| Ok(())).expect("a user namespace");
        let program = sh("true");
        for namespaces in [Namespaces::empty(), Namespaces::NEWNS] {
            let join = vec![
                (userns.as_fd(), Namespaces::NEWUSER),
                (net.as_fd(), Namespaces::NEWUTS),
            ];
            let child = Child {
                join,
                namespaces,
                ..Child::new(&program)
            };
            match start(&child, &[]) {
                Err(Error::Join {
                    index: 1,
                    namespaces: Namespaces::NEWUTS,
                    errno,
                }) => {
                    assert_eq!(errno, Errno::INVAL);
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn a_namespace_lives_on_by_descriptor_and_knows_its_relations() {
    alone(|| {
        let program = sh("true");
        let namespaces = Namespaces::NEWUSER | Namespaces::NEWNET;
        let child = Child {
            namespaces,
            ..Child::new(&program)
        };
        let spawned = spawn(&child).expect("a child");
        let net = ns::Namespace::of(spawned.pid(), Namespaces::NEWNET).expect("ours");
        let user = ns::Namespace::of(spawned.pid(), Namespaces::NEWUSER).expect("ours");
        drop(spawned);
        assert_eq!(
            net.owner().and_then(|owner| owner.id()).ok(),
            user.id().ok()
        );
        let own = ns::NamespaceIds::of_self().expect("/proc");
        let parent = user.parent().and_then(|parent| parent.id()).ok();
        assert_eq!(parent, own.get(Namespaces::NEWUSER));
        assert_eq!(
            user.owner_uid().ok(),
            Some(rustix::process::geteuid().as_raw())
        );
        assert_eq!(
            net.owner_uid().err().and_then(|error| error.errno()),
            Some(Errno::INVAL)
        );
        let again = ns::Namespace::from_fd(net.into()).expect("still a namespace");
        assert_eq!(again.kind(), Namespaces::NEWNET);
        let status = in_fork(|| {
            user.enter().expect("its owner may");
            again.enter().expect("owned by the first");
            let now = ns::NamespaceIds::of_self().expect("/proc");
            assert_eq!(now.get(Namespaces::NEWNET), again.id().ok());
        });
        assert_eq!(status, WaitStatus::Exited(0));
    });
}

#[test]
fn a_map_of_foreign_ids_is_refused_to_an_ordinary_user() {
    alone(|| {
        let line = |outside| {
            vec![ns::IdMap {
                inside: 0,
                outside,
                count: 1,
            }]
        };
        let maps = ns::IdMaps {
            uids: line(4_000_000_000),
            gids: line(4_000_000_000),
        };
        let made = ns::new_user_namespace(|pid| ns::write_maps(pid, &maps, ns::Setgroups::Deny));
        let root = rustix::process::geteuid().is_root();
        match made {
            Ok(_) => assert!(root, "only root may"),
            Err(error) => {
                assert!(!root, "{error}");
                assert_eq!(error.errno(), Some(Errno::PERM));
                assert!(error.hint().is_some());
            }
        }
    });
}

#[test]
fn a_helper_that_refuses_is_quoted() {
    let own = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    let maps = ns::IdMaps::own((0, 0), own);
    let pid = rustix::process::getpid();
    let write = |uids: &str, gids: &str| {
        let helpers = ns::Helpers {
            newuidmap: uids.into(),
            newgidmap: gids.into(),
        };
        ns::write_maps_with(&helpers, pid, &maps)
    };
    write("/bin/true", "/bin/true").expect("both are content");
    let helper = |error| match error {
        Err(Error::Helper {
            program,
            arguments,
            message,
        }) => (program, arguments, message),
        other => panic!("{other:?}"),
    };
    // Stands for newuidmap: it complains about a file named like the process.
    let (program, arguments, message) = helper(write("/bin/ls", "/bin/true"));
    assert_eq!(program.to_str(), Some("/bin/ls"));
    assert_eq!(arguments, format!("{} 0 {} 1", pid.as_raw_nonzero(), own.0));
    assert!(
        message.contains(&pid.as_raw_nonzero().to_string()),
        "{message}"
    );
    let (program, _, message) = helper(write("/bin/true", "/bin/false"));
    assert_eq!(program.to_str(), Some("/bin/false"));
    assert_eq!(message, "exit status: 1");
}

#[test]
#[ignore = "needs the package uidmap and lines for the caller in /etc/subuid and /etc/subgid"]
fn newuidmap_and_newgidmap_give_an_ordinary_user_more_ids() {
    alone(|| {
        let (uid, gid) = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        let range = |path: &str, own| {
            let text = std::fs::read_to_string(path).expect(path);
            let mut ranges = ns::subid::parse(&text).into_iter();
            let mine = ranges
                .find(|range| range.belongs_to(Some("user"), uid))
                .expect(path);
            let (outside, count) = (mine.first, mine.count);
            vec![
                ns::IdMap {
                    inside: 0,
                    outside: own,
                    count: 1,
                },
                ns::IdMap {
                    inside: 1,
                    outside,
                    count,
                },
            ]
        };
        let maps = ns::IdMaps {
            uids: range("/etc/subuid", uid),
            gids: range("/etc/subgid", gid),
        };
        let helpers = ns::Helpers {
            newuidmap: "/usr/bin/newuidmap".into(),
            newgidmap: "/usr/bin/newgidmap".into(),
        };
        let (read, write) = common::pipe();
        let stdout = common::first_becomes(1);
        let program = sh("cat /proc/self/uid_map; id -u; cat /proc/self/setgroups");
        let namespaces = Namespaces::NEWUSER;
        let child = Child {
            namespaces,
            setup: vec![&stdout],
            ..Child::new(&program)
        };
        let spawned = spawn(&child).expect("a child");
        ns::write_maps_with(&helpers, spawned.pid(), &maps).expect("they allow it");
        let running = spawned.go(&[write.as_fd()]).expect("it runs");
        drop(write);
        let output = common::read_all(read);
        let words: Vec<&str> = output.split_whitespace().collect();
        let numbers = maps
            .uids
            .iter()
            .flat_map(|map| [map.inside, map.outside, map.count]);
        let expected: Vec<String> = numbers.map(|number| number.to_string()).collect();
        assert_eq!(words[..6], expected);
        assert_eq!(words[6..], ["0", "allow"]);
        assert_eq!(
            pidfd::wait(running.pidfd.as_fd()),
            Ok(WaitStatus::Exited(0))
        );
    });
}
