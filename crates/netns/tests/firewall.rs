//! The firewall between namespaces: a pretend host, its containers, and another host.

mod common;
#[path = "firewall/ruleset.rs"]
mod ruleset;
#[path = "firewall/world.rs"]
mod world;

use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use netns::firewall::{HostAddress, Protocol, Published};
use rustix::net::{RecvFlags, SocketType};
use world::{
    Space, World, any, arrives, arrives_not, dial, from_whom, in_namespaces, ip, prefix, sysctl,
};

fn address(text: &str) -> IpAddr {
    text.parse().expect("address")
}

/// Dials, and compares whom the server sees.
fn seen(server: &TcpListener, dialled: std::io::Result<TcpStream>, who: &str, to: &str) {
    let stream = dialled.unwrap_or_else(|error| panic!("{to}: {error}"));
    drop(stream);
    assert_eq!(from_whom(server), address(who), "{to}");
}

fn published_from_everywhere(bridged: bool) {
    let mut world = World::new(bridged);
    world.network(1, |_| {});
    world.network(2, |_| {});
    let web = world.container(1, 2, |endpoint| {
        endpoint.published = any(Protocol::Tcp, 8080, 80).to_vec();
    });
    let neighbour = world.container(1, 3, |_| {});
    let stranger = world.container(2, 2, |_| {});
    let server = web.listen(80);
    assert_eq!(world.differences(), Vec::<String>::new());

    // From this host. 127.0.0.1 cannot be an answer's destination in another namespace.
    seen(
        &server,
        dial("127.0.0.1:8080"),
        "10.1.0.1",
        "127.0.0.1 of the host",
    );
    match (bridged, dial("[::1]:8080")) {
        (false, dialled) => seen(&server, dialled, "fd00:1::1", "::1 of the host"),
        // The kernel cannot; a client goes on to 127.0.0.1.
        (true, dialled) => {
            let error = dialled.map(drop).expect_err("::1 of the host");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
    }
    seen(&server, dial("192.0.2.1:8080"), "192.0.2.1", "own address");
    seen(
        &server,
        dial("[2001:db8::1]:8080"),
        "2001:db8::1",
        "own address, v6",
    );
    seen(&server, dial("10.1.0.2:80"), "10.1.0.1", "its own address");
    // From another host: seen as itself.
    seen(
        &server,
        world.peer.dial("192.0.2.1:8080"),
        "192.0.2.2",
        "peer",
    );
    seen(
        &server,
        world.peer.dial("[2001:db8::1]:8080"),
        "2001:db8::2",
        "peer, v6",
    );
    // From containers.
    for (who, v4, v6) in [
        (&neighbour, "10.1.0.1", "fd00:1::1"),
        (&stranger, "10.1.0.1", "fd00:1::1"),
        (&web, "10.1.0.1", "fd00:1::1"),
    ] {
        seen(&server, who.dial("192.0.2.1:8080"), v4, "container");
        seen(&server, who.dial("[2001:db8::1]:8080"), v6, "container, v6");
    }
    seen(
        &server,
        neighbour.dial("10.1.0.1:8080"),
        "10.1.0.1",
        "by the bridge's address",
    );
    seen(
        &server,
        neighbour.dial("10.1.0.2:80"),
        "10.1.0.3",
        "directly",
    );
}

#[test]
fn a_published_port_is_reached_from_host_peer_and_containers() {
    in_namespaces(
        "a_published_port_is_reached_from_host_peer_and_containers",
        || published_from_everywhere(false),
    );
}

#[test]
fn a_published_port_is_reached_when_bridges_call_iptables() {
    in_namespaces(
        "a_published_port_is_reached_when_bridges_call_iptables",
        || published_from_everywhere(true),
    );
}

#[test]
fn a_port_on_the_loopback_address_serves_this_host_alone() {
    in_namespaces(
        "a_port_on_the_loopback_address_serves_this_host_alone",
        || {
            let mut world = World::new(false);
            world.network(1, |_| {});
            let web = world.container(1, 2, |endpoint| {
                endpoint.published = ["127.0.0.1", "::1"]
                    .map(|host| Published {
                        protocol: Protocol::Tcp,
                        address: HostAddress::One(address(host)),
                        host_port: 8080,
                        port: 80,
                    })
                    .to_vec();
            });
            let server = web.listen(80);
            seen(&server, dial("127.0.0.1:8080"), "10.1.0.1", "127.0.0.1");
            seen(&server, dial("[::1]:8080"), "fd00:1::1", "::1");
            // Nobody listens there: the host itself answers, and refuses.
            for to in ["192.0.2.1:8080", "[2001:db8::1]:8080"] {
                let error = world.peer.dial(to).map(drop).expect_err(to);
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{to}");
            }
        },
    );
}

/// With every switch that would let 127.0.0.0/8 travel set to do so.
fn loopback_stays_at_home(bridged: bool) {
    let mut world = World::new(bridged);
    world.network(1, |_| {});
    let inside = world.container(1, 2, |_| {});
    for interface in ["all", "wan"] {
        sysctl(&format!("ipv4/conf/{interface}/route_localnet"), "1");
    }
    let secret = UdpSocket::bind("127.0.0.1:9000").expect("bind");
    for (space, gateway) in [(&world.peer, "192.0.2.1"), (&inside, "10.1.0.1")] {
        space.sysctl("ipv4/conf/all/route_localnet", "1");
        space.sysctl("ipv4/conf/eth0/route_localnet", "1");
        // What leads to its own loopback interface goes, and what leads to the host comes.
        space.ip("link set lo up");
        space.ip("route del local 127.0.0.0/8 dev lo table local");
        space.ip("route del local 127.0.0.1 dev lo table local");
        space.ip(&format!("route add 127.0.0.0/8 via {gateway}"));
        let sender = space.udp("0.0.0.0:0");
        arrives_not(&secret, &sender, "127.0.0.1:9000");
        // It was the firewall, not this test.
        let remove = world.firewall.remove();
        world.socket.commit(&remove).expect("remove");
        arrives(&secret, &sender, "127.0.0.1:9000");
        let whole = world
            .firewall
            .whole(&world.networks, &world.endpoints)
            .expect("whole");
        world.socket.commit(&whole).expect("whole");
        arrives_not(&secret, &sender, "127.0.0.1:9000");
    }
    // Though a route at the bridge leads to ::1.
    let secret = UdpSocket::bind("[::1]:9000").expect("bind");
    for (space, gateway) in [(&world.peer, "2001:db8::1"), (&inside, "fd00:1::1")] {
        space.ip("-6 route del local ::1 dev lo table local");
        space.ip(&format!("-6 route add ::1 via {gateway}"));
        let sender = space.udp("[::]:0");
        arrives_not(&secret, &sender, "[::1]:9000");
    }
}

#[test]
fn loopback_addresses_of_the_host_are_reached_from_nowhere_else() {
    in_namespaces(
        "loopback_addresses_of_the_host_are_reached_from_nowhere_else",
        || loopback_stays_at_home(false),
    );
}

#[test]
fn loopback_addresses_are_safe_when_bridges_call_iptables() {
    in_namespaces(
        "loopback_addresses_are_safe_when_bridges_call_iptables",
        || loopback_stays_at_home(true),
    );
}

fn apart(bridged: bool) {
    let mut world = World::new(bridged);
    world.network(1, |_| {});
    world.network(2, |_| {});
    let one = world.container(1, 2, |_| {});
    let two = world.container(1, 3, |_| {});
    let other = world.container(2, 2, |_| {});
    let _servers = [one.listen(80), world.peer.listen(443)];
    // Inside a network, and out.
    for to in ["10.1.0.2:80", "[fd00:1::2]:80"] {
        drop(two.dial(to).expect(to));
        // From another network.
        other.cannot(to);
    }
    for to in ["192.0.2.2:443", "[2001:db8::2]:443"] {
        drop(other.dial(to).expect(to));
    }
    // From outside, by a route to the container's own address.
    world.peer.ip("route add 10.1.0.0/24 via 192.0.2.1");
    world.peer.ip("-6 route add fd00:1::/64 via 2001:db8::1");
    world.peer.cannot("10.1.0.2:80");
    world.peer.cannot("[fd00:1::2]:80");
}

#[test]
fn networks_are_apart_and_nobody_comes_in_by_a_container_s_address() {
    in_namespaces(
        "networks_are_apart_and_nobody_comes_in_by_a_container_s_address",
        || apart(false),
    );
}

#[test]
fn networks_are_apart_when_bridges_call_iptables() {
    in_namespaces("networks_are_apart_when_bridges_call_iptables", || {
        apart(true);
    });
}

#[test]
fn what_leaves_has_the_host_s_address() {
    in_namespaces("what_leaves_has_the_host_s_address", || {
        let mut world = World::new(false);
        world.network(1, |_| {});
        let inside = world.container(1, 2, |_| {});
        let server = world.peer.listen(443);
        seen(&server, inside.dial("192.0.2.2:443"), "192.0.2.1", "v4");
        seen(
            &server,
            inside.dial("[2001:db8::2]:443"),
            "2001:db8::1",
            "v6",
        );
    });
}

fn udp(bridged: bool) {
    let mut world = World::new(bridged);
    world.network(1, |_| {});
    let names = world.container(1, 2, |endpoint| {
        endpoint.published = any(Protocol::Udp, 5353, 53).to_vec();
    });
    let server = names.udp("0.0.0.0:53");
    let client = world.peer.udp("0.0.0.0:0");
    client.send_to(b"who", "192.0.2.1:5353").expect("send");
    let mut buffer = [0; 8];
    let (_, from) = server.recv_from(&mut buffer).expect("receive");
    assert_eq!(from.ip(), address("192.0.2.2"));
    server.send_to(b"me", from).expect("answer");
    let (length, from) = client.recv_from(&mut buffer).expect("receive");
    assert_eq!(
        (&buffer[..length], from.to_string().as_str()),
        (&b"me"[..], "192.0.2.1:5353")
    );
}

#[test]
fn a_published_udp_port_answers_with_the_address_that_was_asked() {
    in_namespaces(
        "a_published_udp_port_answers_with_the_address_that_was_asked",
        || udp(false),
    );
}

fn spoofed(bridged: bool) {
    let mut world = World::new(bridged);
    world.network(1, |_| {});
    let bad = world.container(1, 2, |_| {});
    let good = world.container(1, 3, |_| {});
    let _servers = [good.listen(80), world.peer.listen(443)];
    bad.ip("addr add 10.1.0.9/24 dev eth0");
    bad.ip("addr add fd00:1::9/64 dev eth0 nodad");
    bad.ip("addr add 10.1.0.3/32 dev lo");
    for (own, other, near, far) in [
        ("10.1.0.2", "10.1.0.9", "10.1.0.3:80", "192.0.2.2:443"),
        (
            "fd00:1::2",
            "fd00:1::9",
            "[fd00:1::3]:80",
            "[2001:db8::2]:443",
        ),
    ] {
        bad.dial_from(own, far);
        if own.contains(':') {
            bad.dial_from(own, near);
        }
        bad.cannot_from(other, far);
        bad.cannot_from(other, near);
    }
    // As its neighbour, which is away: IP does not get out,
    bad.cannot_from("10.1.0.3", "192.0.2.2:443");
    bad.ip("addr del 10.1.0.3/32 dev lo");
    bad.ip("addr add 10.1.0.3/24 dev eth0");
    bad.ip("addr add fd00:1::3/64 dev eth0 nodad");
    good.ip("link set eth0 down");
    ip("neigh flush all");
    // nor does the answer to the question who has the address.
    for (to, address) in [("10.1.0.3:80", "10.1.0.3"), ("[fd00:1::3]:80", "fd00:1::3")] {
        let to = to.parse().expect("address");
        TcpStream::connect_timeout(&to, Duration::from_millis(300)).expect_err("nobody");
        let said = ip(&format!("neigh show to {address} dev ctr1"));
        assert!(!said.contains("lladdr"), "{address}: {said}");
    }
}

#[test]
fn a_container_sends_from_its_own_addresses_only() {
    in_namespaces("a_container_sends_from_its_own_addresses_only", || {
        spoofed(false);
    });
}

#[test]
fn a_container_sends_from_its_own_addresses_only_when_bridges_call_iptables() {
    in_namespaces(
        "a_container_sends_from_its_own_addresses_only_when_bridges_call_iptables",
        || spoofed(true),
    );
}

/// The type of each ICMPv6 message that comes in from a hardware address, as long as it is waited for.
fn icmp6_types(space: &Space, from: [u8; 6], patience: Duration) -> Vec<u8> {
    space.run(move || {
        let ip6 = rustix::net::Protocol::from_raw(
            std::num::NonZeroU32::new(u32::from(0x86dd_u16.to_be())).expect("not 0"),
        );
        let (family, kind) = (rustix::net::AddressFamily::PACKET, SocketType::RAW);
        let socket = rustix::net::socket(family, kind, Some(ip6)).expect("a packet socket");
        let wait = Some(Duration::from_millis(100));
        let timeout = rustix::net::sockopt::Timeout::Recv;
        rustix::net::sockopt::set_socket_timeout(&socket, timeout, wait).expect("a timeout");
        let mut types = Vec::new();
        let until = Instant::now() + patience;
        while Instant::now() < until {
            let mut frame = [0; 1500];
            if rustix::net::recv(&socket, &mut frame[..], RecvFlags::empty()).is_err()
                || frame[6..12] != from
            {
                continue;
            }
            // Behind Ethernet's header and IPv6's, and behind the one of options, where there is one.
            types.extend(match (frame[20], frame[54]) {
                (58, kind) => Some(kind),
                (0, 58) => Some(frame[54 + 8 * (1 + usize::from(frame[55]))]),
                _ => None,
            });
        }
        types
    })
}

#[test]
fn what_a_container_listens_to_is_not_told_to_all_others() {
    in_namespaces(
        "what_a_container_listens_to_is_not_told_to_all_others",
        || {
            let mut world = World::new(false);
            world.network(1, |_| {});
            let one = world.container(1, 2, |_| {});
            let other = world.container(1, 3, |_| {});
            one.ip("link set eth0 address 02:00:00:00:00:77");
            let address = [2, 0, 0, 0, 0, 0x77];
            // It joins the group of that address, and looks for a duplicate of it.
            let joins = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(300));
                one.ip("addr add fd00:1::77:7777/64 dev eth0");
                one
            });
            let types = icmp6_types(&other, address, Duration::from_secs(4));
            drop(joins.join().expect("it has joined"));
            assert!(types.contains(&135), "others hear it: {types:?}");
            assert!(!types.contains(&143), "{types:?}");
        },
    );
}

#[test]
fn a_container_that_takes_another_s_ipv6_address_is_told_by_its_owner() {
    in_namespaces(
        "a_container_that_takes_another_s_ipv6_address_is_told_by_its_owner",
        || {
            let mut world = World::new(false);
            world.network(1, |_| {});
            let bad = world.container(1, 2, |_| {});
            let _good = world.container(1, 3, |_| {});
            // Duplicate address detection asks from `::`.
            bad.ip("addr add fd00:1::3/64 dev eth0");
            let until = Instant::now() + Duration::from_secs(10);
            while !bad.ip("-6 addr show dev eth0").contains("dadfailed") {
                assert!(Instant::now() < until, "the owner was not heard");
                std::thread::sleep(Duration::from_millis(50));
            }
        },
    );
}

#[test]
fn the_metadata_service_is_reached_only_where_it_is_allowed() {
    in_namespaces(
        "the_metadata_service_is_reached_only_where_it_is_allowed",
        || {
            let mut world = World::new(false);
            world.network(1, |_| {});
            world.network(2, |network| network.metadata_allowed = true);
            world.peer.ip("addr add 169.254.169.254/32 dev eth0");
            world.peer.ip("addr add fd00:ec2::254/128 dev eth0 nodad");
            let _server = world.peer.listen(80);
            let without = world.container(1, 2, |_| {});
            let with = world.container(2, 2, |_| {});
            for to in ["169.254.169.254:80", "[fd00:ec2::254]:80"] {
                dial(to).expect(to);
                drop(with.dial(to).expect(to));
                without.cannot(to);
            }
        },
    );
}

fn internal(bridged: bool) {
    let mut world = World::new(bridged);
    world.network(1, |network| network.internal = true);
    world.network(2, |_| {});
    let one = world.container(1, 2, |endpoint| {
        endpoint.published = any(Protocol::Tcp, 8080, 80).to_vec();
    });
    let two = world.container(1, 3, |_| {});
    let other = world.container(2, 2, |endpoint| {
        endpoint.published = any(Protocol::Tcp, 8081, 80).to_vec();
    });
    let server = one.listen(80);
    let _servers = [other.listen(80), world.peer.listen(443)];
    let _host = [TcpListener::bind("[::]:9000"), TcpListener::bind("[::]:53")];
    for to in ["192.0.2.2:443", "[2001:db8::2]:443"] {
        two.cannot(to);
    }
    // This host: names, nothing else; neither does another network's published port.
    for to in [
        "10.1.0.1:9000",
        "192.0.2.1:9000",
        "[fd00:1::1]:9000",
        "192.0.2.1:53",
    ] {
        two.cannot(to);
    }
    two.cannot("192.0.2.1:8081");
    for to in ["10.1.0.1:53", "[fd00:1::1]:53"] {
        drop(two.dial(to).expect(to));
    }
    // Inside it, and from this host; not from outside, published or not.
    seen(&server, two.dial("10.1.0.2:80"), "10.1.0.3", "inside");
    seen(
        &server,
        two.dial("10.1.0.1:8080"),
        "10.1.0.1",
        "inside, published",
    );
    seen(&server, dial("127.0.0.1:8080"), "10.1.0.1", "this host");
    world.peer.cannot("192.0.2.1:8080");
    other.cannot("192.0.2.1:8080");
}

#[test]
fn an_internal_network_has_no_way_out_and_none_in() {
    in_namespaces("an_internal_network_has_no_way_out_and_none_in", || {
        internal(false);
    });
}

#[test]
fn an_internal_network_is_closed_when_bridges_call_iptables() {
    in_namespaces(
        "an_internal_network_is_closed_when_bridges_call_iptables",
        || internal(true),
    );
}

#[test]
fn an_egress_list_says_what_may_be_dialled() {
    in_namespaces("an_egress_list_says_what_may_be_dialled", || {
        let mut world = World::new(false);
        world.network(1, |_| {});
        world.network(2, |_| {});
        for more in ["198.51.100.1/32", "203.0.113.1/32"] {
            world.peer.ip(&format!("addr add {more} dev eth0"));
        }
        world.peer.ip("addr add 2001:db8:1::1/128 dev eth0 nodad");
        let _world = world.peer.listen(443);
        let bound = world.container(1, 2, |endpoint| {
            endpoint.egress = Some(vec![prefix("198.51.100.0/24"), prefix("2001:db8:1::/48")]);
            endpoint.published = any(Protocol::Tcp, 8080, 80).to_vec();
        });
        let free = world.container(1, 3, |_| {});
        let web = world.container(2, 2, |endpoint| {
            endpoint.published = any(Protocol::Tcp, 8081, 80).to_vec();
        });
        let host = world.container(1, 4, |endpoint| {
            endpoint.egress = Some(vec![prefix("192.0.2.1/32"), prefix("2001:db8::1/128")]);
        });
        let (server, near) = (bound.listen(80), free.listen(80));
        let _web = web.listen(80);
        let _host = TcpListener::bind("[::]:9000").expect("listen");
        for to in [
            "198.51.100.1:443",
            "[2001:db8:1::1]:443",
            "10.1.0.3:80",
            "10.1.0.1:9000",
        ] {
            drop(bound.dial(to).expect(to));
        }
        from_whom(&near);
        for to in [
            "203.0.113.1:443",
            "[2001:db8::2]:443",
            "192.0.2.1:9000",
            "192.0.2.1:8081",
        ] {
            bound.cannot(to);
        }
        // What is dialled counts, not where the port leads to.
        for to in ["192.0.2.1:9000", "192.0.2.1:8081", "[2001:db8::1]:8081"] {
            drop(host.dial(to).expect(to));
        }
        drop(free.dial("203.0.113.1:443").expect("no list"));
        // Whoever dials it gets an answer, listed or not.
        seen(
            &server,
            world.peer.dial("192.0.2.1:8080"),
            "192.0.2.2",
            "peer",
        );
        assert_eq!(world.differences(), Vec::<String>::new());
    });
}
