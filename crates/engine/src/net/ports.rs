//! Published ports of the host, kept from before the start to the end of a container.
//!
//! A port that leads into a container needs no socket on the host: the packet filter rewrites the
//! destination before a socket is looked for. But without one, another program could be given the
//! port and would never be reached, and a port that is in use already would be taken away from its
//! server unnoticed. So a socket is bound to each, [`bind(2)`], and never read: what is addressed to it
//! is rewritten before. Where it is not, a connection waits in a queue of one.
//!
//! A TCP socket is bound with SO_REUSEADDR, since connections in TIME_WAIT of the container before must
//! not block the port for a minute, and then listens: of two sockets with that option only one can,
//! and a socket that does keeps the others from being bound. A UDP socket without the option shares
//! its port with nobody.
//!
//! Needs no privilege, but CAP_NET_BIND_SERVICE for ports below `net.ipv4.ip_unprivileged_port_start`.
//! Each port takes a descriptor, two without an address: RLIMIT_NOFILE bounds them too.
//!
//! [`bind(2)`]: https://man7.org/linux/man-pages/man2/bind.2.html

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::error::errno_name;
use crate::net::socktab::{self, Holder};
use crate::spec::{At, Protocol, Publish};
use crate::state::Record;

/// So many ports one container can publish.
pub(crate) const MAX_PORTS: usize = 2048;

/// Sockets that keep ports. Dropped, the ports are free.
#[derive(Debug, Default)]
#[must_use = "dropped, the ports are free again"]
pub(crate) struct Reserved {
    sockets: Vec<OwnedFd>,
}

#[cfg(test)]
impl Reserved {
    /// How many sockets it has.
    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }
}

/// A port that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortTaken {
    /// What asked for it.
    pub(crate) publish: At<Publish>,
    /// On which address of the host.
    pub(crate) address: IpAddr,
    /// The port.
    pub(crate) port: u16,
    /// Why: EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EACCES, EMFILE. E2BIG: more than [`MAX_PORTS`].
    /// ERANGE: beyond port 65535.
    pub(crate) errno: Errno,
    /// Who has it, with EADDRINUSE and as far as the caller may see.
    pub(crate) holder: Option<Holder>,
}

impl PortTaken {
    /// Names the container, where one of these has it.
    pub(crate) fn among(mut self, running: &[Record]) -> Self {
        if let Some(holder) = &mut self.holder {
            let record = running.iter().find(|one| one.supervisor == holder.pid);
            holder.container = record.map(|record| record.name.clone());
        }
        self
    }

    /// The errno, where the message does not say as much already.
    pub(crate) fn errno(&self) -> Option<Errno> {
        None
    }

    /// What to do about it, where the message does not say.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self.errno {
            Errno::ACCESS => Some(
                "ordinary users have the ports from the sysctl net.ipv4.ip_unprivileged_port_start on",
            ),
            Errno::MFILE => Some("each published port takes a descriptor: raise `ulimit -n`"),
            Errno::ADDRINUSE if self.holder.is_none() => {
                Some("only root can see whose it is: `ss -lnp`")
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for PortTaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { address, port, .. } = self;
        let name = self.publish.value.protocol.name();
        match self.errno {
            Errno::ADDRINUSE => {
                write!(f, "port {port}/{name} of {address} is taken")?;
                match &self.holder {
                    Some(holder) => write!(f, " by {holder}"),
                    None => Ok(()),
                }
            }
            Errno::ADDRNOTAVAIL => write!(f, "{address} is not an address of this machine"),
            Errno::AFNOSUPPORT => write!(f, "{address}: this machine has no IPv6"),
            Errno::ACCESS => write!(f, "no right to port {port}/{name} of {address}"),
            Errno::TOOBIG => write!(f, "more than {MAX_PORTS} ports are published"),
            Errno::RANGE => f.write_str("the published ports go beyond 65535"),
            errno => write!(
                f,
                "cannot keep port {port}/{name} of {address}: {}",
                errno_name(errno)
            ),
        }
    }
}

impl std::error::Error for PortTaken {}

/// An address of the host that ports are published on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    address: IpAddr,
    /// Left out on a machine without it.
    optional: bool,
}

/// Without an address: this machine alone, by both of its names.
fn places(publish: &Publish, loopback6: bool) -> Vec<Place> {
    let place = |address: IpAddr, optional| Place { address, optional };
    match publish.host {
        Some(address) => vec![place(address, false)],
        None if loopback6 => vec![
            place(Ipv4Addr::LOCALHOST.into(), false),
            place(Ipv6Addr::LOCALHOST.into(), true),
        ],
        None => vec![place(Ipv4Addr::LOCALHOST.into(), false)],
    }
}

/// Keep all the ports, or none. `loopback6`: `::1` leads into the container where it is meant; where it
/// does not, a socket of ours there would take connections that nobody answers.
///
/// # Errors
///
/// The first port that cannot be had, and who has it.
pub(crate) fn reserve(
    publish: &[At<Publish>],
    loopback6: bool,
) -> Result<Reserved, Box<PortTaken>> {
    let mut reserved = Reserved::default();
    let mut ports = 0;
    for at in publish {
        ports += usize::from(at.value.count);
        for place in places(&at.value, loopback6) {
            if ports > MAX_PORTS {
                return Err(refused(at, place, at.value.host_port, Errno::TOOBIG));
            }
            reserve_at(at, place, &mut reserved.sockets)?;
        }
    }
    Ok(reserved)
}

fn reserve_at(
    publish: &At<Publish>,
    place: Place,
    sockets: &mut Vec<OwnedFd>,
) -> Result<(), Box<PortTaken>> {
    let Publish {
        protocol,
        host_port,
        count,
        ..
    } = publish.value;
    if host_port.checked_add(count.saturating_sub(1)).is_none() {
        return Err(refused(publish, place, host_port, Errno::RANGE));
    }
    for port in (host_port..=u16::MAX).take(usize::from(count)) {
        match keep(protocol, SocketAddr::new(place.address, port)) {
            Ok(socket) => sockets.push(socket),
            Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) if place.optional => break,
            Err(errno) => return Err(refused(publish, place, port, errno)),
        }
    }
    Ok(())
}

fn refused(publish: &At<Publish>, place: Place, port: u16, errno: Errno) -> Box<PortTaken> {
    let wanted = SocketAddr::new(place.address, port);
    let holder = (errno == Errno::ADDRINUSE)
        .then(|| socktab::holder(Path::new("/proc"), publish.value.protocol, wanted));
    Box::new(PortTaken {
        publish: publish.clone(),
        address: place.address,
        port,
        errno,
        holder: holder.flatten(),
    })
}

/// A socket that has the port.
fn keep(protocol: Protocol, address: SocketAddr) -> Result<OwnedFd, Errno> {
    let (family, kind) = kinds(protocol, address.ip());
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        // Or `[::]` would take the port of IPv4 as well.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    match protocol {
        Protocol::Tcp => {
            sockopt::set_socket_reuseaddr(&socket, true)?;
            bind(&socket, &address)?;
            // EADDRINUSE here: another one with SO_REUSEADDR listens since just now.
            listen(&socket, 1)?;
        }
        Protocol::Udp => bind(&socket, &address)?,
    }
    Ok(socket)
}

fn kinds(protocol: Protocol, address: IpAddr) -> (AddressFamily, SocketType) {
    let family = match address {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    (family, kind)
}

/// The calls of [`reserve`], as strace spells them; a range of ports is one line.
pub(crate) fn describe(publish: &Publish, loopback6: bool) -> Vec<String> {
    let first = publish.host_port;
    let range = match publish.count {
        0 | 1 => String::new(),
        count => format!("-{}", u32::from(first) + u32::from(count) - 1),
    };
    let call = |Place { address, optional }: &Place| {
        let address = SocketAddr::new(*address, first);
        let family = if address.is_ipv4() {
            "AF_INET"
        } else {
            "AF_INET6"
        };
        let (kind, then) = match publish.protocol {
            Protocol::Tcp => ("SOCK_STREAM", ", listen"),
            Protocol::Udp => ("SOCK_DGRAM", ""),
        };
        let or = if *optional { " or EADDRNOTAVAIL" } else { "" };
        format!("bind(socket({family}, {kind}), {{{address}{range}}}){then}{or}")
    };
    places(publish, loopback6).iter().map(call).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::sync::atomic::{AtomicU16, Ordering};

    use super::*;

    fn publish(protocol: Protocol, host: Option<&str>, host_port: u16, count: u16) -> At<Publish> {
        At::default_of(Publish {
            protocol,
            host: host.map(|host| host.parse().expect("an address")),
            host_port,
            container_port: 80,
            count,
        })
    }

    fn refusal_of(publish: At<Publish>) -> Box<PortTaken> {
        reserve(&[publish], true).expect_err("it cannot be had")
    }

    fn has_v6() -> bool {
        UdpSocket::bind("[::1]:0").is_ok()
    }

    /// So many ports in a row that nobody has. Below those the kernel hands out.
    fn free(protocol: Protocol, count: u16) -> u16 {
        // Tests run side by side, and those of other checkouts too.
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let start = 20_000 + (std::process::id() % 10_000) as u16;
        std::iter::repeat_with(|| start + NEXT.fetch_add(count, Ordering::Relaxed))
            .take(1000)
            .find(|port| reserve(&[publish(protocol, None, *port, count)], true).is_ok())
            .expect("some are free")
    }

    fn comm() -> String {
        let comm = std::fs::read_to_string("/proc/self/comm").expect("procfs");
        comm.trim_end().to_owned()
    }

    #[test]
    fn a_port_that_is_taken_names_its_holder() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = server.local_addr().expect("bound").port();
        for host in [None, Some("127.0.0.1"), Some("0.0.0.0")] {
            let taken = refusal_of(publish(Protocol::Tcp, host, port, 1));
            assert_eq!((taken.port, taken.errno), (port, Errno::ADDRINUSE));
            let pid = std::process::id();
            let address = host.unwrap_or("127.0.0.1");
            let expected = format!(
                "port {port}/tcp of {address} is taken by {:?} (pid {pid})",
                comm()
            );
            assert_eq!(taken.to_string(), expected);
            assert_eq!(taken.hint(), None);
        }
    }

    #[test]
    fn a_wildcard_of_both_families_is_in_the_way() {
        if !has_v6() {
            return;
        }
        let server = TcpListener::bind("[::]:0").expect("a port");
        let port = server.local_addr().expect("bound").port();
        let taken = refusal_of(publish(Protocol::Tcp, Some("127.0.0.1"), port, 1));
        assert_eq!(
            taken.holder.map(|holder| holder.pid),
            Some(std::process::id())
        );
    }

    #[test]
    fn a_udp_port_that_is_taken_names_its_holder() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = server.local_addr().expect("bound").port();
        let taken = refusal_of(publish(Protocol::Udp, None, port, 1));
        assert_eq!(taken.errno, Errno::ADDRINUSE);
        assert_eq!(
            taken.holder.map(|holder| holder.pid),
            Some(std::process::id())
        );
    }

    #[test]
    fn reserved_ports_are_taken_until_they_are_dropped() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let port = free(protocol, 3);
            let asked = publish(protocol, Some("127.0.0.1"), port, 3);
            let reserved = reserve(std::slice::from_ref(&asked), true).expect("free");
            assert_eq!(reserved.len(), 3);
            let taken = refusal_of(publish(protocol, Some("127.0.0.1"), port + 2, 1));
            assert_eq!((taken.port, taken.errno), (port + 2, Errno::ADDRINUSE));
            drop(reserved);
            assert_eq!(reserve(&[asked], true).expect("free again").len(), 3);
        }
    }

    #[test]
    fn a_port_whose_last_connection_is_in_time_wait_can_be_had() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = server.local_addr().expect("bound");
        let client = TcpStream::connect(address).expect("it listens");
        // Who closes first is left in TIME_WAIT.
        drop(server.accept().expect("a client"));
        drop(client);
        drop(server);
        let asked = publish(Protocol::Tcp, Some("127.0.0.1"), address.port(), 1);
        assert_eq!(reserve(&[asked], true).expect("free").len(), 1);
    }

    #[test]
    fn without_an_address_both_loopbacks_are_taken() {
        let port = free(Protocol::Tcp, 1);
        let reserved = reserve(&[publish(Protocol::Tcp, None, port, 1)], true).expect("free");
        assert_eq!(reserved.len(), if has_v6() { 2 } else { 1 });
        if has_v6() {
            let taken = refusal_of(publish(Protocol::Tcp, Some("::1"), port, 1));
            assert_eq!(
                taken.to_string().split(" is ").next(),
                Some(&*format!("port {port}/tcp of ::1"))
            );
        }
    }

    #[test]
    fn ipv6_leaves_the_port_of_ipv4_alone() {
        if !has_v6() {
            return;
        }
        let port = free(Protocol::Tcp, 1);
        let both = ["::", "0.0.0.0"].map(|host| publish(Protocol::Tcp, Some(host), port, 1));
        assert_eq!(reserve(&both, true).expect("both are free").len(), 2);
    }

    #[test]
    fn what_was_taken_before_a_refusal_is_free_again() {
        let port = free(Protocol::Tcp, 3);
        let server = TcpListener::bind(("127.0.0.1", port + 2)).expect("free");
        let taken = refusal_of(publish(Protocol::Tcp, None, port, 3));
        assert_eq!(taken.port, port + 2);
        drop(server);
        assert!(reserve(&[publish(Protocol::Tcp, None, port, 3)], true).is_ok());
    }

    #[test]
    fn addresses_and_ports_that_do_not_exist_are_refused() {
        let taken = refusal_of(publish(Protocol::Tcp, Some("192.0.2.7"), 8080, 1));
        assert_eq!(
            taken.to_string(),
            "192.0.2.7 is not an address of this machine"
        );
        let taken = refusal_of(publish(Protocol::Tcp, Some("127.0.0.1"), 1, 2049));
        assert_eq!(taken.to_string(), "more than 2048 ports are published");
        let port = free(Protocol::Udp, 1);
        let one = publish(Protocol::Udp, Some("127.0.0.1"), port, 1);
        let taken =
            reserve(&[one, publish(Protocol::Tcp, None, 1, 2048)], true).expect_err("too many");
        assert_eq!(taken.errno, Errno::TOOBIG);
        let taken = refusal_of(publish(Protocol::Udp, Some("127.0.0.1"), u16::MAX, 2));
        assert_eq!(taken.to_string(), "the published ports go beyond 65535");
    }

    #[test]
    fn refusals_say_what_to_do() {
        let refusal = |errno| PortTaken {
            publish: publish(Protocol::Tcp, None, 80, 1),
            address: Ipv4Addr::LOCALHOST.into(),
            port: 80,
            errno,
            holder: None,
        };
        let taken = refusal(Errno::ACCESS);
        assert_eq!(taken.to_string(), "no right to port 80/tcp of 127.0.0.1");
        assert!(
            taken
                .hint()
                .is_some_and(|hint| hint.contains("ip_unprivileged_port_start"))
        );
        let taken = refusal(Errno::ADDRINUSE);
        assert_eq!(taken.to_string(), "port 80/tcp of 127.0.0.1 is taken");
        assert!(taken.hint().is_some_and(|hint| hint.contains("ss -lnp")));
    }

    #[test]
    fn the_calls_are_spelled_one_for_each_address() {
        let calls = |protocol, host, port, count| {
            describe(&publish(protocol, host, port, count).value, true)
        };
        assert_eq!(
            calls(Protocol::Tcp, None, 8080, 1),
            [
                "bind(socket(AF_INET, SOCK_STREAM), {127.0.0.1:8080}), listen",
                "bind(socket(AF_INET6, SOCK_STREAM), {[::1]:8080}), listen or EADDRNOTAVAIL",
            ]
        );
        assert_eq!(
            calls(Protocol::Udp, Some("192.0.2.1"), 9000, 3),
            ["bind(socket(AF_INET, SOCK_DGRAM), {192.0.2.1:9000-9002})"]
        );
        assert_eq!(
            calls(Protocol::Udp, Some("::"), 53, 1),
            ["bind(socket(AF_INET6, SOCK_DGRAM), {[::]:53})"]
        );
    }
}
