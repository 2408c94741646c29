//! A network namespace made by a thread of the child.

#![allow(unsafe_code, reason = "steps make raw system calls")]

use std::os::fd::RawFd;

use ns::{Beside, Child, Errno, Error, Init, Steps};

use crate::CONTAINER;
use crate::common::{Do, alone, run, sh};

fn beside<F: Fn(usize, &[RawFd]) -> Result<(), Errno>>(inside: Do<F>) -> Beside<Do<F>> {
    // SAFETY: the closures of these tests make system calls of rustix, or none.
    unsafe { Beside::new(inside) }
}

fn name_host(_: usize, _: &[RawFd]) -> Result<(), Errno> {
    rustix::system::sethostname(b"beside")
}

#[test]
fn the_program_is_in_the_network_that_a_thread_has_made_and_used() {
    alone(|| {
        let own = std::fs::read_link("/proc/self/ns/net").expect("a link");
        for init in [None, Some(Init::default())] {
            let net = beside(Do(1, name_host));
            let (start, join) = (net.start(), net.join());
            let program =
                sh("readlink /proc/self/ns/net; cat /proc/sys/kernel/hostname; ls /proc/self/fd");
            let ended = run(Child {
                namespaces: CONTAINER,
                init,
                early: vec![&start],
                setup: vec![&join],
                ..Child::new(&program)
            });
            let output = ended.expect("it runs").output;
            let mut lines = output.lines();
            let network = lines.next().expect("a link");
            assert!(network.starts_with("net:[") && *network != *own, "{output}");
            // The last one is the directory that ls reads: the namespace's descriptor is closed.
            assert_eq!(lines.collect::<Vec<_>>(), ["beside", "0", "1", "2", "3"]);
        }
    });
}

#[test]
fn a_step_that_fails_in_the_thread_is_reported_by_its_number() {
    alone(|| {
        let net = beside(Do(3, |step, _: &[RawFd]| match step {
            1 => Err(Errno::XFULL),
            _ => Ok(()),
        }));
        let (start, join) = (net.start(), net.join());
        let program = sh("true");
        let refused = run(Child {
            namespaces: CONTAINER,
            early: vec![&start],
            setup: vec![&join],
            ..Child::new(&program)
        });
        // Phase 0 is the start, 1 the one that `run` puts in front; step 0 makes the namespace.
        let Err(Error::Step {
            phase: 2,
            step,
            errno: Errno::XFULL,
        }) = refused
        else {
            panic!("{refused:?}");
        };
        assert_eq!(join.inside(step), Some(1));
        assert!(join.by_thread(step));
    });
}

#[test]
fn every_step_has_words_or_is_one_of_those_inside() {
    let net = beside(Do(2, |_, _: &[RawFd]| Ok(())));
    let join = net.join();
    assert_eq!(join.len(), 5);
    for step in 0..join.len() {
        assert_eq!(
            join.inside(step).is_some(),
            join.describe(step).is_empty(),
            "{step}"
        );
    }
    assert!(join.describe(4).starts_with("setns(") && !join.by_thread(4));
}
