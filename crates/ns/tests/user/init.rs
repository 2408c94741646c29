//! The built-in init.

use std::os::fd::AsFd;

use ns::{Child, Errno, Init, WaitStatus, pidfd};

use crate::CONTAINER;
use crate::common::{self, alone, own_proc, run, sh, start};

#[test]
fn init_reports_every_status_and_exits_as_a_shell_would() {
    alone(|| {
        let ended = |script: &str| {
            let program = sh(script);
            let init = Some(Init::default());
            run(Child {
                namespaces: CONTAINER,
                init,
                ..Child::new(&program)
            })
            .expect("it runs")
        };
        for code in 0..=255 {
            let ended = ended(&format!("exit {code}"));
            assert_eq!(ended.reported, Some(WaitStatus::Exited(code)));
            assert_eq!(ended.status, WaitStatus::Exited(code));
        }
        for signal in [
            libc::SIGHUP,
            libc::SIGKILL,
            libc::SIGTERM,
            libc::SIGUSR1,
            40,
        ] {
            let ended = ended(&format!("kill -{signal} $$"));
            let reported = WaitStatus::Signaled {
                signal,
                core_dumped: false,
            };
            assert_eq!(ended.reported, Some(reported));
            assert_eq!(ended.status, WaitStatus::Exited(128 + signal as u8));
        }
    });
}

#[test]
fn init_reaps_orphans() {
    alone(|| {
        // Only PID 1 and the shell are left in the end.
        let program = sh("for i in 1 2 3 4 5; do (true & true & exit 3) ; done; n=0
            until set -- /proc/[0-9]*; [ $# = 2 ]; do
                n=$((n+1)); [ $n -lt 100000 ] || { cat /proc/[0-9]*/stat; exit 9; }
            done");
        let proc = own_proc();
        let child = Child {
            namespaces: CONTAINER,
            setup: vec![&proc],
            init: Some(Init::default()),
            ..Child::new(&program)
        };
        let ended = run(child).expect("it runs");
        assert_eq!(
            ended.reported,
            Some(WaitStatus::Exited(0)),
            "{}",
            ended.output
        );
    });
}

#[test]
fn init_forwards_signals_to_the_workload() {
    alone(|| {
        for (name, signal) in [
            ("USR1", libc::SIGUSR1),
            ("TERM", libc::SIGTERM),
            ("INT", libc::SIGINT),
        ] {
            let script = format!("trap 'exit 42' {name}; echo ready; while :; do sleep 0.01; done");
            let program = sh(&script);
            let (read, write) = common::pipe();
            let stdout = common::first_becomes(1);
            let child = Child {
                namespaces: CONTAINER,
                setup: vec![&stdout],
                init: Some(Init::default()),
                ..Child::new(&program)
            };
            let running = start(&child, &[write.as_fd()]).expect("it runs");
            let mut ready = [0; 6];
            assert_eq!(rustix::io::read(&read, &mut ready), Ok(6));
            pidfd::send_signal(running.pidfd.as_fd(), signal).expect("our child");
            assert_eq!(running.read_exit(), Some(WaitStatus::Exited(42)), "{name}");
            pidfd::wait(running.pidfd.as_fd()).expect("our child");
        }
    });
}

#[test]
fn the_workload_has_a_pidfd_of_its_own() {
    alone(|| {
        let program = sh("exec sleep 1000");
        let init = Some(Init::default());
        let child = Child {
            namespaces: CONTAINER,
            init,
            ..Child::new(&program)
        };
        let running = start(&child, &[]).expect("it runs");
        let workload = running
            .workload_pidfd
            .as_ref()
            .expect("an init stands between");
        pidfd::send_signal(workload.as_fd(), libc::SIGTERM).expect("it is there");
        let ended = WaitStatus::Signaled {
            signal: libc::SIGTERM,
            core_dumped: false,
        };
        assert_eq!(running.read_exit(), Some(ended));
        let init = pidfd::wait(running.pidfd.as_fd()).expect("our child");
        assert_eq!(init, WaitStatus::Exited(143));
    });
}

#[test]
fn an_init_that_is_killed_takes_everything_along_and_reports_nothing() {
    alone(|| {
        let program = sh("sleep 1000 & exec sleep 1000");
        let init = Some(Init::default());
        let child = Child {
            namespaces: CONTAINER,
            init,
            ..Child::new(&program)
        };
        let running = start(&child, &[]).expect("it runs");
        assert_eq!(pidfd::try_wait(running.pidfd.as_fd()), Ok(None), "alive");
        pidfd::send_signal(running.pidfd.as_fd(), libc::SIGKILL).expect("our child");
        assert_eq!(running.read_exit(), None);
        let killed = WaitStatus::Signaled {
            signal: libc::SIGKILL,
            core_dumped: false,
        };
        assert_eq!(pidfd::wait(running.pidfd.as_fd()), Ok(killed));
        let workload = running.workload_pidfd.expect("an init stood between");
        let gone = pidfd::send_signal(workload.as_fd(), 0);
        assert_eq!(
            gone,
            Err(Errno::SRCH),
            "the kernel has killed and reaped it"
        );
    });
}

#[test]
fn init_shows_nothing_of_its_caller_to_the_workload() {
    alone(|| {
        // Same uid, and root in the user namespace with every capability there.
        let program = sh("tr '\\0' '\\n' </proc/1/cmdline; cat /proc/1/comm
            readlink /proc/1/exe || echo no exe; cat /proc/1/environ || echo no environ
            readlink /proc/1/fd/* || echo no fd; cat /proc/1/maps || echo no maps
            head -c 1 /proc/1/mem || echo no mem; id -u");
        let proc = own_proc();
        let child = Child {
            namespaces: CONTAINER,
            setup: vec![&proc],
            init: Some(Init::default()),
            ..Child::new(&program)
        };
        let ended = run(child).expect("it runs");
        let lines: Vec<&str> = ended
            .output
            .lines()
            .filter(|line| !line.is_empty())
            .collect();
        let expected = [
            "ctr-init",
            "ctr-init",
            "no exe",
            "no environ",
            "no fd",
            "no maps",
            "no mem",
            "0",
        ];
        assert_eq!(lines, expected);
    });
}

#[test]
fn init_holds_none_of_the_callers_descriptors() {
    alone(|| {
        let (read, write) = common::pipe();
        let program = sh("exec >&- 2>&- <&-; sleep 1000");
        let stdout = common::first_becomes(1);
        let child = Child {
            namespaces: CONTAINER,
            setup: vec![&stdout],
            init: Some(Init::default()),
            ..Child::new(&program)
        };
        let running = start(&child, &[write.as_fd()]).expect("it runs");
        drop(write);
        assert_eq!(common::read_all(read), "", "the pipe ends while both live");
        drop(running.status);
        pidfd::send_signal(running.pidfd.as_fd(), libc::SIGKILL).expect("our child");
        pidfd::wait(running.pidfd.as_fd()).expect("our child");
    });
}
