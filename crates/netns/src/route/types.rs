//! The small values that requests and queries are made of.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;
use std::str::FromStr;

use crate::Error;

/// The name of an interface: what `dev_valid_name` of the kernel takes, and no `%`, which the
/// kernel would replace by a number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkName(String);

impl LinkName {
    /// Longest name, in bytes: `IFNAMSIZ` (16) less the terminating zero.
    pub const MAX: usize = 15;

    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`Error::LinkName`] for one that is empty, longer than [`LinkName::MAX`] bytes, `.` or `..`,
    /// or holds `/`, `:`, `%`, white space or control characters.
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        let bad = |c: char| matches!(c, '/' | ':' | '%') || c.is_whitespace() || c.is_control();
        if name.is_empty()
            || name.len() > Self::MAX
            || matches!(name.as_str(), "." | "..")
            || name.contains(bad)
        {
            return Err(Error::LinkName { name });
        }
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl FromStr for LinkName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::new(name)
    }
}

/// An interface of the network namespace that the socket belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// Its number, `ifindex`. 1 is always `lo`.
    Index(u32),
    /// Its name, looked up just before the request is sent.
    Name(LinkName),
}

impl From<LinkName> for Link {
    fn from(name: LinkName) -> Self {
        Self::Name(name)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "#{index}"),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// A network namespace that an interface is born in or moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Netns {
    /// That of a container which is not made yet: a plan can be printed, not applied.
    /// [`Request::for_container`](super::Request::for_container) puts the real one in.
    Container,
    /// That of a process (`IFLA_NET_NS_PID`), as the pid namespace of the sender numbers it.
    Pid(u32),
    /// An open descriptor of one (`IFLA_NET_NS_FD`). Its owner keeps it open until the request was
    /// applied.
    Fd(RawFd),
}

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container => f.write_str("in the container's namespace"),
            Self::Pid(pid) => write!(f, "in the namespace of process {pid}"),
            Self::Fd(fd) => write!(f, "in the namespace of descriptor {fd}"),
        }
    }
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An address and how many of its leading bits name the network: `10.90.0.2/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// `0.0.0.0/0`.
    pub const ALL_V4: Self = Self {
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        length: 0,
    };
    /// `::/0`.
    pub const ALL_V6: Self = Self {
        address: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        length: 0,
    };

    /// Bits after the prefix may be set: an interface's address has them, a route's destination
    /// must not.
    ///
    /// # Errors
    ///
    /// [`Error::PrefixLength`] for more than 32 (IPv4) or 128 (IPv6) bits.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, Error> {
        if length > bits(address) {
            return Err(Error::PrefixLength { address, length });
        }
        Ok(Self { address, length })
    }

    /// The address, all of it.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many leading bits name the network.
    pub fn length(self) -> u8 {
        self.length
    }

    /// The same network with all bits after the prefix zero.
    pub fn network(self) -> Self {
        Self {
            address: masked(self.address, self.length),
            length: self.length,
        }
    }

    /// Whether the address lies in this network.
    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && masked(address, self.length) == masked(self.address, self.length)
    }

    /// Whether one of the two networks holds the other.
    pub fn overlaps(self, other: Self) -> bool {
        let (wide, narrow) = if self.length <= other.length {
            (self, other)
        } else {
            (other, self)
        };
        wide.contains(narrow.address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(address: &str, length: u8) -> Prefix {
        Prefix::new(address.parse().expect("address"), length).expect("prefix")
    }

    #[test]
    fn a_link_name_is_what_the_kernel_takes_and_no_pattern() {
        for good in ["lo", "eth0", "ctrv0a1b2c3d", "eth0.5", "fifteen-bytes-1"] {
            assert_eq!(LinkName::new(good).expect(good).as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a:b",
            "a b",
            "veth%d",
            "a\n",
            "sixteen-bytes-16",
        ] {
            assert!(LinkName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn networks_overlap_when_one_holds_the_other() {
        let cases = [
            (prefix("10.0.0.0", 8), prefix("10.90.0.0", 24), true),
            (prefix("10.90.1.0", 24), prefix("10.90.0.0", 24), false),
            (prefix("10.90.0.7", 24), prefix("10.90.0.9", 32), true),
            (Prefix::ALL_V4, prefix("192.168.1.0", 24), true),
            (Prefix::ALL_V4, Prefix::ALL_V6, false),
            (prefix("fd00::", 8), prefix("fd12:3456::1", 64), true),
            (prefix("fd12::", 64), prefix("fd13::", 64), false),
        ];
        for (a, b, overlap) in cases {
            assert_eq!(a.overlaps(b), overlap, "{a} {b}");
            assert_eq!(b.overlaps(a), overlap, "{b} {a}");
        }
    }

    #[test]
    fn a_network_has_no_bits_after_the_prefix_and_no_more_bits_than_its_family() {
        assert_eq!(
            prefix("10.90.0.7", 24).network().to_string(),
            "10.90.0.0/24"
        );
        assert_eq!(prefix("fd00::7", 64).network().to_string(), "fd00::/64");
        assert_eq!(
            prefix("10.90.0.7", 32).network().to_string(),
            "10.90.0.7/32"
        );
        assert!(Prefix::new(Ipv4Addr::LOCALHOST.into(), 33).is_err());
        assert!(Prefix::new(Ipv6Addr::LOCALHOST.into(), 129).is_err());
    }
}
