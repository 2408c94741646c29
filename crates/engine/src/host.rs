//! What was observed of this machine before planning: plain data, so that planning stays pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cgroup::{Controller, Controllers};

use crate::net::facts::NetFacts;
use crate::spec::IdMap;

/// Facts about the machine and the caller, gathered by [`observe`](crate::observe::observe) for one
/// [`Spec`](crate::spec::Spec).
#[derive(Debug, Clone)]
pub struct Host {
    /// Who is asking.
    pub caller: Caller,
    /// Where host ids for the container come from.
    pub ids: IdSource,
    /// The cgroup2 hierarchy as far as the caller can use it.
    pub cgroup: Cgroup,
    /// What the paths named by the spec are, by path on the host. Absent: does not exist.
    pub paths: BTreeMap<PathBuf, PathFacts>,
    /// The entries of `/`, when it is the root and has to be put together from them.
    pub top_level: Vec<rootfs::HostEntry>,
    /// The container's own user database.
    pub users: UserFiles,
    /// What the root can bear.
    pub root: RootFacts,
    /// The calling process's resource limits, of those that are to be set.
    pub rlimits: Vec<confine::Rlimit>,
    /// The kernel's Landlock ABI, when the spec has rules.
    pub landlock: confine::Abi,
    /// Major and minor version of the kernel, for seccomp profiles that ask.
    pub kernel: (u32, u32),
    /// The kernel's last capability: there may be more than have a name here.
    pub last_capability: confine::Capability,
    /// The running security modules, when the spec has a label.
    pub lsms: confine::Lsms,
    /// The host's `/etc/resolv.conf`, when the container's is made from it.
    pub resolv_conf: Option<Vec<u8>>,
    /// The network of a container that is on one, where the caller may make it.
    pub net: Option<NetFacts>,
    /// pasta(1), for a caller who may not.
    pub pasta: Option<PathBuf>,
    /// The container whose network is shared.
    pub peer: Option<Peer>,
    /// The container's state directory, where it would be.
    pub state_root: PathBuf,
}

/// A running container whose network another one shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// A process of it, as the caller numbers it.
    pub pid: u32,
    /// The text for `/etc/resolv.conf`.
    pub resolv_conf: Option<Vec<u8>>,
}

/// The calling process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// CAP_SYS_ADMIN in the initial user namespace: may clone mounts of the host, idmap them, and
    /// hand out any ids.
    pub privileged: bool,
    /// CAP_SYS_RESOURCE in the initial user namespace: may raise hard limits.
    pub may_raise_rlimits: bool,
}

/// Where host ids for a container's user namespace come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdSource {
    /// A range of this machine that no other container uses.
    Range {
        /// First host id.
        first: u32,
        /// Which of the ranges it is.
        slot: u32,
    },
    /// The caller's own id, and the ranges /etc/subuid and /etc/subgid grant it, given out by
    /// newuidmap(1) and newgidmap(1).
    Sub {
        /// (first, count) from /etc/subuid.
        uids: (u32, u32),
        /// (first, count) from /etc/subgid.
        gids: (u32, u32),
    },
    /// The caller's own id only, and why.
    Own {
        /// `newuidmap is not installed` …
        because: String,
    },
    /// Every id of the user namespace the caller is root of.
    Namespace {
        /// The caller's own uid_map, identity inside.
        uids: Vec<IdMap>,
        /// The caller's own gid_map, identity inside.
        gids: Vec<IdMap>,
    },
}

impl Default for IdSource {
    fn default() -> Self {
        Self::Own {
            because: String::new(),
        }
    }
}

/// The cgroup2 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cgroup {
    /// Groups can be made here.
    Place(Place),
    /// No group can be made.
    Unavailable {
        /// Why.
        because: String,
        /// What to do.
        help: String,
    },
}

/// A directory in which groups are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where the hierarchy is mounted.
    pub mount_point: PathBuf,
    /// The directories from the topmost down that give controllers to their children; the
    /// container's group is made in the last one.
    pub levels: Vec<Level>,
    /// Controllers that can be had there.
    pub available: Controllers,
    /// Who has each of the others, as a clause.
    pub holders: Vec<(Controller, String)>,
}

/// One directory on the way to a container's group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// The directory.
    pub dir: PathBuf,
    /// It is there.
    pub exists: bool,
    /// Its `cgroup.subtree_control`.
    pub enabled: Controllers,
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathFacts {
    /// Its kind.
    pub kind: PathKind,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// For a device node: its numbers.
    pub device: Option<(u32, u32)>,
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// A directory.
    Directory,
    /// A regular file, socket or FIFO: something a file can be bound onto.
    File,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// What the directory or the host's tree that becomes the root can bear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFacts {
    /// No mount point can be made in it.
    pub read_only: bool,
    /// Its file system can be idmapped, as far as is known.
    pub idmaps: bool,
    /// Of `etc/hosts`, `etc/hostname` and `etc/resolv.conf` those that are there.
    pub name_files: Vec<&'static str>,
}

impl Default for RootFacts {
    fn default() -> Self {
        Self {
            read_only: false,
            idmaps: true,
            name_files: Vec::new(),
        }
    }
}

/// Texts of the container's own user database, when they had to be read.
#[derive(Debug, Clone, Default)]
pub struct UserFiles {
    /// `/etc/passwd`.
    pub passwd: Option<Vec<u8>>,
    /// `/etc/group`.
    pub group: Option<Vec<u8>>,
    /// The container's root holds an `/etc` directory.
    pub has_etc: bool,
}

impl Host {
    /// What `path` is.
    #[must_use]
    pub fn path(&self, path: &Path) -> Option<&PathFacts> {
        self.paths.get(path)
    }
}
