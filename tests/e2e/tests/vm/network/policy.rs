//! What a container may not do, each time beside what it may: the same packet from elsewhere arrives.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use e2e::{Outcome, Space, Started, debian};
use netns::route::{Link, LinkName, Request, Route, SetLink};

use super::{addresses_of, at, down, gateways, network, networked, up};

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_container_reaches_the_world_which_sees_this_host() {
    networked(|case, world| {
        let client = up(case, "client", "");
        let client_at = Space::of(&client);
        let server = world.peer.serve("[::]:99");
        let seen = client_at.reaches("198.51.100.1:99", &server);
        assert_eq!(seen.to_string(), "192.0.2.1");
        let seen = client_at.reaches("[2001:db8::2]:99", &server);
        assert_eq!(seen.to_string(), "2001:db8::1");
        drop(server);
        down([client]);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn containers_of_one_network_reach_each_other_and_those_of_two_do_not() {
    networked(|case, world| {
        let second = "[network]\nmode = \"second\"\n[networks.second]\n";
        let web = up(case, "web", "");
        let friend = up(case, "friend", "");
        let stranger = up(case, "stranger", second);
        let server = Space::of(&web).serve("[::]:80");
        let on_host = world.host.serve("[::]:8000");
        let friends = addresses_of(&friend);
        for (address, friends) in addresses_of(&web).into_iter().zip(friends) {
            let to = at(address, 80);
            // Nobody stands between them: each sees the other as he is.
            assert_eq!(Space::of(&friend).reaches(&to, &server), friends);
            let kind = Space::of(&stranger).cannot_reach(&to, &server);
            assert_eq!(kind, ErrorKind::TimedOut, "{to}");
        }
        // The host is reached by both, at its address on the own bridge.
        for gateway in gateways(world, "ctr0") {
            Space::of(&friend).reaches(&at(gateway, 8000), &on_host);
        }
        for gateway in gateways(world, "ctr1") {
            Space::of(&stranger).reaches(&at(gateway, 8000), &on_host);
        }
        drop((server, on_host));
        down([web, friend, stranger]);
        network(case, &["rm", "second"]).ok();
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn an_internal_network_has_no_way_out_and_none_in() {
    networked(|case, world| {
        let inner = "[network]\nmode = \"inner\"\npublish = [\"0.0.0.0:8081:80\"]\n\
                     [networks.inner]\ninternal = true\n";
        let web = up(case, "web", inner);
        let friend = up(
            case,
            "friend",
            "[network]\nmode = \"inner\"\n[networks.inner]\ninternal = true\n",
        );
        let open = up(case, "open", "");
        let server = Space::of(&web).serve("[::]:80");
        let outside = world.peer.serve("[::]:99");
        let on_host = world.host.serve("[::]:8000");
        let [v4, v6] = addresses_of(&web);
        for address in [v4, v6] {
            Space::of(&friend).reaches(&at(address, 80), &server);
        }
        for to in ["192.0.2.2:99", "[2001:db8::2]:99"] {
            Space::of(&open).reaches(to, &outside);
            let kind = Space::of(&web).cannot_reach(to, &outside);
            assert_eq!(kind, ErrorKind::NetworkUnreachable, "{to}");
        }
        // With a route of its own the container, which cannot make one, comes no further.
        let [gateway4, gateway6] = gateways(world, "ctr1");
        let by = |gateway: IpAddr| {
            let eth0: LinkName = "eth0".parse().expect("a name");
            Request::AddRoute(Route::default_via(gateway, Link::from(eth0)))
        };
        let mut route = Space::of(&web).route();
        route.apply(&[by(gateway4), by(gateway6)]).expect("a route");
        for to in ["192.0.2.2:99", "[2001:db8::2]:99"] {
            let kind = Space::of(&web).cannot_reach(to, &outside);
            assert_eq!(kind, ErrorKind::TimedOut, "{to}");
        }
        for to in ["192.0.2.1:8000", "[2001:db8::1]:8000"] {
            Space::of(&open).reaches(to, &on_host);
            let kind = Space::of(&web).cannot_reach(to, &on_host);
            assert_eq!(kind, ErrorKind::TimedOut, "{to}");
        }
        for gateway in [gateway4, gateway6] {
            let kind = Space::of(&web).cannot_reach(&at(gateway, 8000), &on_host);
            assert_eq!(kind, ErrorKind::TimedOut, "{gateway}");
        }
        // Published or not, from outside and from other networks there is no way in.
        for from in [&world.peer, &Space::of(&open)] {
            from.cannot_reach("192.0.2.1:8081", &server);
            from.cannot_reach(&at(v4, 80), &server);
            from.cannot_reach(&at(v6, 80), &server);
        }
        drop((server, outside, on_host));
        down([web, friend, open]);
        network(case, &["rm", "inner"]).ok();
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_metadata_service_is_dropped_unless_the_network_allows_it() {
    networked(|case, world| {
        let cloud = "[network]\nmode = \"cloud\"\n[networks.cloud]\nmetadata = true\n";
        let usual = up(case, "usual", "");
        let trusted = up(case, "trusted", cloud);
        let service = world.peer.serve("169.254.169.254:80");
        let to = "169.254.169.254:80";
        world.host.reaches(to, &service);
        Space::of(&trusted).reaches(to, &service);
        let kind = Space::of(&usual).cannot_reach(to, &service);
        assert_eq!(kind, ErrorKind::TimedOut);
        drop(service);
        down([usual, trusted]);
        network(case, &["rm", "cloud"]).ok();
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn with_an_allow_list_only_what_is_on_it_is_reached() {
    networked(|case, world| {
        let allow = "[network]\nallow = [\"198.51.100.1\", \"2001:db8::/126\"]\npublish = [\"0.0.0.0:8081:80\"]\n";
        let kept = up(case, "kept", allow);
        let free = up(case, "free", "");
        let outside = world.peer.serve("[::]:99");
        let on_host = world.host.serve("[::]:8000");
        let kept_at = Space::of(&kept);
        for to in ["198.51.100.1:99", "[2001:db8::2]:99"] {
            kept_at.reaches(to, &outside);
        }
        for to in ["198.51.100.2:99", "192.0.2.2:99"] {
            Space::of(&free).reaches(to, &outside);
            let kind = kept_at.cannot_reach(to, &outside);
            assert_eq!(kind, ErrorKind::TimedOut, "{to}");
        }
        // Not this host either, but by the address of its bridge.
        Space::of(&free).reaches("192.0.2.1:8000", &on_host);
        assert_eq!(
            kept_at.cannot_reach("192.0.2.1:8000", &on_host),
            ErrorKind::TimedOut
        );
        // The list is about connections that begin inside.
        let server = kept_at.serve("[::]:80");
        world.peer.reaches("192.0.2.1:8081", &server);
        for address in addresses_of(&kept) {
            Space::of(&free).reaches(&at(address, 80), &server);
        }
        drop((server, outside, on_host));
        down([kept, free]);
    });
}

/// Sends to port 99 of DESTINATION one datagram from each SOURCE, which is its content as well.
const FORGE: &str = r#"
import socket, struct, sys
destination, *sources = sys.argv[1:]
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for source in sources:
    data = source.encode()
    udp = struct.pack("!HHHH", 9, 99, 8 + len(data), 0) + data
    # The kernel fills in the length and the checksum.
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 1, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(destination))
    raw.sendto(head + udp, (destination, 0))
"#;

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn packets_with_the_address_of_another_are_dropped() {
    networked(|case, world| {
        let victim = up(case, "victim", "");
        let other = up(case, "other", "");
        let inbox = Space::of(&victim).udp("0.0.0.0:99");
        let outside = world.peer.udp("0.0.0.0:99");
        let [others, _] = addresses_of(&other);
        let [gateway, _] = gateways(world, "ctr0");
        let [victims, _] = addresses_of(&victim);
        let IpAddr::V4(home) = gateway else {
            panic!("{gateway}")
        };
        let [a, b, c, _] = home.octets();
        let own = IpAddr::from([a, b, c, 77]);
        let forged = [others, gateway, "192.0.2.2".parse().expect("an address")];
        for (destination, inbox) in [
            (victims, &inbox),
            ("192.0.2.2".parse().expect("an address"), &outside),
        ] {
            // The last one is the own address, so that there is something to wait for.
            let words: Vec<String> = [destination]
                .iter()
                .chain(&forged)
                .chain([&own])
                .map(|address| format!("{:?}", address.to_string()))
                .collect();
            let manifest = case.manifest(&format!(
                "name = \"forger\"\nrootfs = {:?}\ncommand = [\"python3\", \"-c\", {FORGE:?}, {}]\n\
                 [network]\naddress = \"{own}\"\n\
                 [security]\ncapabilities = {{ add = [\"NET_RAW\"] }}\n",
                debian(),
                words.join(", ")
            ));
            let words = ["run".as_ref(), manifest.as_os_str()];
            Outcome::of(&mut case.ctr(&words)).ok();
            let mut heard = [0; 64];
            let (length, _) = inbox.recv_from(&mut heard).expect("its own packet");
            let first = String::from_utf8_lossy(&heard[..length]).into_owned();
            assert_eq!(first, own.to_string(), "to {destination}");
        }
        drop((inbox, outside));
        down([victim, other]);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn frames_with_the_hardware_address_of_another_do_not_turn_his_packets_round() {
    networked(|case, world| {
        let victim = up(case, "victim", "");
        let thief = up(case, "thief", "");
        let eth0: LinkName = "eth0".parse().expect("a name");
        let mac = |container: &Started| {
            let link = Link::from(eth0.clone());
            Space::of(container)
                .route()
                .interface(&link)
                .expect("eth0")
                .mac
        };
        let server = Space::of(&victim).serve("[::]:80");
        // From now on the host knows the victim's hardware address, and asks nobody who has it: the answer
        // would put the bridge right again.
        for address in addresses_of(&victim) {
            world.host.reaches(&at(address, 80), &server);
        }
        let [thief4, _] = addresses_of(&thief);
        let steal = SetLink {
            mac: mac(&victim),
            ..SetLink::new(eth0.clone())
        };
        let thief_at = Space::of(&thief);
        thief_at
            .route()
            .apply(&[Request::SetLink(steal)])
            .expect("the other's address");
        assert_eq!(mac(&thief), mac(&victim));
        // What it broadcasts is the bridge's chance to learn where that address is.
        let IpAddr::V4(own) = thief4 else {
            panic!("IPv4 comes first")
        };
        let [a, b, c, _] = own.octets();
        let inbox = Space::of(&victim).udp("0.0.0.0:99");
        let outbox = thief_at.udp(&at(thief4, 0));
        outbox.set_broadcast(true).expect("SO_BROADCAST");
        outbox
            .send_to(b"mine", (Ipv4Addr::new(a, b, c, 255), 99))
            .expect("send");
        let mut heard = [0; 4];
        inbox.recv_from(&mut heard).expect("the thief's packet");
        for address in addresses_of(&victim) {
            // By the first packet: another one is sent after a second, and by then the bridge may have
            // learnt better.
            let dialled = world
                .host
                .dial(&at(address, 80), Duration::from_millis(900));
            drop(dialled.unwrap_or_else(|error| panic!("{address}: {error}")));
        }
        drop((server, inbox, outbox));
        down([victim, thief]);
    });
}
