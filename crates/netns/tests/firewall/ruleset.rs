//! The rules as a whole: mended, removed, many, in the way of others.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use netns::Error;
use netns::firewall::{Protocol, Way, blockers};
use netns::nft::{
    Base, Batch, Chain, Change, Expr, Family, Hook, Rule, Ruleset, Seen, Socket, Table, Verdict,
    Watch,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::seen;
use crate::world::{World, any, in_namespaces, prefix};

fn readable(watch: &Watch) -> bool {
    let mut fds = [PollFd::new(watch, PollFlags::IN)];
    let wait = Timespec {
        tv_sec: 0,
        tv_nsec: 50_000_000,
    };
    poll(&mut fds, Some(&wait)).expect("poll") == 1
}

#[test]
fn a_flush_is_noticed_and_healed_and_connections_go_on() {
    in_namespaces(
        "ruleset::a_flush_is_noticed_and_healed_and_connections_go_on",
        || {
            let mut world = World::new(false);
            world.network(1, |_| {});
            let mut watch = Watch::open().expect("watch");
            let web = world.container(1, 2, |endpoint| {
                endpoint.published = any(Protocol::Tcp, 8080, 80).to_vec();
            });
            // The start of a container is no news to the others.
            assert!(!readable(&watch));
            assert_eq!(watch.take().expect("take"), Seen::Nothing);
            // With more ports than the filter looks at it wakes, and is no news all the same.
            world.container(1, 3, |endpoint| {
                let ports = 9000..9100;
                let published = ports.flat_map(|port| any(Protocol::Tcp, port, 80));
                endpoint.published = published.collect();
            });
            assert!(readable(&watch));
            assert_eq!(watch.take().expect("take"), Seen::Nothing);

            let server = web.listen(80);
            let mut old = world.peer.dial("192.0.2.1:8080").expect("dial");
            let (mut accepted, _) = server.accept().expect("accept");

            let [inet, bridge] = world.firewall.tables().map(Table::clone);
            let flush = Batch {
                changes: vec![
                    Change::DeleteTable(inet.clone()),
                    Change::FlushTable(bridge.clone()),
                ],
            };
            world.socket.commit(&flush).expect("flush");
            assert!(readable(&watch));
            assert_eq!(
                watch.take().expect("take"),
                Seen::Changed(vec![inet, bridge])
            );
            assert!(!readable(&watch), "everything was taken");
            let differences = world.differences();
            assert!(
                differences.contains(&"missing: table inet ctr".into()),
                "{differences:?}"
            );
            assert!(
                differences
                    .iter()
                    .any(|line| line.starts_with("missing: rule bridge ctr sources")),
                "{differences:?}"
            );
            let error = world
                .peer
                .dial("192.0.2.1:8080")
                .map(drop)
                .expect_err("flushed");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

            world.heal();
            assert_eq!(world.differences(), Vec::<String>::new());
            // Healing what is well changes nothing, either.
            world.heal();
            assert_eq!(world.differences(), Vec::<String>::new());
            old.write_all(b"still").expect("write");
            let mut buffer = [0; 5];
            accepted.read_exact(&mut buffer).expect("read");
            drop(accepted);
            seen(
                &server,
                world.peer.dial("192.0.2.1:8080"),
                "192.0.2.2",
                "healed",
            );
        },
    );
}

#[test]
fn what_was_added_is_removed_without_a_trace_and_twice() {
    in_namespaces(
        "ruleset::what_was_added_is_removed_without_a_trace_and_twice",
        || {
            let mut world = World::new(false);
            world.network(1, |_| {});
            world.container(1, 2, |endpoint| {
                endpoint.egress = Some(vec![prefix("0.0.0.0/0"), prefix("192.0.2.0/24")]);
                endpoint.published = any(Protocol::Tcp, 8080, 80).to_vec();
            });
            assert_eq!(world.differences(), Vec::<String>::new());
            let endpoint = world.endpoints.pop().expect("endpoint");
            let network = world.networks.pop().expect("network");
            let endpoint = world.firewall.remove_endpoint(&endpoint).expect("batch");
            let network = world.firewall.remove_network(&network).expect("batch");
            for batch in [&endpoint, &network, &endpoint, &network] {
                world.socket.commit_removal(batch).expect("remove");
                // The empty tables differ from nothing but the network that is still there.
            }
            assert_eq!(world.differences(), Vec::<String>::new());
            // The base again does no harm, and does not double the rules.
            let base = world.firewall.base();
            world.socket.commit(&base).expect("base");
            assert_eq!(world.differences(), Vec::<String>::new());
            let remove = world.firewall.remove();
            world.socket.commit(&remove).expect("remove");
            world.socket.commit(&remove).expect("again");
            assert!(
                Ruleset::read(&mut world.socket)
                    .expect("read")
                    .tables
                    .is_empty()
            );
        },
    );
}

#[test]
fn one_more_of_a_thousand_ports_costs_what_the_first_did() {
    in_namespaces(
        "ruleset::one_more_of_a_thousand_ports_costs_what_the_first_did",
        || {
            let mut world = World::new(false);
            let mut socket = Socket::open().expect("socket");
            let mut endpoint = None;
            world.network(1, |_| {});
            world.container(1, 2, |new| endpoint = Some(new.clone()));
            let mut endpoint = endpoint.expect("endpoint");
            let mut add = |socket: &mut Socket, ports: std::ops::Range<u16>| {
                let mut times: Vec<Duration> = ports
                    .map(|port| {
                        endpoint.published = any(Protocol::Tcp, port, 80)[..1].to_vec();
                        let batch = world.firewall.add_endpoint(&endpoint).expect("batch");
                        let start = Instant::now();
                        socket.commit(&batch).expect("commit");
                        start.elapsed()
                    })
                    .collect();
                times.sort();
                times[times.len() / 2]
            };
            let first = add(&mut socket, 1000..1100);
            add(&mut socket, 1100..2000);
            let last = add(&mut socket, 2000..2100);
            assert!(last < first * 2, "{first:?}, then {last:?}");
        },
    );
}

#[test]
fn a_thousand_ports_are_healed_in_one_batch() {
    in_namespaces("ruleset::a_thousand_ports_are_healed_in_one_batch", || {
        let mut world = World::new(false);
        world.network(1, |_| {});
        world.container(1, 2, |_| {});
        world.endpoints[0].published = (1000..2000)
            .flat_map(|port| any(Protocol::Tcp, port, 80))
            .collect();
        world.heal();
        assert_eq!(world.differences(), Vec::<String>::new());
    });
}

#[test]
fn an_error_names_the_port_that_is_taken_and_the_object_that_is_missing() {
    in_namespaces(
        "ruleset::an_error_names_the_port_that_is_taken_and_the_object_that_is_missing",
        || {
            let mut world = World::new(false);
            world.network(1, |_| {});
            world.container(1, 2, |endpoint| {
                endpoint.published = any(Protocol::Tcp, 8080, 80).to_vec();
            });
            let mut second = world.endpoints[0].clone();
            second.veth = "other".into();
            second.v4 = Some([10, 1, 0, 3].into());
            second.v6 = None;
            second.published = [8079, 8080, 8081]
                .map(|port| any(Protocol::Tcp, port, 80)[0])
                .to_vec();
            let batch = world.firewall.add_endpoint(&second).expect("batch");
            let error = world.socket.commit(&batch).expect_err("8080 is taken");
            let errno = error.errno().expect("errno");
            assert!([Errno::EXIST, Errno::BUSY].contains(&errno), "{errno}");
            let text = error.to_string();
            assert_eq!(
                text,
                "nftables: add element inet ctr published4 { tcp . 8080 : 10.1.0.3 . 80 }"
            );
            assert!(
                error.hint().expect("hint").contains("another container"),
                "{error}"
            );
            assert_eq!(
                world.differences(),
                Vec::<String>::new(),
                "nothing of it was done"
            );

            let rule = Rule {
                table: world.firewall.tables()[0].clone(),
                chain: "nowhere".into(),
                expressions: vec![Expr::Counter, Expr::Verdict(Verdict::Drop)],
                comment: None,
            };
            let batch = Batch {
                changes: vec![Change::AddRule(rule)],
            };
            let error = world.socket.commit(&batch).expect_err("no such chain");
            assert_eq!(error.errno(), Some(Errno::NOENT));
            assert_eq!(
                error.to_string(),
                "nftables: add rule inet ctr nowhere counter drop"
            );
            assert!(matches!(error, Error::Change { index: 0, .. }), "{error:?}");
        },
    );
}

/// `table ip filter` with Docker's `FORWARD`, as iptables-nft makes it.
fn docker(world: &mut World, rules: Vec<Vec<Expr>>) {
    let table = Table {
        family: Family::Ip,
        name: "filter".into(),
    };
    let chain = Chain {
        table: table.clone(),
        name: "FORWARD".into(),
        base: Some(Base {
            kind: "filter".into(),
            hook: Hook::Forward,
            priority: 0,
            drop: true,
        }),
    };
    let mut changes = vec![Change::AddTable(table.clone()), Change::AddChain(chain)];
    changes.extend(rules.into_iter().map(|expressions| {
        let chain = "FORWARD".into();
        Change::AddRule(Rule {
            table: table.clone(),
            chain,
            expressions,
            comment: None,
        })
    }));
    world.socket.commit(&Batch { changes }).expect("docker");
}

#[test]
fn a_chain_of_others_that_stops_us_is_named() {
    in_namespaces("ruleset::a_chain_of_others_that_stops_us_is_named", || {
        let mut world = World::new(false);
        world.network(1, |_| {});
        let inside = world.container(1, 2, |_| {});
        let _server = world.peer.listen(443);
        let found = |world: &mut World| {
            let ruleset = Ruleset::read(&mut world.socket).expect("read");
            blockers(&world.firewall, &world.networks, Some("wan"), &ruleset)
        };
        assert_eq!(found(&mut world), []);
        drop(inside.dial("192.0.2.2:443").expect("nobody stops it"));

        docker(&mut world, Vec::new());
        let blockers = found(&mut world);
        inside.cannot("192.0.2.2:443");
        let ways: Vec<&Way> = blockers.iter().map(|blocker| &blocker.way).collect();
        assert_eq!(ways, [&Way::Out, &Way::In]);
        assert!(
            blockers
                .iter()
                .all(|blocker| blocker.certain && !blocker.v6)
        );
        assert_eq!(
            blockers[0].to_string(),
            "table ip filter, chain FORWARD (hook forward, priority 0): policy drop stops what \
             containers send to the world on \"ctr1\" over IPv4"
        );
    });
}
