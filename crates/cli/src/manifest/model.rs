//! A manifest that was found right: typed values, each with where it was written.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use engine::spec::{
    CpuMax, IdMap, IoLimit, Landlock, Limit, MountSource, NetworkSpec, Publish, Rlimit, Root,
    Seccomp, User, UserNamespace,
};
use image::Reference;

use ipnet::IpNet;

use crate::diagnostic::Span;

/// A value and its bytes in the file; without a span when nobody wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given<T> {
    pub(crate) value: T,
    pub(crate) span: Option<Span>,
}

impl<T> Given<T> {
    pub(crate) fn new(value: T, span: Span) -> Self {
        Self {
            value,
            span: Some(span),
        }
    }

    pub(crate) fn default_of(value: T) -> Self {
        Self { value, span: None }
    }

    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> Given<U> {
        Given {
            value: f(self.value),
            span: self.span,
        }
    }

    /// Where it was written, or the start of the file.
    pub(crate) fn place(&self) -> Span {
        self.span.clone().unwrap_or(0..0)
    }
}

/// The whole manifest.
#[derive(Debug, Clone)]
pub struct Manifest {
    pub(crate) name: Given<String>,
    pub(crate) root: Given<RootSource>,
    pub(crate) process: Process,
    pub(crate) hostname: Option<Given<String>>,
    pub(crate) init: Given<bool>,
    pub(crate) stop: Stop,
    pub(crate) resources: Resources,
    pub(crate) mounts: Vec<Given<Mount>>,
    pub(crate) network: Given<Network>,
    pub(crate) networks: Vec<Given<NetworkSpec>>,
    pub(crate) security: Security,
    pub(crate) labels: BTreeMap<String, String>,
}

/// Where `/` comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RootSource {
    /// `rootfs`.
    Here(Root),
    /// `image`.
    Image(Reference),
}

/// The program and its surroundings.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    /// An image may have one.
    pub(crate) command: Option<Given<Vec<String>>>,
    pub(crate) args: Option<Given<Vec<String>>>,
    pub(crate) user: Option<Given<User>>,
    pub(crate) workdir: Option<Given<PathBuf>>,
    pub(crate) env: Vec<Given<(String, String)>>,
    pub(crate) tty: Given<bool>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    pub(crate) signal: Option<Given<i32>>,
    pub(crate) grace: Option<Given<Duration>>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Resources {
    pub(crate) memory: Memory,
    pub(crate) cpu: Cpu,
    pub(crate) pids: Option<Given<Limit>>,
    pub(crate) io: Vec<Given<IoLimit>>,
    pub(crate) io_weight: Option<Given<u64>>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    pub(crate) max: Option<Given<Limit>>,
    pub(crate) high: Option<Given<Limit>>,
    pub(crate) low: Option<Given<Limit>>,
    pub(crate) min: Option<Given<Limit>>,
    pub(crate) swap: Option<Given<Limit>>,
    pub(crate) oom_group: Option<Given<bool>>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Cpu {
    pub(crate) max: Option<Given<CpuMax>>,
    pub(crate) weight: Option<Given<u64>>,
    pub(crate) cpus: Option<Given<String>>,
    pub(crate) mems: Option<Given<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Network {
    None,
    Host,
    Container(String),
    /// On the network of this name.
    Bridge(String, Box<Attachment>),
}

impl Network {
    /// As in "`dns` is for a container on a network: …".
    pub(crate) fn words(&self) -> &'static str {
        match self {
            Self::None => "it has none",
            Self::Host => "it has the host's",
            Self::Container(_) => "it has another container's",
            Self::Bridge(..) => "it is on one",
        }
    }
}

/// `[network]` of a container that is on one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attachment {
    pub(crate) publish: Vec<Given<Publish>>,
    pub(crate) dns: Vec<Given<IpAddr>>,
    pub(crate) aliases: Vec<Given<String>>,
    pub(crate) address: Option<Given<Ipv4Addr>>,
    pub(crate) rate: Option<Given<u64>>,
    pub(crate) allow: Option<Given<Vec<IpNet>>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) source: MountSource,
    pub(crate) at: Given<PathBuf>,
    pub(crate) read_only: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Security {
    pub(crate) user_namespace: Given<UserNamespace>,
    pub(crate) capabilities_add: Vec<Given<String>>,
    pub(crate) capabilities_drop: Vec<Given<String>>,
    pub(crate) seccomp: Given<Seccomp>,
    pub(crate) new_privileges: Given<bool>,
    pub(crate) read_only_root: Given<bool>,
    pub(crate) devices: Vec<Given<PathBuf>>,
    pub(crate) sysctl: Vec<Given<(String, String)>>,
    pub(crate) rlimits: Vec<Given<Rlimit>>,
    pub(crate) landlock: Option<Given<Landlock>>,
    pub(crate) oom_score_adj: Option<Given<i32>>,
    pub(crate) apparmor: Option<Given<String>>,
    pub(crate) selinux: Option<Given<String>>,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            user_namespace: Given::default_of(UserNamespace::Auto),
            capabilities_add: Vec::new(),
            capabilities_drop: Vec::new(),
            seccomp: Given::default_of(Seccomp::Default),
            new_privileges: Given::default_of(false),
            read_only_root: Given::default_of(false),
            devices: Vec::new(),
            sysctl: Vec::new(),
            rlimits: Vec::new(),
            landlock: None,
            oom_score_adj: None,
            apparmor: None,
            selinux: None,
        }
    }
}

/// One explicit id map line and where it stands.
pub(crate) type GivenIdMap = Given<IdMap>;
