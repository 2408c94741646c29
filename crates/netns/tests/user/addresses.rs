//! Addresses, routes and neighbours, read back.

use std::net::IpAddr;

use netns::route::{
    Address, Kind, Mac, Neighbour, NewLink, Peer, Prefix, Request, Route, RouteEntry, RouteKind,
    SetLink, Socket,
};
use rustix::io::Errno;

use crate::inside::{apply, link, name, on_a_host};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}

fn prefix(text: &str, length: u8) -> Prefix {
    Prefix::new(ip(text), length).expect("prefix")
}

fn address(text: &str, length: u8) -> Address {
    Address {
        link: link("a0"),
        prefix: prefix(text, length),
        nodad: true,
    }
}

/// `a0` and `b0`, both up.
fn with_a_pair() -> Socket {
    let mut socket = Socket::open().expect("socket");
    let veth = NewLink::new(name("a0"), Kind::Veth(Peer::new(name("b0"))));
    apply(
        &mut socket,
        &[
            Request::AddLink(veth),
            Request::SetLink(SetLink::up(name("a0"))),
            Request::SetLink(SetLink::up(name("b0"))),
        ],
    );
    socket
}

#[test]
fn an_address_with_nodad_is_never_tentative_and_goes_again() {
    on_a_host(
        "addresses::an_address_with_nodad_is_never_tentative_and_goes_again",
        || {
            let mut socket = with_a_pair();
            let slow = Address {
                nodad: false,
                ..address("fd00::3", 64)
            };
            let both = [
                Request::AddAddress(address("10.90.0.2", 24)),
                Request::AddAddress(address("fd00::2", 64)),
            ];
            apply(&mut socket, &both);
            apply(&mut socket, &[Request::AddAddress(slow)]);
            let index = socket.index_of(&name("a0")).expect("index");
            let found = |socket: &mut Socket, wanted: Prefix| {
                let all = socket.addresses().expect("list");
                all.into_iter()
                    .find(|one| one.prefix == wanted && one.index == index)
            };
            for wanted in [prefix("10.90.0.2", 24), prefix("fd00::2", 64)] {
                let found = found(&mut socket, wanted).expect("address");
                assert!(!found.tentative, "{found:?}");
            }
            let slow = found(&mut socket, prefix("fd00::3", 64)).expect("address");
            assert!(slow.tentative, "duplicate address detection takes a second");

            let undo: Vec<_> = both.iter().filter_map(Request::undo).collect();
            apply(&mut socket, &undo);
            assert_eq!(found(&mut socket, prefix("10.90.0.2", 24)), None);
            assert_eq!(found(&mut socket, prefix("fd00::2", 64)), None);
            let again = socket.apply(&undo[..1]).expect_err("gone");
            assert_eq!(again.errno(), Some(Errno::ADDRNOTAVAIL));
        },
    );
}

#[test]
fn routes_of_every_kind_are_read_back_and_taken_back() {
    on_a_host(
        "addresses::routes_of_every_kind_are_read_back_and_taken_back",
        || {
            let mut socket = with_a_pair();
            let mut requests = vec![
                Request::AddAddress(address("10.90.0.2", 24)),
                Request::AddAddress(address("fd00::2", 64)),
            ];
            let routes = [
                Route::default_via(ip("10.90.0.1"), name("a0")),
                Route::default_via(ip("fd00::1"), name("a0")),
                Route {
                    link: Some(link("a0")),
                    source: Some(ip("10.90.0.2")),
                    metric: Some(50),
                    ..Route::new(RouteKind::Unicast, prefix("192.168.7.0", 24))
                },
                Route {
                    link: Some(link("a0")),
                    ..Route::new(RouteKind::Unicast, prefix("fd07::", 64))
                },
                Route {
                    onlink: true,
                    ..Route::default_via(ip("169.254.1.1"), name("b0"))
                },
                Route::new(RouteKind::Blackhole, prefix("10.66.0.0", 16)),
                Route::new(RouteKind::Unreachable, prefix("10.67.0.0", 16)),
                Route::new(RouteKind::Prohibit, prefix("10.68.0.0", 16)),
                Route::new(RouteKind::Blackhole, prefix("fd66::", 64)),
                Route::new(RouteKind::Unreachable, prefix("fd67::", 64)),
            ];
            let onlink = Route {
                metric: Some(7),
                ..routes[4].clone()
            };
            let mut routes = routes.to_vec();
            routes[4] = onlink;
            requests.extend(routes.iter().cloned().map(Request::AddRoute));
            apply(&mut socket, &requests);
            let index = |socket: &mut Socket, of: &str| socket.index_of(&name(of)).expect("index");
            let numbers = [index(&mut socket, "a0"), index(&mut socket, "b0")];
            let all = socket.routes().expect("list");
            for route in &routes {
                let found = find(&all, route).unwrap_or_else(|| panic!("{route}: {all:#?}"));
                assert_eq!((found.table, found.via), (RouteEntry::MAIN, route.via));
                assert_eq!(found.source, route.source);
                if route.kind == RouteKind::Unicast {
                    let through = if route.onlink { 1 } else { 0 };
                    assert_eq!(found.index, Some(numbers[through]), "{route}");
                }
            }
            let undo: Vec<_> = requests.iter().rev().filter_map(Request::undo).collect();
            assert_eq!(undo.len(), requests.len());
            apply(&mut socket, &undo);
            let left = socket.routes().expect("list");
            for route in &routes {
                assert_eq!(find(&left, route), None);
            }
        },
    );
}

fn find(all: &[RouteEntry], route: &Route) -> Option<RouteEntry> {
    let ours = |one: &&RouteEntry| {
        one.to == route.to
            && one.kind == route.kind
            && route.metric.is_none_or(|metric| metric == one.metric)
            && one.via == route.via
    };
    all.iter().find(ours).copied()
}

#[test]
fn a_permanent_neighbour_is_in_the_arp_table() {
    on_a_host(
        "addresses::a_permanent_neighbour_is_in_the_arp_table",
        || {
            let mut socket = with_a_pair();
            let neighbour = |of: &str| Neighbour {
                link: link("a0"),
                address: ip(of),
                mac: Mac([2, 0, 0, 0, 0xab, 0xcd]),
            };
            let v4 = Request::AddNeighbour(neighbour("10.90.0.9"));
            apply(
                &mut socket,
                &[
                    Request::AddAddress(address("10.90.0.2", 24)),
                    v4.clone(),
                    Request::AddNeighbour(neighbour("fd00::9")),
                    // Replaces: no EEXIST.
                    v4.clone(),
                ],
            );
            let table = || std::fs::read_to_string("/proc/net/arp").expect("arp table");
            let line = table();
            let line = line.lines().find(|line| line.starts_with("10.90.0.9 "));
            let line = line.expect("entry").split_whitespace().collect::<Vec<_>>();
            // ATF_PERM | ATF_COM.
            assert_eq!((line[2], line[3]), ("0x6", "02:00:00:00:ab:cd"));
            apply(&mut socket, &[v4.undo().expect("undo")]);
            let line = table();
            let line = line.lines().find(|line| line.starts_with("10.90.0.9 "));
            assert!(line.is_none_or(|line| !line.contains("02:00")), "{line:?}");
        },
    );
}
