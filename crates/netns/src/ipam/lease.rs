//! Leases: which container has which address of a network.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::Subnets;
use crate::Error;
use crate::claim::{Claims, Holder};

/// So many addresses are tried one after the other before the directory is read as a whole, which
/// costs as much as some fifty tries.
const TRIES: u32 = 4;

/// A container's addresses on one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The IPv4 address.
    pub v4: Ipv4Addr,
    /// The IPv6 address with the same number, if the network has IPv6.
    pub v6: Option<Ipv6Addr>,
    /// The address of the interface, see [`mac_of`].
    pub mac: [u8; 6],
    /// Who has it.
    pub holder: Holder,
}

/// The leases of one network: a directory with one entry for each address in use.
///
/// The entry is a symbolic link called like the IPv4 address, whose text is the [`Holder`]
/// (`10.120.0.2 -> web 4711:98765`); making it is the one exclusive step, so there is no lock, and a
/// process killed at any moment leaves a whole lease or none. An entry stays until its holder releases
/// it, or until somebody finds the holder dead: at [`Leases::sweep`], or when an address is needed.
#[derive(Debug)]
pub struct Leases {
    claims: Claims,
    subnets: Subnets,
}

impl Leases {
    /// Opens the directory of a network's leases; makes it, mode 0700, when there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Claim`] when it cannot be made or opened.
    pub fn open(directory: &Path, subnets: Subnets) -> Result<Self, Error> {
        Ok(Self {
            claims: Claims::open(directory)?,
            subnets,
        })
    }

    /// Takes an address: the `wanted` one, or one that a container of this name gets again as long
    /// as nobody else took it, so that caches of others stay right over a restart.
    ///
    /// `is_alive` tells whether what a lease says of its holder is still true. It is asked only when
    /// an address is wanted that somebody holds, or when all are held.
    ///
    /// # Errors
    ///
    /// - [`Error::AddressInUse`] with the holder of the wanted address.
    /// - [`Error::AddressOutside`]: the wanted one is no container's address of this network.
    /// - [`Error::NoAddressLeft`]: all are held by the living.
    /// - [`Error::Claim`]: the directory cannot be used.
    pub fn lease(
        &self,
        holder: &Holder,
        wanted: Option<IpAddr>,
        is_alive: &dyn Fn(&Holder) -> bool,
    ) -> Result<Lease, Error> {
        match wanted {
            Some(address) => self.fixed(holder, address, is_alive),
            None => self.any(holder, is_alive),
        }
    }

    fn fixed(
        &self,
        holder: &Holder,
        address: IpAddr,
        is_alive: &dyn Fn(&Holder) -> bool,
    ) -> Result<Lease, Error> {
        let number = self
            .subnets
            .number_of(address)
            .ok_or(Error::AddressOutside {
                address,
                subnets: self.subnets,
            })?;
        let file = self.subnets.host_v4(number).to_string();
        let text = holder.to_string();
        match self.claims.claim_from_the_dead(&file, &text, is_alive)? {
            None => Ok(self.of(number, holder.clone())),
            Some(held) => Err(Error::AddressInUse {
                address,
                holder: Holder::parse(&held).0.container().to_owned(),
            }),
        }
    }

    fn any(&self, holder: &Holder, is_alive: &dyn Fn(&Holder) -> bool) -> Result<Lease, Error> {
        let text = holder.to_string();
        let numbers = self.subnets.numbers();
        let (first, count) = (*numbers.start(), numbers.end() - numbers.start() + 1);
        let hint = hash(holder.container()) % count;
        let number = |step: u32| {
            let place = (u64::from(hint) + u64::from(step)) % u64::from(count);
            first + u32::try_from(place).expect("less than count")
        };
        let claim = |number: u32| {
            let file = self.subnets.host_v4(number).to_string();
            self.claims.claim(&file, &text)
        };
        for step in 0..TRIES.min(count) {
            if claim(number(step))?.is_none() {
                return Ok(self.of(number(step), holder.clone()));
            }
        }
        loop {
            let taken = self.taken()?;
            for number in (0..count).map(number).filter(|n| !taken.contains(n)) {
                if claim(number)?.is_none() {
                    return Ok(self.of(number, holder.clone()));
                }
            }
            // Ends: either the sweep frees something, or nothing is left.
            if self.claims.sweep(is_alive)?.is_empty() {
                return Err(Error::NoAddressLeft {
                    subnet: self.subnets.v4(),
                    addresses: count,
                });
            }
        }
    }

    fn taken(&self) -> Result<HashSet<u32>, Error> {
        let mut taken = HashSet::new();
        self.claims.files(|file| {
            taken.extend(self.number_of_file(file));
        })?;
        Ok(taken)
    }

    fn number_of_file(&self, file: &str) -> Option<u32> {
        let address: Ipv4Addr = file.parse().ok()?;
        self.subnets.number_of(address.into())
    }

    /// Gives an address back. Fine when it was given back before, or belongs to somebody else by now.
    ///
    /// # Errors
    ///
    /// [`Error::Claim`].
    pub fn release(&self, lease: &Lease) -> Result<(), Error> {
        let (file, text) = (lease.v4.to_string(), lease.holder.to_string());
        self.claims.remove(&[(&file, &text)]).map(drop)
    }

    /// All leases, in no particular order.
    ///
    /// # Errors
    ///
    /// [`Error::Claim`].
    pub fn list(&self) -> Result<Vec<Lease>, Error> {
        Ok(self.leases(self.claims.list()?))
    }

    /// Frees the addresses of dead holders and returns them. Of two sweeps at the same time, both may
    /// return a lease.
    ///
    /// # Errors
    ///
    /// [`Error::Claim`].
    pub fn sweep(&self, is_alive: &dyn Fn(&Holder) -> bool) -> Result<Vec<Lease>, Error> {
        Ok(self.leases(self.claims.sweep(is_alive)?))
    }

    /// The same, looking at `most` leases only, chosen by chance: for whoever sweeps often.
    ///
    /// # Errors
    ///
    /// [`Error::Claim`].
    pub fn sweep_some(
        &self,
        most: usize,
        is_alive: &dyn Fn(&Holder) -> bool,
    ) -> Result<Vec<Lease>, Error> {
        Ok(self.leases(self.claims.sweep_some(most, is_alive)?))
    }

    fn leases(&self, claims: Vec<(String, String)>) -> Vec<Lease> {
        let lease = |(file, text): (String, String)| {
            let number = self.number_of_file(&file)?;
            Some(self.of(number, Holder::parse(&text).0))
        };
        claims.into_iter().filter_map(lease).collect()
    }

    fn of(&self, number: u32, holder: Holder) -> Lease {
        let v4 = self.subnets.host_v4(number);
        Lease {
            v4,
            v6: self.subnets.host_v6(number),
            mac: mac_of(v4),
            holder,
        }
    }

    /// The subnets the addresses are of.
    pub fn subnets(&self) -> Subnets {
        self.subnets
    }
}

/// The link-layer address that goes with an IPv4 address: `02:42` and its four bytes. Locally
/// administered, unique on the network as the address is, and the same again for the next holder of
/// the address, so that no neighbour's cache is ever wrong.
pub fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// FNV-1a: the same in every build and version, unlike the standard library's.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases(subnets: &[&str]) -> (tempfile::TempDir, Leases) {
        let directory = tempfile::tempdir().expect("tempdir");
        let nets: Vec<_> = subnets.iter().map(|net| net.parse().expect(net)).collect();
        let subnets = Subnets::new(&nets).expect("subnets");
        let leases = Leases::open(&directory.path().join("leases"), subnets).expect("open");
        (directory, leases)
    }

    fn holder(container: &str) -> Holder {
        Holder::new(container, "1").expect("holder")
    }

    const ALIVE: &dyn Fn(&Holder) -> bool = &|_| true;

    #[test]
    fn a_lease_is_both_families_and_a_mac() {
        let (_directory, leases) = leases(&["10.1.2.0/24", "fd00::/64"]);
        let wanted = Some("fd00::7".parse().expect("address"));
        let lease = leases.lease(&holder("web"), wanted, ALIVE).expect("lease");
        assert_eq!(lease.v4.to_string(), "10.1.2.7");
        assert_eq!(lease.v6.expect("v6").to_string(), "fd00::7");
        assert_eq!(lease.mac, [0x02, 0x42, 10, 1, 2, 7]);
        assert_eq!(leases.list().expect("list"), [lease]);
    }

    #[test]
    fn a_container_gets_its_address_again() {
        let (_directory, leases) = leases(&["10.1.2.0/24"]);
        let first = leases.lease(&holder("web"), None, ALIVE).expect("first");
        leases.release(&first).expect("release");
        leases.release(&first).expect("twice is fine");
        let again = leases.lease(&holder("web"), None, ALIVE).expect("again");
        assert_eq!(first, again);
    }

    #[test]
    fn a_wanted_address_that_is_held_names_the_holder_unless_it_died() {
        let (_directory, leases) = leases(&["10.1.2.0/24"]);
        let wanted = Some("10.1.2.9".parse().expect("address"));
        leases.lease(&holder("web"), wanted, ALIVE).expect("lease");
        let error = leases
            .lease(&holder("db"), wanted, ALIVE)
            .expect_err("held");
        let said = error.to_string();
        assert!(said.contains("10.1.2.9") && said.contains("web"), "{said}");
        leases
            .lease(&holder("db"), wanted, &|held| held.container() != "web")
            .expect("the dead hold nothing");
    }

    #[test]
    fn gateway_broadcast_and_foreign_addresses_are_no_leases() {
        let (_directory, leases) = leases(&["10.1.2.0/24"]);
        for address in ["10.1.2.0", "10.1.2.1", "10.1.2.255", "10.1.3.2", "fd00::2"] {
            let wanted = Some(address.parse().expect("address"));
            let error = leases
                .lease(&holder("web"), wanted, ALIVE)
                .expect_err("refused");
            assert!(
                matches!(error, Error::AddressOutside { .. }),
                "{address}: {error}"
            );
        }
    }

    #[test]
    fn every_address_is_handed_out_once_and_then_the_dead_ones_again() {
        let (_directory, leases) = leases(&["10.1.2.0/24"]);
        let mut seen = HashSet::new();
        for n in 0..253 {
            let lease = leases.lease(&holder(&format!("c{n}")), None, ALIVE);
            assert!(seen.insert(lease.expect("lease").v4));
        }
        let error = leases
            .lease(&holder("late"), None, ALIVE)
            .expect_err("full");
        assert!(error.to_string().contains("253"), "{error}");
        let late = leases
            .lease(&holder("late"), None, &|held| held.container() != "c100")
            .expect("c100 is dead");
        assert_eq!(leases.list().expect("list").len(), 253);
        assert!(seen.contains(&late.v4));
    }
}
