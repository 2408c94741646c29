//! How long things take; generous bounds, for a busy machine. `--nocapture` shows the numbers.

use std::time::{Duration, Instant};

use netns::{Holder, Leases, Limits};
use simple_dns::TYPE;

use crate::client::{query, socket};
use crate::upstream::{Upstream, good};
use crate::world::{ALIVE, World};

/// The median of what `what` takes.
#[expect(clippy::print_stderr, reason = "the numbers are for a reader")]
fn median(name: &str, mut what: impl FnMut(u16)) -> Duration {
    let mut times: Vec<_> = (0..1000)
        .map(|n| {
            let began = Instant::now();
            what(n);
            began.elapsed()
        })
        .collect();
    times.sort();
    let median = times[times.len() / 2];
    eprintln!("{name}: median {median:?}, 99th of 100 {:?}", times[990]);
    median
}

#[test]
fn a_name_is_answered_at_once_whatever_the_number_of_names() {
    let world = World::new();
    let server = world.serve(Vec::new(), Limits::default());
    let socket = socket(server.address);
    let ask = |name: &str| {
        let question = query(1, "web", TYPE::A);
        let mut buffer = [0; 512];
        median(name, |_| {
            socket.send(&question).expect("send");
            socket.recv(&mut buffer).expect("answer");
        })
    };
    let few = ask("query, 1 name");
    for n in 0..250 {
        world
            .publish(&format!("c{n}"), 10 + n, &[])
            .expect("publish");
    }
    let many = ask("query, 251 names");
    assert!(few < Duration::from_millis(2), "{few:?}");
    assert!(many < Duration::from_millis(2), "{many:?}");
}

#[test]
#[expect(clippy::print_stderr, reason = "the numbers are for a reader")]
fn many_queries_at_once_are_answered_one_and_all() {
    let world = World::new();
    let server = world.serve(Vec::new(), Limits::default());
    let socket = socket(server.address);
    let mut question = query(0, "web", TYPE::A);
    let mut buffer = [0; 512];
    let mut seen = vec![false; 50_000];
    let mut sent = 0u16;
    let began = Instant::now();
    for received in 0..50_000u16 {
        // Thirty-two are on their way.
        while sent < 50_000 && sent < received.saturating_add(32) {
            question[..2].copy_from_slice(&sent.to_be_bytes());
            socket.send(&question).expect("send");
            sent += 1;
        }
        socket.recv(&mut buffer).expect("answer");
        let id = u16::from_be_bytes([buffer[0], buffer[1]]);
        assert!(!std::mem::replace(&mut seen[usize::from(id)], true), "{id}");
    }
    let rate = 50_000.0 / began.elapsed().as_secs_f64();
    eprintln!("{rate:.0} queries per second, one client with 32 at once");
}

#[test]
fn a_query_that_is_forwarded_costs_little_more_than_the_upstream_server() {
    let world = World::new();
    let upstream = Upstream::start(good);
    let server = world.serve(vec![upstream.address], Limits::default());
    let ask = |name: &str, address| {
        let socket = socket(address);
        let question = query(1, "example.com", TYPE::A);
        let mut buffer = [0; 512];
        median(name, |_| {
            socket.send(&question).expect("send");
            socket.recv(&mut buffer).expect("answer");
        })
    };
    let direct = ask("upstream server itself", upstream.address);
    let forwarded = ask("by way of the server", server.address);
    assert!(
        forwarded < direct + Duration::from_millis(2),
        "{forwarded:?}"
    );
}

#[test]
fn a_lease_costs_little_on_a_full_network() {
    let directory = tempfile::tempdir().expect("tempdir");
    let nets = ["10.1.2.0/24", "fd00::/64"].map(|net| net.parse().expect(net));
    let subnets = netns::Subnets::new(&nets).expect("subnets");
    let leases = Leases::open(&directory.path().join("leases"), subnets).expect("open");
    let take_and_release = |name: &str| {
        median(name, |n| {
            let holder = Holder::new(&format!("x{n}"), "1").expect("holder");
            let lease = leases.lease(&holder, None, ALIVE).expect("lease");
            leases.release(&lease).expect("release");
        })
    };
    let empty = take_and_release("lease and release, none held");
    for n in 0..250 {
        let holder = Holder::new(&format!("c{n}"), "1").expect("holder");
        leases.lease(&holder, None, ALIVE).expect("lease");
    }
    let full = take_and_release("lease and release, 250 held");
    assert!(empty < Duration::from_millis(5), "{empty:?}");
    assert!(full < Duration::from_millis(20), "{full:?}");
}
