//! The one error type. It speaks of what was asked for; what fails between clone and exec is an errno
//! and a step number, see [`Confinement`](crate::Confinement).

use rustix::io::Errno;

use crate::{CapSet, Rlimit};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a capability.
    #[error("unknown capability {name:?}")]
    UnknownCapability {
        /// As given.
        name: String,
        /// Names that come near, best first, without `CAP_`.
        near: Vec<&'static str>,
    },
    /// One of the five sets is larger than the one it must lie in.
    #[error("the {set} capabilities exceed the {within} ones by {extra}")]
    Capabilities {
        /// The set that is too large.
        set: &'static str,
        /// The set it must lie in.
        within: &'static str,
        /// What is too much.
        extra: CapSet,
    },
    /// Not a resource of setrlimit(2).
    #[error("unknown resource limit {name:?}")]
    UnknownResource {
        /// As given.
        name: String,
        /// Names that come near, best first.
        near: Vec<&'static str>,
    },
    /// A soft limit above the hard one.
    #[error("{}: the soft limit exceeds the hard one: {rlimit}", rlimit.resource)]
    RlimitOrder {
        /// As given.
        rlimit: Rlimit,
    },
    /// prlimit(2) failed.
    #[error("prlimit64({pid}, {}, {rlimit}, NULL)", rlimit.resource)]
    Prlimit {
        /// Whose limit.
        pid: i32,
        /// Which limit.
        rlimit: Rlimit,
        /// Why.
        source: Errno,
    },
    /// Outside of -1000 to 1000.
    #[error("oom_score_adj {value} is not between -1000 and 1000")]
    OomScoreAdj {
        /// As given.
        value: i32,
    },
    /// A file of the kernel refused a value.
    #[error("write {value:?} to {path:?}")]
    Write {
        /// The file.
        path: String,
        /// What was written.
        value: String,
        /// Why it was refused.
        source: Errno,
    },
    /// No architecture has such a system call.
    #[error("unknown system call {name:?}")]
    UnknownSyscall {
        /// As given.
        name: String,
        /// Names that come near, best first.
        near: Vec<&'static str>,
    },
    /// A condition on an argument beyond the sixth.
    #[error("system call {syscall}: there is no argument {index}, they are 0 to 5")]
    Argument {
        /// Which call.
        syscall: String,
        /// As given.
        index: u32,
    },
    /// An errno the kernel would not return: it cuts at 4095.
    #[error("errno {value} is above 4095")]
    ErrnoRange {
        /// As given.
        value: u32,
    },
    /// The compiled filter is longer than the kernel takes.
    #[error("the seccomp filter has {instructions} instructions, the kernel takes 4096")]
    FilterTooLong {
        /// Its length.
        instructions: usize,
    },
    /// The filter asks a listener, and nobody is to listen: such calls would all end in ENOSYS.
    #[error("the seccomp filter has SCMP_ACT_NOTIFY rules and no listener was asked for")]
    NoListener,
    /// A JSON profile beyond the size limit.
    #[error("the seccomp profile has {bytes} bytes, more than {limit}")]
    ProfileSize {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A JSON profile that is not one.
    #[error("the seccomp profile is not valid")]
    ProfileJson {
        /// Where and why.
        source: serde_json::Error,
    },
    /// A value in a JSON profile that makes no sense.
    #[error("the seccomp profile: {place}: {problem}")]
    ProfileValue {
        /// Which entry, as `syscalls[3].args[0]`.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A rule in a JSON profile that could not be taken over.
    #[error("the seccomp profile: {place}")]
    ProfileRule {
        /// Which entry, as `syscalls[3].names[1]`.
        place: String,
        /// Why.
        source: Box<Error>,
    },
    /// A label was asked for, and its security module is not running.
    #[error("{module} is not active in this kernel (active: {active})")]
    LsmInactive {
        /// `AppArmor` or `SELinux`.
        module: &'static str,
        /// The ones that are, as the kernel lists them.
        active: String,
    },
    /// A label that cannot be one.
    #[error(
        "{label:?} cannot be a security label: it must not be empty or hold control characters"
    )]
    Label {
        /// As given.
        label: String,
    },
    /// A Landlock path that is not absolute, or holds a NUL byte.
    #[error("the Landlock path {path:?} must be absolute and free of NUL bytes")]
    LandlockPath {
        /// As given.
        path: std::path::PathBuf,
    },
}

impl Error {
    /// The errno behind it, if there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Prlimit { source, .. } | Self::Write { source, .. } => Some(*source),
            Self::ProfileRule { source, .. } => source.errno(),
            _ => None,
        }
    }

    /// What to do about it, where the message alone would mislead.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Prlimit { source, .. } => crate::rlimit::hint(*source),
            Self::Write {
                source: Errno::ACCESS,
                ..
            } => Some(
                "lowering oom_score_adj below its inherited value needs CAP_SYS_RESOURCE in the initial \
                 user namespace",
            ),
            Self::LsmInactive { .. } => Some(
                "boot with it in lsm=, or leave the label out; without it nothing would be confined",
            ),
            Self::ProfileRule { source, .. } => source.hint(),
            _ => None,
        }
    }

    /// Names that come near a misspelt one, best first.
    pub fn near(&self) -> &[&'static str] {
        match self {
            Self::UnknownCapability { near, .. }
            | Self::UnknownResource { near, .. }
            | Self::UnknownSyscall { near, .. } => near,
            Self::ProfileRule { source, .. } => source.near(),
            _ => &[],
        }
    }
}
