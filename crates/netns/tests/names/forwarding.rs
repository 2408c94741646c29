//! Questions for upstream servers.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use netns::{Limits, Sockets};
use simple_dns::{RCODE, TYPE};

use crate::client::{answers, ask, ask_tcp, code, query, receive, socket, with_edns};
use crate::upstream::{self, Upstream};
use crate::world::World;

fn hasty() -> Limits {
    Limits {
        patience: Duration::from_millis(400),
        ..Limits::default()
    }
}

#[test]
fn a_query_goes_upstream_as_it_is_with_an_id_and_a_port_of_its_own() {
    let world = World::new();
    let upstream = Upstream::start(upstream::good);
    let server = world.serve(vec![upstream.address], Limits::default());
    for n in 0..50 {
        let sent = with_edns(n, &format!("HoSt{n}.Example"), TYPE::A, Some(1400));
        let reply = ask(server.address, &sent);
        assert_eq!(reply[..2], sent[..2]);
        assert_eq!(answers(&reply), ["192.0.2.1"]);
        let seen = upstream.seen.lock().expect("lock");
        assert_eq!(seen[usize::from(n)].0[2..], sent[2..], "all but the id");
    }
    let seen = upstream.seen.lock().expect("lock");
    let ids: HashSet<_> = seen.iter().map(|(query, _)| query[..2].to_vec()).collect();
    let ports: HashSet<_> = seen.iter().map(|(_, peer)| peer.port()).collect();
    assert!(
        ids.len() > 45 && ports.len() > 40,
        "{} {}",
        ids.len(),
        ports.len()
    );
}

#[test]
fn equal_questions_are_asked_once_and_everybody_is_answered() {
    let world = World::new();
    let upstream = Upstream::start(upstream::slow);
    let server = world.serve(vec![upstream.address], Limits::default());
    let clients: Vec<_> = (0..20).map(|_| socket(server.address)).collect();
    for (n, client) in (0..).zip(&clients) {
        client
            .send(&query(n, "example.com", TYPE::A))
            .expect("send");
    }
    for (n, client) in (0u16..).zip(&clients) {
        let reply = receive(client);
        assert_eq!(
            (&reply[..2], answers(&reply)),
            (&n.to_be_bytes()[..], vec!["192.0.2.1".into()])
        );
    }
    assert_eq!(upstream.count(), 1);
}

#[test]
fn a_large_answer_is_truncated_and_then_comes_over_tcp() {
    let world = World::new();
    let upstream = Upstream::start(upstream::large);
    let server = world.serve(vec![upstream.address], Limits::default());
    let sent = query(1, "large.example", TYPE::A);
    let reply = ask(server.address, &sent);
    assert_eq!(reply[2] & 0x02, 0x02, "truncated");
    let replies = ask_tcp(
        server.address,
        &[sent.clone(), query(2, "more.example", TYPE::A)],
    );
    assert_eq!(
        replies.iter().map(Vec::len).collect::<Vec<_>>(),
        [3000, 3000]
    );
    assert_eq!(replies[1][..2], [0, 2]);
}

#[test]
fn an_answer_longer_than_the_client_takes_is_truncated() {
    let world = World::new();
    let upstream = Upstream::start(upstream::careless);
    let server = world.serve(vec![upstream.address], Limits::default());
    let reply = ask(server.address, &query(1, "a.example", TYPE::A));
    assert!(reply.len() < 512 && reply[2] & 0x02 != 0, "{reply:?}");
    let reply = ask(
        server.address,
        &with_edns(1, "a.example", TYPE::A, Some(1232)),
    );
    assert_eq!(reply.len(), 700);
}

#[test]
fn a_dead_server_costs_one_client_a_moment_and_the_next_none() {
    let world = World::new();
    let silent = Upstream::start(upstream::silent);
    let good = Upstream::start(upstream::good);
    let upstreams = vec![silent.address, good.address];
    let server = world.serve(upstreams, hasty());
    let began = Instant::now();
    let reply = ask(server.address, &query(1, "a.example", TYPE::A));
    assert_eq!(answers(&reply), ["192.0.2.1"]);
    assert!(
        began.elapsed() >= Duration::from_millis(90),
        "{:?}",
        began.elapsed()
    );
    for n in 0..10 {
        let name = format!("b{n}.example");
        let reply = ask(server.address, &query(n, &name, TYPE::A));
        assert_eq!(answers(&reply), ["192.0.2.1"]);
    }
    assert_eq!(silent.count(), 1, "the one that answered is asked first");
}

#[test]
fn a_refused_port_and_a_servfail_are_followed_by_the_next_server_at_once() {
    let world = World::new();
    let broken = Upstream::start(upstream::broken);
    let good = Upstream::start(upstream::good);
    for tcp in [false, true] {
        let upstreams = vec![upstream::nobody(), broken.address, good.address];
        let server = world.serve(upstreams, Limits::default());
        let began = Instant::now();
        let sent = query(1, "a.example", TYPE::A);
        let reply = match tcp {
            true => ask_tcp(server.address, &[sent]).remove(0),
            false => ask(server.address, &sent),
        };
        assert_eq!(answers(&reply), ["192.0.2.1"]);
        assert!(began.elapsed() < Duration::from_secs(1));
    }
}

#[test]
fn when_nobody_answers_the_client_gets_servfail_in_time_and_the_caller_the_reasons() {
    let world = World::new();
    let silent = Upstream::start(upstream::silent);
    let server = world.serve(vec![silent.address, upstream::nobody()], hasty());
    for tcp in [false, true] {
        let began = Instant::now();
        let sent = query(1, "a.example", TYPE::A);
        let reply = match tcp {
            true => ask_tcp(server.address, &[sent]).remove(0),
            false => ask(server.address, &sent),
        };
        assert_eq!(code(&reply), RCODE::ServerFailure);
        assert!(began.elapsed() < Duration::from_secs(2));
        let said = server.next_event();
        assert!(said.contains("a.example."), "{said}");
        let silence = match tcp {
            true => "closed the connection",
            false => "did not answer in time",
        };
        assert!(said.contains(silence), "{said}");
        assert!(said.contains("Connection refused"), "{said}");
    }
    let broken = Upstream::start(upstream::broken);
    let server = world.serve(vec![broken.address], hasty());
    let reply = ask(server.address, &query(1, "a.example", TYPE::A));
    assert_eq!(code(&reply), RCODE::ServerFailure, "what it says itself");
}

#[test]
fn a_late_answer_to_an_early_try_counts() {
    let world = World::new();
    let slow = Upstream::start(upstream::slow);
    // 133 ms for each of three tries; it takes 150.
    let server = world.serve(vec![slow.address], hasty());
    let reply = ask(server.address, &query(1, "a.example", TYPE::A));
    assert_eq!(answers(&reply), ["192.0.2.1"]);
}

#[test]
fn a_flood_is_bounded_and_names_of_the_network_are_still_answered() {
    let world = World::new();
    let silent = Upstream::start(upstream::silent);
    let limits = Limits {
        patience: Duration::from_secs(3),
        ..Limits::default()
    };
    let server = world.serve(vec![silent.address], limits);
    let flood = socket(server.address);
    let before = descriptors();
    let mut refused = 0;
    for n in 0..1000u16 {
        let name = format!("{:x}.example", u32::from(n) * 0x9e37);
        flood.send(&query(n, &name, TYPE::A)).expect("send");
        if n >= 64 {
            assert_eq!(code(&receive(&flood)), RCODE::ServerFailure);
            refused += 1;
        }
        if n % 100 == 99 {
            let reply = ask(server.address, &query(1, "web", TYPE::A));
            assert_eq!(answers(&reply), ["10.1.2.3"]);
        }
    }
    assert_eq!(refused, 1000 - 64);
    // Other tests of this process have theirs.
    assert!(descriptors() < before + 400, "{} {before}", descriptors());
    assert!(server.next_event().contains("wait for upstream"));
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("fd").count()
}

#[test]
fn a_server_does_not_ask_itself() {
    let world = World::new();
    let sockets = Sockets::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("bind");
    let own = sockets.address();
    let server = world.serve_on(sockets, vec![own], Limits::default());
    assert!(server.next_event().contains("is this one"));
    let reply = ask(server.address, &query(1, "a.example", TYPE::A));
    assert_eq!(code(&reply), RCODE::ServerFailure);
}

#[test]
fn servers_that_ask_each_other_end_it() {
    let world = World::new();
    let sockets = || Sockets::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("bind");
    let (a, b) = (sockets(), sockets());
    let (a_address, b_address) = (a.address(), b.address());
    let a = world.serve_on(a, vec![b_address], hasty());
    let _b = world.serve_on(b, vec![a_address], hasty());
    let reply = ask(a.address, &query(1, "a.example", TYPE::A));
    assert_eq!(code(&reply), RCODE::ServerFailure);
    let reply = ask(a.address, &query(1, "web", TYPE::A));
    assert_eq!(answers(&reply), ["10.1.2.3"]);
}
