//! The subnets of one network, and what must not overlap them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::Error;

/// Routes shorter than this are ways to everything, not somebody's addresses: the default route, the
/// halves that VPNs put over it (`0.0.0.0/1`, `128.0.0.0/1`), the pieces of others (`8.0.0.0/5`). A
/// subnet inside them is the longer prefix, and wins.
const EVERYTHING_V4: u8 = 8;
/// As [`EVERYTHING_V4`]: `2000::/3`, `fc00::/7`.
const EVERYTHING_V6: u8 = 16;
/// Shortest prefix of a network: a private range as a whole.
const SHORTEST_V4: u8 = 8;
/// Shortest prefix of a network: what a provider gets.
const SHORTEST_V6: u8 = 32;
/// Longest prefix with a gateway, a container, and the two addresses that are no hosts.
const LONGEST_V4: u8 = 30;

/// Prefixes that no network of containers may touch, and what they are for.
const UNUSABLE: [(&str, &str); 8] = [
    ("0.0.0.0/8", "\"this network\" (RFC 1122)"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved (RFC 1112)"),
    (
        "::/8",
        "unspecified, loopback and IPv4-mapped addresses (RFC 4291)",
    ),
    ("fe80::/10", "link-local"),
    ("ff00::/8", "multicast"),
];

/// What is wrong with a subnet by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubnetProblem {
    /// Bits behind the prefix are set; this is the subnet that was probably meant.
    HostBits(IpNet),
    /// More addresses than a network of containers may have.
    TooLarge {
        /// Shortest prefix length that is taken.
        shortest: u8,
    },
    /// No room for a gateway and a container, or fewer IPv6 addresses than IPv4 ones.
    TooSmall {
        /// Longest prefix length that is taken.
        longest: u8,
    },
    /// The addresses have another use.
    Unusable(&'static str),
    /// A second subnet of a family that has one.
    SecondOfItsFamily,
}

/// The subnets of one network: IPv4 always, IPv6 beside it if wanted.
///
/// Addresses are paired: the `n`-th of the IPv4 subnet goes with the `n`-th of the IPv6 subnet, so that
/// one lease is both. Number 1 is the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnets {
    v4: Ipv4Net,
    v6: Option<Ipv6Net>,
}

/// Addresses in use by something else, from the host's routes and addresses or another network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// Which.
    pub net: IpNet,
    /// By what, for the error: ``network `web` ``, `the route via wg0`.
    pub by: String,
}

impl Subnets {
    /// Checks subnets that were asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Subnet`]: host bits set, too large, too small, loopback, link-local, multicast,
    /// reserved; [`Error::NoIpv4Subnet`] when there is only IPv6.
    pub fn new(subnets: &[IpNet]) -> Result<Self, Error> {
        let (mut v4, mut v6) = (None, None);
        for &subnet in subnets {
            let second = match subnet {
                IpNet::V4(net) => v4.replace(net).is_some(),
                IpNet::V6(net) => v6.replace(net).is_some(),
            };
            let problem = second
                .then_some(SubnetProblem::SecondOfItsFamily)
                .or_else(|| problem(subnet));
            if let Some(problem) = problem {
                return Err(Error::Subnet { subnet, problem });
            }
        }
        let v4 = v4.ok_or(Error::NoIpv4Subnet)?;
        if let Some(v6) = v6 {
            // Every number of an IPv4 host is one of an IPv6 host, too.
            let longest = 96 + v4.prefix_len();
            if v6.prefix_len() > longest {
                let problem = SubnetProblem::TooSmall { longest };
                return Err(Error::Subnet {
                    subnet: v6.into(),
                    problem,
                });
            }
        }
        Ok(Self { v4, v6 })
    }

    /// The IPv4 subnet.
    pub fn v4(&self) -> Ipv4Net {
        self.v4
    }

    /// The IPv6 subnet.
    pub fn v6(&self) -> Option<Ipv6Net> {
        self.v6
    }

    /// The gateway's IPv4 address: the first.
    pub fn gateway_v4(&self) -> Ipv4Addr {
        self.host_v4(1)
    }

    /// The gateway's IPv6 address: the first.
    pub fn gateway_v6(&self) -> Option<Ipv6Addr> {
        self.host_v6(1)
    }

    /// Whether an address is in one of the subnets.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.contains(&address),
            IpAddr::V6(address) => self.v6.is_some_and(|net| net.contains(&address)),
        }
    }

    /// Whether nothing else uses these addresses. Routes to everything (shorter than /8, for IPv6
    /// than /16) are no use of addresses.
    ///
    /// # Errors
    ///
    /// [`Error::SubnetInUse`] with the first that does.
    pub fn check_free(&self, reserved: &[Reserved]) -> Result<(), Error> {
        let own = [Some(IpNet::V4(self.v4)), self.v6.map(IpNet::V6)];
        for subnet in own.into_iter().flatten() {
            for other in reserved.iter().filter(|other| other.counts()) {
                if overlap(subnet, other.net) {
                    return Err(Error::SubnetInUse {
                        subnet,
                        reserved: other.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    /// The numbers of addresses that containers may have: not the network's, the gateway's (1) and
    /// the broadcast address.
    pub(crate) fn numbers(&self) -> std::ops::RangeInclusive<u32> {
        let size = 1u32 << (32 - self.v4.prefix_len());
        2..=size - 2
    }

    pub(crate) fn host_v4(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.v4.network().to_bits() + number)
    }

    pub(crate) fn host_v6(&self, number: u32) -> Option<Ipv6Addr> {
        let net = self.v6?.network().to_bits();
        Some(Ipv6Addr::from_bits(net + u128::from(number)))
    }

    /// The number of an address that a container may have.
    pub(crate) fn number_of(&self, address: IpAddr) -> Option<u32> {
        if !self.contains(address) {
            return None;
        }
        let number = match address {
            IpAddr::V4(address) => address.to_bits() - self.v4.network().to_bits(),
            IpAddr::V6(address) => {
                let number = address.to_bits() - self.v6?.network().to_bits();
                u32::try_from(number).ok()?
            }
        };
        self.numbers().contains(&number).then_some(number)
    }
}

impl Reserved {
    /// A route to everything reserves nothing.
    pub(crate) fn counts(&self) -> bool {
        let everything = match self.net {
            IpNet::V4(_) => EVERYTHING_V4,
            IpNet::V6(_) => EVERYTHING_V6,
        };
        self.net.prefix_len() >= everything
    }
}

fn problem(subnet: IpNet) -> Option<SubnetProblem> {
    if subnet.trunc() != subnet {
        return Some(SubnetProblem::HostBits(subnet.trunc()));
    }
    let (shortest, longest) = match subnet {
        IpNet::V4(_) => (SHORTEST_V4, LONGEST_V4),
        IpNet::V6(_) => (SHORTEST_V6, 96 + LONGEST_V4),
    };
    if subnet.prefix_len() < shortest {
        return Some(SubnetProblem::TooLarge { shortest });
    }
    if subnet.prefix_len() > longest {
        return Some(SubnetProblem::TooSmall { longest });
    }
    UNUSABLE.iter().find_map(|(net, why)| {
        let net: IpNet = net.parse().expect("the table holds prefixes");
        overlap(net, subnet).then_some(SubnetProblem::Unusable(why))
    })
}

fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

impl fmt::Display for SubnetProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostBits(meant) => {
                write!(f, "bits behind the prefix are set; the subnet is {meant}")
            }
            Self::TooLarge { shortest } => write!(f, "too large: /{shortest} is the largest"),
            Self::TooSmall { longest } => write!(f, "too small: /{longest} is the smallest"),
            Self::Unusable(why) => write!(f, "these addresses are {why}"),
            Self::SecondOfItsFamily => f.write_str("one subnet of a family is all a network has"),
        }
    }
}

impl fmt::Display for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.net, self.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnets(text: &[&str]) -> Result<Subnets, Error> {
        let nets: Vec<IpNet> = text.iter().map(|net| net.parse().expect(net)).collect();
        Subnets::new(&nets)
    }

    fn refused(text: &[&str]) -> String {
        subnets(text).expect_err("refused").to_string()
    }

    #[test]
    fn subnets_that_cannot_be_are_refused_with_the_reason() {
        for (net, why) in [
            ("0.0.0.0/0", "too large"),
            ("10.0.0.0/7", "too large"),
            ("10.0.0.0/31", "too small"),
            ("10.0.0.1/32", "too small"),
            ("10.0.0.1/24", "the subnet is 10.0.0.0/24"),
            ("127.0.0.0/24", "loopback"),
            ("169.254.1.0/24", "link-local"),
            ("239.0.0.0/24", "multicast"),
            ("250.0.0.0/8", "reserved"),
            ("0.1.0.0/16", "this network"),
            ("::/0", "too large"),
            ("fd00::1/64", "the subnet is fd00::/64"),
            ("fd00::/127", "too small"),
            ("fe80::/64", "link-local"),
            ("ff02::/64", "multicast"),
            ("::/64", "IPv4-mapped"),
        ] {
            let said = refused(&[net]);
            assert!(said.contains(why), "{net}: {said}");
        }
    }

    #[test]
    fn a_network_has_one_subnet_of_each_family_and_ipv4_always() {
        assert!(refused(&["10.0.0.0/24", "10.0.1.0/24"]).contains("one subnet of a family"));
        assert!(refused(&["fd00::/64"]).contains("IPv4"));
        assert!(refused(&["10.0.0.0/16", "fd00::/120"]).contains("/112 is the smallest"));
        let both = subnets(&["fd00::/64", "10.0.0.0/24"]).expect("both");
        assert_eq!(both.gateway_v4().to_string(), "10.0.0.1");
        assert_eq!(both.gateway_v6().expect("v6").to_string(), "fd00::1");
        assert_eq!(both.numbers(), 2..=254);
        assert_eq!(subnets(&["10.0.0.0/30"]).expect("/30").numbers(), 2..=2);
    }

    #[test]
    fn numbers_pair_the_families() {
        let both = subnets(&["fd00::/64", "10.0.0.0/24"]).expect("both");
        for (address, number) in [
            ("10.0.0.2", Some(2)),
            ("10.0.0.254", Some(254)),
            ("10.0.0.0", None),
            ("10.0.0.1", None),
            ("10.0.0.255", None),
            ("10.0.1.2", None),
            ("fd00::2", Some(2)),
            ("fd00::ff", None),
            ("fd00::1:0:0:2", None),
            ("fd01::2", None),
        ] {
            let parsed = address.parse().expect(address);
            assert_eq!(both.number_of(parsed), number, "{address}");
        }
    }

    #[test]
    fn overlap_names_the_other_and_a_way_to_everything_is_none() {
        let reserved = |net: &str, by: &str| Reserved {
            net: net.parse().expect(net),
            by: by.to_owned(),
        };
        let own = subnets(&["10.1.2.0/24", "fd00:1::/64"]).expect("own");
        for everything in ["0.0.0.0/0", "0.0.0.0/1", "8.0.0.0/5", "::/0", "fc00::/7"] {
            own.check_free(&[reserved(everything, "the route via tun0")])
                .expect(everything);
        }
        for net in [
            "10.0.0.0/8",
            "10.1.2.0/24",
            "10.1.2.128/25",
            "10.1.2.7/32",
            "fd00:1::/48",
        ] {
            let error = own
                .check_free(&[reserved(net, "the route via wg0")])
                .expect_err(net);
            let said = error.to_string();
            assert!(said.contains(net) && said.contains("wg0"), "{said}");
        }
    }
}
