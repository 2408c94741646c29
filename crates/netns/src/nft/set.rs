//! Sets, maps and their elements.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Table, Verdict};

/// The type of one field of a key or of a map's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// `ipv4_addr`
    Ip4,
    /// `ipv6_addr`
    Ip6,
    /// `inet_proto`, the protocol number of the IP header.
    Protocol,
    /// `inet_service`, a port of TCP or UDP.
    Port,
    /// `ifname`
    Interface,
}

/// How many bits the number of a type takes in the type of a concatenation (nft's `TYPE_BITS`).
const TYPE_BITS: u32 = 6;

impl Kind {
    const ALL: [Self; 5] = [
        Self::Ip4,
        Self::Ip6,
        Self::Protocol,
        Self::Port,
        Self::Interface,
    ];

    /// In bytes.
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Ip4 => 4,
            Self::Ip6 => 16,
            Self::Protocol => 1,
            Self::Port => 2,
            Self::Interface => libc::IFNAMSIZ,
        }
    }

    /// In a register or a key: fields start at multiples of four bytes.
    pub(crate) fn room(self) -> usize {
        self.len().next_multiple_of(4)
    }

    /// `enum datatypes` of nft. The kernel keeps the number and does nothing with it; without it
    /// `nft` could not print the set.
    fn number(self) -> u32 {
        match self {
            Self::Ip4 => 7,
            Self::Ip6 => 8,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::Interface => 41,
        }
    }

    pub(crate) fn concatenated(kinds: &[Self]) -> u32 {
        kinds
            .iter()
            .fold(0, |number, kind| number << TYPE_BITS | kind.number())
    }

    /// None where a field has a type that is not here.
    pub(crate) fn split(mut number: u32) -> Option<Vec<Self>> {
        let mut kinds = Vec::new();
        while number != 0 {
            let last = number & ((1 << TYPE_BITS) - 1);
            kinds.push(Self::ALL.into_iter().find(|kind| kind.number() == last)?);
            number >>= TYPE_BITS;
        }
        kinds.reverse();
        Some(kinds)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip4 => "ipv4_addr",
            Self::Ip6 => "ipv6_addr",
            Self::Protocol => "inet_proto",
            Self::Port => "inet_service",
            Self::Interface => "ifname",
        })
    }
}

/// What a map yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Yields {
    /// Nothing: it is a set.
    Nothing,
    /// Values, as of a data map.
    Values(Vec<Kind>),
    /// A verdict map.
    Verdict,
}

/// A named set or map. Prints as `nft` would take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Where it is.
    pub table: Table,
    /// Unique in its table.
    pub name: String,
    /// One field, or several that are looked up together.
    pub key: Vec<Kind>,
    /// What a map yields.
    pub yields: Yields,
    /// Whether elements may be ranges. Keys of several fields only: those are found by the kernel's
    /// `pipapo` (since Linux 5.6), and it takes a range in each field.
    pub ranges: bool,
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {{ type {}",
            self.table,
            self.name,
            Dotted(&self.key)
        )?;
        match &self.yields {
            Yields::Nothing => {}
            Yields::Values(kinds) => write!(f, " : {}", Dotted(kinds))?,
            Yields::Verdict => f.write_str(" : verdict")?,
        }
        f.write_str(if self.ranges {
            "; flags interval; }"
        } else {
            "; }"
        })
    }
}

/// The value of one field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Value {
    /// An IPv4 address.
    Ip4(Ipv4Addr),
    /// An IPv6 address.
    Ip6(Ipv6Addr),
    /// The addresses that begin with so many bits of this one.
    Prefix(IpAddr, u8),
    /// A protocol number of the IP header.
    Protocol(u8),
    /// A port.
    Port(u16),
    /// The name of an interface, at most 15 bytes.
    Interface(String),
    /// From one value to another, as the kernel holds them; only where it is not a prefix.
    Bytes(Vec<u8>, Vec<u8>),
}

impl From<IpAddr> for Value {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::Ip4(address),
            IpAddr::V6(address) => Self::Ip6(address),
        }
    }
}

impl Value {
    /// A prefix, without the bits behind it; one that is a whole address is the address.
    pub(crate) fn prefix(address: IpAddr, length: u8) -> Self {
        match address {
            IpAddr::V4(a) if length >= 32 => Self::Ip4(a),
            IpAddr::V6(a) if length >= 128 => Self::Ip6(a),
            IpAddr::V4(a) => Self::Prefix((a & Ipv4Addr::from(mask4(length))).into(), length),
            IpAddr::V6(a) => Self::Prefix((a & Ipv6Addr::from(mask6(length))).into(), length),
        }
    }

    /// First and last, each filled up to [`Kind::room`].
    pub(crate) fn bounds(&self) -> (Vec<u8>, Vec<u8>) {
        let one = |bytes: &[u8], room: usize| {
            let mut bytes = bytes.to_vec();
            bytes.resize(room, 0);
            (bytes.clone(), bytes)
        };
        match self {
            Self::Ip4(a) => one(&a.octets(), 4),
            Self::Ip6(a) => one(&a.octets(), 16),
            Self::Prefix(IpAddr::V4(a), length) => {
                let last = *a | !Ipv4Addr::from(mask4(*length));
                (a.octets().to_vec(), last.octets().to_vec())
            }
            Self::Prefix(IpAddr::V6(a), length) => {
                let last = *a | !Ipv6Addr::from(mask6(*length));
                (a.octets().to_vec(), last.octets().to_vec())
            }
            Self::Protocol(number) => one(&[*number], 4),
            Self::Port(port) => one(&port.to_be_bytes(), 4),
            Self::Interface(name) => one(name.as_bytes(), libc::IFNAMSIZ),
            Self::Bytes(first, last) => (first.clone(), last.clone()),
        }
    }

    /// In bytes, where it is the only field of a key.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Protocol(_) => Kind::Protocol.len(),
            Self::Port(_) => Kind::Port.len(),
            value => value.bounds().0.len(),
        }
    }

    /// The reverse of [`Value::bounds`].
    pub(crate) fn from_bounds(kind: Kind, first: &[u8], last: &[u8]) -> Option<Self> {
        if first == last {
            return Self::from_bytes(kind, first);
        }
        let ends = (
            Self::from_bytes(kind, first)?,
            Self::from_bytes(kind, last)?,
        );
        let prefix = match ends {
            (Self::Ip4(a), Self::Ip4(b)) => {
                let length = (a.to_bits() ^ b.to_bits()).leading_zeros() as u8;
                Self::prefix(a.into(), length)
            }
            (Self::Ip6(a), Self::Ip6(b)) => {
                let length = (a.to_bits() ^ b.to_bits()).leading_zeros() as u8;
                Self::prefix(a.into(), length)
            }
            _ => return Some(Self::Bytes(first.to_vec(), last.to_vec())),
        };
        if prefix.bounds() == (first.to_vec(), last.to_vec()) {
            return Some(prefix);
        }
        Some(Self::Bytes(first.to_vec(), last.to_vec()))
    }

    fn from_bytes(kind: Kind, bytes: &[u8]) -> Option<Self> {
        Some(match kind {
            Kind::Ip4 => Self::Ip4(Ipv4Addr::from(*bytes.first_chunk::<4>()?)),
            Kind::Ip6 => Self::Ip6(Ipv6Addr::from(*bytes.first_chunk::<16>()?)),
            Kind::Protocol => Self::Protocol(*bytes.first()?),
            Kind::Port => Self::Port(u16::from_be_bytes(*bytes.first_chunk()?)),
            Kind::Interface => {
                let end = bytes.iter().position(|byte| *byte == 0);
                let name = &bytes[..end.unwrap_or(bytes.len())];
                Self::Interface(String::from_utf8_lossy(name).into_owned())
            }
        })
    }
}

fn mask4(length: u8) -> u32 {
    u32::MAX
        .checked_shl(32 - u32::from(length.min(32)))
        .unwrap_or(0)
}

fn mask6(length: u8) -> u128 {
    u128::MAX
        .checked_shl(128 - u32::from(length.min(128)))
        .unwrap_or(0)
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip4(address) => write!(f, "{address}"),
            Self::Ip6(address) => write!(f, "{address}"),
            Self::Prefix(address, length) => write!(f, "{address}/{length}"),
            Self::Protocol(6) => f.write_str("tcp"),
            Self::Protocol(17) => f.write_str("udp"),
            Self::Protocol(number) => write!(f, "{number}"),
            Self::Port(port) => write!(f, "{port}"),
            Self::Interface(name) => write!(f, "{name:?}"),
            Self::Bytes(first, last) => write!(f, "{first:x?}-{last:x?}"),
        }
    }
}

/// What an element of a map yields.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Yield {
    /// Nothing: it is an element of a set.
    Nothing,
    /// The values of a data map.
    Values(Vec<Value>),
    /// The verdict of a verdict map.
    Verdict(Verdict),
}

/// One element. Prints as `tcp . 8080 : 10.88.0.2 . 80`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// One value for each field of the set.
    pub key: Vec<Value>,
    /// What a map yields for it.
    pub yields: Yield,
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Dotted(&self.key))?;
        match &self.yields {
            Yield::Nothing => Ok(()),
            Yield::Values(values) => write!(f, " : {}", Dotted(values)),
            Yield::Verdict(verdict) => write!(f, " : {verdict}"),
        }
    }
}

/// The parts of a concatenation, as nft separates them.
pub(crate) struct Dotted<'a, T>(pub(crate) &'a [T]);

impl<T: fmt::Display> fmt::Display for Dotted<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.0.iter().enumerate() {
            write!(f, "{}{part}", if i == 0 { "" } else { " . " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_from_their_bounds() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("address");
        for (kind, value) in [
            (Kind::Ip4, Value::Ip4(Ipv4Addr::new(10, 1, 2, 3))),
            (Kind::Ip4, Value::prefix(ip("10.1.2.3"), 8)),
            (Kind::Ip4, Value::prefix(ip("0.0.0.0"), 0)),
            (Kind::Ip6, Value::prefix(ip("fd00::1"), 64)),
            (Kind::Ip6, Value::prefix(ip("fd00::1"), 128)),
            (Kind::Port, Value::Port(8080)),
            (Kind::Protocol, Value::Protocol(17)),
            (Kind::Interface, Value::Interface("ctr0".into())),
            (
                Kind::Ip4,
                Value::Bytes(vec![10, 0, 0, 1], vec![10, 0, 0, 9]),
            ),
        ] {
            let (first, last) = value.bounds();
            assert_eq!(first.len(), kind.room(), "{value}");
            assert_eq!(Value::from_bounds(kind, &first, &last), Some(value));
        }
        assert_eq!(Value::prefix(ip("10.1.2.3"), 8).to_string(), "10.0.0.0/8");
    }

    #[test]
    fn the_type_of_a_concatenation_comes_apart_again() {
        let kinds = vec![Kind::Ip6, Kind::Protocol, Kind::Port];
        assert_eq!(Kind::split(Kind::concatenated(&kinds)), Some(kinds));
        assert_eq!(
            Kind::split(Kind::concatenated(&[Kind::Interface])),
            Some(vec![Kind::Interface])
        );
        assert_eq!(Kind::split(5), None, "a string is no type of ours");
    }
}
