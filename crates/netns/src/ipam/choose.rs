//! Choosing subnets that nothing else uses.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rustix::rand::{GetRandomFlags, getrandom};

use super::Reserved;
use crate::Error;

/// Ranges of IPv4 addresses, in order of preference, and the size of a network cut out of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The ranges.
    pub ranges: Vec<Ipv4Net>,
    /// Prefix length of one network, 8 to 30.
    pub prefix_len: u8,
}

impl Default for Pool {
    /// 2,112 networks of 253 containers each.
    ///
    /// - `10.120.0.0/14` first: private (RFC 1918), and away from where others start counting: home
    ///   and office networks (10.0, 10.1, 10.10), OpenVPN (10.8), k3s (10.42, 10.43), podman
    ///   (10.88 and up), Kubernetes' services (10.96/12), the upper half that a cloud deals out of
    ///   without a route in the host's table.
    /// - `172.24.0.0/14` when a VPN has all of 10/8: Docker begins at 172.17 and comes here with its
    ///   eighth network, the default network of another cloud is 172.31.
    /// - `192.168.192.0/18` when somebody routes both: home routers use the low numbers.
    fn default() -> Self {
        let range = |a, b, c, len| Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), len);
        Self {
            ranges: vec![
                range(10, 120, 0, 14),
                range(172, 24, 0, 14),
                range(192, 168, 192, 18),
            ],
            prefix_len: 24,
        }
    }
}

/// The first IPv4 subnet of `pool` that overlaps nothing of `reserved`.
///
/// The lowest free one rather than a random one: who looks at a packet recognizes it. The caller
/// holds off other makers of networks between this and the publication of the new network.
///
/// # Errors
///
/// [`Error::NoSubnetLeft`].
pub fn choose_v4(pool: &Pool, reserved: &[Reserved]) -> Result<Ipv4Net, Error> {
    let taken = taken(reserved, |net| match net {
        IpNet::V4(net) => Some((
            net.network().to_bits().into(),
            net.broadcast().to_bits().into(),
        )),
        IpNet::V6(_) => None,
    });
    let size = 1u128 << 32u8.saturating_sub(pool.prefix_len);
    pool.ranges
        .iter()
        .find_map(|range| {
            let first = u128::from(range.network().to_bits());
            let last = u128::from(range.broadcast().to_bits());
            let start = u32::try_from(first_free(first, last, size, &taken)?).ok()?;
            Ipv4Net::new(Ipv4Addr::from_bits(start), pool.prefix_len).ok()
        })
        .ok_or_else(|| Error::NoSubnetLeft {
            ranges: pool.ranges.iter().copied().map(IpNet::V4).collect(),
            prefix_len: pool.prefix_len,
        })
}

/// The 40 random bits that make the IPv6 addresses of one engine unlike those of any other
/// ([RFC 4193] §3.2), so that two sites can be joined later. Made once, kept by the caller.
///
/// [RFC 4193]: https://www.rfc-editor.org/rfc/rfc4193
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GlobalId(pub [u8; 5]);

impl GlobalId {
    /// A new one.
    ///
    /// # Errors
    ///
    /// [`Error::Random`] when `getrandom(2)` fails, which only a seccomp filter makes it do.
    pub fn random() -> Result<Self, Error> {
        let mut id = [0; 5];
        fill_random(&mut id)?;
        Ok(Self(id))
    }

    /// `fdXX:XXXX:XXXX::/48`.
    pub fn prefix(self) -> Ipv6Net {
        let mut octets = [0; 16];
        octets[0] = 0xfd;
        octets[1..6].copy_from_slice(&self.0);
        Ipv6Net::new_assert(Ipv6Addr::from(octets), 48)
    }
}

/// Fewer than 256 bytes come whole or not at all, see `getrandom(2)`.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), Error> {
    loop {
        match getrandom(&mut *bytes, GetRandomFlags::empty()) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(source) => return Err(Error::Random { source }),
        }
    }
}

/// The first /64 below the engine's prefix that overlaps nothing of `reserved`.
///
/// # Errors
///
/// [`Error::NoSubnetLeft`] after 65,536 networks.
pub fn choose_v6(id: GlobalId, reserved: &[Reserved]) -> Result<Ipv6Net, Error> {
    let taken = taken(reserved, |net| match net {
        IpNet::V4(_) => None,
        IpNet::V6(net) => Some((net.network().to_bits(), net.broadcast().to_bits())),
    });
    let range = id.prefix();
    let (first, last) = (range.network().to_bits(), range.broadcast().to_bits());
    first_free(first, last, 1 << 64, &taken)
        .and_then(|start| Ipv6Net::new(Ipv6Addr::from_bits(start), 64).ok())
        .ok_or_else(|| Error::NoSubnetLeft {
            ranges: vec![IpNet::V6(range)],
            prefix_len: 64,
        })
}

/// First and last address of what is reserved, in order.
fn taken(reserved: &[Reserved], ends: impl Fn(IpNet) -> Option<(u128, u128)>) -> Vec<(u128, u128)> {
    let mut taken: Vec<_> = reserved
        .iter()
        .filter(|other| other.counts())
        .filter_map(|other| ends(other.net))
        .collect();
    taken.sort_unstable();
    taken
}

/// The first multiple of `size` in `first..=last` with `size` addresses that nobody took. One pass: the
/// ten-thousandth network costs no more comparisons than there are networks.
fn first_free(first: u128, last: u128, size: u128, taken: &[(u128, u128)]) -> Option<u128> {
    let mut start = first.next_multiple_of(size);
    for &(from, to) in taken {
        if from >= start + size {
            break;
        }
        if to >= start {
            start = (to + 1).next_multiple_of(size);
        }
    }
    (start + (size - 1) <= last).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved(nets: &[&str]) -> Vec<Reserved> {
        nets.iter()
            .map(|net| Reserved {
                net: net.parse().expect(net),
                by: "a route".to_owned(),
            })
            .collect()
    }

    fn chosen(nets: &[&str]) -> String {
        let net = choose_v4(&Pool::default(), &reserved(nets)).expect("left");
        net.to_string()
    }

    #[test]
    fn the_lowest_free_subnet_is_chosen() {
        for (taken, expected) in [
            (&[][..], "10.120.0.0/24"),
            (&["0.0.0.0/0", "0.0.0.0/1"], "10.120.0.0/24"),
            (&["10.120.0.0/24"], "10.120.1.0/24"),
            (&["10.120.1.0/24"], "10.120.0.0/24"),
            (&["10.120.0.77/32", "10.120.1.0/30"], "10.120.2.0/24"),
            (&["10.120.0.0/15", "10.120.0.0/24"], "10.122.0.0/24"),
            (&["10.0.0.0/8"], "172.24.0.0/24"),
            (&["172.16.0.0/12", "10.0.0.0/8"], "192.168.192.0/24"),
        ] {
            assert_eq!(chosen(taken), expected, "{taken:?}");
        }
    }

    #[test]
    fn an_exhausted_pool_is_an_error_that_names_it() {
        let all = reserved(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]);
        let error = choose_v4(&Pool::default(), &all).expect_err("nothing left");
        let said = error.to_string();
        assert!(
            said.contains("10.120.0.0/14") && said.contains("/24"),
            "{said}"
        );
    }

    #[test]
    fn all_networks_of_the_pool_differ_and_then_it_is_empty() {
        let mut taken: Vec<Reserved> = Vec::new();
        let pool = Pool {
            ranges: vec!["10.120.0.0/20".parse().expect("net")],
            prefix_len: 24,
        };
        while let Ok(net) = choose_v4(&pool, &taken) {
            assert!(!taken.iter().any(|other| other.net == IpNet::V4(net)));
            taken.push(Reserved {
                net: net.into(),
                by: "network".to_owned(),
            });
        }
        assert_eq!(taken.len(), 16);
    }

    #[test]
    fn ipv6_is_a_64_of_the_engines_own_48() {
        let id = GlobalId([1, 2, 3, 4, 5]);
        assert_eq!(id.prefix().to_string(), "fd01:203:405::/48");
        let first = choose_v6(id, &[]).expect("first");
        assert_eq!(first.to_string(), "fd01:203:405::/64");
        let next = choose_v6(id, &reserved(&["fd01:203:405::/64", "fc00::/7"])).expect("next");
        assert_eq!(next.to_string(), "fd01:203:405:1::/64");
        assert!(choose_v6(id, &reserved(&["fd01:203::/32"])).is_err());
        assert_ne!(
            GlobalId::random().expect("a"),
            GlobalId::random().expect("b")
        );
    }
}
