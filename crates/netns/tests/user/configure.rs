//! The step list in a forked child.

use std::net::IpAddr;

use netns::route::{
    Address, Configure, Kind, Link, NewLink, Peer, Prefix, Request, Route, SetLink, Socket,
};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::ARMED;
use crate::inside::{Other, apply, link, name, on_a_host};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}

fn container() -> Vec<Request> {
    let address = |of: &str, length| {
        Request::AddAddress(Address {
            link: link("eth0"),
            prefix: Prefix::new(ip(of), length).expect("prefix"),
            nodad: true,
        })
    };
    vec![
        Request::SetLink(SetLink::up(Link::Index(1))),
        address("10.90.0.2", 24),
        address("fd00::2", 64),
        Request::SetLink(SetLink {
            mtu: Some(1400),
            ..SetLink::up(name("eth0"))
        }),
        Request::AddRoute(Route::default_via(ip("10.90.0.1"), name("eth0"))),
        Request::AddRoute(Route::default_via(ip("fd00::1"), name("eth0"))),
    ]
}

fn veth(other: &Other) -> Request {
    let peer = Peer {
        netns: Some(other.netns()),
        ..Peer::new(name("eth0"))
    };
    Request::AddLink(NewLink {
        up: true,
        ..NewLink::new(name("v0"), Kind::Veth(peer))
    })
}

/// Runs the list in a forked child inside `other`, which ends when it allocates. None is success.
#[expect(unsafe_code, reason = "fork")]
fn in_a_child(other: &Other, list: &Configure) -> Option<(usize, Errno)> {
    // SAFETY: the child makes system calls only and ends by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let entered = move_into_link_name_space(other.fd(), Some(LinkNameSpaceType::Network));
        ARMED.store(true, std::sync::atomic::Ordering::Relaxed);
        let mut code = if entered.is_ok() { 0 } else { 98 };
        for step in 0..list.len() {
            // SAFETY: nobody else closes files here.
            if code == 0 && unsafe { list.apply(step, &[]) }.is_err() {
                code = i32::try_from(step).unwrap_or(97) + 1;
            }
        }
        // SAFETY: ends the child.
        unsafe { libc::_exit(code) }
    }
    let pid = rustix::process::Pid::from_raw(child).expect("fork");
    let (_, status) = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())
        .expect("waitpid")
        .expect("child");
    let code = status.exit_status().expect("exit");
    assert_ne!(code, 99, "a step allocated");
    assert_ne!(code, 98, "setns");
    // The errno stays in the child; what it is, another test looks at.
    usize::try_from(code - 1).ok().map(|step| (step, Errno::IO))
}

#[test]
fn a_child_configures_an_interface_whose_number_nobody_knew_and_allocates_nothing() {
    on_a_host(
        "configure::a_child_configures_an_interface_whose_number_nobody_knew_and_allocates_nothing",
        || {
            let other = Other::new();
            let mut socket = Socket::open().expect("socket");
            let list = Configure::new(container()).expect("list");
            apply(&mut socket, &[veth(&other)]);
            assert_eq!(in_a_child(&other, &list), None);

            let mut inside = other.socket();
            let eth0 = inside.interface(&link("eth0")).expect("eth0");
            assert_eq!((eth0.mtu, eth0.up, eth0.carrier), (1400, true, true));
            assert!(inside.interface(&Link::Index(1)).expect("lo").up);
            let addresses = inside.addresses().expect("addresses");
            for address in ["10.90.0.2", "fd00::2"] {
                let found = addresses
                    .iter()
                    .find(|one| one.prefix.address() == ip(address));
                let found = found.expect(address);
                assert_eq!((found.index, found.tentative), (eth0.index, false));
            }
            let gateways: Vec<_> = inside.routes().expect("routes");
            for gateway in ["10.90.0.1", "fd00::1"] {
                assert!(gateways.iter().any(|route| {
                    route.via == Some(ip(gateway)) && route.index == Some(eth0.index)
                }));
            }
        },
    );
}

#[test]
fn the_failing_step_is_the_failing_request() {
    on_a_host("configure::the_failing_step_is_the_failing_request", || {
        let other = Other::new();
        let mut socket = Socket::open().expect("socket");
        let mut requests = container();
        requests.insert(3, requests[2].clone());
        let list = Configure::new(requests).expect("list");

        let (step, _) = in_a_child(&other, &list).expect("there is no eth0");
        assert!(list.describe(step).contains("SIOCGIFINDEX"));
        assert!(list.hint(step, Errno::NODEV).is_some());

        apply(&mut socket, &[veth(&other)]);
        let (step, _) = in_a_child(&other, &list).expect("an address twice");
        let said = list.describe(step);
        assert!(
            said.ends_with(r#"RTM_NEWADDR fd00::2/64 dev "eth0" nodad"#),
            "{said}"
        );
        assert!(list.hint(step, Errno::EXIST).is_some());
    });
}

#[test]
#[expect(unsafe_code, reason = "runs the steps one by one")]
fn each_step_answers_with_the_errno_of_its_own_request() {
    on_a_host(
        "configure::each_step_answers_with_the_errno_of_its_own_request",
        || {
            let up = || Request::SetLink(SetLink::up(Link::Index(1)));
            let missing = Request::SetLink(SetLink::up(Link::Index(4242)));
            let list = Configure::new(vec![up(), missing, up()]).expect("list");
            let files = || std::fs::read_dir("/proc/self/fd").expect("fds").count();
            let before = files();
            let results: Vec<_> = (0..list.len())
                // SAFETY: nobody else closes files here.
                .map(|step| unsafe { list.apply(step, &[]) })
                .collect();
            let expected = [Ok(()), Ok(()), Ok(()), Err(Errno::NODEV), Ok(()), Ok(())];
            assert_eq!(results, expected);
            assert_eq!(files(), before);
        },
    );
}
