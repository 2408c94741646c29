//! The names of images, as users of Docker write them.
//!
//! The grammar is that of the [distribution reference] package, with IPv6 addresses in brackets: a host
//! with an optional port, a path, a tag, a digest. What has no host is looked for on Docker Hub, and what
//! has neither tag nor digest means `latest`. Names are checked and never mended.
//!
//! [distribution reference]: https://pkg.go.dev/github.com/distribution/reference

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::digest::Digest;
use crate::error::{Error, shown};

/// Host of what is named without one.
const HUB: &str = "docker.io";
/// Another name of it, which old tools write.
const OLD_HUB: &str = "index.docker.io";
/// Where the images are that are named without an owner.
const OFFICIAL: &str = "library";
const DEFAULT_TAG: &str = "latest";
/// Of host and path together.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// The full name of an image.
///
/// ```
/// let reference: image::Reference = "nginx".parse()?;
/// assert_eq!(reference.to_string(), "docker.io/library/nginx:latest");
/// assert_eq!(reference.familiar(), "nginx:latest");
/// # Ok::<(), image::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The host, with a port where one is named: `docker.io`, `[::1]:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path at that host: `library/nginx`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag. There is none only where there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, which wins over a tag.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same name with a digest, which wins over the tag from then on: what a lock file holds.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// What a registry is asked for: the digest, or else the tag.
    pub fn selector(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| DEFAULT_TAG.to_owned()),
        }
    }

    /// As a user would write it: without what is the default anyway.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let Some(path) = full
            .strip_prefix(HUB)
            .and_then(|rest| rest.strip_prefix('/'))
        else {
            return full;
        };
        let short = path
            .strip_prefix(OFFICIAL)
            .and_then(|rest| rest.strip_prefix('/'))
            .filter(|short| !short.contains('/'))
            .unwrap_or(path);
        // Without the hub's name, its owners `localhost` and `a.b` would be read as hosts, and 64 digits as an id.
        match short.parse::<Self>() {
            Ok(same) if same == *self => short.to_owned(),
            _ => full,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |why| Error::Reference {
            text: shown(text),
            why,
        };
        // The longest there can be: name, tag and a SHA-512 digest.
        if text.len() > MAX_NAME + MAX_TAG + 140 {
            return Err(refuse("it is longer than any name"));
        }
        if text.contains("://") {
            return Err(refuse(
                "it takes no scheme; plain HTTP is a setting of the registry",
            ));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
            None => (text, None),
        };
        let (host, rest) = split_host(rest);
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        if let Some(host) = host {
            check_host(host).map_err(refuse)?;
        }
        check_path(path).map_err(refuse)?;
        if let Some(tag) = tag {
            check_tag(tag).map_err(refuse)?;
        }
        if host.is_none() && is_hex_64(path) {
            return Err(refuse(
                "64 hexadecimal digits are an id; a digest is written sha256:…",
            ));
        }
        let registry = match host {
            None => HUB.to_owned(),
            Some(host) if host.eq_ignore_ascii_case(OLD_HUB) => HUB.to_owned(),
            Some(host) => host.to_ascii_lowercase(),
        };
        let repository = match registry.as_str() {
            HUB if !path.contains('/') => format!("{OFFICIAL}/{path}"),
            _ => path.to_owned(),
        };
        if registry.len() + 1 + repository.len() > MAX_NAME {
            return Err(refuse(
                "host and path together have more than 255 characters",
            ));
        }
        let tag = match (tag, &digest) {
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self {
            registry,
            repository,
            tag,
            digest,
        })
    }
}

impl serde::Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Reference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The first part is a host if it can be nothing else: with a dot or a port, or `localhost`.
fn split_host(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':', '[']) || host == "localhost" => {
            (Some(host), rest)
        }
        _ => (None, text),
    }
}

/// A host name or address, with an optional port.
pub(crate) fn check_host(host: &str) -> Result<(), &'static str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest
                .split_once(']')
                .ok_or("the bracket of an IPv6 address is not closed")?;
            if address.parse::<Ipv6Addr>().is_err() {
                return Err("what is in brackets is no IPv6 address");
            }
            match after {
                "" => (None, None),
                _ => match after.strip_prefix(':') {
                    Some(port) => (None, Some(port)),
                    None => return Err("after an IPv6 address comes a port or nothing"),
                },
            }
        }
        None => match host.split_once(':') {
            Some((name, port)) => (Some(name), Some(port)),
            None => (Some(host), None),
        },
    };
    if let Some(port) = port {
        let number = port.parse::<u16>().ok().filter(|number| *number > 0);
        if !port.bytes().all(|byte| byte.is_ascii_digit()) || number.is_none() {
            return Err("a port is a number from 1 to 65535");
        }
    }
    match name {
        Some(name) if name.rsplit('.').next().is_some_and(is_number) => {
            match name.parse::<Ipv4Addr>() {
                Ok(_) => Ok(()),
                Err(_) => Err("a host that ends in a number is an IPv4 address in four parts"),
            }
        }
        Some(name) if !name.split('.').all(is_label) => {
            Err("a host is made of letters, digits and hyphens, in parts with dots between them")
        }
        _ => Ok(()),
    }
}

/// What getaddrinfo(3) takes for a number of an address: `127.1` and `0x7f000001` are 127.0.0.1 there.
fn is_number(label: &str) -> bool {
    let label = label.to_ascii_lowercase();
    match label.strip_prefix("0x") {
        Some(rest) => rest.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("it has no path");
    }
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("a path is in lower case");
    }
    if path.split('/').all(is_component) {
        return Ok(());
    }
    Err("a part of a path is made of a-z and 0-9, with one of . _ __ or hyphens between them")
}

/// `[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    if !bytes.first().is_some_and(is_letter) || !bytes.last().is_some_and(is_letter) {
        return false;
    }
    bytes.split(is_letter).all(|between| {
        matches!(between, b"" | b"." | b"_" | b"__") || between.iter().all(|byte| *byte == b'-')
    })
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = tag.as_bytes();
    if bytes.len() > MAX_TAG
        || !bytes.first().is_some_and(|byte| is_word(*byte))
        || !bytes
            .iter()
            .all(|byte| is_word(*byte) || matches!(byte, b'.' | b'-'))
    {
        return Err(
            "a tag has 1 to 128 letters, digits, _ . - and begins with none of the last two",
        );
    }
    Ok(())
}

fn is_hex_64(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
#[path = "reference_tests.rs"]
mod tests;
