//! What older kernels take: the whole firewall is written, read again and compared, in a network
//! namespace of its own in a VM.

use std::net::{IpAddr, Ipv4Addr};

use netns::firewall::{Endpoint, Firewall, HostAddress, Network, Prefix, Protocol, Published};
use netns::nft::{Batch, Change, Seen, Socket, Table, Watch};
use rustix::io::Errno;

fn prefix(address: &str, length: u8) -> Prefix {
    Prefix {
        address: address.parse().expect("address"),
        length,
    }
}

fn networks() -> Vec<Network> {
    vec![
        Network {
            bridge: "ctr0".into(),
            subnets: vec![prefix("10.88.0.0", 24), prefix("fd00:88::", 64)],
            internal: false,
            metadata_allowed: false,
        },
        Network {
            bridge: "ctr1".into(),
            subnets: vec![prefix("10.89.0.0", 25)],
            internal: true,
            metadata_allowed: true,
        },
    ]
}

fn endpoint(host: u8, port: u16) -> Endpoint {
    let address = |text: &str| -> IpAddr { text.parse().expect("address") };
    let addresses = [
        HostAddress::AnyV4,
        HostAddress::AnyV6,
        HostAddress::One(address("127.0.0.1")),
        HostAddress::One(address("::1")),
    ];
    Endpoint {
        bridge: "ctr0".into(),
        veth: format!("veth{host}"),
        v4: Some(Ipv4Addr::new(10, 88, 0, host)),
        v6: format!("fd00:88::{host}").parse().ok(),
        egress: Some(vec![prefix("192.0.2.0", 24), prefix("2001:db8::", 32)]),
        published: [Protocol::Tcp, Protocol::Udp]
            .into_iter()
            .flat_map(|protocol| {
                addresses.map(|address| Published {
                    protocol,
                    address,
                    host_port: port,
                    port: 80,
                })
            })
            .collect(),
    }
}

fn differences(
    firewall: &Firewall,
    networks: &[Network],
    endpoints: &[Endpoint],
    socket: &mut Socket,
) -> Vec<String> {
    let held = firewall.held(socket).expect("held");
    firewall
        .differences(networks, endpoints, &held)
        .expect("differences")
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
#[ignore = "vm: needs CAP_NET_ADMIN; cargo xtask test-vm"]
fn the_kernel_takes_the_firewall_piece_by_piece_and_gives_it_back() {
    let firewall = Firewall::new("ctr").expect("name");
    let mut socket = Socket::open().expect("socket");
    let (networks, endpoints) = (networks(), [endpoint(2, 8080), endpoint(3, 8081)]);
    let mut batches = vec![firewall.base(), firewall.loopback6(false).base()];
    let firewall = Firewall::new("ctr").expect("name");
    batches.push(firewall.base());
    batches.extend(
        networks
            .iter()
            .map(|network| firewall.add_network(network).expect("batch")),
    );
    batches.extend(
        endpoints
            .iter()
            .map(|one| firewall.add_endpoint(one).expect("batch")),
    );
    for batch in &batches {
        socket.commit(batch).expect("commit");
    }
    let none: Vec<String> = Vec::new();
    assert_eq!(
        differences(&firewall, &networks, &endpoints, &mut socket),
        none
    );
    let gone = firewall.remove_endpoint(&endpoints[0]).expect("batch");
    socket.commit_removal(&gone).expect("remove");
    socket.commit_removal(&gone).expect("remove again");
    assert_eq!(
        differences(&firewall, &networks, &endpoints[1..], &mut socket),
        none
    );
}

#[test]
#[ignore = "vm: needs CAP_NET_ADMIN; cargo xtask test-vm"]
fn a_flush_wakes_a_watch_and_the_whole_heals_it() {
    let firewall = Firewall::new("ctr").expect("name");
    let mut socket = Socket::open().expect("socket");
    let (networks, endpoints) = (networks(), [endpoint(2, 8080)]);
    let whole = firewall.whole(&networks, &endpoints).expect("whole");
    socket.commit(&whole).expect("whole");
    let mut watch = Watch::open().expect("watch");
    let more = firewall.add_endpoint(&endpoint(3, 8081)).expect("batch");
    socket.commit(&more).expect("add");
    assert_eq!(watch.take().expect("take"), Seen::Nothing);
    let tables = firewall.tables().map(Table::clone);
    let flush = Batch {
        changes: tables.clone().map(Change::FlushTable).into(),
    };
    socket.commit(&flush).expect("flush");
    assert_eq!(watch.take().expect("take"), Seen::Changed(tables.into()));
    assert!(!differences(&firewall, &networks, &endpoints, &mut socket).is_empty());
    socket.commit(&whole).expect("heal");
    assert_eq!(
        differences(&firewall, &networks, &endpoints, &mut socket),
        Vec::<String>::new()
    );
}

#[test]
#[ignore = "vm: needs CAP_NET_ADMIN; cargo xtask test-vm"]
fn a_port_that_is_taken_is_named_and_nothing_is_done() {
    let firewall = Firewall::new("ctr").expect("name");
    let mut socket = Socket::open().expect("socket");
    let (networks, endpoints) = (networks(), [endpoint(2, 8080)]);
    let whole = firewall.whole(&networks, &endpoints).expect("whole");
    socket.commit(&whole).expect("whole");
    let second = firewall.add_endpoint(&endpoint(3, 8080)).expect("batch");
    let error = socket.commit(&second).expect_err("taken");
    let errno = error.errno().expect("errno");
    assert!(
        [Errno::EXIST, Errno::BUSY].contains(&errno),
        "{error}: {errno}"
    );
    assert!(
        error.to_string().contains(". 8080 : 10.88.0.3 . 80"),
        "{error}"
    );
    assert!(error.hint().expect("hint").contains("another container"));
    assert_eq!(
        differences(&firewall, &networks, &endpoints, &mut socket),
        Vec::<String>::new()
    );
}
