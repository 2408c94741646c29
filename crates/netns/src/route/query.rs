//! What is there: interfaces, addresses, routes.
//!
//! Only the attributes needed are looked at, and a message that makes no sense is left out: the
//! kernel adds attributes with every version, and drivers fill them in as they like.

use std::net::IpAddr;

use rustix::io::Errno;

use super::answer::{
    self, Message, NLMSG_DONE, NLMSG_ERROR, attribute, for_each_attribute, string,
};
use super::encode::{self, List};
use super::request::RouteKind;
use super::socket::{Next, Socket};
use super::types::{Link, Mac, Prefix};
use crate::Error;

/// More of anything than a host that runs containers has. A router with a full table of the Internet
/// exceeds it.
const LIMIT: usize = 100_000;
/// How often a list is begun anew because something changed meanwhile.
const ATTEMPTS: usize = 8;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `veth`, `bridge` …; None for hardware and `lo`.
    pub kind: Option<String>,
    /// Its Ethernet address.
    pub mac: Option<Mac>,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Switched on (`IFF_UP`).
    pub up: bool,
    /// Something is at the other end (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// The bridge it is a port of.
    pub master: Option<u32>,
    /// The interface below it, or the other end of a veth: a number in whichever namespace that is.
    pub lower: Option<u32>,
    /// What went through it.
    pub statistics: Statistics,
}

/// Counters of an interface (`struct rtnl_link_stats64`), since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the kernel's names say it")]
pub struct Statistics {
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_errors: u64,
    pub tx_errors: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The number of the interface.
    pub index: u32,
    /// Address and network.
    pub prefix: Prefix,
    /// IPv6: not usable yet, duplicate address detection runs (`IFA_F_TENTATIVE`).
    pub tentative: bool,
}

/// A route that packets for others can take. Those for this host itself and broadcasts are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteEntry {
    /// The table it is in, see [`RouteEntry::MAIN`].
    pub table: u32,
    /// What it does.
    pub kind: RouteKind,
    /// Where to.
    pub to: Prefix,
    /// Through this gateway; the first, where there are several.
    pub via: Option<IpAddr>,
    /// Through the interface of this number; the first, where there are several.
    pub index: Option<u32>,
    /// The source address that packets get which have none yet.
    pub source: Option<IpAddr>,
    /// Lowest wins.
    pub metric: u32,
}

impl RouteEntry {
    /// The table that `ip route` shows, `RT_TABLE_MAIN`. VPNs use others, too.
    pub const MAIN: u32 = 254;
}

impl Socket {
    /// Every interface of the socket's network namespace. `RTM_GETLINK`.
    ///
    /// # Errors
    ///
    /// [`Error::Query`]; `EAGAIN` when the list changed each time it was read. [`Error::TooMany`].
    pub fn interfaces(&mut self) -> Result<Vec<Interface>, Error> {
        self.list(List::Links, "RTM_GETLINK NLM_F_DUMP", interface)
    }

    /// One interface. `RTM_GETLINK`.
    ///
    /// # Errors
    ///
    /// [`Error::Query`] with `ENODEV` when there is none.
    pub fn interface(&mut self, link: &Link) -> Result<Interface, Error> {
        let sequence = self.reserve(1);
        let request = encode::get_link(link, sequence);
        let mut found = None;
        let asked = self.ask(&request, sequence, |message| {
            if message.kind == NLMSG_ERROR {
                return Err(refusal(message).unwrap_or(Errno::BADMSG));
            }
            found = interface(message.payload);
            Ok(Next::Last)
        });
        asked
            .and_then(|()| found.ok_or(Errno::BADMSG))
            .map_err(|source| Error::Query {
                query: format!("RTM_GETLINK {link}"),
                source,
            })
    }

    /// Every address, IPv4 and IPv6. `RTM_GETADDR`.
    ///
    /// # Errors
    ///
    /// As [`Socket::interfaces`].
    pub fn addresses(&mut self) -> Result<Vec<InterfaceAddress>, Error> {
        self.list(List::Addresses, "RTM_GETADDR NLM_F_DUMP", address)
    }

    /// Every route of every table, IPv4 and IPv6. `RTM_GETROUTE`.
    ///
    /// # Errors
    ///
    /// As [`Socket::interfaces`].
    pub fn routes(&mut self) -> Result<Vec<RouteEntry>, Error> {
        self.list(List::Routes, "RTM_GETROUTE NLM_F_DUMP", route)
    }

    fn list<T>(
        &mut self,
        what: List,
        query: &str,
        parse: fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        for _ in 0..ATTEMPTS {
            let sequence = self.reserve(1);
            let request = encode::list(what, sequence);
            let mut found = Vec::new();
            let mut changed = false;
            let asked = self.ask(&request, sequence, |message| {
                changed |= message.interrupted();
                match message.kind {
                    NLMSG_DONE => refusal(message).map_or(Ok(Next::Last), Err),
                    NLMSG_ERROR => Err(refusal(message).unwrap_or(Errno::BADMSG)),
                    _ => {
                        // One more than is allowed tells apart "as many" and "too many".
                        if found.len() <= LIMIT {
                            found.extend(parse(message.payload));
                        }
                        Ok(Next::More)
                    }
                }
            });
            asked.map_err(|source| Error::Query {
                query: query.to_owned(),
                source,
            })?;
            if found.len() > LIMIT {
                return Err(Error::TooMany {
                    query: query.to_owned(),
                    limit: LIMIT,
                });
            }
            if !changed {
                return Ok(found);
            }
        }
        Err(Error::Query {
            query: query.to_owned(),
            source: Errno::AGAIN,
        })
    }
}

/// What an error, or the end of a list, says.
fn refusal(message: &Message<'_>) -> Option<Errno> {
    answer::answer(message)?.errno
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

const AF_INET: u8 = libc::AF_INET as u8;
const AF_INET6: u8 = libc::AF_INET6 as u8;

fn unspecified(family: u8) -> Option<IpAddr> {
    match family {
        AF_INET => Some(Prefix::ALL_V4.address()),
        AF_INET6 => Some(Prefix::ALL_V6.address()),
        _ => None,
    }
}

/// `struct ifinfomsg` and attributes.
fn interface(payload: &[u8]) -> Option<Interface> {
    let flags = u32_at(payload, 8)?;
    let has = |flag: libc::c_int| flags & flag.cast_unsigned() != 0;
    let mut interface = Interface {
        index: u32_at(payload, 4)?,
        name: String::new(),
        kind: None,
        mac: None,
        mtu: 0,
        up: has(libc::IFF_UP),
        carrier: has(libc::IFF_LOWER_UP),
        master: None,
        lower: None,
        statistics: Statistics::default(),
    };
    for (kind, value) in for_each_attribute(payload.get(16..)?) {
        match kind {
            libc::IFLA_ADDRESS => interface.mac = value.try_into().ok().map(Mac),
            libc::IFLA_IFNAME => interface.name = string(value),
            libc::IFLA_MTU => interface.mtu = u32_at(value, 0)?,
            libc::IFLA_LINK => interface.lower = u32_at(value, 0).filter(|&index| index != 0),
            libc::IFLA_MASTER => interface.master = u32_at(value, 0),
            libc::IFLA_LINKINFO => interface.kind = attribute(value, IFLA_INFO_KIND).map(string),
            libc::IFLA_STATS64 => interface.statistics = statistics(value)?,
            _ => {}
        }
    }
    Some(interface)
}

const IFLA_INFO_KIND: u16 = 1;

fn statistics(value: &[u8]) -> Option<Statistics> {
    let counter = |at: usize| {
        let bytes = value.get(at * 8..at * 8 + 8)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    };
    Some(Statistics {
        rx_packets: counter(0)?,
        tx_packets: counter(1)?,
        rx_bytes: counter(2)?,
        tx_bytes: counter(3)?,
        rx_errors: counter(4)?,
        tx_errors: counter(5)?,
        rx_dropped: counter(6)?,
        tx_dropped: counter(7)?,
    })
}

/// `struct ifaddrmsg` and attributes.
fn address(payload: &[u8]) -> Option<InterfaceAddress> {
    let &[family, length, flags, ..] = payload else {
        return None;
    };
    unspecified(family)?;
    let index = u32_at(payload, 4)?;
    let attributes = payload.get(8..)?;
    // The address itself; of a point-to-point link IFA_ADDRESS is the other end's.
    let own = attribute(attributes, libc::IFA_LOCAL);
    let address = ip(own.or_else(|| attribute(attributes, libc::IFA_ADDRESS))?)?;
    Some(InterfaceAddress {
        index,
        prefix: Prefix::new(address, length).ok()?,
        tentative: u32::from(flags) & libc::IFA_F_TENTATIVE != 0,
    })
}

/// `struct rtmsg` and attributes.
fn route(payload: &[u8]) -> Option<RouteEntry> {
    let &[family, length, _, _, table, _, _, kind, ..] = payload else {
        return None;
    };
    let kind = match kind {
        libc::RTN_UNICAST => RouteKind::Unicast,
        libc::RTN_BLACKHOLE => RouteKind::Blackhole,
        libc::RTN_UNREACHABLE => RouteKind::Unreachable,
        libc::RTN_PROHIBIT => RouteKind::Prohibit,
        _ => return None,
    };
    let mut to = unspecified(family)?;
    let mut entry = RouteEntry {
        table: u32::from(table),
        kind,
        to: Prefix::new(to, length).ok()?,
        via: None,
        index: None,
        source: None,
        metric: 0,
    };
    for (kind, value) in for_each_attribute(payload.get(12..)?) {
        match kind {
            libc::RTA_DST => to = ip(value)?,
            libc::RTA_OIF => entry.index = u32_at(value, 0),
            libc::RTA_GATEWAY => entry.via = ip(value),
            libc::RTA_PRIORITY => entry.metric = u32_at(value, 0)?,
            libc::RTA_PREFSRC => entry.source = ip(value),
            libc::RTA_TABLE => entry.table = u32_at(value, 0)?,
            libc::RTA_MULTIPATH => (entry.index, entry.via) = first_hop(value),
            // `struct rtvia`: a gateway of the other family.
            libc::RTA_VIA => entry.via = ip(value.get(2..)?),
            _ => {}
        }
    }
    entry.to = Prefix::new(to, length).ok()?;
    Some(entry)
}

/// `struct rtnexthop` and attributes.
fn first_hop(value: &[u8]) -> (Option<u32>, Option<IpAddr>) {
    let length = value
        .get(..2)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, |bytes| usize::from(u16::from_ne_bytes(bytes)));
    let attributes = value.get(8..length).unwrap_or(&[]);
    let via = attribute(attributes, libc::RTA_GATEWAY).and_then(ip);
    (u32_at(value, 4), via)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attr(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).expect("short");
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_route_with_two_hops_shows_the_first() {
        let mut hop = vec![16, 0, 0, 0, 9, 0, 0, 0];
        hop.extend(attr(libc::RTA_GATEWAY, &[10, 0, 0, 1]));
        let second = [8, 0, 0, 0, 10, 0, 0, 0];
        let mut payload = vec![AF_INET, 8, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        payload.extend(attr(libc::RTA_DST, &[172, 0, 0, 0]));
        payload.extend(attr(libc::RTA_MULTIPATH, &[hop, second.to_vec()].concat()));
        payload.extend(attr(libc::RTA_TABLE, &51820u32.to_ne_bytes()));
        let route = route(&payload).expect("route");
        assert_eq!(route.to.to_string(), "172.0.0.0/8");
        assert_eq!((route.index, route.table), (Some(9), 51820));
        assert_eq!(route.via, "10.0.0.1".parse().ok());
    }

    #[test]
    fn what_is_for_the_host_itself_is_no_route_and_a_strange_family_no_address() {
        let local = [AF_INET, 32, 0, 0, 255, 2, 254, 2, 0, 0, 0, 0];
        assert_eq!(route(&local), None);
        assert_eq!(address(&[28, 32, 0, 0, 1, 0, 0, 0]), None);
    }

    #[test]
    fn every_cut_of_a_message_is_refused_or_understood_without_a_panic() {
        let mut link = vec![0; 16];
        link[4] = 3;
        link[8] = 1;
        link.extend(attr(libc::IFLA_IFNAME, b"eth0\0"));
        link.extend(attr(libc::IFLA_STATS64, &[1; 64]));
        link.extend(attr(libc::IFLA_LINKINFO, &attr(IFLA_INFO_KIND, b"veth\0")));
        for end in 0..=link.len() {
            let _ = interface(&link[..end]);
            let _ = address(&link[..end]);
            let _ = route(&link[..end]);
        }
        let interface = interface(&link).expect("interface");
        assert_eq!((interface.index, interface.up), (3, true));
        assert_eq!(interface.name, "eth0");
        assert_eq!(interface.kind.as_deref(), Some("veth"));
        assert_eq!(interface.statistics.tx_dropped, 0x0101_0101_0101_0101);
    }
}
