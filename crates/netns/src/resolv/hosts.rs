//! The container's `/etc/hosts`.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::check_domain;
use crate::Error;

/// A `/etc/hosts` to be: `localhost`, and what is added.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hosts {
    entries: Vec<(IpAddr, Vec<String>)>,
}

impl Hosts {
    /// `localhost` alone, by 127.0.0.1 and ::1. Both: what is not there is asked of a DNS server, and
    /// `localhost` is nobody else's.
    pub fn new() -> Self {
        let mut hosts = Self::default();
        let localhost = ["localhost"].map(str::to_owned).to_vec();
        hosts.entries.push((Ipv4Addr::LOCALHOST.into(), localhost));
        let names = ["localhost", "ip6-localhost", "ip6-loopback"].map(str::to_owned);
        hosts
            .entries
            .push((Ipv6Addr::LOCALHOST.into(), names.to_vec()));
        hosts
    }

    /// Adds a line: an address and its names, of which the first is the canonical one.
    ///
    /// # Errors
    ///
    /// [`Error::ResolvValue`]: a name that is none; no name at all.
    pub fn add(&mut self, address: IpAddr, names: &[&str]) -> Result<(), Error> {
        if names.is_empty() {
            check_domain("host name", "")?;
        }
        for name in names {
            check_domain("host name", name)?;
        }
        let names = names.iter().copied().map(str::to_owned).collect();
        self.entries.push((address, names));
        Ok(())
    }

    /// The file.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (address, names) in &self.entries {
            let _ = writeln!(text, "{address}\t{}", names.join(" "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_and_what_is_added() {
        let mut hosts = Hosts::new();
        let v4 = "10.1.2.3".parse().expect("v4");
        hosts.add(v4, &["web.ctr.internal", "web"]).expect("add");
        let v6 = "fd00::3".parse().expect("v6");
        hosts.add(v6, &["web"]).expect("add");
        assert_eq!(
            hosts.to_text(),
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
             10.1.2.3\tweb.ctr.internal web\nfd00::3\tweb\n"
        );
    }

    #[test]
    fn a_name_that_would_be_more_than_one_is_refused() {
        let address = IpAddr::from(Ipv4Addr::LOCALHOST);
        for bad in [
            &[][..],
            &[""],
            &["a b"],
            &["a\n6.6.6.6 b"],
            &["a", "b#"],
            &["a\tb"],
        ] {
            let mut hosts = Hosts::new();
            hosts.add(address, bad).expect_err("refused");
            assert_eq!(hosts, Hosts::new());
        }
    }
}
