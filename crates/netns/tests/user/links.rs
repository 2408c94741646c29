//! Interfaces: each kind made, changed, moved, removed, and read back.

use netns::route::{
    BridgePort, Interface, IpvlanMode, Kind, Link, Mac, MacvlanMode, Master, Netns, NewLink, Peer,
    Request, SetLink, Socket,
};
use rustix::io::Errno;

use crate::inside::{Other, apply, link, name, not_tested, on_a_host};

const BRIDGE: Kind = Kind::Bridge {
    multicast_snooping: false,
};

fn bridge(of: &str) -> Request {
    Request::AddLink(NewLink {
        up: true,
        ..NewLink::new(name(of), BRIDGE)
    })
}

/// A pair whose other end is called `eth0` in `other`.
fn pair(of: &str, other: &Other) -> NewLink {
    let peer = Peer {
        netns: Some(other.netns()),
        ..Peer::new(name("eth0"))
    };
    NewLink::new(name(of), Kind::Veth(peer))
}

fn read(socket: &mut Socket, of: &str) -> Interface {
    socket.interface(&link(of)).expect(of)
}

#[test]
fn a_bridge_has_what_was_asked_for_and_its_undo_removes_it() {
    on_a_host(
        "links::a_bridge_has_what_was_asked_for_and_its_undo_removes_it",
        || {
            let mut socket = Socket::open().expect("socket");
            let mac = Mac([2, 0, 0, 0, 0, 7]);
            let made = Request::AddLink(NewLink {
                mtu: Some(1400),
                mac: Some(mac),
                up: true,
                ..NewLink::new(name("ctr0"), BRIDGE)
            });
            apply(&mut socket, std::slice::from_ref(&made));
            let found = read(&mut socket, "ctr0");
            assert_eq!(found.kind.as_deref(), Some("bridge"));
            assert_eq!((found.mtu, found.mac, found.up), (1400, Some(mac), true));
            assert_eq!(socket.index_of(&name("ctr0")).expect("index"), found.index);

            apply(&mut socket, &[made.undo().expect("undo")]);
            let names: Vec<_> = socket.interfaces().expect("list");
            assert_eq!(names.len(), 1, "{names:?}");
            assert_eq!((names[0].index, names[0].name.as_str()), (1, "lo"));
        },
    );
}

#[test]
fn a_veth_is_born_in_two_namespaces_by_one_message() {
    on_a_host(
        "links::a_veth_is_born_in_two_namespaces_by_one_message",
        || {
            let other = Other::new();
            let mut socket = Socket::open().expect("socket");
            let (near, far) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
            let peer = Peer {
                mtu: Some(1300),
                mac: Some(far),
                netns: Some(other.netns()),
                ..Peer::new(name("eth0"))
            };
            let veth = NewLink {
                mtu: Some(1300),
                mac: Some(near),
                master: Some(link("ctr0")),
                up: true,
                ..NewLink::new(name("ctrv1"), Kind::Veth(peer))
            };
            // The bridge's number is not known when the list is begun.
            apply(&mut socket, &[bridge("ctr0"), Request::AddLink(veth)]);
            let bridge = read(&mut socket, "ctr0").index;
            let host = read(&mut socket, "ctrv1");
            assert_eq!((host.mtu, host.mac, host.up), (1300, Some(near), true));
            assert_eq!((host.master, host.carrier), (Some(bridge), false));

            let mut inside = other.socket();
            let eth0 = read(&mut inside, "eth0");
            assert_eq!((eth0.mtu, eth0.mac, eth0.up), (1300, Some(far), false));
            assert_eq!(eth0.kind.as_deref(), Some("veth"));
            assert_eq!(eth0.lower, Some(host.index));
            apply(&mut inside, &[Request::SetLink(SetLink::up(name("eth0")))]);
            assert!(read(&mut socket, "ctrv1").carrier);
        },
    );
}

#[test]
fn the_peers_number_is_honoured_only_together_with_the_near_ends() {
    on_a_host(
        "links::the_peers_number_is_honoured_only_together_with_the_near_ends",
        || {
            let other = Other::new();
            let mut socket = Socket::open().expect("socket");
            let numbered = |near: Option<u32>, far: u32, of: &str, peer: &str| {
                let peer = Peer {
                    index: Some(far),
                    netns: Some(other.netns()),
                    ..Peer::new(name(peer))
                };
                Request::AddLink(NewLink {
                    index: near,
                    ..NewLink::new(name(of), Kind::Veth(peer))
                })
            };
            apply(
                &mut socket,
                &[
                    numbered(Some(5000), 77, "v0", "eth0"),
                    numbered(None, 78, "v1", "eth1"),
                    // No number needs to be looked up: all of this is one message.
                    Request::SetLink(SetLink::up(Link::Index(5000))),
                ],
            );
            assert_eq!(read(&mut socket, "v0").index, 5000);
            let mut inside = other.socket();
            assert_eq!(read(&mut inside, "eth0").index, 77);
            assert_ne!(read(&mut inside, "eth1").index, 78);

            let taken = socket
                .apply(&[numbered(Some(5000), 79, "v2", "eth2")])
                .expect_err("number in use");
            assert!(
                matches!(taken.errno(), Some(Errno::BUSY | Errno::EXIST)),
                "{taken:?}"
            );
        },
    );
}

#[test]
fn an_interface_is_changed_and_moved_under_a_new_name() {
    on_a_host(
        "links::an_interface_is_changed_and_moved_under_a_new_name",
        || {
            let other = Other::new();
            let mut socket = Socket::open().expect("socket");
            let peer = Peer::new(name("b0"));
            let veth = NewLink::new(name("a0"), Kind::Veth(peer));
            let mac = Mac([2, 0, 0, 0, 9, 9]);
            apply(
                &mut socket,
                &[
                    bridge("br0"),
                    Request::AddLink(veth),
                    Request::SetLink(SetLink {
                        up: Some(true),
                        mtu: Some(1280),
                        mac: Some(mac),
                        master: Master::Of(link("br0")),
                        ..SetLink::new(name("a0"))
                    }),
                ],
            );
            let a0 = read(&mut socket, "a0");
            let br0 = read(&mut socket, "br0").index;
            assert_eq!((a0.mtu, a0.mac, a0.up), (1280, Some(mac), true));
            assert_eq!(a0.master, Some(br0));

            let moved = SetLink {
                name: Some(name("eth7")),
                netns: Some(other.netns()),
                ..SetLink::new(name("b0"))
            };
            apply(
                &mut socket,
                &[
                    Request::SetLink(SetLink {
                        up: Some(false),
                        master: Master::None,
                        ..SetLink::new(name("a0"))
                    }),
                    Request::SetLink(SetLink {
                        name: Some(name("a1")),
                        ..SetLink::new(name("a0"))
                    }),
                    Request::SetLink(moved),
                ],
            );
            let a1 = read(&mut socket, "a1");
            assert_eq!((a1.index, a1.master, a1.up), (a0.index, None, false));
            assert!(socket.index_of(&name("b0")).is_err());
            assert_eq!(
                read(&mut other.socket(), "eth7").kind.as_deref(),
                Some("veth")
            );
        },
    );
}

#[test]
fn a_namespace_is_also_given_by_a_process() {
    on_a_host("links::a_namespace_is_also_given_by_a_process", || {
        let other = Other::new();
        let mut socket = other.socket();
        let peer = Peer {
            netns: Some(Netns::Pid(std::process::id())),
            ..Peer::new(name("eth0"))
        };
        apply(
            &mut socket,
            &[Request::AddLink(NewLink::new(name("v0"), Kind::Veth(peer)))],
        );
        let mut here = Socket::open().expect("socket");
        assert!(here.index_of(&name("eth0")).is_ok());
        let gone = Request::AddLink(NewLink {
            netns: Some(Netns::Pid(u32::MAX >> 1)),
            ..NewLink::new(name("br1"), BRIDGE)
        });
        let error = here.apply(&[gone]).expect_err("no such process");
        assert_eq!(error.errno(), Some(Errno::SRCH));
        assert!(error.hint().is_some_and(|hint| hint.contains("process")));
    });
}

#[test]
fn what_lies_on_another_interface_is_born_in_the_other_namespace() {
    on_a_host(
        "links::what_lies_on_another_interface_is_born_in_the_other_namespace",
        || {
            let lower = || link("low0");
            let macvlan = |mode| Kind::Macvlan {
                lower: lower(),
                mode,
            };
            let ipvlan = |mode| Kind::Ipvlan {
                lower: lower(),
                mode,
            };
            for kinds in [
                vec![Kind::Vlan {
                    lower: lower(),
                    id: 5,
                }],
                vec![
                    macvlan(MacvlanMode::Bridge),
                    macvlan(MacvlanMode::Private),
                    macvlan(MacvlanMode::Vepa),
                ],
                vec![macvlan(MacvlanMode::Passthru)],
                vec![ipvlan(IpvlanMode::L2)],
                vec![ipvlan(IpvlanMode::L3)],
                vec![ipvlan(IpvlanMode::L3s)],
                vec![Kind::Ifb],
            ] {
                // What goes with its namespace goes in the background: no interface is used twice.
                let (host, other) = (Other::new(), Other::new());
                let mut socket = host.socket();
                let pair = NewLink::new(name("low0"), Kind::Veth(Peer::new(name("low1"))));
                let up = Request::SetLink(SetLink::up(name("low0")));
                apply(&mut socket, &[Request::AddLink(pair), up]);
                for (number, kind) in kinds.iter().enumerate() {
                    born_in(&mut socket, &other, number, kind);
                }
            }
        },
    );
}

fn born_in(socket: &mut Socket, other: &Other, number: usize, kind: &Kind) {
    let eth = format!("eth{number}");
    let request = Request::AddLink(NewLink {
        netns: Some(other.netns()),
        ..NewLink::new(name(&eth), kind.clone())
    });
    match socket.apply(std::slice::from_ref(&request)) {
        Ok(()) => {
            let found = read(&mut other.socket(), &eth);
            assert_eq!(found.kind.as_deref(), Some(kind.name()), "{request}");
            let lower = socket.index_of(&name("low0")).expect("index");
            let on = (*kind != Kind::Ifb).then_some(lower);
            assert_eq!(found.lower, on, "{request}");
            assert!(socket.index_of(&name(&eth)).is_err());
        }
        Err(error) => {
            assert_eq!(error.errno(), Some(Errno::OPNOTSUPP), "{error}");
            let hint = error.hint().expect("hint");
            assert!(hint.contains("CONFIG_"), "{hint}");
            not_tested(kind.name());
        }
    }
}

#[test]
fn two_hundred_containers_fit_on_one_bridge() {
    on_a_host("links::two_hundred_containers_fit_on_one_bridge", || {
        let others: Vec<_> = (0..200).map(|_| Other::new()).collect();
        let mut socket = Socket::open().expect("socket");
        apply(&mut socket, &[bridge("ctr0")]);
        let pairs: Vec<_> = others
            .iter()
            .enumerate()
            .map(|(number, other)| {
                Request::AddLink(NewLink {
                    master: Some(link("ctr0")),
                    up: true,
                    ..pair(&format!("v{number}"), other)
                })
            })
            .collect();
        apply(&mut socket, &pairs);
        let master = Some(socket.index_of(&name("ctr0")).expect("index"));
        let all = socket.interfaces().expect("list");
        let ports = all.iter().filter(|one| one.master == master).count();
        assert_eq!((ports, all.len()), (200, 202));
        for other in others.iter().step_by(50) {
            assert!(other.socket().index_of(&name("eth0")).is_ok());
        }
    });
}

#[test]
fn an_interface_that_is_taken_by_another_kind_says_so() {
    on_a_host(
        "links::an_interface_that_is_taken_by_another_kind_says_so",
        || {
            let mut socket = Socket::open().expect("socket");
            let macvlan = Kind::Macvlan {
                lower: link("low0"),
                mode: MacvlanMode::Bridge,
            };
            apply(
                &mut socket,
                &[
                    bridge("br0"),
                    Request::AddLink(NewLink {
                        master: Some(link("br0")),
                        ..NewLink::new(name("low0"), Kind::Veth(Peer::new(name("low1"))))
                    }),
                ],
            );
            match socket.apply(&[Request::AddLink(NewLink::new(name("m0"), macvlan))]) {
                Err(error) if error.errno() == Some(Errno::BUSY) => {
                    assert!(error.hint().is_some_and(|hint| hint.contains("taken")));
                }
                Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => not_tested("macvlan"),
                other => panic!("{other:?}"),
            }
        },
    );
}

#[test]
fn only_a_port_of_a_bridge_takes_the_flags_of_one() {
    on_a_host(
        "links::only_a_port_of_a_bridge_takes_the_flags_of_one",
        || {
            let other = Other::new();
            let mut socket = Socket::open().expect("socket");
            let flags = Request::SetBridgePort {
                link: link("v0"),
                port: BridgePort {
                    hairpin: Some(true),
                    isolated: Some(true),
                    learning: Some(false),
                    unicast_flood: Some(false),
                    neigh_suppress: Some(false),
                },
            };
            apply(
                &mut socket,
                &[bridge("br0"), Request::AddLink(pair("v0", &other))],
            );
            let error = socket
                .apply(std::slice::from_ref(&flags))
                .expect_err("no port yet");
            assert!(
                error.hint().is_some_and(|hint| hint.contains("no port")),
                "{error:?}"
            );
            let port = SetLink {
                master: Master::Of(link("br0")),
                ..SetLink::new(name("v0"))
            };
            apply(&mut socket, &[Request::SetLink(port), flags]);
        },
    );
}
