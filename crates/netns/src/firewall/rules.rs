//! What is the same for every host: chains, sets and rules. Networks and containers are elements of
//! the sets, so that no packet and no change costs more for there being many.
//!
//! A bridge may or may not hand its frames to the hooks of IP (`bridge-nf-call-iptables`). The rules
//! are right in both cases: a frame between two ports of one bridge has that bridge for both its
//! interfaces, which is the set `inside`.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::parts::*;
use crate::nft::{Base, Chain, Element, Expr, Hook, Kind, Operator, Rule, Set, Source, Table};
use crate::nft::{Value, Verdict, Yield, Yields};

pub(super) const METADATA4: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
pub(super) const METADATA6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Before connection tracking (`NF_IP_PRI_RAW`).
const RAW: i32 = -300;
/// `NF_IP_PRI_NAT_DST`, `NF_IP_PRI_NAT_SRC`.
const DSTNAT: i32 = -100;
const SRCNAT: i32 = 100;
/// `NF_BR_PRI_FILTER_BRIDGED`: before the hooks of IP see the frame (`NF_BR_PRI_BRNF`, 0).
const BRIDGED: i32 = -200;

/// A set's name, its key, what it yields, and whether it holds ranges.
type Shape = (&'static str, &'static [Kind], &'static [Kind], bool);

const INET_SETS: [Shape; 15] = [
    ("bridges", &[Kind::Interface], &[], false),
    ("inside", &[Kind::Interface, Kind::Interface], &[], false),
    ("internal", &[Kind::Interface], &[], false),
    ("no_metadata", &[Kind::Interface], &[], false),
    ("home4", &[Kind::Ip4, Kind::Interface], &[], true),
    ("home6", &[Kind::Ip6, Kind::Interface], &[], true),
    ("restricted4", &[Kind::Ip4], &[], false),
    ("restricted6", &[Kind::Ip6], &[], false),
    ("allowed4", &[Kind::Ip4, Kind::Ip4], &[], true),
    ("allowed6", &[Kind::Ip6, Kind::Ip6], &[], true),
    ("services", &[Kind::Protocol, Kind::Port], &[], false),
    (
        "published4",
        &[Kind::Protocol, Kind::Port],
        &[Kind::Ip4, Kind::Port],
        false,
    ),
    (
        "published6",
        &[Kind::Protocol, Kind::Port],
        &[Kind::Ip6, Kind::Port],
        false,
    ),
    (
        "published4_at",
        &[Kind::Ip4, Kind::Protocol, Kind::Port],
        &[Kind::Ip4, Kind::Port],
        false,
    ),
    (
        "published6_at",
        &[Kind::Ip6, Kind::Protocol, Kind::Port],
        &[Kind::Ip6, Kind::Port],
        false,
    ),
];

const BRIDGE_SETS: [Shape; 3] = [
    ("ports", &[Kind::Interface], &[], false),
    ("sources4", &[Kind::Interface, Kind::Ip4], &[], false),
    ("sources6", &[Kind::Interface, Kind::Ip6], &[], false),
];

pub(super) fn sets(inet: &Table, bridge: &Table) -> Vec<Set> {
    let make = |table: &Table, (name, key, yields, ranges): &Shape| Set {
        table: table.clone(),
        name: (*name).to_owned(),
        key: key.to_vec(),
        yields: match yields {
            [] => Yields::Nothing,
            kinds => Yields::Values(kinds.to_vec()),
        },
        ranges: *ranges,
    };
    let inet = INET_SETS.iter().map(|shape| make(inet, shape));
    let bridge = BRIDGE_SETS.iter().map(|shape| make(bridge, shape));
    inet.chain(bridge).collect()
}

/// What the sets hold from the beginning.
pub(super) fn constants() -> Vec<(&'static str, Element)> {
    [6, 17]
        .map(|protocol| {
            let key = vec![Value::Protocol(protocol), Value::Port(53)];
            (
                "services",
                Element {
                    key,
                    yields: Yield::Nothing,
                },
            )
        })
        .to_vec()
}

pub(super) fn chains(inet: &Table, bridge: &Table) -> Vec<Chain> {
    let make = |table: &Table, name: &str, base: Option<(&str, Hook, i32)>| Chain {
        table: table.clone(),
        name: name.to_owned(),
        base: base.map(|(kind, hook, priority)| Base {
            kind: kind.to_owned(),
            hook,
            priority,
            drop: false,
        }),
    };
    vec![
        make(inet, "guard", Some(("filter", Hook::Prerouting, RAW))),
        make(inet, "publish", None),
        make(inet, "prerouting", Some(("nat", Hook::Prerouting, DSTNAT))),
        make(inet, "output", Some(("nat", Hook::Output, DSTNAT))),
        make(inet, "input", Some(("filter", Hook::Input, 0))),
        make(inet, "forward", Some(("filter", Hook::Forward, 0))),
        make(
            inet,
            "postrouting",
            Some(("nat", Hook::Postrouting, SRCNAT)),
        ),
        make(
            bridge,
            "sources",
            Some(("filter", Hook::Prerouting, BRIDGED)),
        ),
    ]
}

pub(super) fn rules(inet: &Table, bridge: &Table, loopback6: bool) -> Vec<Rule> {
    let mut list = Vec::new();
    let mut add = |table: &Table, chain: &str, rules: Lines| {
        list.extend(rules.into_iter().map(|(comment, parts)| Rule {
            table: table.clone(),
            chain: chain.to_owned(),
            expressions: parts.concat(),
            comment: Some(comment.to_owned()),
        }));
    };
    add(inet, "guard", guard());
    add(inet, "publish", publish());
    let mut output = vec![to_this_host()];
    if !loopback6 {
        output.insert(
            0,
            (
                "bridges call ip6tables",
                vec![v6(), to_loopback6(), accept()],
            ),
        );
    }
    add(inet, "prerouting", vec![to_this_host()]);
    add(inet, "output", output);
    add(inet, "input", input());
    add(inet, "forward", forward());
    add(inet, "postrouting", postrouting());
    add(bridge, "sources", sources());
    list
}

/// A comment, and what the rule is made of.
type Line = (&'static str, Vec<Vec<Expr>>);
type Lines = Vec<Line>;

fn to_this_host() -> Line {
    let local = vec![
        load(Source::DestinationType, 0),
        Expr::is(0, u32::from(libc::RTN_LOCAL).to_ne_bytes()),
    ];
    let jump = vec![Expr::Verdict(Verdict::Jump("publish".into()))];
    ("to an address of this host", vec![local, jump])
}

fn to_loopback6() -> Vec<Expr> {
    vec![load(DADDR6, 0), Expr::is(0, Ipv6Addr::LOCALHOST.octets())]
}

fn guard() -> Lines {
    let foreign = || {
        vec![
            Expr::meta(libc::NFT_META_IIFNAME, 0),
            Expr::is_not(0, name("lo")),
        ]
    };
    let loopback = |at| vec![v4(), loopback4(at), foreign(), drop()];
    let loopback6 = vec![v6(), to_loopback6(), foreign(), drop()];
    let metadata = |family: Vec<Expr>, at, address: &[u8]| {
        vec![
            family,
            vec![load(at, 0), Expr::is(0, address)],
            incoming("no_metadata"),
            drop(),
        ]
    };
    vec![
        // route_localnet on a bridge, which a port on 127.0.0.1 needs, switches off the kernel's own
        // check (CVE-2020-8558).
        ("127.0.0.0/8 is this host alone", loopback(DADDR4)),
        ("127.0.0.0/8 is this host alone", loopback(SADDR4)),
        // The kernel checks this one in any case (ip6_rcv_core); here it is seen and counted.
        ("::1 is this host alone", loopback6),
        (
            "metadata service",
            metadata(v4(), DADDR4, &METADATA4.octets()),
        ),
        (
            "metadata service",
            metadata(v6(), DADDR6, &METADATA6.octets()),
        ),
    ]
}

fn loopback4(at: Source) -> Vec<Expr> {
    vec![
        load(at, 0),
        bits(0, &[255, 0, 0, 0]),
        Expr::is(0, [127, 0, 0, 0]),
    ]
}

fn publish() -> Lines {
    let port = |at: u8| vec![Expr::meta(libc::NFT_META_L4PROTO, at), load(DPORT, at + 1)];
    let dnat = |set: &str, v6: bool| {
        let port = if v6 { 4 } else { 1 };
        vec![
            Expr::Map {
                register: 0,
                set: set.into(),
                to: 0,
            },
            Expr::Dnat {
                v6,
                address: 0,
                port,
            },
        ]
    };
    vec![
        (
            "ports of one address",
            vec![
                v4(),
                vec![load(DADDR4, 0)],
                port(1),
                dnat("published4_at", false),
            ],
        ),
        (
            "ports of every address",
            vec![v4(), port(0), dnat("published4", false)],
        ),
        (
            "ports of one address",
            vec![
                v6(),
                vec![load(DADDR6, 0)],
                port(4),
                dnat("published6_at", true),
            ],
        ),
        (
            "ports of every address",
            vec![v6(), port(0), dnat("published6", true)],
        ),
    ]
}

fn input() -> Lines {
    let gateway = |v6: bool| at_home(v6, if v6 { DADDR6 } else { DADDR4 }, libc::NFT_META_IIFNAME);
    let services = || {
        vec![
            Expr::meta(libc::NFT_META_L4PROTO, 0),
            load(DPORT, 1),
            lookup("services", false),
        ]
    };
    vec![
        ("answers", vec![ct_state(ESTABLISHED | RELATED), accept()]),
        (
            "not from a container",
            vec![not_incoming("bridges"), accept()],
        ),
        ("neighbour discovery", vec![icmp6(130, 137), accept()]),
        ("names", vec![gateway(false), services(), accept()]),
        ("names", vec![gateway(true), services(), accept()]),
        ("internal: no way out", vec![incoming("internal"), drop()]),
        ("the address of the bridge", vec![gateway(false), accept()]),
        ("the address of the bridge", vec![gateway(true), accept()]),
        ("egress list", vec![egress(false, DADDR4), drop()]),
        ("egress list", vec![egress(true, DADDR6), drop()]),
    ]
}

fn forward() -> Lines {
    let dialled4 = Source::Ct(libc::NFT_CT_DST_IP as u32, Some(0));
    let dialled6 = Source::Ct(libc::NFT_CT_DST_IP6 as u32, Some(0));
    vec![
        ("answers", vec![ct_state(ESTABLISHED | RELATED), accept()]),
        ("inside one network", vec![inside(false), accept()]),
        ("internal: no way out", vec![incoming("internal"), drop()]),
        ("internal: no way in", vec![outgoing("internal"), drop()]),
        // What connection tracking does not know would leave with the container's own address.
        (
            "of no connection",
            vec![incoming("bridges"), ct_state(INVALID | UNTRACKED), drop()],
        ),
        ("egress list", vec![egress(false, dialled4), drop()]),
        ("egress list", vec![egress(true, dialled6), drop()]),
        (
            "published ports",
            vec![outgoing("bridges"), redirected(), accept()],
        ),
        ("no other way in", vec![outgoing("bridges"), drop()]),
    ]
}

fn postrouting() -> Lines {
    let masquerade = || vec![Expr::Masquerade];
    let hairpin = |v6: bool| at_home(v6, if v6 { SADDR6 } else { SADDR4 }, libc::NFT_META_OIFNAME);
    vec![
        (
            "from 127.0.0.1 to a container",
            vec![v4(), loopback4(SADDR4), outgoing("bridges"), masquerade()],
        ),
        (
            "from ::1 to a container",
            vec![
                v6(),
                vec![load(SADDR6, 0), Expr::is(0, Ipv6Addr::LOCALHOST.octets())],
                outgoing("bridges"),
                masquerade(),
            ],
        ),
        // The answer would go to the sender directly, which knows nothing of this connection. By
        // address: for a frame inside a bridge this hook is not told where it came from.
        (
            "back into the same network",
            vec![redirected(), hairpin(false), masquerade()],
        ),
        (
            "back into the same network",
            vec![redirected(), hairpin(true), masquerade()],
        ),
        ("out", vec![incoming("bridges"), inside(true), masquerade()]),
    ]
}

/// What a container's port of the bridge may send: only what comes from its own addresses.
fn sources() -> Lines {
    // Hardware Ethernet, protocol IPv4, and their lengths: only then the address is where it is
    // looked for.
    let arp_header = Source::Payload(libc::NFT_PAYLOAD_NETWORK_HEADER as u32, 0, 6);
    let arp_sender = Source::Payload(libc::NFT_PAYLOAD_NETWORK_HEADER as u32, 14, 4);
    let ip4 = vec![
        ethernet(libc::ETH_P_IP),
        own(SADDR4, "sources4", false),
        accept(),
    ];
    let arp = vec![
        ethernet(libc::ETH_P_ARP),
        vec![load(arp_header, 0), Expr::is(0, [0, 1, 8, 0, 6, 4])],
        own(arp_sender, "sources4", false),
        accept(),
    ];
    let mut lines = vec![
        ("own address", ip4),
        ("not a container's", vec![not_incoming("ports"), accept()]),
        ("own address", arp),
    ];
    lines.extend(sources6());
    lines.push(("not its own address", vec![drop()]));
    lines
}

fn sources6() -> Lines {
    let ip6 = || ethernet(libc::ETH_P_IPV6);
    let link_local = |at: Source, operator| {
        let (mut mask, mut value) = ([0; 16], [0; 16]);
        mask[..2].copy_from_slice(&[0xff, 0xc0]);
        value[..2].copy_from_slice(&[0xfe, 0x80]);
        let value = value.to_vec();
        vec![
            load(at, 0),
            bits(0, &mask),
            Expr::Compare {
                register: 0,
                operator,
                value,
            },
        ]
    };
    let target = Source::Payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER as u32, 8, 16);
    let neighbour = vec![
        ip6(),
        icmp6(136, 136),
        link_local(target.clone(), Operator::Neq),
        own(target, "sources6", true),
        drop(),
    ];
    let duplicate = vec![
        ip6(),
        vec![load(SADDR6, 0), Expr::is(0, Ipv6Addr::UNSPECIFIED.octets())],
        vec![Expr::meta(libc::NFT_META_L4PROTO, 0), Expr::is(0, [58])],
        accept(),
    ];
    vec![
        (
            "a container is no router",
            vec![ip6(), icmp6(134, 134), drop()],
        ),
        (
            "a container is no router",
            vec![ip6(), icmp6(137, 137), drop()],
        ),
        // Sent by each container that starts, to every port, and nobody keeps account of it: the bridge floods
        // multicast in any case.
        (
            "who listens to multicast",
            vec![ip6(), icmp6(143, 143), drop()],
        ),
        ("neighbour of another's address", neighbour),
        (
            "own address",
            vec![ip6(), own(SADDR6, "sources6", false), accept()],
        ),
        (
            "link-local",
            vec![ip6(), link_local(SADDR6, Operator::Eq), accept()],
        ),
        ("looking for a duplicate of its address", duplicate),
    ]
}
