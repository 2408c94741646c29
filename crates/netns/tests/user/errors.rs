//! What a refusal says.

use netns::Error;
use netns::route::{
    Kind, Link, Netns, NewLink, Peer, Prefix, Request, Route, RouteKind, SetLink, Socket,
};
use rustix::io::Errno;
use rustix::thread::UnshareFlags;

use crate::common::in_namespaces;
use crate::inside::{Other, apply, link, name, on_a_host};

fn bridge(of: &str) -> Request {
    Request::AddLink(NewLink::new(
        name(of),
        Kind::Bridge {
            multicast_snooping: true,
        },
    ))
}

#[track_caller]
fn refused(requests: &[Request], errno: Errno, hint: &str) -> Error {
    let mut socket = Socket::open().expect("socket");
    let error = socket.apply(requests).expect_err("must be refused");
    assert_eq!(error.errno(), Some(errno), "{error}");
    let said = error.hint().unwrap_or_default();
    assert!(said.contains(hint), "{error}: {said:?} lacks {hint:?}");
    error
}

#[test]
fn a_refusal_names_the_request_and_what_was_done_besides() {
    on_a_host(
        "errors::a_refusal_names_the_request_and_what_was_done_besides",
        || {
            let list = [bridge("br0"), bridge("br1"), bridge("br0"), bridge("br2")];
            let error = refused(&list, Errno::EXIST, "of that name");
            assert_eq!(error.applied(), [0, 1, 3]);
            assert!(
                error.to_string().starts_with(r#"RTM_NEWLINK bridge "br0""#),
                "{error}"
            );
            let Error::Request { index: 2, .. } = error else {
                panic!("{error:?}");
            };
            // The way back.
            let mut socket = Socket::open().expect("socket");
            let back = error.applied().iter().rev();
            let undo: Vec<_> = back.filter_map(|&at| list[at].undo()).collect();
            apply(&mut socket, &undo);
            assert_eq!(socket.interfaces().expect("list").len(), 1);
        },
    );
}

#[test]
fn the_kernels_own_words_are_in_the_message() {
    on_a_host("errors::the_kernels_own_words_are_in_the_message", || {
        let gateway = "10.1.1.1".parse().expect("address");
        let route = Route::default_via(gateway, Link::Index(1));
        apply(
            &mut Socket::open().expect("socket"),
            &[Request::SetLink(SetLink::up(Link::Index(1)))],
        );
        let error = refused(&[Request::AddRoute(route)], Errno::NETUNREACH, "onlink");
        assert!(
            error.to_string().contains("Nexthop has invalid gateway"),
            "{error}"
        );
    });
}

#[test]
fn what_is_missing_is_named() {
    on_a_host("errors::what_is_missing_is_named", || {
        let missing = || link("nothere");
        let port = NewLink {
            master: Some(missing()),
            ..NewLink::new(name("v0"), Kind::Veth(Peer::new(name("v1"))))
        };
        // The number is asked for before anything is sent.
        let error = refused(&[Request::AddLink(port.clone())], Errno::NODEV, "bridge");
        assert_eq!(error.applied(), [0_usize; 0]);
        let by_number = NewLink {
            master: Some(Link::Index(4242)),
            ..port
        };
        refused(&[Request::AddLink(by_number)], Errno::INVAL, "bridge");
        for request in [
            Request::SetLink(SetLink::up(name("nothere"))),
            Request::DeleteLink(missing()),
            Request::DeleteRootQdisc(missing()),
        ] {
            refused(&[request], Errno::NODEV, "network namespace");
        }
        let gone = Route::new(
            RouteKind::Blackhole,
            Prefix::new("10.0.0.0".parse().expect("address"), 8).expect("prefix"),
        );
        refused(&[Request::DeleteRoute(gone)], Errno::SRCH, "no such route");
        let for_later = NewLink {
            netns: Some(Netns::Container),
            ..NewLink::new(name("v0"), Kind::Ifb)
        };
        refused(&[Request::AddLink(for_later)], Errno::INVAL, "container");
    });
}

#[test]
fn a_route_by_an_interface_that_is_down_says_so() {
    on_a_host(
        "errors::a_route_by_an_interface_that_is_down_says_so",
        || {
            let to = Prefix::new("10.9.0.0".parse().expect("address"), 16).expect("prefix");
            let route = Route {
                link: Some(link("br0")),
                ..Route::new(RouteKind::Unicast, to)
            };
            let list = [bridge("br0"), Request::AddRoute(route)];
            refused(&list, Errno::NETDOWN, "bring it up");
            let off = Request::AddLink(NewLink {
                netns: Some(Netns::Fd(-1)),
                ..NewLink::new(name("br1"), Kind::Ifb)
            });
            let mut socket = Socket::open().expect("socket");
            socket.apply(&[off]).expect_err("no namespace");
        },
    );
}

#[test]
fn a_namespace_that_is_not_ones_own_is_eperm_and_the_hint_says_whose() {
    in_namespaces(
        "errors::a_namespace_that_is_not_ones_own_is_eperm_and_the_hint_says_whose",
        // This one belongs to the user namespace outside.
        UnshareFlags::empty(),
        || {
            refused(&[bridge("br0")], Errno::PERM, "CAP_NET_ADMIN");
            let up = Request::SetLink(SetLink::up(Link::Index(1)));
            refused(&[up], Errno::PERM, "owns");
        },
    );
}

#[test]
fn only_a_network_namespace_is_entered() {
    on_a_host("errors::only_a_network_namespace_is_entered", || {
        let file = std::fs::File::open("/proc/self/ns/uts").expect("open");
        let error = Socket::open_in(std::os::fd::AsFd::as_fd(&file)).expect_err("not a netns");
        assert_eq!(error.errno(), Some(Errno::INVAL));
        assert!(matches!(error, Error::Enter { .. }), "{error:?}");
        // Nothing moved.
        let other = Other::new();
        let mut inside = other.socket();
        apply(&mut inside, &[bridge("br0")]);
        assert!(
            Socket::open()
                .expect("socket")
                .index_of(&name("br0"))
                .is_err()
        );
    });
}
