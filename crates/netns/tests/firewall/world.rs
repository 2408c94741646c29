//! A pretend host with bridges and containers, and another host beside it: network namespaces of a
//! new user namespace. Links are made by `ip`.

use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use netns::firewall::{Endpoint, Firewall, HostAddress, Network, Prefix, Protocol, Published};
use netns::nft::Socket;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};
use rustix::thread::UnshareFlags;

use crate::common;

/// Long enough for a connection on one machine under load; one that is dropped takes as long.
const PATIENCE: Duration = Duration::from_secs(5);
const DROPPED: Duration = Duration::from_millis(300);

/// Runs `body` in a new network namespace, as root of a new user namespace.
pub(crate) fn in_namespaces(name: &str, body: fn()) {
    common::in_namespaces(name, UnshareFlags::NEWNET, body);
}

/// `ip` with these words, in the network namespace of the calling thread; what it says.
pub(crate) fn ip(words: &str) -> String {
    let run = Command::new("ip").args(words.split_whitespace()).output();
    let run = run.unwrap_or_else(|error| {
        panic!("these tests need the program ip (package iproute2): {error}")
    });
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "ip {words}: {said}");
    String::from_utf8_lossy(&run.stdout).into_owned()
}

pub(crate) fn sysctl(name: &str, value: &str) {
    let path = format!("/proc/sys/net/{name}");
    std::fs::write(&path, value).unwrap_or_else(|error| panic!("write {path}: {error}"));
}

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace, held by a thread in it.
pub(crate) struct Space {
    jobs: mpsc::Sender<Job>,
    path: String,
}

impl Space {
    pub(crate) fn new() -> Self {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            // SAFETY: CLONE_NEWNET concerns the calling thread alone.
            #[expect(unsafe_code, reason = "one thread, one network namespace")]
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.expect("unshare");
            let (process, thread) = (std::process::id(), rustix::thread::gettid());
            let path = format!("/proc/{process}/task/{}/ns/net", thread.as_raw_nonzero());
            tell.send(path).expect("tell");
            for job in inbox {
                job();
            }
        });
        let path = told.recv().expect("the thread of the namespace");
        Self { jobs, path }
    }

    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let job = Box::new(move || tell.send(job()).expect("tell"));
        self.jobs.send(job).expect("the thread of the namespace");
        told.recv().expect("the job panicked")
    }

    pub(crate) fn ip(&self, words: &str) -> String {
        let words = words.to_owned();
        self.run(move || ip(&words))
    }

    pub(crate) fn sysctl(&self, name: &'static str, value: &'static str) {
        self.run(move || sysctl(name, value));
    }

    /// A server of both families.
    pub(crate) fn listen(&self, port: u16) -> TcpListener {
        self.run(move || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).expect("listen"))
    }

    pub(crate) fn udp(&self, address: &str) -> UdpSocket {
        let address = address.to_owned();
        self.run(move || UdpSocket::bind(address).expect("udp"))
    }

    pub(crate) fn dial(&self, to: &str) -> std::io::Result<TcpStream> {
        let to = to.to_owned();
        self.run(move || dial(&to))
    }

    /// From one of several addresses.
    pub(crate) fn dial_from(&self, from: &str, to: &str) {
        let (from, to) = ends(from, to);
        self.run(move || dial_from(from, to, PATIENCE).map(drop))
            .unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
    }

    pub(crate) fn cannot_from(&self, from: &str, to: &str) {
        let (from, to) = ends(from, to);
        let dialled = self.run(move || dial_from(from, to, DROPPED));
        assert!(dialled.is_err(), "{from} to {to}");
    }

    pub(crate) fn cannot(&self, to: &str) {
        let to = to.to_owned();
        self.run(move || cannot(&to));
    }
}

/// A new link may drop what it is given until a work queue of the kernel has seen its carrier, which
/// on a loaded machine outlasts the three questions for a neighbour's address: then it is asked again.
pub(crate) fn dial(to: &str) -> std::io::Result<TcpStream> {
    let until = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect_timeout(&to.parse().expect("address"), PATIENCE) {
            Err(error) if error.kind() == ErrorKind::HostUnreachable && Instant::now() < until => {}
            dialled => return dialled,
        }
    }
}

fn ends(from: &str, to: &str) -> (IpAddr, SocketAddr) {
    (from.parse().expect("address"), to.parse().expect("address"))
}

fn dial_from(from: IpAddr, to: SocketAddr, patience: Duration) -> std::io::Result<TcpStream> {
    let family = if to.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::new(from, 0))?;
    rustix::net::sockopt::set_socket_timeout(
        &socket,
        rustix::net::sockopt::Timeout::Send,
        Some(patience),
    )?;
    match rustix::net::connect(&socket, &to) {
        Ok(()) => Ok(socket.into()),
        Err(Errno::INPROGRESS | Errno::AGAIN) => Err(ErrorKind::TimedOut.into()),
        Err(errno) => Err(errno.into()),
    }
}

/// Nothing comes back: no connection, and no refusal either.
pub(crate) fn cannot(to: &str) {
    let error = TcpStream::connect_timeout(&to.parse().expect("address"), DROPPED)
        .map(drop)
        .expect_err(to);
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{to}: {error}");
}

/// A datagram to `to` comes out of `server`.
pub(crate) fn arrives(server: &UdpSocket, from: &UdpSocket, to: &str) {
    let until = Instant::now() + PATIENCE;
    while !comes(server, from, to) {
        assert!(Instant::now() < until, "{to}");
    }
    // More may have been sent than was read.
    while server.recv_from(&mut [0; 8]).is_ok() {}
}

pub(crate) fn arrives_not(server: &UdpSocket, from: &UdpSocket, to: &str) {
    assert!(!comes(server, from, to), "{to}");
}

fn comes(server: &UdpSocket, from: &UdpSocket, to: &str) -> bool {
    server.set_read_timeout(Some(DROPPED)).expect("timeout");
    // Where the sender's own kernel refuses it, it does not arrive either.
    _ = from.send_to(b"secret", to);
    server.recv_from(&mut [0; 8]).is_ok()
}

/// Accepts one connection and says who it is from, as the server sees it.
pub(crate) fn from_whom(server: &TcpListener) -> IpAddr {
    let (mut stream, address) = server.accept().expect("accept");
    stream.set_read_timeout(Some(DROPPED)).expect("timeout");
    // The client closes.
    _ = stream.read(&mut [0]);
    address.ip().to_canonical()
}

/// The host is the namespace of the calling thread. It forwards; `wan` (192.0.2.1, 2001:db8::1) leads
/// to `peer` (.2, ::2), its way to the world.
pub(crate) struct World {
    pub(crate) peer: Space,
    pub(crate) socket: Socket,
    pub(crate) firewall: Firewall,
    pub(crate) networks: Vec<Network>,
    pub(crate) endpoints: Vec<Endpoint>,
}

impl World {
    /// `bridged`: whether bridges hand their frames to the hooks of IP.
    pub(crate) fn new(bridged: bool) -> Self {
        netns::bring_up().expect("lo");
        sysctl("ipv4/ip_forward", "1");
        sysctl("ipv6/conf/all/forwarding", "1");
        let value = if bridged { "1" } else { "0" };
        for family in ["iptables", "ip6tables", "arptables"] {
            let path = format!("/proc/sys/net/bridge/bridge-nf-call-{family}");
            match std::fs::write(&path, value) {
                Err(error) if error.kind() == ErrorKind::NotFound && !bridged => {}
                written => written.unwrap_or_else(|error| {
                    panic!("write {path}: {error} (module br_netfilter is needed)")
                }),
            }
        }
        let peer = Space::new();
        ip(&format!(
            "link add wan type veth peer name eth0 netns {}",
            peer.path
        ));
        ip("link set wan up");
        ip("addr add 192.0.2.1/24 dev wan");
        ip("addr add 2001:db8::1/64 dev wan nodad");
        peer.ip("link set eth0 up");
        peer.ip("addr add 192.0.2.2/24 dev eth0");
        peer.ip("addr add 2001:db8::2/64 dev eth0 nodad");
        ip("route add default via 192.0.2.2");
        ip("-6 route add default via 2001:db8::2");
        let mut world = Self {
            peer,
            socket: Socket::open().expect("socket"),
            firewall: Firewall::new("ctr").expect("name").loopback6(!bridged),
            networks: Vec::new(),
            endpoints: Vec::new(),
        };
        let base = world.firewall.base();
        world.socket.commit(&base).expect("base");
        world
    }

    /// The bridge `ctrN` with 10.N.0.1/24 and fd00:N::1/64.
    pub(crate) fn network(&mut self, number: u8, change: impl FnOnce(&mut Network)) {
        let bridge = format!("ctr{number}");
        ip(&format!("link add {bridge} type bridge"));
        ip(&format!("link set {bridge} up"));
        ip(&format!("addr add 10.{number}.0.1/24 dev {bridge}"));
        ip(&format!("addr add fd00:{number}::1/64 dev {bridge} nodad"));
        sysctl(&format!("ipv4/conf/{bridge}/route_localnet"), "1");
        // Two routes of one metric would be the same route.
        let metric = 4096 + u32::from(number);
        ip(&format!(
            "-6 route add local ::1 dev {bridge} table local metric {metric}"
        ));
        let v6 = Ipv6Addr::new(0xfd00, number.into(), 0, 0, 0, 0, 0, 0);
        let mut network = Network {
            bridge,
            subnets: vec![
                Prefix {
                    address: Ipv4Addr::new(10, number, 0, 0).into(),
                    length: 24,
                },
                Prefix {
                    address: v6.into(),
                    length: 64,
                },
            ],
            internal: false,
            metadata_allowed: false,
        };
        change(&mut network);
        let batch = self.firewall.add_network(&network).expect("network");
        self.socket.commit(&batch).expect("add network");
        self.networks.push(network);
    }

    /// A container at 10.N.0.HOST and fd00:N::HOST.
    pub(crate) fn container(
        &mut self,
        number: u8,
        host: u8,
        change: impl FnOnce(&mut Endpoint),
    ) -> Space {
        let space = Space::new();
        let (bridge, veth) = (format!("ctr{number}"), format!("v{number}x{host}"));
        ip(&format!(
            "link add {veth} type veth peer name eth0 netns {}",
            space.path
        ));
        ip(&format!("link set {veth} master {bridge} up"));
        // With br_netfilter a container's way to its own published port stays inside the bridge.
        ip(&format!("link set {veth} type bridge_slave hairpin on"));
        space.ip("link set lo up");
        space.ip("link set eth0 up");
        space.ip(&format!("addr add 10.{number}.0.{host}/24 dev eth0"));
        space.ip(&format!("addr add fd00:{number}::{host}/64 dev eth0 nodad"));
        space.ip(&format!("route add default via 10.{number}.0.1"));
        space.ip(&format!("-6 route add default via fd00:{number}::1"));
        let mut endpoint = Endpoint {
            bridge,
            veth,
            v4: Some(Ipv4Addr::new(10, number, 0, host)),
            v6: Some(Ipv6Addr::new(
                0xfd00,
                number.into(),
                0,
                0,
                0,
                0,
                0,
                host.into(),
            )),
            egress: None,
            published: Vec::new(),
        };
        change(&mut endpoint);
        let batch = self.firewall.add_endpoint(&endpoint).expect("endpoint");
        self.socket.commit(&batch).expect("add endpoint");
        self.endpoints.push(endpoint);
        space
    }

    pub(crate) fn differences(&mut self) -> Vec<String> {
        let held = self.firewall.held(&mut self.socket).expect("held");
        self.firewall
            .differences(&self.networks, &self.endpoints, &held)
            .expect("differences")
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    pub(crate) fn heal(&mut self) {
        let whole = self.firewall.whole(&self.networks, &self.endpoints);
        self.socket.commit(&whole.expect("whole")).expect("commit");
    }
}

/// `HOST:PORT` of both families.
pub(crate) fn any(protocol: Protocol, host_port: u16, port: u16) -> [Published; 2] {
    [HostAddress::AnyV4, HostAddress::AnyV6].map(|address| Published {
        protocol,
        address,
        host_port,
        port,
    })
}

pub(crate) fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').expect("prefix");
    Prefix {
        address: address.parse().expect("address"),
        length: length.parse().expect("length"),
    }
}
