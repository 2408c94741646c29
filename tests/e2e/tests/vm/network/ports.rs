//! Published ports, from every place that has another way to them.

use std::io::ErrorKind;
use std::net::UdpSocket;

use e2e::Space;

use super::{addresses_of, at, down, gateways, network, networked, up};

/// 8080 for this host alone, 8081 for everybody.
const PUBLISHED: &str =
    "[network]\npublish = [\"8080:80\", \"0.0.0.0:8081:80\", \"[::]:8081:80\"]\n";

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_bare_port_is_on_the_loopback_addresses_of_this_host_alone() {
    networked(|case, world| {
        let web = up(case, "web", PUBLISHED);
        let server = Space::of(&web).serve("[::]:80");
        let [v4, v6] = gateways(world, "ctr0");
        assert_eq!(world.host.reaches("127.0.0.1:8080", &server), v4);
        assert_eq!(world.host.reaches("127.0.0.9:8081", &server), v4);
        // Only where bridged packets do not pass through ip6tables.
        let parameter = "/proc/sys/net/bridge/bridge-nf-call-ip6tables";
        let value = std::fs::read_to_string(parameter).unwrap_or_else(|_| "0".into());
        assert_eq!(value.trim(), "0", "{parameter}");
        assert_eq!(world.host.reaches("[::1]:8080", &server), v6);
        for elsewhere in ["192.0.2.1:8080", "[2001:db8::1]:8080"] {
            for (who, from) in [("host", &world.host), ("peer", &world.peer)] {
                let kind = from.cannot_reach(elsewhere, &server);
                assert_eq!(kind, ErrorKind::ConnectionRefused, "{who}, {elsewhere}");
            }
        }
        drop(server);
        down([web]);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_port_of_every_address_is_reached_by_the_peer_and_by_this_host_who_are_seen_as_themselves() {
    networked(|case, world| {
        let web = up(case, "web", PUBLISHED);
        let server = Space::of(&web).serve("[::]:80");
        let seen = |from: &Space, to: &str| from.reaches(to, &server).to_string();
        assert_eq!(seen(&world.peer, "192.0.2.1:8081"), "192.0.2.2");
        assert_eq!(seen(&world.peer, "[2001:db8::1]:8081"), "2001:db8::2");
        assert_eq!(seen(&world.host, "192.0.2.1:8081"), "192.0.2.1");
        assert_eq!(seen(&world.host, "[2001:db8::1]:8081"), "2001:db8::1");
        // By the container's own address there is no way in but for this host, published or not.
        let [v4, v6] = addresses_of(&web);
        for address in [v4, v6] {
            world.host.reaches(&at(address, 80), &server);
            let kind = world.peer.cannot_reach(&at(address, 80), &server);
            assert_eq!(kind, ErrorKind::TimedOut, "{address}");
        }
        drop(server);
        down([web]);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn containers_reach_a_port_by_the_hosts_address_the_own_one_included() {
    networked(|case, world| {
        let web = up(case, "web", PUBLISHED);
        let other = up(case, "other", "");
        let elsewhere = up(
            case,
            "elsewhere",
            "[network]\nmode = \"second\"\n[networks.second]\n",
        );
        let server = Space::of(&web).serve("[::]:80");
        let [v4, v6] = gateways(world, "ctr0");
        for (who, from) in [("itself", &web), ("neighbour", &other)] {
            let from = Space::of(from);
            assert_eq!(from.reaches("192.0.2.1:8081", &server), v4, "{who}");
            assert_eq!(from.reaches("[2001:db8::1]:8081", &server), v6, "{who}");
            // The bridge's address is the host's as well.
            assert_eq!(from.reaches(&at(v4, 8081), &server), v4, "{who}");
            // Not the port that is on the host's 127.0.0.1 alone.
            from.cannot_reach("192.0.2.1:8080", &server);
        }
        // Whoever comes from another network of this host is seen as the host.
        let from = Space::of(&elsewhere);
        assert_eq!(from.reaches("192.0.2.1:8081", &server), v4);
        assert_eq!(from.reaches("[2001:db8::1]:8081", &server), v6);
        drop(server);
        down([web, other, elsewhere]);
        network(case, &["rm", "second"]).ok();
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn udp_and_ranges_are_published_too() {
    networked(|case, world| {
        let publish = "[network]\npublish = [\"5353:60/udp\", \"0.0.0.0:5400-5402:61-63/udp\"]\n";
        let name = up(case, "name", publish);
        let inside = Space::of(&name);
        let sockets: Vec<UdpSocket> = (60..64)
            .map(|port| inside.udp(&format!("[::]:{port}")))
            .collect();
        let [v4, v6] = gateways(world, "ctr0");
        assert_eq!(world.host.asks("127.0.0.1:5353", &sockets[0]), v4);
        assert_eq!(world.host.asks("[::1]:5353", &sockets[0]), v6);
        for (port, socket) in (5400..5403).zip(&sockets[1..]) {
            let seen = world.peer.asks(&format!("192.0.2.1:{port}"), socket);
            assert_eq!(seen.to_string(), "192.0.2.2");
        }
        drop(sockets);
        down([name]);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_port_is_free_again_after_its_container_and_leads_to_the_next_one_at_once() {
    networked(|case, world| {
        // Under the same address, while the kernel has not yet removed what the one before had.
        for _ in 0..8 {
            let web = up(case, "web", PUBLISHED);
            let server = Space::of(&web).serve("[::]:80");
            for to in ["127.0.0.1:8080", "[::1]:8080"] {
                world.host.reaches(to, &server);
            }
            drop(server);
            down([web]);
        }
        let refused = world.host.dial("127.0.0.1:8080", e2e::patience(5));
        let kind = refused.expect_err("nobody is there").kind();
        assert_eq!(kind, ErrorKind::ConnectionRefused);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_port_in_use_names_its_holder_and_nothing_is_made() {
    networked(|case, world| {
        let web = up(case, "web", PUBLISHED);
        let second = "name = \"second\"\nrootfs = \"./root\"\ncommand = [\"true\"]\n\
                      [network]\npublish = [\"9000:80\", \"8081:80\"]\n";
        case.run(second)
            .expect(125)
            .says(&format!(
                "port 8081/tcp of 127.0.0.1 is taken by the container `web` (pid {})",
                web.pid()
            ))
            .says("toml:5");
        assert!(!std::fs::exists("/run/ctr/second").expect("stat"));
        down([web]);
        // A program of the host: this one.
        let listener = world.host.serve("127.0.0.1:8081");
        case.run(second)
            .expect(125)
            .says("port 8081/tcp of 127.0.0.1 is taken by ")
            .says(&format!("(pid {})", std::process::id()));
        drop(listener);
        case.run(second).ok();
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn explain_tells_the_way_to_a_published_port_and_that_there_is_none() {
    networked(|case, _| {
        let web = up(case, "web", PUBLISHED);
        let [v4, _] = addresses_of(&web);
        let out = network(case, &["explain", "8080"]).ok();
        let ways: Vec<&str> = out.split("\n\n").collect();
        let [loopback, own, outside] = ways[..] else {
            panic!("three ways: {out}")
        };
        assert!(
            loopback.starts_with("from this host to 127.0.0.1:\n"),
            "{out}"
        );
        assert!(loopback.contains("inet ctr publish"), "{out}");
        let end = format!("{v4} port 80, which sees the bridge's address as the sender");
        assert!(
            loopback.contains("ends at `web`: ") && loopback.contains(&end),
            "{out}"
        );
        for way in [own, outside] {
            assert!(way.contains(" to 192.0.2.1:\n"), "{out}");
            assert!(
                way.contains("no container publishes the port on this address"),
                "{out}"
            );
        }
        let out = network(case, &["explain", "8081"]).ok();
        let end = format!("{v4} port 80, which sees the sender's address");
        let outside = out
            .split("\n\n")
            .find(|way| way.starts_with("from another host"))
            .expect(&out);
        assert!(
            outside.contains("ends at `web`: ") && outside.contains(&end),
            "{out}"
        );
        let out = network(case, &["explain", "9999"]).ok();
        assert_eq!(out.matches("no container publishes").count(), 3, "{out}");
        assert!(!out.contains("web"), "{out}");
        down([web]);
    });
}
