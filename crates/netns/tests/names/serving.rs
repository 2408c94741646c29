//! Answers about names of the network.

use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use netns::{HostResolv, Hosts, Limits, RESOLVER, ResolvConf, Sockets};
use simple_dns::{RCODE, TYPE};

use crate::client::{answers, ask, ask_tcp, code, query, receive, socket};
use crate::namespaces::{enter_new_network, in_namespaces};
use crate::upstream::{Upstream, good};
use crate::world::World;

#[test]
fn names_are_answered_over_udp_and_tcp() {
    let world = World::new();
    let server = world.serve(Vec::new(), Limits::default());
    let queries = [
        ("web", TYPE::A, "10.1.2.3"),
        ("www.ctr.internal", TYPE::AAAA, "fd00::3"),
        ("3.2.1.10.in-addr.arpa", TYPE::PTR, "web.ctr.internal"),
    ];
    for (name, kind, answer) in queries {
        let reply = ask(server.address, &query(7, name, kind));
        assert_eq!(
            (&reply[..2], answers(&reply)),
            (&[0, 7][..], vec![answer.to_owned()])
        );
    }
    // Several on one connection, sent at once.
    let all = queries.map(|(name, kind, _)| query(8, name, kind));
    let replies = ask_tcp(server.address, &all);
    for (reply, (_, _, answer)) in replies.iter().zip(queries) {
        assert_eq!(answers(reply), [answer]);
    }
    let elsewhere = ask(server.address, &query(9, "example.com", TYPE::A));
    assert_eq!(
        code(&elsewhere),
        RCODE::Refused,
        "no upstream servers, no way out"
    );
}

#[test]
fn the_libc_resolves_names_through_a_server_outside_the_namespace() {
    in_namespaces(
        "serving::the_libc_resolves_names_through_a_server_outside_the_namespace",
        || {
            // This process is the container; a thread is the host.
            netns::bring_up().expect("lo");
            let netns = std::fs::File::open("/proc/self/ns/net").expect("netns");
            let (ready, is_ready) = channel();
            std::thread::spawn(move || {
                enter_new_network();
                let world = World::new();
                let upstream = Upstream::start(good);
                let address = (RESOLVER, 53).into();
                let sockets = Sockets::bind_in(netns.as_fd(), address).expect("bind_in");
                let upstreams = vec![upstream.address];
                let server = world.serve_on(sockets, upstreams, Limits::default());
                ready.send(()).expect("test");
                std::thread::sleep(Duration::from_secs(60));
                drop(server);
            });
            is_ready
                .recv_timeout(Duration::from_secs(10))
                .expect("server");

            let directory = tempfile::tempdir().expect("tempdir");
            let host = HostResolv::parse(b"nameserver 127.0.0.53\n");
            let conf = ResolvConf::with_server(&host).to_text().expect("text");
            for (file, text) in [("resolv.conf", conf), ("hosts", Hosts::new().to_text())] {
                let ours = directory.path().join(file);
                std::fs::write(&ours, text).expect(file);
                let theirs = std::path::Path::new("/etc").join(file);
                rustix::mount::mount_bind(&ours, &theirs).expect(file);
            }
            let resolve = |name: &str| {
                let addresses = (name, 80).to_socket_addrs().expect(name);
                let mut addresses: Vec<_> = addresses.map(|a| a.ip().to_string()).collect();
                addresses.sort();
                addresses.dedup();
                addresses
            };
            for name in ["web", "www", "web.ctr.internal"] {
                assert_eq!(resolve(name), ["10.1.2.3", "fd00::3"], "{name}");
            }
            assert!(resolve("localhost").contains(&"127.0.0.1".to_owned()));
            assert_eq!(resolve("example.com"), ["192.0.2.1"]);
            assert!(("nobody.ctr.internal", 80).to_socket_addrs().is_err());
        },
    );
}

#[test]
fn ten_thousand_queries_are_answered_while_names_come_and_go() {
    let world = World::new();
    let server = world.serve(Vec::new(), Limits::default());
    let over = AtomicBool::new(false);
    let (world, over) = (&world, &over);
    std::thread::scope(|scope| {
        for thread in 0..2u16 {
            scope.spawn(move || {
                let zone = world.zone();
                let mut n = 0u16;
                while !over.load(Ordering::Relaxed) {
                    n = (n + 1) % 50;
                    let number = 100 + thread * 50 + n;
                    let name = format!("c{number}");
                    let published = world
                        .publish(&name, number, &[&format!("{name}-alias")])
                        .expect("publish");
                    zone.withdraw(&published).expect("withdraw");
                }
            });
        }
        let socket = socket(server.address);
        for n in 0..10_000u16 {
            let name = ["web", "www", "web.ctr.internal"][usize::from(n % 3)];
            socket.send(&query(n, name, TYPE::A)).expect("send");
            let reply = receive(&socket);
            assert_eq!(reply[..2], n.to_be_bytes());
            assert_eq!(answers(&reply), ["10.1.2.3"], "query {n}");
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn noise_is_survived_and_bounded() {
    let world = World::new();
    let server = world.serve(Vec::new(), Limits::default());
    let noisy = socket(server.address);
    for n in 0..500usize {
        let noise: Vec<u8> = (0..n * 7 % 3000).map(|i| (i * n % 251) as u8).collect();
        let _ = noisy.send(&noise);
    }
    // More connections than may be, and one that announces what it never sends.
    let idle: Vec<_> = (0..40)
        .map(|_| std::net::TcpStream::connect(server.address).expect("connect"))
        .collect();
    for (mut stream, length) in idle.iter().zip([[0xff, 0xff], [0, 0], [0, 40]]) {
        let _ = std::io::Write::write_all(&mut stream, &length);
    }
    let reply = ask(server.address, &query(1, "web", TYPE::A));
    assert_eq!(answers(&reply), ["10.1.2.3"]);
    let reply = ask_tcp(server.address, &[query(1, "web", TYPE::A)]);
    assert_eq!(answers(&reply[0]), ["10.1.2.3"]);
}

#[test]
fn nothing_wakes_up_while_nobody_asks() {
    // For a process without the servers of other tests.
    in_namespaces("serving::nothing_wakes_up_while_nobody_asks", || {
        netns::bring_up().expect("lo");
        let world = World::new();
        let upstream = Upstream::start(good);
        let server = world.serve(vec![upstream.address], Limits::default());
        // Also after it had work of every kind.
        ask(server.address, &query(1, "web", TYPE::A));
        ask(server.address, &query(1, "example.com", TYPE::A));
        ask_tcp(server.address, &[query(1, "example.com", TYPE::A)]);
        std::thread::sleep(Duration::from_millis(50));
        let before = wakeups();
        assert_eq!(before.len(), 1, "{before:?}");
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(wakeups(), before);
    });
}

/// How often the thread called `dns` went to sleep.
fn wakeups() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").expect("task") {
        let task = task.expect("task").path();
        let status = std::fs::read_to_string(task.join("status")).unwrap_or_default();
        let line = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key));
            line.unwrap_or_default().to_owned()
        };
        if line("Name:").ends_with("dns") {
            all.push((task.display().to_string(), line("voluntary_ctxt")));
        }
    }
    all
}

#[test]
fn a_port_that_is_taken_or_an_address_that_is_not_there_says_so() {
    let taken = Sockets::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("bind");
    let error = Sockets::bind(taken.address()).expect_err("taken");
    assert_eq!(error.errno(), Some(rustix::io::Errno::ADDRINUSE));
    assert!(error.hint().expect("hint").contains("listens"), "{error}");
    let foreign: SocketAddr = "192.0.2.1:0".parse().expect("address");
    let error = Sockets::bind(foreign).expect_err("not here");
    assert_eq!(error.errno(), Some(rustix::io::Errno::ADDRNOTAVAIL));
}

#[test]
fn without_descriptors_tcp_clients_are_turned_away_and_udp_goes_on() {
    // For a limit of its own.
    in_namespaces(
        "serving::without_descriptors_tcp_clients_are_turned_away_and_udp_goes_on",
        || {
            netns::bring_up().expect("lo");
            let world = World::new();
            let server = world.serve(Vec::new(), Limits::default());
            let udp = socket(server.address);
            let client = TcpStream::connect(server.address).expect("connect");
            let turned_away = || {
                // Every number is taken; the kernel connects by itself.
                let mut hoard = Vec::new();
                while let Ok(file) = std::fs::File::open("/dev/null") {
                    hoard.push(file);
                }
                hoard.pop();
                let mut client = TcpStream::connect(server.address).expect("connect");
                client
                    .set_read_timeout(Some(Duration::from_secs(5)))
                    .expect("timeout");
                let read = client.read(&mut [0]);
                assert!(
                    matches!(read, Ok(0)) || read.is_err_and(|e| e.kind() != ErrorKind::WouldBlock)
                );
                udp.send(&query(1, "web", TYPE::A)).expect("send");
                assert_eq!(answers(&receive(&udp)), ["10.1.2.3"]);
            };
            rustix::process::setrlimit(
                rustix::process::Resource::Nofile,
                rustix::process::Rlimit {
                    current: Some(64),
                    maximum: Some(64),
                },
            )
            .expect("setrlimit");
            turned_away();
            drop(client);
            let reply = ask_tcp(server.address, &[query(1, "web", TYPE::A)]);
            assert_eq!(answers(&reply[0]), ["10.1.2.3"]);
        },
    );
}
