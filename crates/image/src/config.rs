//! An image's configuration: what runs in it, and which layers it is made of, by [config.md].
//!
//! All of it was written by whoever made the image. Each value is checked for what it will be used as, and
//! the first that cannot be honoured refuses the image: half a configuration would run something else.
//!
//! [config.md]: https://github.com/opencontainers/image-spec/blob/main/config.md

mod health;
mod raw;
mod signal;
mod user;

use std::collections::BTreeMap;

pub use health::{Health, Probe};
pub use raw::History;
pub use user::{Id, User};

use crate::digest::Digest;
use crate::error::{Error, shown};
use crate::json;
use crate::manifest::Manifest;
use crate::platform::Platform;

/// Bytes of one argument or variable: the kernel's `MAX_ARG_STRLEN`, NUL included.
const MAX_STRING: usize = 128 * 1024;
/// Bytes of all arguments, or of all variables; execve(2) takes little more.
const MAX_STRINGS: usize = 1 << 20;
/// Of variables, ports, volumes, labels, each.
const MAX_COUNT: usize = 4096;
const PATH_MAX: usize = 4096;
/// Where the container's own file systems are.
const RESERVED: [&str; 3] = ["/proc", "/sys", "/dev"];

/// A checked configuration.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// What it is made for.
    pub platform: Platform,
    /// The program, and its first arguments.
    pub entrypoint: Vec<String>,
    /// The arguments that follow, or the program where there is no entrypoint.
    pub cmd: Vec<String>,
    /// Variables in the image's order.
    pub env: Vec<(String, String)>,
    /// Where the program starts: absolute. `None` is `/`.
    pub working_dir: Option<String>,
    /// Who runs it. `None` is root.
    pub user: Option<User>,
    /// Ports that the program listens on; nothing is published by this.
    pub exposed_ports: Vec<Port>,
    /// Directories that outlive a container, absolute.
    pub volumes: Vec<String>,
    /// The number of the signal that ends the program.
    pub stop_signal: Option<i32>,
    /// What the maker noted; never control.
    pub labels: BTreeMap<String, String>,
    /// Docker's extension: how to ask the program whether it is well.
    pub health: Option<Health>,
    /// The digest of each layer's unpacked archive, lowest first.
    pub diff_ids: Vec<Digest>,
    /// When it was made, as written.
    pub created: Option<String>,
    /// How the layers were made; only to be shown.
    pub history: Vec<History>,
}

/// A port that an image's program listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port {
    /// Its number, not 0.
    pub number: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: &'static str,
}

impl ImageConfig {
    /// Reads the configuration that a manifest names.
    ///
    /// # Errors
    ///
    /// [`Error::Json`], [`Error::Document`] if it is not for as many layers as the manifest has, and
    /// [`Error::Config`] for a value that cannot be honoured.
    pub fn parse(manifest: &Manifest, bytes: &[u8]) -> Result<Self, Error> {
        let what = format!("config {}", manifest.config.digest);
        let raw: raw::Image = json::parse(&what, &raw::IMAGE, bytes)?;
        let refuse = |why: String| Error::Document {
            what: what.clone(),
            why,
        };
        if raw.rootfs.kind != "layers" {
            return Err(refuse(format!(
                "rootfs is of type {:?}, not layers",
                shown(&raw.rootfs.kind)
            )));
        }
        let (ids, layers) = (raw.rootfs.diff_ids.len(), manifest.layers.len());
        if ids != layers {
            return Err(refuse(format!(
                "is for {ids} layers, and the manifest has {layers}"
            )));
        }
        let config = raw.config.unwrap_or_default();
        let stop_signal = config
            .stop_signal
            .as_deref()
            .filter(|text| !text.is_empty());
        let user = config.user.as_deref().filter(|text| !text.is_empty());
        Ok(Self {
            platform: Platform {
                os: raw.os,
                architecture: raw.architecture,
                variant: raw.variant,
            },
            env: env(config.env.unwrap_or_default())?,
            working_dir: working_dir(config.working_dir)?,
            user: user.map(User::parse).transpose()?,
            exposed_ports: ports(config.exposed_ports.unwrap_or_default())?,
            volumes: volumes(config.volumes.unwrap_or_default())?,
            stop_signal: stop_signal.map(signal::parse).transpose()?,
            labels: labels(config.labels.unwrap_or_default())?,
            health: config.healthcheck.map(Health::check).transpose()?.flatten(),
            diff_ids: raw.rootfs.diff_ids,
            created: raw.created,
            history: raw.history.unwrap_or_default(),
            ..Self::command(
                config.entrypoint.unwrap_or_default(),
                config.cmd.unwrap_or_default(),
            )?
        })
    }

    /// A configuration of nothing but a command.
    fn command(entrypoint: Vec<String>, cmd: Vec<String>) -> Result<Self, Error> {
        strings("Entrypoint", &entrypoint)?;
        strings("Cmd", &cmd)?;
        let (key, first) = match entrypoint.first() {
            Some(first) => ("Entrypoint", Some(first)),
            None => ("Cmd", cmd.first()),
        };
        if first.is_some_and(String::is_empty) {
            return Err(refuse(key, "", "the program has no name"));
        }
        Ok(Self {
            platform: Platform::host(),
            entrypoint,
            cmd,
            env: Vec::new(),
            working_dir: None,
            user: None,
            exposed_ports: Vec::new(),
            volumes: Vec::new(),
            stop_signal: None,
            labels: BTreeMap::new(),
            health: None,
            diff_ids: Vec::new(),
            created: None,
            history: Vec::new(),
        })
    }
}

fn refuse(key: &'static str, value: &str, why: &'static str) -> Error {
    Error::Config {
        key,
        value: shown(value),
        why,
    }
}

/// Strings that will be arguments or variables of execve(2).
fn strings(key: &'static str, list: &[String]) -> Result<(), Error> {
    let mut total = 0;
    for text in list {
        if text.contains('\0') {
            return Err(refuse(key, text, "contains a NUL byte"));
        }
        if text.len() >= MAX_STRING {
            return Err(refuse(
                key,
                text,
                "is longer than the kernel takes (128 KiB)",
            ));
        }
        total += text.len() + 1;
        if total > MAX_STRINGS {
            return Err(refuse(key, text, "with those before it is more than 1 MiB"));
        }
    }
    Ok(())
}

fn env(list: Vec<String>) -> Result<Vec<(String, String)>, Error> {
    if list.len() > MAX_COUNT {
        return Err(refuse(
            "Env",
            &list.len().to_string(),
            "more than 4096 variables",
        ));
    }
    strings("Env", &list)?;
    list.iter()
        .map(|text| match text.split_once('=') {
            Some(("", _)) => Err(refuse("Env", text, "a variable has a name")),
            Some((name, _)) if name.contains(char::is_control) => {
                Err(refuse("Env", text, "the name has a control character"))
            }
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(refuse("Env", text, "it is written NAME=VALUE")),
        })
        .collect()
}

fn path(key: &'static str, text: &str) -> Result<(), Error> {
    let why = if text.contains(char::is_control) {
        "contains a control character"
    } else if text.len() >= PATH_MAX {
        "is longer than a path can be"
    } else if !text.starts_with('/') {
        "is not absolute"
    } else if text.split('/').any(|part| part == "..") {
        "climbs with .."
    } else {
        return Ok(());
    };
    Err(refuse(key, text, why))
}

fn working_dir(text: Option<String>) -> Result<Option<String>, Error> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    path("WorkingDir", &text)?;
    Ok(Some(text))
}

fn volumes(map: BTreeMap<String, serde::de::IgnoredAny>) -> Result<Vec<String>, Error> {
    const KEY: &str = "Volumes";
    if map.len() > MAX_COUNT {
        return Err(refuse(
            KEY,
            &map.len().to_string(),
            "more than 4096 volumes",
        ));
    }
    let mut volumes = Vec::with_capacity(map.len());
    for text in map.into_keys() {
        path(KEY, &text)?;
        let parts: Vec<&str> = text
            .split('/')
            .filter(|part| !matches!(*part, "" | "."))
            .collect();
        let plain = format!("/{}", parts.join("/"));
        if plain == "/" {
            return Err(refuse(KEY, &text, "is the root itself"));
        }
        let below = |top: &&str| {
            plain
                .strip_prefix(*top)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if RESERVED.iter().any(below) {
            return Err(refuse(
                KEY,
                &text,
                "is where the container's own file systems are",
            ));
        }
        volumes.push(plain);
    }
    Ok(volumes)
}

fn ports(map: BTreeMap<String, serde::de::IgnoredAny>) -> Result<Vec<Port>, Error> {
    const KEY: &str = "ExposedPorts";
    if map.len() > MAX_COUNT {
        return Err(refuse(KEY, &map.len().to_string(), "more than 4096 ports"));
    }
    map.into_keys()
        .map(|text| {
            let (number, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
            let protocol = match protocol.to_ascii_lowercase().as_str() {
                "tcp" => "tcp",
                "udp" => "udp",
                "sctp" => "sctp",
                _ => return Err(refuse(KEY, &text, "the protocol is tcp, udp or sctp")),
            };
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            match number.parse() {
                Ok(number) if digits && number > 0 => Ok(Port { number, protocol }),
                _ => Err(refuse(KEY, &text, "a port is a number from 1 to 65535")),
            }
        })
        .collect()
}

fn labels(map: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Error> {
    let bytes: usize = map.iter().map(|(key, value)| key.len() + value.len()).sum();
    if map.len() > MAX_COUNT || bytes > MAX_STRINGS {
        return Err(refuse(
            "Labels",
            &map.len().to_string(),
            "more than 4096 labels or 1 MiB",
        ));
    }
    Ok(map)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
