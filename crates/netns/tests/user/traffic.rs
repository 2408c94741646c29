//! Packets: what was configured carries them, at once, and no faster than it may.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use netns::route::{
    Address, BitsPerSecond, BridgePort, Kind, NewLink, Peer, Prefix, Request, SetLink, Socket, Tbf,
};
use rustix::io::Errno;

use crate::inside::{Other, apply, link, name, not_tested, on_a_host};

/// Long enough for an emulated machine; what works takes microseconds.
const PATIENCE: Duration = Duration::from_secs(20);

fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}

/// A container on `ctr0`: the pair `v{number}`/`eth0`, with 10.90.0.{number} and fd00::{number}.
fn container(host: &mut Socket, number: u8) -> Other {
    let other = Other::new();
    let peer = Peer {
        netns: Some(other.netns()),
        ..Peer::new(name("eth0"))
    };
    let veth = NewLink {
        master: Some(link("ctr0")),
        up: true,
        ..NewLink::new(name(&format!("v{number}")), Kind::Veth(peer))
    };
    apply(host, &[Request::AddLink(veth)]);
    let address = |of: String, length| {
        Request::AddAddress(Address {
            link: link("eth0"),
            prefix: Prefix::new(ip(&of), length).expect("prefix"),
            nodad: true,
        })
    };
    apply(
        &mut other.socket(),
        &[
            address(format!("10.90.0.{number}"), 24),
            address(format!("fd00::{number}"), 64),
            Request::SetLink(SetLink::up(name("eth0"))),
        ],
    );
    other
}

fn host() -> Socket {
    let mut host = Socket::open().expect("socket");
    let bridge = NewLink {
        up: true,
        ..NewLink::new(
            name("ctr0"),
            Kind::Bridge {
                multicast_snooping: false,
            },
        )
    };
    apply(&mut host, &[Request::AddLink(bridge)]);
    host
}

#[test]
fn two_containers_on_a_bridge_talk_tcp_and_udp_over_both_families_without_waiting() {
    on_a_host(
        "traffic::two_containers_on_a_bridge_talk_tcp_and_udp_over_both_families_without_waiting",
        || {
            let mut host = host();
            let (one, two) = (container(&mut host, 2), container(&mut host, 3));
            for (from, to) in [("10.90.0.2", "10.90.0.3"), ("fd00::2", "fd00::3")] {
                let (from, to) = (SocketAddr::new(ip(from), 0), SocketAddr::new(ip(to), 80));
                // Bound to its address: a tentative one is EADDRNOTAVAIL.
                let listener = two.run(|| TcpListener::bind(to)).expect("listen");
                let caller = one.run(|| TcpStream::connect_timeout(&to, PATIENCE));
                let mut caller = caller.unwrap_or_else(|error| panic!("{to}: {error}"));
                let (mut called, address) = listener.accept().expect("accept");
                assert_eq!(address.ip(), from.ip());
                caller.write_all(b"tcp").expect("write");
                let mut said = [0; 3];
                called.read_exact(&mut said).expect("read");
                assert_eq!(&said, b"tcp");

                let receiver = two.run(|| UdpSocket::bind(to)).expect("bind");
                let sender = one.run(|| UdpSocket::bind(from)).expect("bind");
                receiver.set_read_timeout(Some(PATIENCE)).expect("timeout");
                sender.send_to(b"udp", to).expect("send");
                let (length, address) = receiver.recv_from(&mut said).expect("receive");
                assert_eq!((&said[..length], address.ip()), (&b"udp"[..], from.ip()));
            }
            let statistics = host.interface(&link("v2")).expect("v2").statistics;
            assert!(statistics.rx_packets >= 6, "{statistics:?}");
            assert!(statistics.tx_bytes > statistics.tx_packets * 14);
        },
    );
}

#[test]
fn isolated_ports_do_not_reach_each_other() {
    on_a_host("traffic::isolated_ports_do_not_reach_each_other", || {
        let mut host = host();
        let (one, two) = (container(&mut host, 2), container(&mut host, 3));
        let to = SocketAddr::new(ip("10.90.0.3"), 80);
        let _listener = two.run(|| TcpListener::bind(to)).expect("listen");
        one.run(|| TcpStream::connect_timeout(&to, PATIENCE))
            .expect("not isolated yet");
        let isolate = |port: &str| Request::SetBridgePort {
            link: link(port),
            port: BridgePort {
                isolated: Some(true),
                ..BridgePort::default()
            },
        };
        apply(&mut host, &[isolate("v2"), isolate("v3")]);
        let moment = Duration::from_millis(300);
        one.run(|| TcpStream::connect_timeout(&to, moment))
            .expect_err("isolated");
    });
}

#[test]
fn frames_go_by_the_entry_that_was_made_and_not_by_what_the_bridge_sees_later() {
    on_a_host(
        "traffic::frames_go_by_the_entry_that_was_made_and_not_by_what_the_bridge_sees_later",
        || {
            let mut host = host();
            let (one, two) = (container(&mut host, 2), container(&mut host, 3));
            let third = container(&mut host, 4);
            let of_two = two.socket().interface(&link("eth0")).expect("eth0").mac;
            let entry = Request::AddForwarding {
                port: link("v3"),
                mac: of_two.expect("Ethernet"),
            };
            // Replaces: no EEXIST.
            apply(&mut host, &[entry.clone(), entry]);
            let to = SocketAddr::new(ip("10.90.0.3"), 80);
            let _listener = two.run(|| TcpListener::bind(to)).expect("listen");
            // Or it would ask who has the address, and the answer would put a bridge right that learnt
            // the wrong thing.
            third
                .run(|| TcpStream::connect_timeout(&to, PATIENCE))
                .expect("now it knows the hardware address");
            let steal = SetLink {
                mac: of_two,
                ..SetLink::new(link("eth0"))
            };
            apply(&mut one.socket(), &[Request::SetLink(steal)]);
            let inbox = two.run(|| UdpSocket::bind("0.0.0.0:99")).expect("bind");
            inbox.set_read_timeout(Some(PATIENCE)).expect("timeout");
            let outbox = one.run(|| UdpSocket::bind("10.90.0.2:0")).expect("bind");
            outbox.set_broadcast(true).expect("SO_BROADCAST");
            outbox.send_to(b"x", "10.90.0.255:99").expect("send");
            inbox.recv_from(&mut [0]).expect("the bridge saw it");
            // By the first packet: the second one is sent after a second.
            let moment = Duration::from_millis(900);
            third
                .run(|| TcpStream::connect_timeout(&to, moment))
                .expect("not to the thief");
        },
    );
}

const RATE: BitsPerSecond = BitsPerSecond(40_000_000);

/// How long 5 MB take from one container to the other, as a part of what the rate allows.
fn part_of_the_rate(from: &Other, to: &Other, to_address: &str) -> f64 {
    const BYTES: usize = 5_000_000;
    let address = SocketAddr::new(ip(to_address), 80);
    let listener = to.run(|| TcpListener::bind(address)).expect("listen");
    let mut sender = from
        .run(|| TcpStream::connect_timeout(&address, PATIENCE))
        .expect("connect");
    let (mut receiver, _) = listener.accept().expect("accept");
    let began = Instant::now();
    let writer = std::thread::spawn(move || {
        let block = [7; 50_000];
        for _ in 0..BYTES / block.len() {
            sender.write_all(&block).expect("write");
        }
    });
    let mut received = 0;
    let mut buffer = [0; 65_536];
    while received < BYTES {
        match receiver.read(&mut buffer).expect("read") {
            0 => break,
            length => received += length,
        }
    }
    let took = began.elapsed().as_secs_f64();
    writer.join().expect("writer");
    assert_eq!(received, BYTES);
    BYTES as f64 * 8.0 / took / RATE.0 as f64
}

#[test]
fn a_token_bucket_at_each_end_of_a_pair_limits_both_directions_to_its_rate() {
    on_a_host(
        "traffic::a_token_bucket_at_each_end_of_a_pair_limits_both_directions_to_its_rate",
        || {
            let mut host = host();
            let (limited, free) = (container(&mut host, 2), container(&mut host, 3));
            let bucket = |of: &str| Request::AddTbf {
                link: link(of),
                tbf: Tbf::new(RATE),
            };
            let (near, far) = (bucket("v2"), bucket("eth0"));
            if let Err(error) = host.apply(std::slice::from_ref(&near)) {
                assert_eq!(error.errno(), Some(Errno::NOENT), "{error}");
                assert!(error.hint().is_some_and(|hint| hint.contains("sch_tbf")));
                return not_tested("tbf");
            }
            apply(&mut limited.socket(), std::slice::from_ref(&far));
            for part in [
                part_of_the_rate(&free, &limited, "10.90.0.2"),
                part_of_the_rate(&limited, &free, "10.90.0.3"),
            ] {
                assert!((0.9..1.1).contains(&part), "{part}");
            }
            apply(&mut host, &[near.undo().expect("undo")]);
            let part = part_of_the_rate(&free, &limited, "10.90.0.2");
            assert!(part > 1.3, "{part} without a bucket");
        },
    );
}

#[test]
fn an_ifb_limits_what_a_container_sends_out_of_its_reach() {
    on_a_host(
        "traffic::an_ifb_limits_what_a_container_sends_out_of_its_reach",
        || {
            let mut host = host();
            let (limited, free) = (container(&mut host, 2), container(&mut host, 3));
            let ifb = NewLink {
                up: true,
                ..NewLink::new(name("ifb2"), Kind::Ifb)
            };
            let wanted = [
                Request::AddLink(ifb),
                Request::AddTbf {
                    link: link("ifb2"),
                    tbf: Tbf::new(RATE),
                },
                Request::AddClsact(link("v2")),
                Request::Redirect {
                    from: link("v2"),
                    to: link("ifb2"),
                },
            ];
            if let Err(error) = host.apply(&wanted) {
                assert!(
                    error.hint().is_some_and(|hint| hint.contains("CONFIG_")),
                    "{error}"
                );
                return not_tested("ifb");
            }
            let part = part_of_the_rate(&limited, &free, "10.90.0.3");
            assert!((0.9..1.1).contains(&part), "{part}");
            let back: Vec<_> = wanted.iter().rev().filter_map(Request::undo).collect();
            assert_eq!(back.len(), 3);
            apply(&mut host, &back);
            let part = part_of_the_rate(&limited, &free, "10.90.0.3");
            assert!(part > 1.3, "{part} without a bucket");
        },
    );
}
