//! What the program finds: signals, descriptors, session, terminal, clocks.

#![allow(unsafe_code, reason = "steps make raw system calls")]

use std::os::fd::{AsFd, RawFd};

use ns::{
    Child, ClockOffset, Errno, Init, Namespaces, Steps, TimeOffsets, Tty, WaitStatus, pidfd, spawn,
};

use crate::CONTAINER;
use crate::common::{self, Do, alone, check, own_proc, program, run, sh, start};

#[test]
fn signals_are_as_a_program_expects_them() {
    alone(|| {
        // SAFETY: plain dispositions and a mask, in a process of this test alone.
        unsafe {
            for signal in [libc::SIGPIPE, libc::SIGHUP, libc::SIGCHLD, 34, 64] {
                libc::signal(signal, libc::SIG_IGN);
            }
            let mut set = std::mem::zeroed();
            libc::sigfillset(&raw mut set);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
            libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        }
        for init in [None, Some(Init::default())] {
            let program = program("/bin/cat", &["/proc/self/status"]);
            let child = Child {
                namespaces: CONTAINER,
                init,
                ..Child::new(&program)
            };
            let ended = run(child).expect("it runs");
            for line in ["SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"] {
                let expected = format!("{line}:\t0000000000000000\n");
                assert!(ended.output.contains(&expected), "{line}: {}", ended.output);
            }
        }
    });
}

#[test]
fn inherited_descriptors_are_closed() {
    alone(|| {
        let (_read, write) = common::pipe();
        // SAFETY: a copy without close-on-exec.
        assert!(unsafe { libc::fcntl(common::raw(&write), libc::F_DUPFD, 100) } >= 100);
        for init in [None, Some(Init::default())] {
            let program = program("/bin/ls", &["/proc/self/fd"]);
            let child = Child {
                namespaces: CONTAINER,
                init,
                ..Child::new(&program)
            };
            let ended = run(child).expect("it runs");
            // The last one is the directory that ls reads.
            assert_eq!(ended.output, "0\n1\n2\n3\n");
        }
    });
}

#[test]
fn the_workload_leads_a_session_without_the_callers_terminal() {
    alone(|| {
        for init in [None, Some(Init::default())] {
            let program = sh(
                "read -r pid name state ppid pgrp session tty rest </proc/self/stat
                [ $pid = $session ] && [ $pid = $pgrp ] && echo tty $tty",
            );
            let proc = own_proc();
            let namespaces = CONTAINER;
            let setup: Vec<&dyn Steps> = vec![&proc];
            let ended = run(Child {
                namespaces,
                init,
                setup,
                ..Child::new(&program)
            });
            assert_eq!(ended.expect("it runs").output, "tty 0\n");
        }
    });
}

#[test]
fn a_terminal_arrives_and_is_one() {
    alone(|| {
        for init in [None, Some(Init::default())] {
            let program =
                sh("test -t 0 && test -t 1 && test -t 2 && stty size && echo >/dev/tty hi");
            let child = Child {
                namespaces: CONTAINER,
                init,
                tty: Some(Tty {
                    owner: Some(0),
                    size: Some((24, 80)),
                }),
                ..Child::new(&program)
            };
            let running = start(&child, &[]).expect("it runs");
            let pty = running.pty.expect("the master");
            assert_eq!(common::read_all(pty), "24 80\r\nhi\r\n");
            assert_eq!(
                pidfd::wait(running.pidfd.as_fd()),
                Ok(WaitStatus::Exited(0))
            );
        }
    });
}

#[test]
fn a_held_child_waits_between_set_up_and_exec() {
    alone(|| {
        for init in [None, Some(Init::default())] {
            let (read, write) = common::pipe();
            let program = sh("echo program");
            let stdout = common::first_becomes(1);
            let late = Do(1, |_, _: &[RawFd]| {
                // SAFETY: static bytes.
                check(unsafe { libc::write(1, c"late\n".as_ptr().cast(), 5) } as i32)
            });
            let child = Child {
                namespaces: CONTAINER,
                init,
                hold: true,
                setup: vec![&stdout],
                workload: vec![&late],
                ..Child::new(&program)
            };
            let spawned = spawn(&child).expect("a child");
            common::map_self(&spawned);
            let held = spawned.go_until_held(&[write.as_fd()]).expect("it holds");
            drop(write);
            let flags = rustix::fs::OFlags::NONBLOCK;
            rustix::fs::fcntl_setfl(&read, flags).expect("a flag");
            assert_eq!(
                rustix::io::read(&read, &mut [0]),
                Err(Errno::AGAIN),
                "nothing yet"
            );
            rustix::fs::fcntl_setfl(&read, rustix::fs::OFlags::empty()).expect("a flag");
            let running = held.start().expect("it runs");
            assert_eq!(common::read_all(read), "late\nprogram\n");
            assert_eq!(
                pidfd::wait(running.pidfd.as_fd()),
                Ok(WaitStatus::Exited(0))
            );
            let (read, write) = common::pipe();
            let running = start(&child, &[write.as_fd()]).expect("it runs at once");
            drop(write);
            assert_eq!(common::read_all(read), "late\nprogram\n");
            assert_eq!(
                pidfd::wait(running.pidfd.as_fd()),
                Ok(WaitStatus::Exited(0))
            );
        }
    });
}

#[test]
fn a_child_that_would_be_held_sets_up_while_its_parent_does_something_else() {
    alone(|| {
        for init in [None, Some(Init::default())] {
            let (read, write) = common::pipe();
            let program = sh("echo program");
            let stdout = common::first_becomes(1);
            let set_up = Do(1, |_, _: &[RawFd]| {
                // SAFETY: static bytes.
                check(unsafe { libc::write(1, c"set up\n".as_ptr().cast(), 7) } as i32)
            });
            let child = Child {
                namespaces: CONTAINER,
                init,
                hold: true,
                setup: vec![&stdout, &set_up],
                ..Child::new(&program)
            };
            let spawned = spawn(&child).expect("a child");
            common::map_self(&spawned);
            let mut going = spawned.begin(&[write.as_fd()]).expect("it goes on");
            drop(write);
            let mut said = [0; 32];
            assert_eq!(rustix::io::read(&read, &mut said), Ok(7), "before release");
            rustix::fs::fcntl_setfl(&read, rustix::fs::OFlags::NONBLOCK).expect("a flag");
            std::thread::sleep(std::time::Duration::from_millis(50));
            assert_eq!(rustix::io::read(&read, &mut said), Err(Errno::AGAIN));
            rustix::fs::fcntl_setfl(&read, rustix::fs::OFlags::empty()).expect("a flag");
            going.release().expect("released");
            let running = going.until_running().expect("it runs");
            assert_eq!(common::read_all(read), "program\n");
            assert_eq!(
                pidfd::wait(running.pidfd.as_fd()),
                Ok(WaitStatus::Exited(0))
            );
        }
    });
}

#[test]
fn what_fails_beside_the_parent_is_told_however_late_it_asks() {
    alone(|| {
        let program = sh("true");
        let fails = Do(2, |step, _: &[RawFd]| match step {
            0 => Ok(()),
            _ => Err(Errno::NOTTY),
        });
        let child = Child {
            namespaces: CONTAINER,
            hold: true,
            setup: vec![&fails],
            ..Child::new(&program)
        };
        for release in [false, true] {
            let spawned = spawn(&child).expect("a child");
            common::map_self(&spawned);
            let mut going = spawned.begin(&[]).expect("it goes on");
            if release {
                going.release().expect("nobody is told");
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            let error = going.until_running().expect_err("a step failed");
            assert!(
                matches!(
                    error,
                    ns::Error::Step {
                        phase: 0,
                        step: 1,
                        errno: Errno::NOTTY
                    }
                ),
                "{error}"
            );
        }
    });
}

#[test]
fn clocks_start_at_the_offsets_asked_for() {
    alone(|| {
        const DAY: i64 = 86_400;
        for init in [None, Some(Init::default())] {
            let program = sh("cat /proc/uptime; readlink /proc/self/ns/time /proc/1/ns/time");
            let child = Child {
                namespaces: CONTAINER | Namespaces::NEWTIME,
                init,
                time_offsets: Some(TimeOffsets {
                    monotonic: ClockOffset::default(),
                    boottime: ClockOffset {
                        seconds: 1000 * DAY,
                        nanoseconds: 0,
                    },
                }),
                ..Child::new(&program)
            };
            let ended = run(child).expect("it runs");
            let uptime = |text: &str| text.split('.').next().and_then(|n| n.parse::<i64>().ok());
            let inside = uptime(&ended.output).expect("a number");
            let here = std::fs::read_to_string("/proc/uptime").expect("/proc");
            let here = uptime(&here).expect("a number");
            assert!(
                (here - 5..=here).contains(&(inside - 1000 * DAY)),
                "{inside} {here}"
            );
        }
    });
}

#[test]
fn an_offset_below_zero_is_erange_with_a_hint() {
    alone(|| {
        let program = sh("true");
        let child = Child {
            namespaces: Namespaces::NEWUSER | Namespaces::NEWTIME,
            time_offsets: Some(TimeOffsets {
                monotonic: ClockOffset {
                    seconds: -1_000_000_000,
                    nanoseconds: 0,
                },
                boottime: ClockOffset::default(),
            }),
            ..Child::new(&program)
        };
        let error = start(&child, &[]).expect_err("clocks do not go below zero");
        assert_eq!(error.errno(), Some(Errno::RANGE));
        assert!(error.hint().is_some(), "{error}");
    });
}
