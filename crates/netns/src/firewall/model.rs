//! What a firewall is asked for: networks, and the containers on them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Error;

/// The addresses that begin with the first `length` bits of `address`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// Bits behind the length do not count.
    pub address: IpAddr,
    /// In bits: at most 32, or 128.
    pub length: u8,
}

impl Prefix {
    /// Whether an address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.length.min(32));
                let bits = own.to_bits() ^ other.to_bits();
                bits.checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.length.min(128));
                let bits = own.to_bits() ^ other.to_bits();
                bits.checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    fn check(&self) -> Result<(), Error> {
        let most = if self.address.is_ipv4() { 32 } else { 128 };
        if self.length <= most {
            return Ok(());
        }
        let why = "an IPv4 prefix has at most 32 bits, an IPv6 prefix 128";
        Err(policy("prefix", self.to_string(), why))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// A network: one bridge, and the addresses behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The name of its interface.
    pub bridge: String,
    /// Its subnets, of IPv4, IPv6 or both. The host has an address in each, on the bridge.
    pub subnets: Vec<Prefix>,
    /// Nothing leaves it, nothing from outside comes in, and of the host only names are served.
    /// The host itself reaches the containers.
    pub internal: bool,
    /// Whether containers may reach the cloud's metadata service, `169.254.169.254` and
    /// `fd00:ec2::254`: whoever can read it often has the machine's credentials.
    pub metadata_allowed: bool,
}

impl Network {
    pub(super) fn check(&self) -> Result<(), Error> {
        interface("bridge", &self.bridge)?;
        self.subnets.iter().try_for_each(Prefix::check)
    }
}

/// Which transport a port is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names of the protocols")]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// As the IP header has it.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => libc::IPPROTO_TCP as u8,
            Self::Udp => libc::IPPROTO_UDP as u8,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Which addresses of the host a port is published on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostAddress {
    /// All of IPv4, `127.0.0.1` included.
    AnyV4,
    /// All of IPv6.
    AnyV6,
    /// This one. `127.0.0.1` serves the host alone.
    One(IpAddr),
}

/// A published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Published {
    /// Of which transport.
    pub protocol: Protocol,
    /// At which addresses of the host.
    pub address: HostAddress,
    /// The port of the host.
    pub host_port: u16,
    /// The port of the container.
    pub port: u16,
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            HostAddress::AnyV4 => f.write_str("0.0.0.0")?,
            HostAddress::AnyV6 => f.write_str("[::]")?,
            HostAddress::One(IpAddr::V4(address)) => write!(f, "{address}")?,
            HostAddress::One(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        write!(f, ":{}:{}/{}", self.host_port, self.port, self.protocol)
    }
}

/// A container on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The bridge of its network.
    pub bridge: String,
    /// The host's end of its veth pair, a port of that bridge.
    pub veth: String,
    /// Its IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub v6: Option<Ipv6Addr>,
    /// Where it may dial beyond its own subnets; None: everywhere. What is dialled counts, not
    /// where a published port leads to.
    pub egress: Option<Vec<Prefix>>,
    /// Its published ports. Those of a family in which it has no address are left out.
    pub published: Vec<Published>,
}

impl Endpoint {
    pub(super) fn check(&self) -> Result<(), Error> {
        interface("bridge", &self.bridge)?;
        interface("veth", &self.veth)?;
        for published in &self.published {
            if published.host_port == 0 || published.port == 0 {
                return Err(policy(
                    "published port",
                    published.to_string(),
                    "0 is no port",
                ));
            }
        }
        self.egress.iter().flatten().try_for_each(Prefix::check)
    }
}

/// As `dev_valid_name` of the kernel has it, without what would look odd in a listing.
fn interface(what: &'static str, name: &str) -> Result<(), Error> {
    let why = if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        "the name of an interface has 1 to 15 bytes"
    } else if name == "." || name == ".." || name.contains(['/', ':', '"', '*']) {
        "the name of an interface has none of / : \" * and is not . or .."
    } else if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        "the name of an interface is printable ASCII without spaces"
    } else {
        return Ok(());
    };
    Err(policy(what, name, why))
}

pub(super) fn policy(what: &'static str, value: impl Into<String>, why: &'static str) -> Error {
    Error::Policy {
        what,
        value: value.into(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_what_begins_like_it() {
        let prefix = |address: &str, length| Prefix {
            address: address.parse().expect("address"),
            length,
        };
        let check = |prefix: Prefix, address: &str, expected| {
            let address = address.parse().expect("address");
            assert_eq!(prefix.contains(address), expected, "{prefix} {address}");
        };
        check(prefix("10.1.0.0", 24), "10.1.0.255", true);
        check(prefix("10.1.0.0", 24), "10.1.1.0", false);
        check(prefix("0.0.0.0", 0), "255.1.2.3", true);
        check(prefix("::", 0), "fd00::1", true);
        check(prefix("::", 0), "10.0.0.1", false);
        check(prefix("fd00::", 64), "fd00::ffff", true);
        check(prefix("fd00::", 64), "fd00:0:0:1::", false);
    }

    #[test]
    fn names_that_no_interface_can_have_are_refused_with_the_reason() {
        for name in ["", "0123456789abcdef", "a/b", "a b", "..", "a\"b", "a*"] {
            let error = interface("veth", name).expect_err(name);
            assert!(error.to_string().starts_with("veth "), "{error}");
        }
        interface("veth", "ctrv0a1b2c3d").expect("a good name");
    }
}
