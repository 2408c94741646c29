//! Subnets, addresses, interfaces.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use e2e::{CABLE_MTU, Case, Space, Started, patience};
use netns::route::{Kind, LinkName, NewLink, Request};

use super::{addresses_of, at, down, gateways, inspect, network, networked, up};

/// More at once are too slow where the machine is emulated: a start that takes two milliseconds takes a
/// quarter of a second there. That the cost of a container does not grow with their number is measured
/// by the benchmarks.
const MANY: usize = 20;

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn many_that_start_at_once_have_addresses_of_their_own_on_one_bridge() {
    networked(|case, world| {
        case.root("root");
        // Of a network that is not there yet, so that they meet at making it, too.
        let manifest = |n: usize| {
            format!(
                "name = \"many-{n}\"\nrootfs = \"./root\"\n\
                 command = [\"sh\", \"-c\", \"echo up; exec sleep 1000\"]\n\
                 [network]\nmode = \"many\"\n[networks.many]\n"
            )
        };
        let mut all: Vec<Started> = (0..MANY).map(|n| case.start(&manifest(n))).collect();
        for started in &mut all {
            assert_eq!(started.line(), "up");
        }
        let addresses: Vec<[IpAddr; 2]> = all.iter().map(addresses_of).collect();
        let unique: BTreeSet<IpAddr> = addresses.iter().flatten().copied().collect();
        assert_eq!(unique.len(), 2 * MANY, "{addresses:?}");
        let shown = inspect(case, "many");
        let bridge = shown["network"]["bridge"].as_str().expect("its bridge");
        let containers = shown["containers"].as_array().expect("containers");
        let shown: BTreeSet<IpAddr> = containers
            .iter()
            .flat_map(|container| [&container["member"]["v4"], &container["member"]["v6"]])
            .map(|address| {
                address
                    .as_str()
                    .expect("an address")
                    .parse()
                    .expect("an address")
            })
            .collect();
        assert_eq!(shown, unique);
        assert_eq!(ports(world.host.route(), bridge), MANY);
        // The last one is reached by the first.
        let server = Space::of(&all[MANY - 1]).serve("[::]:80");
        for (address, own) in addresses[MANY - 1].into_iter().zip(addresses[0]) {
            assert_eq!(Space::of(&all[0]).reaches(&at(address, 80), &server), own);
        }
        drop(server);
        let all: [Started; MANY] = all.try_into().ok().expect("as many as were started");
        down(all);
        network(case, &["rm", "many"]).ok();
    });
}

/// How many ports a bridge has.
fn ports(mut route: netns::route::Socket, bridge: &str) -> usize {
    let name = LinkName::new(bridge).expect("a name");
    let index = route.index_of(&name).expect("the bridge");
    let links = route.interfaces().expect("links");
    links
        .iter()
        .filter(|link| link.master == Some(index))
        .count()
}

/// Another address of the network of `address`.
fn neighbour(address: IpAddr, last: u8) -> Ipv4Addr {
    let IpAddr::V4(v4) = address else {
        panic!("{address}")
    };
    let [a, b, c, _] = v4.octets();
    Ipv4Addr::new(a, b, c, last)
}

fn with_address(case: &Case, name: &str, address: impl std::fmt::Display) -> Started {
    up(case, name, &format!("[network]\naddress = \"{address}\"\n"))
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_fixed_address_is_had_and_a_second_time_it_names_its_holder() {
    networked(|case, _| {
        let first = up(case, "first", "");
        let [some, _] = addresses_of(&first);
        let wanted = neighbour(some, 200);
        let fixed = with_address(case, "fixed", wanted);
        assert_eq!(addresses_of(&fixed)[0], IpAddr::V4(wanted));
        let again = |address: &dyn std::fmt::Display| {
            case.run(&format!(
                "name = \"again\"\nrootfs = \"./root\"\ncommand = [\"true\"]\n[network]\naddress = \"{address}\"\n"
            ))
        };
        again(&wanted)
            .expect(125)
            .says(&format!("{wanted} is held by `fixed`"))
            .says("toml:5");
        assert!(!fs::exists("/run/ctr/again").expect("stat"));
        again(&some).expect(125).says("is held by `first`");
        // The bridge's, and one of elsewhere.
        again(&neighbour(some, 1)).expect(125).says("toml:5");
        again(&"192.0.2.77")
            .expect(125)
            .says("192.0.2.77 is not for a container of");
        down([first, fixed]);
        again(&wanted).ok();
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_subnet_that_overlaps_one_of_this_machine_is_refused_and_names_it() {
    networked(|case, world| {
        case.root("root");
        let made = |name: &str, subnet: &str| {
            case.run(&format!(
                "name = \"web\"\nrootfs = \"./root\"\ncommand = [\"true\"]\n\
                 [network]\nmode = {name:?}\n[networks.{name}]\nsubnets = [{subnet:?}]\n"
            ))
        };
        made("wide", "192.0.0.0/16")
            .expect(125)
            .says("192.0.0.0/16 overlaps 192.0.2.0/24")
            .says("eth0");
        made("mine", "10.99.0.0/24").ok();
        assert_eq!(world.host.addresses("ctr1")[0].to_string(), "10.99.0.1");
        made("twin", "10.99.0.128/25")
            .expect(125)
            .says("overlaps 10.99.0.0/24")
            .says("`mine`");
        network(case, &["create", "twin", "--subnet", "10.99.0.0/16"])
            .expect(125)
            .says("`mine`");
        // None of those that were refused is there.
        let out = network(case, &["ls"]).ok();
        assert!(!out.contains("wide") && !out.contains("twin"), "{out}");
        assert!(out.contains("10.99.0.0/24"), "{out}");
        network(case, &["rm", "mine"]).ok();
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn packets_are_as_large_as_the_way_out_allows_or_as_the_network_says() {
    let mtu = |space: &Space, link: &str| {
        let name = LinkName::new(link).expect("a name");
        space.route().interface(&name.into()).expect(link).mtu
    };
    networked(|case, world| {
        let usual = up(case, "usual", "");
        let small = up(
            case,
            "small",
            "[network]\nmode = \"small\"\n[networks.small]\nmtu = 1300\n",
        );
        assert_eq!(mtu(&world.host, "ctr0"), CABLE_MTU);
        assert_eq!(mtu(&Space::of(&usual), "eth0"), CABLE_MTU);
        assert_eq!(mtu(&world.host, "ctr1"), 1300);
        assert_eq!(mtu(&Space::of(&small), "eth0"), 1300);
        down([usual, small]);
        network(case, &["rm", "small"]).ok();
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_network_of_another_container_is_shared_with_its_addresses_and_names() {
    networked(|case, world| {
        let web = up(
            case,
            "web",
            "[network]\naliases = [\"www\"]\npublish = [\"8080:80\"]\n",
        );
        let side = up(case, "side", "[network]\nmode = \"container:web\"\n");
        let namespace = |container: &Started| {
            fs::read_link(format!("/proc/{}/ns/net", container.init())).expect("readlink")
        };
        assert_eq!(namespace(&web), namespace(&side));
        let server = Space::of(&side).serve("[::]:80");
        Space::of(&web).reaches("127.0.0.1:80", &server);
        world.host.reaches("127.0.0.1:8080", &server);
        let out = case
            .run(
                "name = \"asker\"\nrootfs = \"./root\"\ncommand = [\"nslookup\", \"www\"]\n\
                 [network]\nmode = \"container:web\"\n",
            )
            .ok();
        assert!(out.contains(&addresses_of(&web)[0].to_string()), "{out}");
        drop(server);
        down([side, web]);
        case.run("name = \"late\"\nrootfs = \"./root\"\ncommand = [\"true\"]\n[network]\nmode = \"container:web\"\n")
            .expect(125)
            .says("no running container `web`");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn forwarding_is_switched_on_for_the_interfaces_that_need_it_alone() {
    let forwards = |what: &str| {
        let path = format!("/proc/sys/net/ipv4/{what}");
        fs::read_to_string(&path).expect(&path).trim().to_owned()
    };
    let world = e2e::World::new();
    // One that no container is reached by: it has no address.
    let idle = NewLink {
        up: true,
        ..NewLink::new(
            LinkName::new("idle0").expect("a name"),
            Kind::Bridge {
                multicast_snooping: false,
            },
        )
    };
    let mut route = world.host.route();
    route.apply(&[Request::AddLink(idle)]).expect("idle0");
    // A link-local one neither, which would come when it likes.
    let parameter = "/proc/sys/net/ipv6/conf/idle0/disable_ipv6";
    fs::write(parameter, "1").expect(parameter);
    for key in ["ip_forward", "conf/eth0/forwarding"] {
        assert_eq!(forwards(key), "0", "{key}: the test begins without");
    }
    e2e::case(e2e::Who::Root, |case| {
        let client = up(case, "client", "");
        let server = world.peer.serve("[::]:99");
        Space::of(&client).reaches("192.0.2.2:99", &server);
        for (key, value) in [
            ("ip_forward", "0"),
            ("conf/all/forwarding", "0"),
            ("conf/default/forwarding", "0"),
            ("conf/idle0/forwarding", "0"),
            ("conf/lo/forwarding", "0"),
            ("conf/eth0/forwarding", "1"),
            ("conf/ctr0/forwarding", "1"),
        ] {
            assert_eq!(forwards(key), value, "{key}");
        }
        drop(server);
        down([client]);
    });
}

/// So much is sent to see how fast it goes.
const AMOUNT: usize = 1_000_000;

/// How long [`AMOUNT`] takes from one to the other.
fn transfer(from: &Space, to: &Space, address: IpAddr) -> Duration {
    let listener = to.run(|| TcpListener::bind("[::]:80")).expect("listen");
    let mut sender = from.dial(&at(address, 80), patience(5)).expect("connect");
    let (mut receiver, _) = listener.accept().expect("accept");
    let began = Instant::now();
    let writer = thread::spawn(move || sender.write_all(&vec![7; AMOUNT]).expect("write"));
    let mut heard = Vec::new();
    receiver.read_to_end(&mut heard).expect("read");
    writer.join().expect("no panic");
    assert_eq!(heard.len(), AMOUNT);
    began.elapsed()
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_rate_holds_for_what_is_sent_and_for_what_is_received() {
    networked(|case, world| {
        let slow = up(case, "slow", "[network]\nrate = \"4Mbit/s\"\n");
        let fast = up(case, "fast", "");
        let gateway = gateways(world, "ctr0")[0];
        // 128 KiB go at once, the rest at half a megabyte a second: 1.74 s. An emulated machine may need
        // longer, for what it is late to take is dropped and sent again.
        let limits = Duration::from_millis(1570)..patience(3);
        let (slow_at, fast_at) = (Space::of(&slow), Space::of(&fast));
        for (from, to, address) in [
            (&slow_at, &world.host, gateway),
            (&world.host, &slow_at, addresses_of(&slow)[0]),
        ] {
            let took = transfer(from, to, address);
            assert!(limits.contains(&took), "to {address}: {took:?}");
        }
        let took = transfer(&fast_at, &world.host, gateway);
        assert!(!limits.contains(&took), "without one: {took:?}");
        down([slow, fast]);
    });
}
