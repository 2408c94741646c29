//! The names of one network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::claim::{Claims, Holder};
use crate::{Error, Name, Subnets};

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The container's name, which an alias and an address lead back to.
    pub name: Name,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Option<Ipv6Addr>,
}

/// The names, aliases and addresses that are known on a network: a directory with one entry for each.
///
/// An entry is a symbolic link called like the name (`web`), or `=` and the address (`=10.120.0.2`),
/// whose text is the holder and the record. The kernel's directory is the index: to answer a query is one
/// `readlinkat(2)`, whatever the number of names; there is no copy that could be out of date, nothing
/// to reload, and no moment at which a name that stays is missing because another one changes.
/// Making a link is exclusive, so a name has one holder without a lock.
#[derive(Debug)]
pub struct Zone {
    claims: Claims,
    subnets: Subnets,
}

/// What one container published; needed to withdraw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    files: Vec<String>,
    text: String,
}

impl Zone {
    /// Opens the directory of a network's names; makes it, mode 0700, when there is none.
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

    /// Makes a container known by its name, its aliases and its addresses: all of them, or none.
    ///
    /// What a dead holder left (as `is_alive` tells) is taken over.
    ///
    /// # Errors
    ///
    /// - [`Error::NameInUse`] with the container that has a name or alias.
    /// - [`Error::AddressInUse`] with the container that has an address, which a lease rules out.
    /// - [`Error::Claim`]: the directory cannot be used.
    pub fn publish(
        &self,
        holder: &Holder,
        record: &Record,
        aliases: &[Name],
        is_alive: &dyn Fn(&Holder) -> bool,
    ) -> Result<Publication, Error> {
        let mut publication = Publication {
            files: Vec::with_capacity(aliases.len() + 3),
            text: format!("{holder} {}", record.text()),
        };
        let mut files = vec![record.name.to_string()];
        files.extend(aliases.iter().map(Name::to_string));
        files.push(file_of(record.v4.into()));
        files.extend(record.v6.map(|v6| file_of(v6.into())));
        for file in files {
            // An alias may repeat the name, or another alias.
            if publication.files.contains(&file) {
                continue;
            }
            let outcome = self
                .claims
                .claim_from_the_dead(&file, &publication.text, is_alive);
            match outcome {
                Ok(None) => publication.files.push(file),
                Ok(Some(held)) => {
                    self.withdraw(&publication)?;
                    return Err(in_use(&file, &held));
                }
                Err(error) => {
                    // The first failure is the one to report; a sweep finds what is left.
                    let _ = self.withdraw(&publication);
                    return Err(error);
                }
            }
        }
        Ok(publication)
    }

    /// Makes a container unknown again. Fine to call twice.
    ///
    /// # Errors
    ///
    /// [`Error::Claim`].
    pub fn withdraw(&self, publication: &Publication) -> Result<(), Error> {
        let text = publication.text.as_str();
        let claims: Vec<_> = publication
            .files
            .iter()
            .map(|f| (f.as_str(), text))
            .collect();
        self.claims.remove(&claims).map(drop)
    }

    /// Removes the names of dead holders; returns how many entries those were.
    ///
    /// # Errors
    ///
    /// [`Error::Claim`].
    pub fn sweep(&self, is_alive: &dyn Fn(&Holder) -> bool) -> Result<usize, Error> {
        self.claims.sweep(is_alive).map(|dead| dead.len())
    }

    /// The same, looking at `most` entries only, chosen by chance: for whoever sweeps often.
    ///
    /// # Errors
    ///
    /// [`Error::Claim`].
    pub fn sweep_some(
        &self,
        most: usize,
        is_alive: &dyn Fn(&Holder) -> bool,
    ) -> Result<usize, Error> {
        let dead = self.claims.sweep_some(most, is_alive)?;
        Ok(dead.len())
    }

    /// What a name or alias stands for. `name` is in lower case.
    ///
    /// # Errors
    ///
    /// [`Error::Claim`].
    pub fn find(&self, name: &str) -> Result<Option<Record>, Error> {
        match crate::name::problem(name) {
            None => self.read(name),
            Some(_) => Ok(None),
        }
    }

    /// Who has an address.
    ///
    /// # Errors
    ///
    /// [`Error::Claim`].
    pub fn find_address(&self, address: IpAddr) -> Result<Option<Record>, Error> {
        self.read(&file_of(address))
    }

    fn read(&self, file: &str) -> Result<Option<Record>, Error> {
        let text = self.claims.read(file)?;
        Ok(text.and_then(|text| Record::parse(Holder::parse(&text).1)))
    }

    /// The subnets of the network.
    pub fn subnets(&self) -> Subnets {
        self.subnets
    }
}

impl Record {
    fn text(&self) -> String {
        match self.v6 {
            Some(v6) => format!("{} {} {v6}", self.name, self.v4),
            None => format!("{} {} -", self.name, self.v4),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        Some(Self {
            name: Name::new(words.next()?).ok()?,
            v4: words.next()?.parse().ok()?,
            v6: match words.next()? {
                "-" => None,
                v6 => Some(v6.parse().ok()?),
            },
        })
    }
}

/// No name starts with `=`.
fn file_of(address: IpAddr) -> String {
    format!("={address}")
}

fn in_use(file: &str, held: &str) -> Error {
    let holder = Holder::parse(held).0.container().to_owned();
    match file.strip_prefix('=').and_then(|text| text.parse().ok()) {
        Some(address) => Error::AddressInUse { address, holder },
        None => Error::NameInUse {
            name: file.to_owned(),
            holder,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> (tempfile::TempDir, Zone) {
        let directory = tempfile::tempdir().expect("tempdir");
        let nets = ["10.1.2.0/24", "fd00::/64"].map(|net| net.parse().expect(net));
        let subnets = Subnets::new(&nets).expect("subnets");
        let zone = Zone::open(&directory.path().join("names"), subnets).expect("open");
        (directory, zone)
    }

    fn record(name: &str, number: u32) -> Record {
        let subnets = zone().1.subnets;
        Record {
            name: Name::new(name).expect(name),
            v4: subnets.host_v4(number),
            v6: subnets.host_v6(number),
        }
    }

    fn names(names: &[&str]) -> Vec<Name> {
        names.iter().map(|n| Name::new(n).expect(n)).collect()
    }

    fn holder(container: &str) -> Holder {
        Holder::new(container, "1").expect("holder")
    }

    #[test]
    fn name_alias_and_addresses_lead_to_the_record_until_withdrawn() {
        let (_directory, zone) = zone();
        let web = record("web", 2);
        let publication = zone
            .publish(
                &holder("web"),
                &web,
                &names(&["www", "web", "www"]),
                &|_| true,
            )
            .expect("publish");
        for name in ["web", "www"] {
            assert_eq!(zone.find(name).expect(name), Some(web.clone()));
        }
        for address in [IpAddr::from(web.v4), web.v6.expect("v6").into()] {
            assert_eq!(zone.find_address(address).expect("find"), Some(web.clone()));
        }
        for odd in ["", "=10.1.2.2", "../names/web", "Web", "db"] {
            assert_eq!(zone.find(odd).expect(odd), None);
        }
        zone.withdraw(&publication).expect("withdraw");
        zone.withdraw(&publication).expect("twice");
        assert_eq!(zone.find("www").expect("find"), None);
    }

    #[test]
    fn a_name_that_is_taken_names_the_holder_and_leaves_nothing_behind() {
        let (_directory, zone) = zone();
        let aliases = names(&["www"]);
        zone.publish(&holder("web"), &record("web", 2), &aliases, &|_| true)
            .expect("web");
        let error = zone
            .publish(&holder("blog"), &record("blog", 3), &aliases, &|_| true)
            .expect_err("www is taken");
        let said = error.to_string();
        assert!(said.contains("`www`") && said.contains("`web`"), "{said}");
        assert_eq!(zone.find("blog").expect("find"), None);
        zone.publish(&holder("blog"), &record("blog", 3), &aliases, &|held| {
            held.container() != "web"
        })
        .expect("web is dead");
        let www = zone.find("www").expect("find").expect("found");
        assert_eq!(www.name.as_str(), "blog");
    }

    #[test]
    fn what_the_dead_left_is_swept() {
        let (_directory, zone) = zone();
        for (n, name) in (2..).zip(["a", "b"]) {
            zone.publish(&holder(name), &record(name, n), &[], &|_| true)
                .expect(name);
        }
        let swept = zone.sweep(&|held| held.container() == "b").expect("sweep");
        assert_eq!(swept, 3);
        assert_eq!(zone.find("a").expect("a"), None);
        assert!(zone.find("b").expect("b").is_some());
    }
}
