//! What is told of a packet's way, and which chains of others are named: no kernel is asked.

use std::net::IpAddr;

use netns::firewall::{
    End, Endpoint, Firewall, From, HostAddress, Network, Prefix, Protocol, Published, Question,
    Trace, Way, blockers,
};
use netns::nft::{
    Base, Chain, Expr, Family, Hook, Operator, Rule, Ruleset, Source, Table, Verdict,
};

fn address(text: &str) -> IpAddr {
    text.parse().expect("address")
}

fn prefix(text: &str, length: u8) -> Prefix {
    Prefix {
        address: address(text),
        length,
    }
}

fn network(bridge: &str, v4: &str, v6: &str) -> Network {
    Network {
        bridge: bridge.into(),
        subnets: vec![prefix(v4, 24), prefix(v6, 64)],
        internal: false,
        metadata_allowed: false,
    }
}

fn networks() -> [Network; 3] {
    let mut closed = network("ctr2", "10.3.0.0", "fd00:3::");
    closed.internal = true;
    [
        network("ctr0", "10.1.0.0", "fd00:1::"),
        network("ctr1", "10.2.0.0", "fd00:2::"),
        closed,
    ]
}

fn endpoints() -> [Endpoint; 2] {
    let endpoint =
        |bridge: &str, v4: &str, v6: &str, addresses: &[HostAddress], host_port| Endpoint {
            bridge: bridge.into(),
            veth: format!("v{bridge}"),
            v4: v4.parse().ok(),
            v6: v6.parse().ok(),
            egress: None,
            published: addresses
                .iter()
                .map(|address| Published {
                    protocol: Protocol::Tcp,
                    address: *address,
                    host_port,
                    port: 80,
                })
                .collect(),
        };
    let any = [HostAddress::AnyV4, HostAddress::AnyV6];
    [
        endpoint("ctr0", "10.1.0.2", "fd00:1::2", &any, 8080),
        endpoint("ctr2", "10.3.0.2", "fd00:3::2", &any, 8082),
    ]
}

fn trace(from: From, to: &str, port: u16, others: &Ruleset) -> Trace {
    let question = Question {
        from,
        protocol: Protocol::Tcp,
        address: address(to),
        port,
        local: true,
        uplink: "eth0".into(),
    };
    Firewall::new("ctr")
        .and_then(|firewall| firewall.trace(&networks(), &endpoints(), others, &question))
        .expect("trace")
}

fn check(from: From, to: &str, port: u16, expected: &str) {
    let trace = trace(from, to, port, &Ruleset::default());
    assert_eq!(trace.to_string(), expected, "{to} {port}");
}

fn neighbour() -> From {
    From::Container {
        bridge: "ctr0".into(),
        address: address("10.1.0.3"),
    }
}

#[test]
fn each_hop_to_a_published_port_is_told() {
    check(
        From::Remote,
        "192.0.2.1",
        8080,
        "prerouting: inet ctr publish: meta nfproto ipv4 dnat ip to meta l4proto . th dport map @published4: goes to 10.1.0.2 port 80\n\
         forward: inet ctr forward: oifname @bridges ct status dnat accept: accepted\n\
         ends at: container at \"vctr0\", 10.1.0.2 port 80, which sees the sender's address\n",
    );
    check(
        From::Host,
        "127.0.0.1",
        8080,
        "output: inet ctr publish: meta nfproto ipv4 dnat ip to meta l4proto . th dport map @published4: goes to 10.1.0.2 port 80\n\
         postrouting: inet ctr postrouting: meta nfproto ipv4 ip saddr 127.0.0.0/8 oifname @bridges masquerade: gets the address of the outgoing interface\n\
         ends at: container at \"vctr0\", 10.1.0.2 port 80, which sees the bridge's address as the sender\n",
    );
    check(
        From::Host,
        "192.0.2.1",
        8080,
        "output: inet ctr publish: meta nfproto ipv4 dnat ip to meta l4proto . th dport map @published4: goes to 10.1.0.2 port 80\n\
         ends at: container at \"vctr0\", 10.1.0.2 port 80, which sees the sender's address\n",
    );
    check(
        neighbour(),
        "192.0.2.1",
        8080,
        "prerouting: inet ctr publish: meta nfproto ipv4 dnat ip to meta l4proto . th dport map @published4: goes to 10.1.0.2 port 80\n\
         forward: inet ctr forward: iifname . oifname @inside accept: accepted\n\
         postrouting: inet ctr postrouting: ct status dnat meta nfproto ipv4 ip saddr . oifname @home4 masquerade: gets the address of the outgoing interface\n\
         ends at: container at \"vctr0\", 10.1.0.2 port 80, which sees the bridge's address as the sender\n",
    );
}

#[test]
fn a_port_that_nobody_published_ends_at_this_host() {
    check(
        From::Remote,
        "192.0.2.1",
        8081,
        "input: inet ctr input: iifname != @bridges accept: accepted\n\
         ends at: this host itself: no container publishes the port on this address\n",
    );
    check(
        From::Host,
        "127.0.0.1",
        8081,
        "ends at: this host itself: no container publishes the port on this address\n",
    );
}

#[test]
fn what_is_dropped_is_told_with_the_rule_that_does_it() {
    check(
        From::Remote,
        "127.0.0.1",
        8080,
        "prerouting: inet ctr guard: meta nfproto ipv4 ip daddr 127.0.0.0/8 iifname != \"lo\" counter drop: dropped\n\
         ends at: dropped\n",
    );
    let closed = trace(From::Remote, "2001:db8::1", 8082, &Ruleset::default());
    assert_eq!(closed.end, End::Dropped);
    let last = closed.hops.last().expect("hop");
    assert_eq!(
        (last.hook, last.rule.as_str()),
        (Hook::Forward, "oifname @internal counter drop")
    );
}

#[test]
fn a_container_s_own_address_is_no_way_in_from_elsewhere() {
    let mut question = Question {
        from: From::Remote,
        protocol: Protocol::Tcp,
        address: address("10.1.0.2"),
        port: 80,
        local: false,
        uplink: "eth0".into(),
    };
    let firewall = Firewall::new("ctr").expect("name");
    let ask = |question: &Question| {
        firewall
            .trace(&networks(), &endpoints(), &Ruleset::default(), question)
            .expect("trace")
    };
    for from in [
        From::Remote,
        From::Container {
            bridge: "ctr1".into(),
            address: address("10.2.0.2"),
        },
    ] {
        question.from = from;
        let trace = ask(&question);
        assert_eq!(trace.end, End::Dropped);
        let last = trace.hops.last().expect("hop");
        assert_eq!(last.rule, "oifname @bridges counter drop");
    }
    question.from = neighbour();
    assert!(matches!(
        ask(&question).end,
        End::Container {
            masqueraded: false,
            ..
        }
    ));
    // The other way: out, and seen as this host.
    question.address = address("198.51.100.1");
    let trace = ask(&question);
    assert_eq!(trace.end, End::Elsewhere);
    let last = trace.hops.last().expect("hop");
    assert_eq!(
        last.rule,
        "iifname @bridges iifname . oifname != @inside masquerade"
    );
}

/// A chain of somebody else's with these rules.
fn others(hook: Hook, drop: bool, rules: Vec<Vec<Expr>>) -> Ruleset {
    let table = Table {
        family: Family::Ip,
        name: "filter".into(),
    };
    Ruleset {
        tables: vec![table.clone()],
        chains: vec![Chain {
            table: table.clone(),
            name: "CHAIN".into(),
            base: Some(Base {
                kind: "filter".into(),
                hook,
                priority: 0,
                drop,
            }),
        }],
        rules: rules
            .into_iter()
            .map(|expressions| Rule {
                table: table.clone(),
                chain: "CHAIN".into(),
                expressions,
                comment: None,
            })
            .collect(),
        sets: Vec::new(),
    }
}

/// `NFT_META_IIFNAME`, `NFT_META_OIFNAME`.
const IIFNAME: u32 = 6;
const OIFNAME: u32 = 7;

fn interface(key: u32, name: &str) -> Vec<Expr> {
    let mut value = name.as_bytes().to_vec();
    value.resize(16, 0);
    vec![
        Expr::Load {
            from: Source::Meta(key),
            to: 0,
        },
        Expr::Compare {
            register: 0,
            operator: Operator::Eq,
            value,
        },
    ]
}

fn then(mut expressions: Vec<Expr>, verdict: Verdict) -> Vec<Expr> {
    expressions.push(Expr::Verdict(verdict));
    expressions
}

fn found(ruleset: &Ruleset) -> Vec<(String, Way, bool)> {
    let firewall = Firewall::new("ctr").expect("name");
    blockers(&firewall, &networks(), Some("wan"), ruleset)
        .into_iter()
        .map(|blocker| (blocker.bridge, blocker.way, blocker.certain))
        .collect()
}

#[test]
fn a_policy_of_drop_blocks_unless_a_rule_lets_the_bridge_pass() {
    let ruleset = others(Hook::Forward, true, Vec::new());
    let all = |bridge: &str| {
        [
            (bridge.to_owned(), Way::Out, true),
            (bridge.to_owned(), Way::In, true),
        ]
    };
    // The internal network has neither way, so nothing can block it.
    assert_eq!(found(&ruleset), [all("ctr0"), all("ctr1")].concat());

    let allowed = others(
        Hook::Forward,
        true,
        vec![
            then(interface(IIFNAME, "ctr0"), Verdict::Accept),
            then(interface(OIFNAME, "ctr0"), Verdict::Accept),
        ],
    );
    assert_eq!(found(&allowed), all("ctr1"));

    // A match of xtables cannot be judged.
    let perhaps = Expr::Other("match".into(), Some("addrtype".into()));
    let perhaps = others(
        Hook::Forward,
        true,
        vec![vec![perhaps, Expr::Verdict(Verdict::Accept)]],
    );
    assert!(found(&perhaps).iter().all(|(_, _, certain)| !certain));
}

#[test]
fn a_rule_that_refuses_everything_of_a_bridge_is_named() {
    let ruleset = others(
        Hook::Input,
        false,
        vec![then(interface(IIFNAME, "ctr1"), Verdict::Drop)],
    );
    let firewall = Firewall::new("ctr").expect("name");
    let blockers = blockers(&firewall, &networks(), Some("wan"), &ruleset);
    assert_eq!(
        blockers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "table ip filter, chain CHAIN (hook input, priority 0): rule `iifname \"ctr1\" drop` \
          stops what containers send to this host on \"ctr1\" over IPv4"
        ]
    );
}

#[test]
fn a_trace_ends_at_somebody_else_s_chain_that_drops() {
    let ruleset = others(Hook::Forward, true, Vec::new());
    let trace = trace(From::Remote, "192.0.2.1", 8080, &ruleset);
    assert_eq!(trace.end, End::Dropped);
    assert_eq!(
        trace.hops.last().expect("hop").to_string(),
        "forward: ip filter CHAIN: policy drop: dropped"
    );
    let accepts = others(Hook::Forward, false, Vec::new());
    let trace = self::trace(From::Remote, "192.0.2.1", 8080, &accepts);
    assert!(matches!(trace.end, End::Container { .. }));
}
