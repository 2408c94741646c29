//! Which thread of several may start a child.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use ns::{Child, Error, Namespaces, WaitStatus, pidfd, spawn};

use crate::common::{alone, first_becomes, pipe, run, sh, start, write};

#[test]
fn a_process_with_several_threads_is_refused() {
    let program = sh("true");
    assert!(matches!(
        spawn(&Child::new(&program)).err(),
        Some(Error::Threads)
    ));
}

#[test]
fn of_several_threads_only_the_leader_may_and_only_when_told() {
    // libtest's thread is no leader.
    let program = sh("true");
    let told = Child {
        beside_threads: true,
        ..Child::new(&program)
    };
    assert!(matches!(spawn(&told).err(), Some(Error::Threads)));
    alone(|| {
        let program = sh("true");
        let plain = Child::new(&program);
        let told = Child {
            beside_threads: true,
            ..Child::new(&program)
        };
        let (end, ended) = channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || ended.recv());
            assert!(matches!(spawn(&plain).err(), Some(Error::Threads)));
            let status = run(told).expect("beside a thread").status;
            assert_eq!(status, WaitStatus::Exited(0));
            drop(end);
        });
        // The thread may be seen a moment longer.
        assert_eq!(
            run(plain).expect("alone again").status,
            WaitStatus::Exited(0)
        );
    });
}

#[test]
fn the_end_of_another_thread_leaves_the_child_alone() {
    alone(|| {
        let (read, hold) = pipe();
        let stdin = first_becomes(0);
        let program = sh("read line");
        let child = Child {
            beside_threads: true,
            setup: vec![&stdin],
            ..Child::new(&program)
        };
        let (end, ended) = channel::<()>();
        let other = thread::spawn(move || ended.recv());
        let running = start(&child, &[read.as_fd()]).expect("beside a thread");
        drop(end);
        let _ = other.join().expect("no panic");
        thread::sleep(Duration::from_millis(50));
        // It still reads: what killed it would be in its status.
        write(&hold, "line\n");
        let status = pidfd::wait(running.pidfd.as_fd()).expect("our child");
        assert_eq!(status, WaitStatus::Exited(0));
    });
}

#[test]
fn what_other_threads_do_at_the_moment_of_the_clone_is_no_matter() {
    alone(|| {
        let done = AtomicBool::new(false);
        let program = sh("true");
        let child = Child {
            namespaces: Namespaces::NEWUSER | Namespaces::NEWPID | Namespaces::NEWNS,
            beside_threads: true,
            ..Child::new(&program)
        };
        thread::scope(|scope| {
            for _ in 0..2 {
                // The allocator's locks, and the environment's.
                scope.spawn(|| {
                    let mut round = 0usize;
                    while !done.load(Ordering::Relaxed) {
                        round += 1;
                        let mixed: Vec<Vec<u8>> =
                            (1..64).map(|size| vec![0; size * round % 9999]).collect();
                        let _ = (std::hint::black_box(mixed), std::env::var_os("PATH"));
                    }
                });
            }
            let ended: Vec<_> = (0..100).map(|_| run(child.clone())).collect();
            done.store(true, Ordering::Relaxed);
            for one in ended {
                let status = one.expect("beside threads").status;
                assert_eq!(status, WaitStatus::Exited(0));
            }
        });
    });
}
