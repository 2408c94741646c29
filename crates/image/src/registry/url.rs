//! Addresses of HTTP: as much of [RFC 3986] as registries use, and nothing that could hide where a
//! request goes.
//!
//! [RFC 3986]: https://www.rfc-editor.org/rfc/rfc3986

use std::fmt;
use std::net::IpAddr;

use crate::reference::check_host;

const MAX_URL: usize = 8192;

/// An absolute address. Shown without its query, which may hold a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) tls: bool,
    /// With the port, if one is named.
    pub(crate) host: String,
    /// From the first slash on, with the query.
    pub(crate) path: String,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_URL {
            return Err("is longer than 8192 characters");
        }
        let (tls, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            _ => return Err("is neither https: nor http:"),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        if host.contains('@') {
            return Err("has a user in it");
        }
        check_host(host)?;
        let path = path.split('#').next().unwrap_or_default();
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has a character that no address has");
        }
        let path = match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("/{path}"),
        };
        Ok(Self {
            tls,
            host: host.to_ascii_lowercase(),
            path,
        })
    }

    /// Where a `Location` leads from here.
    pub(crate) fn join(&self, location: &str) -> Result<Self, &'static str> {
        if location.starts_with("//") {
            return Err("names a host without a scheme");
        }
        if location.starts_with('/') {
            return Self::parse(&format!("{}{location}", self.origin()));
        }
        Self::parse(location)
    }

    /// Where an answer sends us from here, `first` being what was asked for at the beginning: never from TLS to
    /// plain HTTP, and never to an address that a stranger must not have us talk to.
    pub(crate) fn lead(&self, first: &Self, location: &str) -> Result<Self, &'static str> {
        let next = self.join(location)?;
        if self.tls && !next.tls {
            return Err("has no TLS");
        }
        match is_inside(&next.host, &first.host) {
            true => Err("is an address inside of this machine"),
            false => Ok(next),
        }
    }

    /// Scheme, host and port: what credentials are bound to.
    pub(crate) fn origin(&self) -> String {
        format!(
            "{}://{}",
            if self.tls { "https" } else { "http" },
            self.host
        )
    }

    pub(crate) fn is_of_origin(&self, other: &Self) -> bool {
        let port = |url: &Self| {
            port(&url.host)
                .unwrap_or(if url.tls { "443" } else { "80" })
                .to_owned()
        };
        self.tls == other.tls && name(&self.host) == name(&other.host) && port(self) == port(other)
    }

    pub(crate) fn full(&self) -> String {
        format!("{}{}", self.origin(), self.path)
    }

    /// The same with one more parameter, escaped.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.path
            .push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(key);
        self.path.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z'
                | b'A'..=b'Z'
                | b'0'..=b'9'
                | b'-'
                | b'.'
                | b'_'
                | b'~'
                | b':'
                | b'/' => {
                    self.path.push(char::from(byte));
                }
                _ => self.path.push_str(&format!("%{byte:02X}")),
            }
        }
        self
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{}{path}", self.origin())
    }
}

/// A host without its port and brackets.
pub(crate) fn name(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

fn port(host: &str) -> Option<&str> {
    let after = host.rsplit(']').next().unwrap_or_default();
    after.rsplit_once(':').map(|(_, port)| port)
}

/// Whether a host is this machine by its very name. The addresses that stand for no host in particular lead
/// here, too.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = name(host);
    name == "localhost"
        || address(name).is_some_and(|address| address.is_loopback() || address.is_unspecified())
}

/// Whether a host is an address of machines' insides, to which `asked`, another host, must not send a request:
/// loopback, and link-local ones, where clouds keep their instances' secrets.
pub(crate) fn is_inside(host: &str, asked: &str) -> bool {
    // Some resolvers make any name below `localhost` this machine.
    let is_own = |host: &str| is_loopback(host) || name(host).ends_with(".localhost");
    is_link_local(host) || (is_own(host) && !is_own(asked))
}

fn is_link_local(host: &str) -> bool {
    match address(name(host)) {
        Some(IpAddr::V4(address)) => address.is_link_local(),
        Some(IpAddr::V6(address)) => address.is_unicast_link_local(),
        None => false,
    }
}

/// An IPv4 address that is written as one of IPv6 is the former.
fn address(name: &str) -> Option<IpAddr> {
    name.parse::<IpAddr>()
        .ok()
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn origins_are_compared_with_their_ports() {
        for (one, other, same) in [
            ("https://a.b/x", "https://A.B:443/y", true),
            ("http://a.b", "http://a.b:80", true),
            ("https://a.b", "http://a.b:443", false),
            ("https://a.b", "https://a.b:444", false),
            ("https://a.b", "https://a.b.c", false),
            ("https://[::1]:5/", "https://[::1]:5/", true),
            ("https://[::1]:5/", "https://[::1]:6/", false),
        ] {
            assert_eq!(url(one).is_of_origin(&url(other)), same, "{one} {other}");
        }
    }

    #[test]
    fn locations_lead_where_they_say() {
        let from = url("https://a.b/v2/x?y=z");
        assert_eq!(
            from.join("/up?s=1").expect("a path").full(),
            "https://a.b/up?s=1"
        );
        assert_eq!(
            from.join("https://c.d/e").expect("another").to_string(),
            "https://c.d/e"
        );
        assert_eq!(from.to_string(), "https://a.b/v2/x");
        for location in [
            "//evil.example/x",
            "file:///etc/passwd",
            "x",
            "",
            "unix:/run/x",
            "https://u:p@a.b/",
            "https:///x",
            "https://a b/",
            "/a\r\nb: c",
            "https://a.b:99999/",
        ] {
            from.join(location).expect_err(location);
        }
    }

    #[test]
    fn insides_of_machines_are_known() {
        assert!(is_link_local("169.254.169.254") && is_link_local("[fe80::1]:80"));
        assert!(is_link_local("[::ffff:169.254.169.254]") && !is_link_local("10.0.0.1"));
        assert!(
            is_loopback("localhost:5000") && is_loopback("[::1]") && is_loopback("127.9.9.9:1")
        );
        assert!(is_inside("a.localhost", "a.b") && !is_loopback("a.localhost"));
        assert!(is_loopback("[::ffff:127.0.0.1]:1"));
        assert!(is_loopback("0.0.0.0:5000") && is_loopback("[::]"));
        assert!(!is_loopback("localhost.example"));
        // Numbers that getaddrinfo(3) reads as 127.0.0.1 and as 169.254.169.254.
        for host in [
            "2130706433",
            "127.1",
            "0x7f.1",
            "169.254.43518",
            "0xa9fea9fe",
            "0177.0.0.1",
        ] {
            Url::parse(&format!("http://{host}/")).expect_err(host);
        }
        let (hub, own) = (url("https://a.b/"), url("http://127.0.0.1:1/"));
        for location in [
            "https://127.0.0.2/",
            "https://[::ffff:169.254.169.254]/",
            "https://0.0.0.0/",
        ] {
            let why = hub.lead(&hub, location).expect_err(location);
            assert_eq!(why, "is an address inside of this machine", "{location}");
        }
        assert_eq!(hub.lead(&hub, "http://a.b/"), Err("has no TLS"));
        own.lead(&own, "http://localhost:2/")
            .expect("from here to here");
    }
}
