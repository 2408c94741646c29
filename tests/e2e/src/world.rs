//! A host with another one beside it: the test's own network namespace, a second one, and a cable.
//!
//! ```text
//! container ── ctr0 ── this host ── eth0 ═══ eth0 ── the peer
//!                  192.0.2.1, 2001:db8::1   192.0.2.2, 2001:db8::2
//! ```
//!
//! The peer is the host's way to the rest of the world, and has some more addresses that play it.

use std::net::IpAddr;
use std::os::fd::AsRawFd as _;

use netns::route::{
    Address, Kind, Link, LinkName, NewLink, Peer, Prefix, Request, Route, RouteKind, SetLink,
};

use crate::space::Space;

/// Largest packet of the cable: not the usual one, so that networks that follow it can be told.
pub const CABLE_MTU: u32 = 1420;

/// Two hosts.
pub struct World {
    /// This one, where `ctr` runs.
    pub host: Space,
    /// The other one.
    pub peer: Space,
}

impl World {
    /// Lays the cable.
    ///
    /// # Panics
    /// When something is there already.
    #[must_use]
    pub fn new() -> Self {
        let world = Self {
            host: Space::here(),
            peer: Space::new(),
        };
        let peer = Peer {
            netns: Some(netns::route::Netns::Fd(world.peer.fd().as_raw_fd())),
            mtu: Some(CABLE_MTU),
            ..Peer::new(name("eth0"))
        };
        let cable = NewLink {
            mtu: Some(CABLE_MTU),
            up: true,
            ..NewLink::new(name("eth0"), Kind::Veth(peer))
        };
        let out = |via: &str| Request::AddRoute(Route::default_via(ip(via), eth0()));
        let mut host = world.host.route();
        host.apply(&[
            Request::AddLink(cable),
            address("192.0.2.1", 24),
            address("2001:db8::1", 64),
        ])
        .expect("the host's end");
        // Or its link-local address, and routes with it, would come a second later.
        let parameter = "/proc/sys/net/ipv6/conf/eth0/accept_dad";
        std::fs::write(parameter, "0").expect(parameter);
        let mut peer = vec![
            Request::SetLink(SetLink::up(eth0())),
            address("192.0.2.2", 24),
            address("2001:db8::2", 64),
            // Names and metadata of the rest of the world.
            address("198.51.100.1", 32),
            address("198.51.100.2", 32),
            address("169.254.169.254", 32),
        ];
        // It knows the way to the containers, so nothing but the host can keep it from them.
        peer.extend(
            [
                ("172.16.0.0", 12, "192.0.2.1"),
                ("10.0.0.0", 8, "192.0.2.1"),
            ]
            .map(|(to, length, via)| route(to, length, via)),
        );
        peer.push(route("fd00::", 8, "2001:db8::1"));
        world.peer.route().apply(&peer).expect("the peer's end");
        host.apply(&[out("192.0.2.2"), out("2001:db8::2")])
            .expect("the way out");
        world
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

fn name(name: &str) -> LinkName {
    LinkName::new(name).expect("a name")
}

fn eth0() -> Link {
    name("eth0").into()
}

fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

fn address(address: &str, length: u8) -> Request {
    let address = ip(address);
    Request::AddAddress(Address {
        link: eth0(),
        prefix: Prefix::new(address, length).expect("a prefix"),
        nodad: address.is_ipv6(),
    })
}

fn route(to: &str, length: u8, via: &str) -> Request {
    let prefix = Prefix::new(ip(to), length).expect("a prefix");
    Request::AddRoute(Route {
        via: Some(ip(via)),
        ..Route::new(RouteKind::Unicast, prefix)
    })
}
