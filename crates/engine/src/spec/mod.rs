//! What to run, as plain data: the one input both front ends (the manifest, OCI's `config.json`) produce.
//!
//! Every value that can make a kernel call fail carries its [`Origin`], so that a plan and an error
//! can say which line asked for it. A `Spec` holds no file descriptors and has had no contact with
//! the kernel: paths are the host's, names are still names. [`Host`](crate::Host) holds what was
//! looked up for it, and [`plan`](crate::plan::plan) joins the two.

mod network;

pub use network::{Attachment, DEFAULT_NETWORK, Network, NetworkSpec, Protocol, Publish};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Origin {
    /// Nobody asked: the engine's default.
    #[default]
    Default,
    /// A line (from 1) of the file that was read, see [`Spec::source`].
    Line(u32),
    /// The configuration of the image.
    Image,
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its origin.
    pub origin: Origin,
}

impl<T> At<T> {
    /// A value read from `line` of the file.
    pub fn line(line: u32, value: T) -> Self {
        Self {
            value,
            origin: Origin::Line(line),
        }
    }

    /// A value nobody asked for.
    pub fn default_of(value: T) -> Self {
        Self {
            value,
            origin: Origin::Default,
        }
    }

    /// The same origin, another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At {
            value: f(self.value),
            origin: self.origin,
        }
    }
}

/// One container, wholly described.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name: state directory, cgroup leaf, messages. Checked by the front end:
    /// `[a-z0-9][a-z0-9_.-]{0,62}`.
    pub name: At<String>,
    /// The file it was read from, as messages show it.
    pub source: String,
    /// The root file system.
    pub root: At<Root>,
    /// `true`: nothing in the root file system can be written.
    pub read_only_root: At<bool>,
    /// The program.
    pub process: Process,
    /// Which namespaces are new.
    pub namespaces: Namespaces,
    /// Networks that are made when they are missing.
    pub networks: Vec<At<NetworkSpec>>,
    /// The host name in the uts namespace; the container's name when nobody asked.
    pub hostname: At<String>,
    /// A built-in init as PID 1 that reaps zombies and forwards signals.
    pub init: At<bool>,
    /// How the container is asked to stop.
    pub stop: Stop,
    /// Mounts besides the defaults (/proc, /dev, /sys …), in order.
    pub mounts: Vec<At<Mount>>,
    /// Device nodes besides the defaults, by their path on the host and in the container.
    pub devices: Vec<At<PathBuf>>,
    /// Kernel parameters of the container's own namespaces, by dotted name.
    pub sysctls: Vec<At<(String, String)>>,
    /// Paths hidden in the container when they exist.
    pub masked_paths: Vec<At<PathBuf>>,
    /// Paths made read-only in the container when they exist.
    pub readonly_paths: Vec<At<PathBuf>>,
    /// Limits.
    pub resources: Resources,
    /// What the process may do.
    pub security: Security,
    /// The image whose layers are the root's; kept with the container's state.
    pub image: Option<image::Record>,
    /// Kept with the container's state and report; never interpreted.
    pub labels: BTreeMap<String, String>,
}

/// Where `/` comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// A throw-away overlay over this machine's own `/`.
    Host,
    /// A directory; the container's writes go into it.
    Directory(PathBuf),
    /// Layers, lowest last, and where writes go.
    Overlay {
        /// Lower directories, topmost first.
        lowers: Vec<PathBuf>,
        /// Where writes go.
        upper: Upper,
    },
}

/// Where an overlay's writes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upper {
    /// A tmpfs that dies with the container.
    Ephemeral,
    /// A directory on disk, holding `upper/` and `work/`.
    Directory(PathBuf),
}

/// The program and the surroundings it starts in.
#[derive(Debug, Clone)]
pub struct Process {
    /// argv, at least one element.
    pub argv: At<Vec<String>>,
    /// Environment, complete: nothing of the host's is inherited.
    pub env: Vec<At<(String, String)>>,
    /// Working directory in the container, absolute.
    pub workdir: At<PathBuf>,
    /// Who it runs as.
    pub user: At<User>,
    /// A terminal of its own.
    pub tty: At<bool>,
}

/// A user, by number or by a name looked up in the container's own `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// A name, and optionally a group by name or number.
    Name {
        /// Login name.
        user: String,
        /// Group instead of the one in passwd.
        group: Option<Group>,
    },
    /// A number. Without a group the one in passwd for that uid, or 0.
    Id {
        /// User id in the container.
        uid: u32,
        /// Group instead of the one in passwd.
        group: Option<Group>,
    },
}

/// A group, by number or by a name looked up in the container's own `/etc/group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// A name.
    Name(String),
    /// A number.
    Id(u32),
}

/// Which namespaces the container gets of its own. pid, mnt, ipc, uts and cgroup are always new.
#[derive(Debug, Clone)]
pub struct Namespaces {
    /// The user namespace.
    pub user: At<UserNamespace>,
    /// The network namespace.
    pub net: At<Network>,
}

/// The user namespace of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserNamespace {
    /// Its own: 65 536 ids as root or with subuids, else the one own id.
    Auto,
    /// The host's: container root is host root.
    Host,
    /// These maps.
    Explicit {
        /// uid_map lines.
        uids: Vec<IdMap>,
        /// gid_map lines.
        gids: Vec<IdMap>,
    },
}

/// One line of `/proc/PID/uid_map`, user_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMap {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// How to ask a container to stop.
#[derive(Debug, Clone)]
pub struct Stop {
    /// Signal number sent first.
    pub signal: At<i32>,
    /// How long it has until SIGKILL.
    pub grace: At<Duration>,
}

/// A mount the user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Where in the container, absolute, without `.` or `..`.
    pub at: PathBuf,
    /// Not writable.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A file or directory of the host, absolute.
    Bind {
        /// On the host.
        path: PathBuf,
        /// What the owner of the files looks like inside.
        owner: Owner,
    },
    /// A new tmpfs of at most this many bytes.
    Tmpfs {
        /// `size=`.
        bytes: u64,
    },
}

/// Ownership of a bind mount's files as the container sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// As on disk, through the container's id map: ids outside it show as 65534.
    Host,
    /// Idmapped: files of the source's owner look as if owned by the container's user, and what
    /// the container writes belongs to that owner on disk.
    Match,
}

/// Limits, in the words of cgroup v2. `None`: not set.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    /// `memory.max`, bytes.
    pub memory_max: Option<At<Limit>>,
    /// `memory.high`, bytes.
    pub memory_high: Option<At<Limit>>,
    /// `memory.low`, bytes.
    pub memory_low: Option<At<Limit>>,
    /// `memory.min`, bytes.
    pub memory_min: Option<At<Limit>>,
    /// `memory.swap.max`, bytes.
    pub memory_swap_max: Option<At<Limit>>,
    /// `memory.oom.group`.
    pub memory_oom_group: Option<At<bool>>,
    /// `cpu.max`: microseconds of CPU per period, and the period.
    pub cpu_max: Option<At<CpuMax>>,
    /// `cpu.weight`, 1–10000.
    pub cpu_weight: Option<At<u64>>,
    /// `cpuset.cpus`, the kernel's list format.
    pub cpuset_cpus: Option<At<String>>,
    /// `cpuset.mems`, the kernel's list format.
    pub cpuset_mems: Option<At<String>>,
    /// `pids.max`.
    pub pids_max: Option<At<Limit>>,
    /// `io.max`, by device.
    pub io: Vec<At<IoLimit>>,
    /// `io.weight`, 1–10000.
    pub io_weight: Option<At<u64>>,
}

/// A number, or `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// No limit.
    Max,
    /// At most this.
    Value(u64),
}

/// `cpu.max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuMax {
    /// Microseconds of CPU time per period.
    pub quota_us: u64,
    /// Microseconds.
    pub period_us: u64,
}

/// `io.max` of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoLimit {
    /// The device node on the host.
    pub device: PathBuf,
    /// Bytes per second read.
    pub rbps: Option<u64>,
    /// Bytes per second written.
    pub wbps: Option<u64>,
    /// Reads per second.
    pub riops: Option<u64>,
    /// Writes per second.
    pub wiops: Option<u64>,
}

/// What the process may do.
#[derive(Debug, Clone)]
pub struct Security {
    /// Capabilities added to the default set, as `NET_RAW`.
    pub capabilities_add: Vec<At<String>>,
    /// Capabilities taken from the default set; `ALL` takes every one.
    pub capabilities_drop: Vec<At<String>>,
    /// The seccomp filter.
    pub seccomp: At<Seccomp>,
    /// `true`: execve may grant privileges (no_new_privs stays off).
    pub new_privileges: At<bool>,
    /// Resource limits, by lower-case name without `RLIMIT_` (`nofile`); they replace the default
    /// of the same name.
    pub rlimits: Vec<At<Rlimit>>,
    /// `oom_score_adj`, -1000–1000.
    pub oom_score_adj: Option<At<i32>>,
    /// Landlock rules.
    pub landlock: Option<At<Landlock>>,
    /// AppArmor profile to change to on exec.
    pub apparmor: Option<At<String>>,
    /// SELinux label to change to on exec.
    pub selinux: Option<At<String>>,
}

/// The seccomp filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seccomp {
    /// The engine's own, see `confine`.
    Default,
    /// None.
    Unconfined,
    /// A Docker/OCI JSON profile, already read (at most 1 MiB).
    Profile {
        /// Where it was read, for messages.
        path: PathBuf,
        /// Its text.
        json: String,
    },
}

/// A resource limit, getrlimit(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rlimit {
    /// `nofile`, `core` …
    pub name: String,
    /// Soft limit; `None` is unlimited.
    pub soft: Option<u64>,
    /// Hard limit; `None` is unlimited.
    pub hard: Option<u64>,
}

/// Landlock rules on the container's own paths, landlock(7).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Landlock {
    /// May be read and executed below.
    pub read: Vec<PathBuf>,
    /// May be read, executed and changed below.
    pub write: Vec<PathBuf>,
}
