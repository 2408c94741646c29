//! Networks, as they are kept: `networks/NAME.json` below the data root.

use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use netns::firewall;
use netns::{GlobalId, Pool, Reserved, Subnets, choose_v4, choose_v6};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::spec::{DEFAULT_NETWORK, NetworkSpec};

/// Largest definition that is read.
const LIMIT: usize = 64 << 10;

/// The usual largest packet.
pub(crate) const MTU: u16 = 1500;

/// A network of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defined {
    /// Its name.
    pub name: String,
    /// Its interface on the host.
    pub bridge: String,
    /// One of IPv4, one of IPv6.
    pub subnets: Vec<IpNet>,
    /// No way out of it, and none into it.
    pub internal: bool,
    /// Largest packet.
    pub mtu: u16,
    /// The metadata service of clouds can be reached.
    pub metadata: bool,
}

impl Defined {
    /// Its subnets, checked.
    ///
    /// # Errors
    /// When somebody edited the file into something that is no network.
    pub fn subnets(&self) -> Result<Subnets, NetworkError> {
        Ok(Subnets::new(&self.subnets)?)
    }

    pub(crate) fn firewall(&self) -> firewall::Network {
        firewall::Network {
            bridge: self.bridge.clone(),
            subnets: self.subnets.iter().map(prefix).collect(),
            internal: self.internal,
            metadata_allowed: self.metadata,
        }
    }

    /// Whether it is what `spec` asks for, as far as that asks.
    fn fits(&self, spec: &NetworkSpec) -> bool {
        spec.subnets.iter().all(|net| self.subnets.contains(net))
            && self.internal == spec.internal
            && self.metadata == spec.metadata
            && spec.mtu.is_none_or(|mtu| mtu == self.mtu)
    }
}

/// As the firewall has it.
pub(crate) fn prefix(net: &IpNet) -> firewall::Prefix {
    firewall::Prefix {
        address: net.network(),
        length: net.prefix_len(),
    }
}

/// Why a network cannot be made, found or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A system call failed.
    #[error("{call}({path:?})")]
    Call {
        /// Its name.
        call: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// The file of a network is no definition.
    #[error("{path:?} does not describe a network")]
    Garbled {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// There is one of this name that is something else.
    #[error("the network `{name}` exists and is different")]
    Different {
        /// Its name.
        name: String,
    },
    /// There is none of this name.
    #[error("there is no network `{name}`")]
    Unknown {
        /// The name.
        name: String,
    },
    /// Containers are on it.
    #[error("the network `{name}` is in use by {}", users.join(", "))]
    InUse {
        /// Its name.
        name: String,
        /// Containers.
        users: Vec<String>,
    },
    /// Subnets, addresses, names, links or rules.
    #[error(transparent)]
    Net(#[from] netns::Error),
}

impl NetworkError {
    /// What the kernel said, when it said something.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call { errno, .. } => Some(*errno),
            Self::Net(error) => error.errno(),
            _ => None,
        }
    }

    /// The way out.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Net(error) => return error.hint().map(Into::into),
            Self::Garbled { path, .. } => format!("remove {}", path.display()),
            Self::Different { name } => {
                format!("`ctr network inspect {name}` shows it, `ctr network rm {name}` removes it")
            }
            Self::Unknown { name } => {
                format!("`ctr network create {name}`, or `[networks.{name}]` in the manifest")
            }
            Self::InUse { .. } => "stop them first".into(),
            Self::Call { .. } => return None,
        })
    }
}

/// The networks of a data root.
#[derive(Debug, Clone)]
pub struct Networks {
    dir: PathBuf,
}

impl Networks {
    /// Those below `data_root`. Nothing is made yet.
    #[must_use]
    pub fn of(data_root: &Path) -> Self {
        Self {
            dir: data_root.join("networks"),
        }
    }

    /// Where a network is described.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }

    /// The network of this name.
    ///
    /// # Errors
    /// When its file cannot be read, or is no definition.
    pub fn get(&self, name: &str) -> Result<Option<Defined>, NetworkError> {
        let path = self.path(name);
        match crate::observe::read_bounded(&path, LIMIT) {
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.call("open", path)(errno)),
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|source| NetworkError::Garbled { path, source }),
        }
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// As [`Networks::get`].
    pub fn list(&self) -> Result<Vec<Defined>, NetworkError> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.io("getdents64", error)),
            Ok(entries) => entries,
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| {
                Some(
                    entry
                        .file_name()
                        .to_str()?
                        .strip_suffix(".json")?
                        .to_owned(),
                )
            })
            .collect();
        names.sort();
        let mut networks = Vec::with_capacity(names.len());
        for name in names {
            networks.extend(self.get(&name)?);
        }
        Ok(networks)
    }

    /// The network that `spec` describes; made when there is none, and whether that was so.
    ///
    /// `host` tells what this machine's addresses and routes take, and its usual largest packet.
    ///
    /// # Errors
    /// [`NetworkError`]; nothing was made then.
    pub fn ensure(
        &self,
        spec: &NetworkSpec,
        host: impl FnOnce() -> Result<HostNet, NetworkError>,
    ) -> Result<(Defined, bool), NetworkError> {
        if let Some(found) = self.fitting(spec)? {
            return Ok((found, false));
        }
        let _lock = self.lock()?;
        // Somebody else may have been faster.
        if let Some(found) = self.fitting(spec)? {
            return Ok((found, false));
        }
        let network = self.propose(spec, &host()?)?;
        self.write(&network)?;
        Ok((network, true))
    }

    fn fitting(&self, spec: &NetworkSpec) -> Result<Option<Defined>, NetworkError> {
        match self.get(&spec.name)? {
            // The usual one is as it is.
            Some(found) if spec.name == DEFAULT_NETWORK || found.fits(spec) => Ok(Some(found)),
            Some(found) => Err(NetworkError::Different { name: found.name }),
            None => Ok(None),
        }
    }

    /// What [`Networks::ensure`] would make.
    ///
    /// # Errors
    /// [`NetworkError`]: subnets that overlap, and none left.
    pub fn propose(&self, spec: &NetworkSpec, host: &HostNet) -> Result<Defined, NetworkError> {
        let others = self.list()?;
        // Before the routes of their bridges, since their names say more.
        let mut reserved = Vec::new();
        for other in &others {
            let by = format!("the network `{}`", other.name);
            reserved.extend(other.subnets.iter().map(|net| Reserved {
                net: *net,
                by: by.clone(),
            }));
        }
        reserved.extend(host.reserved.iter().cloned());
        let mut subnets = spec.subnets.clone();
        if !subnets.iter().any(|net| matches!(net, IpNet::V4(_))) {
            subnets.insert(0, choose_v4(&Pool::default(), &reserved)?.into());
        }
        if host.v6 && !subnets.iter().any(|net| matches!(net, IpNet::V6(_))) {
            subnets.push(choose_v6(self.global_id()?, &reserved)?.into());
        }
        Subnets::new(&subnets)?.check_free(&reserved)?;
        let taken = |name: &str| {
            others.iter().any(|other| other.bridge == name) || host.links.iter().any(|l| l == name)
        };
        let bridge = (0..u32::MAX)
            .map(|n| format!("ctr{n}"))
            .find(|name| !taken(name))
            .unwrap_or_default();
        Ok(Defined {
            name: spec.name.clone(),
            bridge,
            subnets,
            internal: spec.internal,
            mtu: spec.mtu.unwrap_or(host.mtu),
            metadata: spec.metadata,
        })
    }

    /// The 40 random bits that make this machine's IPv6 subnets its own, RFC 4193: those of a network
    /// that is there, or new ones.
    fn global_id(&self) -> Result<GlobalId, NetworkError> {
        let of = |net: &IpNet| match net {
            IpNet::V6(net) => {
                let [0xfd, a, b, c, d, e, ..] = net.network().octets() else {
                    return None;
                };
                Some(GlobalId([a, b, c, d, e]))
            }
            IpNet::V4(_) => None,
        };
        let known = self
            .list()?
            .iter()
            .flat_map(|network| &network.subnets)
            .find_map(of);
        match known {
            Some(id) => Ok(id),
            None => Ok(GlobalId::random()?),
        }
    }

    /// Forget a network.
    ///
    /// # Errors
    /// [`NetworkError::Unknown`], or a failing call.
    pub fn remove(&self, name: &str) -> Result<(), NetworkError> {
        let path = self.path(name);
        match rustix::fs::unlink(&path) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => Err(NetworkError::Unknown { name: name.into() }),
            Err(errno) => Err(self.call("unlink", path)(errno)),
        }
    }

    fn lock(&self) -> Result<OwnedFd, NetworkError> {
        fs::create_dir_all(&self.dir).map_err(|error| self.io("mkdir", error))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&self.dir, flags, Mode::empty())
            .map_err(self.call("open", self.dir.clone()))?;
        flock(&dir, FlockOperation::LockExclusive).map_err(self.call("flock", self.dir.clone()))?;
        Ok(dir)
    }

    /// Whole or not at all.
    fn write(&self, network: &Defined) -> Result<(), NetworkError> {
        let path = self.path(&network.name);
        let text = serde_json::to_string_pretty(network).map_err(|source| {
            let path = path.clone();
            NetworkError::Garbled { path, source }
        })?;
        // No network has a name that begins with a dot, and the lock keeps others out.
        let new = self.dir.join(".new");
        let written = fs::File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(&new)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())
                    .and_then(|()| file.sync_all())
            });
        written.map_err(|error| self.io("write", error))?;
        fs::rename(&new, &path).map_err(|error| self.io("rename", error))
    }

    fn call(&self, call: &'static str, path: PathBuf) -> impl FnOnce(Errno) -> NetworkError {
        move |errno| NetworkError::Call { call, path, errno }
    }

    fn io(&self, call: &'static str, error: std::io::Error) -> NetworkError {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        self.call(call, self.dir.clone())(errno)
    }
}

/// What a new network has to keep clear of.
#[derive(Debug, Clone, Default)]
pub struct HostNet {
    /// What addresses and routes of this machine take.
    pub reserved: Vec<Reserved>,
    /// Names of its interfaces.
    pub links: Vec<String>,
    /// Largest packet on the way out.
    pub mtu: u16,
    /// It has IPv6.
    pub v6: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks() -> (tempfile::TempDir, Networks) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let networks = Networks::of(dir.path());
        (dir, networks)
    }

    fn host(taken: &[&str]) -> HostNet {
        let reserved = |net: &&str| Reserved {
            net: net.parse().expect("a prefix"),
            by: "the route via wg0".into(),
        };
        HostNet {
            reserved: taken.iter().map(reserved).collect(),
            links: vec!["lo".into(), "ctr0".into()],
            mtu: 1420,
            v6: true,
        }
    }

    fn ensure(
        networks: &Networks,
        spec: &NetworkSpec,
        taken: &[&str],
    ) -> Result<Defined, NetworkError> {
        networks
            .ensure(spec, || Ok(host(taken)))
            .map(|(network, _)| network)
    }

    #[test]
    fn a_network_is_made_once_and_found_again() {
        let (_dir, networks) = networks();
        let spec = NetworkSpec::new("web");
        let made = ensure(&networks, &spec, &[]).expect("made");
        assert_eq!(
            (made.bridge.as_str(), made.mtu),
            ("ctr1", 1420),
            "ctr0 is somebody's"
        );
        assert_eq!(ensure(&networks, &spec, &[]).expect("found"), made);
        assert_eq!(
            networks.list().expect("listed"),
            std::slice::from_ref(&made)
        );
        let other = ensure(&networks, &NetworkSpec::new("db"), &[]).expect("made");
        assert_ne!(other.subnets[0], made.subnets[0]);
        let global = |network: &Defined| match network.subnets[1] {
            IpNet::V6(net) => net.network().octets()[..6].to_vec(),
            IpNet::V4(_) => panic!("the second is of IPv6"),
        };
        assert_eq!(
            global(&made),
            global(&other),
            "one global id for this machine"
        );
    }

    #[test]
    fn subnets_keep_clear_of_routes_and_other_networks() {
        let (_dir, networks) = networks();
        let spec = NetworkSpec {
            subnets: vec!["10.9.0.0/24".parse().expect("a prefix")],
            ..NetworkSpec::new("web")
        };
        let error = ensure(&networks, &spec, &["10.9.0.0/16"]).expect_err("a VPN's");
        assert!(error.to_string().contains("wg0"), "{error}");
        assert!(
            networks.list().expect("listed").is_empty(),
            "nothing was made"
        );
        ensure(&networks, &spec, &[]).expect("free");
        let twin = NetworkSpec {
            name: "twin".into(),
            ..spec.clone()
        };
        let error = ensure(&networks, &twin, &[]).expect_err("taken");
        assert!(error.to_string().contains("`web`"), "{error}");
        let changed = NetworkSpec {
            internal: true,
            ..spec
        };
        let error = ensure(&networks, &changed, &[]).expect_err("another one");
        assert!(matches!(error, NetworkError::Different { .. }), "{error}");
    }

    #[test]
    fn a_garbled_definition_is_named() {
        let (_dir, networks) = networks();
        ensure(&networks, &NetworkSpec::new("web"), &[]).expect("made");
        fs::write(networks.path("web"), "{").expect("written");
        let error = networks.get("web").expect_err("no definition");
        assert!(
            error.hint().is_some_and(|hint| hint.contains("web.json")),
            "{error}"
        );
    }
}
