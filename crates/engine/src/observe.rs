//! Look at the machine, as far as one [`Spec`] needs it. Nothing is changed.

mod root;

pub(crate) use root::layers;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use confine::{Resource, Rlimit};
use rustix::fs::{self, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use crate::error::Diagnostic;
use crate::host::{Caller, Host, IdSource, PathFacts, PathKind, UserFiles};
use crate::net::facts::NetFacts;
use crate::spec::{At, IdMap, MountSource, Network, Origin, Root, Spec, Upper, UserNamespace};
use crate::state::IdRange;
use crate::tree::Tree;

/// Largest user database read from a container's root.
const USER_FILE_LIMIT: usize = 1 << 20;
/// Largest resolv.conf copied.
const RESOLV_CONF_LIMIT: usize = 64 << 10;

/// What the facts are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A start: what nobody reads is left out.
    Start,
    /// An explanation for people.
    Explain,
}

/// Gather what planning `spec` needs. `slot` is the id range to plan with, `state_root` where the
/// container's state directory would be.
///
/// # Errors
/// What could not be looked at, as diagnostics: a missing root, an unreadable user database.
pub fn observe(
    spec: &Spec,
    caller: Caller,
    state_root: &Path,
    slot: u32,
    net: Option<NetFacts>,
    look: Look,
) -> Result<Host, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let layers = layers(spec).map_err(|problem| vec![problem])?;
    let layers: Vec<_> = layers.iter().map(AsFd::as_fd).collect();
    let tree = Tree::new(&layers);
    let users = root::user_files(spec, tree).unwrap_or_else(|problem| {
        problems.push(problem);
        UserFiles::default()
    });
    let root = root::facts(&layers, tree, &users);
    let host = Host {
        root,
        ids: id_source(spec, &caller, slot),
        cgroup: {
            let needed = crate::plan::controllers(&spec.resources);
            let quick = look == Look::Start && needed.is_empty();
            crate::place::observe(&caller, needed, quick)
        },
        paths: paths(spec),
        top_level: match spec.root {
            At {
                value: Root::Host,
                origin,
            } if !caller.privileged => top_level(origin).unwrap_or_else(|problem| {
                problems.push(problem);
                Vec::new()
            }),
            _ => Vec::new(),
        },
        users,
        rlimits: rlimits(spec),
        landlock: match &spec.security.landlock {
            None if spec.namespaces.net.value.is_own() => confine::Abi::NONE,
            _ => confine::Abi::observe(),
        },
        kernel: kernel(),
        last_capability: confine::caps::last_supported(),
        lsms: match (&spec.security.apparmor, &spec.security.selinux) {
            (None, None) => confine::Lsms::default(),
            _ => confine::Lsms::observe("/sys".as_ref()),
        },
        resolv_conf: match &spec.namespaces.net.value {
            Network::Host => resolv_conf(),
            Network::Bridge(_) if !caller.privileged => resolv_conf(),
            _ => None,
        },
        pasta: match spec.namespaces.net.value.attachment() {
            Some(_) if !caller.privileged => pasta(spec.namespaces.net.origin),
            _ => None,
        },
        peer: match &spec.namespaces.net.value {
            Network::Container(name) => crate::net::peer::find(name, state_root),
            _ => None,
        },
        net,
        state_root: state_root.into(),
        caller,
    };
    if problems.is_empty() {
        Ok(host)
    } else {
        Err(problems)
    }
}

/// The host's `/etc/resolv.conf`.
pub(crate) fn resolv_conf() -> Option<Vec<u8>> {
    read_bounded("/etc/resolv.conf".as_ref(), RESOLV_CONF_LIMIT).ok()
}

/// pasta(1), which takes a way out of the host to work. A network that nobody asked for may be missing.
fn pasta(asked: Origin) -> Option<PathBuf> {
    let no_way_out = || !matches!(crate::net::facts::uplink(), Ok(Some(_)));
    if asked == Origin::Default && no_way_out() {
        return None;
    }
    crate::net::pasta::find()
}

/// Who is asking.
#[must_use]
pub fn caller() -> Caller {
    let effective =
        rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let initial = own_map("/proc/self/uid_map").is_some_and(|maps| {
        matches!(
            maps[..],
            [IdMap {
                inside: 0,
                outside: 0,
                count: u32::MAX
            }]
        )
    });
    Caller {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        privileged: initial && effective.contains(CapabilitySet::SYS_ADMIN | CapabilitySet::SETUID),
        may_raise_rlimits: initial && effective.contains(CapabilitySet::SYS_RESOURCE),
    }
}

/// Major and minor version, as uname(2) gives them.
#[must_use]
pub fn kernel() -> (u32, u32) {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn own_map(path: &str) -> Option<Vec<IdMap>> {
    let text = read_bounded(path.as_ref(), 64 << 10).ok()?;
    parse_map(std::str::from_utf8(&text).ok()?)
}

fn parse_map(text: &str) -> Option<Vec<IdMap>> {
    text.lines()
        .map(|line| {
            let mut fields = line.split_ascii_whitespace().map(str::parse::<u32>);
            match (fields.next(), fields.next(), fields.next(), fields.next()) {
                (Some(Ok(inside)), Some(Ok(outside)), Some(Ok(count)), None) => Some(IdMap {
                    inside,
                    outside,
                    count,
                }),
                _ => None,
            }
        })
        .collect()
}

fn id_source(spec: &Spec, caller: &Caller, slot: u32) -> IdSource {
    if spec.namespaces.user.value == UserNamespace::Host {
        return IdSource::default();
    }
    if caller.privileged {
        return IdSource::Range {
            first: IdRange::first(slot),
            slot,
        };
    }
    unprivileged_ids(caller)
}

/// The ids of a caller who is not root of the host.
pub(crate) fn unprivileged_ids(caller: &Caller) -> IdSource {
    namespace_ids().unwrap_or_else(|| subordinate_ids(caller))
}

/// Root of a user namespace that has more than one id gives all of them on.
fn namespace_ids() -> Option<IdSource> {
    let effective = rustix::thread::capabilities(None).ok()?.effective;
    if !effective.contains(CapabilitySet::SETUID | CapabilitySet::SETGID) {
        return None;
    }
    let identity = |path| {
        let mut maps = own_map(path)?;
        for map in &mut maps {
            map.outside = map.inside;
        }
        Some(maps)
    };
    let uids = identity("/proc/self/uid_map")?;
    let gids = identity("/proc/self/gid_map")?;
    (uids.iter().map(|map| u64::from(map.count)).sum::<u64>() > 1)
        .then_some(IdSource::Namespace { uids, gids })
}

fn subordinate_ids(caller: &Caller) -> IdSource {
    let own = |because: String| IdSource::Own { because };
    for program in ["newuidmap", "newgidmap"] {
        if find_program(program).is_none() {
            return own(format!("{program} is not installed (package uidmap)"));
        }
    }
    let name = login_name(caller.uid);
    let range = |path: &str| {
        let text = read_bounded(path.as_ref(), USER_FILE_LIMIT).ok()?;
        let text = String::from_utf8_lossy(&text);
        ns::subid::parse(&text)
            .into_iter()
            .find(|range| range.belongs_to(name.as_deref(), caller.uid))
            .map(|range| (range.first, range.count))
    };
    match (range("/etc/subuid"), range("/etc/subgid")) {
        (Some(uids), Some(gids)) => IdSource::Sub { uids, gids },
        (None, _) => own("/etc/subuid grants this user nothing".into()),
        (_, None) => own("/etc/subgid grants this user nothing".into()),
    }
}

fn login_name(uid: u32) -> Option<String> {
    let text = read_bounded("/etc/passwd".as_ref(), USER_FILE_LIMIT).ok()?;
    crate::users::name_of(&String::from_utf8_lossy(&text), uid)
}

/// A program of this host, as `PATH` and the usual directories have it.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/bin".into(), "/bin".into()])
        .map(|dir| dir.join(name))
        .find(|program| rustix::fs::access(program, fs::Access::EXEC_OK).is_ok())
}

fn paths(spec: &Spec) -> BTreeMap<PathBuf, PathFacts> {
    let binds = spec
        .mounts
        .iter()
        .filter_map(|mount| match &mount.value.source {
            MountSource::Bind { path, .. } => Some(path),
            MountSource::Tmpfs { .. } => None,
        });
    let layers = match &spec.root.value {
        Root::Host => Vec::new(),
        Root::Directory(path) => vec![path],
        Root::Overlay { lowers, upper } => lowers
            .iter()
            .chain(match upper {
                Upper::Directory(path) => Some(path),
                Upper::Ephemeral => None,
            })
            .collect(),
    };
    let devices = spec.devices.iter().map(|device| &device.value);
    let disks = spec.resources.io.iter().map(|limit| &limit.value.device);
    binds
        .chain(layers)
        .chain(devices)
        .chain(disks)
        .filter_map(|path| Some((path.clone(), facts(path)?)))
        .chain(
            crate::plan::host_secrets(spec)
                .filter_map(|path| Some((path.into(), facts(path.as_ref())?))),
        )
        .collect()
}

fn facts(path: &Path) -> Option<PathFacts> {
    let stat = fs::stat(path).ok()?;
    let (kind, device) = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => (PathKind::Directory, None),
        FileType::CharacterDevice => (PathKind::CharDevice, Some(stat.st_rdev)),
        FileType::BlockDevice => (PathKind::BlockDevice, Some(stat.st_rdev)),
        _ => (PathKind::File, None),
    };
    let device = device.map(|rdev| (fs::major(rdev), fs::minor(rdev)));
    Some(PathFacts {
        kind,
        uid: stat.st_uid,
        gid: stat.st_gid,
        device,
    })
}

/// The entries of `/` that an ordinary user's `rootfs = "host"` is put together from.
fn top_level(origin: Origin) -> Result<Vec<rootfs::HostEntry>, Diagnostic> {
    rootfs::host_entries(&crate::plan::NOT_FROM_HOST)
        .map_err(|error| Diagnostic::host(origin, error.to_string()))
}

/// The limits in force, of those that are to be set.
fn rlimits(spec: &Spec) -> Vec<Rlimit> {
    let asked = spec
        .security
        .rlimits
        .iter()
        .map(|limit| limit.value.name.as_str());
    crate::plan::DEFAULT_RLIMITS
        .iter()
        .map(|(name, ..)| *name)
        .chain(asked)
        .filter_map(|name| Resource::from_name(name).ok())
        .filter_map(|resource| confine::getrlimit(resource).ok())
        .collect()
}

pub(crate) fn read_bounded(path: &Path, limit: usize) -> Result<Vec<u8>, Errno> {
    let file = fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    let mut chunk = [0_u8; 8192];
    loop {
        match rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut chunk))? {
            0 => return Ok(text),
            n if text.len() + n > limit => return Err(Errno::FBIG),
            n => text.extend_from_slice(&chunk[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uid_map_lines_are_read() {
        assert_eq!(
            parse_map("         0       1000          1\n         1     100000      65536\n"),
            Some(vec![
                IdMap {
                    inside: 0,
                    outside: 1000,
                    count: 1
                },
                IdMap {
                    inside: 1,
                    outside: 100_000,
                    count: 65_536
                },
            ])
        );
        assert_eq!(parse_map("0 x 1"), None);
    }

    #[test]
    fn a_path_is_seen_as_what_it_is() {
        let null = facts("/dev/null".as_ref()).expect("it exists");
        assert_eq!(
            (null.kind, null.device),
            (PathKind::CharDevice, Some((1, 3)))
        );
        assert_eq!(
            facts("/".as_ref()).map(|f| f.kind),
            Some(PathKind::Directory)
        );
        assert_eq!(facts("/no/such/path".as_ref()), None);
    }
}
