//! `lo` alone.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use netns::{Error, Loopback};
use rustix::io::Errno;
use rustix::thread::UnshareFlags;

use crate::common::in_namespaces;

fn reach(address: SocketAddr) -> std::io::Result<()> {
    let listener = TcpListener::bind(address)?;
    TcpStream::connect(listener.local_addr()?).map(drop)
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .expect("/proc/self/fd")
        .count()
}

#[test]
fn a_new_namespace_reaches_127_0_0_1_and_1_only_after_bring_up() {
    in_namespaces(
        "loopback::a_new_namespace_reaches_127_0_0_1_and_1_only_after_bring_up",
        UnshareFlags::NEWNET,
        || {
            let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
            let had_v6 = std::path::Path::new("/proc/net/if_inet6").exists();

            let before = reach(v4).expect_err("lo is down in a new namespace");
            let errno = before.raw_os_error().expect("errno");
            assert!(
                [Errno::ADDRNOTAVAIL, Errno::NETUNREACH]
                    .map(Errno::raw_os_error)
                    .contains(&errno),
                "{before}"
            );

            netns::bring_up().expect("bring_up");
            reach(v4).expect("127.0.0.1");
            if had_v6 {
                reach(v6).expect("::1");
            }
        },
    );
}

#[test]
fn bring_up_twice_is_fine_and_leaves_no_descriptor_open() {
    in_namespaces(
        "loopback::bring_up_twice_is_fine_and_leaves_no_descriptor_open",
        UnshareFlags::NEWNET,
        || {
            let before = open_files();
            netns::bring_up().expect("first");
            netns::bring_up().expect("second");
            assert_eq!(open_files(), before);
        },
    );
}

#[test]
#[expect(unsafe_code, reason = "runs the steps one by one")]
fn the_socket_of_the_steps_is_open_between_first_and_last_only() {
    in_namespaces(
        "loopback::the_socket_of_the_steps_is_open_between_first_and_last_only",
        UnshareFlags::NEWNET,
        || {
            let lo = Loopback::new();
            let before = open_files();
            for (step, open) in [(0, before + 1), (1, before + 1), (2, before)] {
                // SAFETY: nobody else closes files here.
                unsafe { lo.apply(step, &[]) }.expect("step");
                assert_eq!(open_files(), open, "after {}", lo.describe(step));
            }
        },
    );
}

#[test]
fn a_namespace_owned_by_another_user_namespace_is_eperm_and_the_hint_says_whose() {
    in_namespaces(
        "loopback::a_namespace_owned_by_another_user_namespace_is_eperm_and_the_hint_says_whose",
        // No network namespace of its own: this one belongs to the user namespace outside.
        UnshareFlags::empty(),
        || {
            let before = open_files();
            let error = netns::bring_up().expect_err("not ours to change");
            assert_eq!(error.errno(), Some(Errno::PERM));
            assert!(
                matches!(error, Error::Loopback { step: 1, .. }),
                "{error:?}"
            );
            assert!(error.to_string().contains("SIOCSIFFLAGS"), "{error}");
            assert!(
                error
                    .hint()
                    .expect("hint")
                    .contains("owns the network namespace")
            );
            assert_eq!(
                open_files(),
                before,
                "the socket is closed after a failure, too"
            );
        },
    );
}
