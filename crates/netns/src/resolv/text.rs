//! The container's `/etc/resolv.conf`.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::check_domain;
use crate::dns::{RESOLVER, SUFFIX};
use crate::{Error, HostResolv};

/// A `/etc/resolv.conf` to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResolvConf {
    /// The servers, in order. Resolvers use three.
    pub nameservers: Vec<IpAddr>,
    /// Domains to append to short names, in order.
    pub search: Vec<String>,
    /// Options such as `timeout:2`.
    pub options: Vec<String>,
}

impl ResolvConf {
    /// For a container whose supervisor answers: [`RESOLVER`] alone; [`SUFFIX`] before the host's
    /// search domains, so that the name of a container is never taken for one of theirs; no
    /// options: those of the host are about the host's servers, and `ndots` stays 1.
    pub fn with_server(host: &HostResolv) -> Self {
        let mut search = vec![SUFFIX.to_owned()];
        search.extend(host.search.iter().filter(|d| *d != SUFFIX).cloned());
        Self {
            nameservers: vec![RESOLVER.into()],
            search,
            options: Vec::new(),
        }
    }

    /// The file.
    ///
    /// # Errors
    ///
    /// [`Error::ResolvValue`]: a domain that is none, an option with anything but letters, digits, `-`,
    /// `_` and `:`.
    pub fn to_text(&self) -> Result<String, Error> {
        let mut text = String::new();
        for server in &self.nameservers {
            let _ = writeln!(text, "nameserver {server}");
        }
        for domain in &self.search {
            check_domain("search domain", domain)?;
        }
        for option in &self.options {
            check_option(option)?;
        }
        for (keyword, words) in [("search", &self.search), ("options", &self.options)] {
            if !words.is_empty() {
                let _ = writeln!(text, "{keyword} {}", words.join(" "));
            }
        }
        Ok(text)
    }
}

fn check_option(option: &str) -> Result<(), Error> {
    let good = |b: u8| b.is_ascii_alphanumeric() || [b'-', b'_', b':'].contains(&b);
    if (1..=64).contains(&option.len()) && option.bytes().all(good) {
        return Ok(());
    }
    Err(Error::ResolvValue {
        what: "resolver option",
        value: option.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_server_alone_and_the_own_domain_first() {
        let host = HostResolv::parse(
            b"nameserver 127.0.0.53\nsearch corp.example ctr.internal\noptions edns0 trust-ad\n",
        );
        let text = ResolvConf::with_server(&host).to_text().expect("text");
        assert_eq!(
            text,
            "nameserver 127.0.0.11\nsearch ctr.internal corp.example\n"
        );
    }

    #[test]
    fn no_value_becomes_a_second_line_or_word() {
        for bad in [
            "",
            "a b",
            "a\nnameserver 6.6.6.6",
            "a#",
            "a;b",
            "..",
            "é",
            "a\0",
        ] {
            let conf = ResolvConf {
                search: vec![bad.to_owned()],
                ..ResolvConf::default()
            };
            conf.to_text().expect_err(bad);
            let conf = ResolvConf {
                options: vec![bad.to_owned()],
                ..ResolvConf::default()
            };
            conf.to_text().expect_err(bad);
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let conf = ResolvConf {
            nameservers: vec![
                "9.9.9.9".parse().expect("v4"),
                "2620:fe::9".parse().expect("v6"),
            ],
            search: vec!["a.example".to_owned()],
            options: vec!["timeout:2".to_owned(), "use-vc".to_owned()],
        };
        let text = conf.to_text().expect("text");
        assert!(text.ends_with("options timeout:2 use-vc\n"), "{text}");
        let read = HostResolv::parse(text.as_bytes());
        let servers: Vec<_> = read.nameservers.iter().map(|s| s.address).collect();
        assert_eq!((servers, read.search), (conf.nameservers, conf.search));
    }
}
