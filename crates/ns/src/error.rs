//! What can go wrong, by what the caller was trying to do.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::flags::Namespaces;
use crate::status::WaitStatus;

/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The calling process has several threads, and the child may not be made beside them: see
    /// [`spawn`](crate::spawn).
    #[error(
        "a process with several threads cannot start a child: the death signal follows a thread"
    )]
    Threads,
    /// The description asks for something that makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// More descriptors than one message carries.
    #[error("{count} descriptors are more than the {max} that one message carries")]
    TooManyFds {
        /// How many were given.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// The child could not be made.
    #[error("clone3({{flags={namespaces}|CLONE_PIDFD{}}})", if *.into_cgroup { "|CLONE_INTO_CGROUP" } else { "" })]
    Clone {
        /// The namespaces asked for.
        namespaces: Namespaces,
        /// CLONE_INTO_CGROUP was among the flags.
        into_cgroup: bool,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// A call of the parent failed.
    #[error("{call}")]
    Parent {
        /// The call, as strace spells it.
        call: &'static str,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// The child could not enter the namespaces of a descriptor.
    #[error("setns(<join[{index}]>, {namespaces})")]
    Join {
        /// Which of the descriptors.
        index: usize,
        /// What was asked of it.
        namespaces: Namespaces,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// A call that the child makes by itself failed.
    #[error("in the child: {call}")]
    Own {
        /// The call, as strace spells it.
        call: &'static str,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// A step failed in the child.
    #[error("step {step} of phase {phase}")]
    Step {
        /// Which list: those of `setup`, then those of `workload`, then those of `init.confine`.
        phase: usize,
        /// Which step of it.
        step: usize,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// The program could not be executed.
    #[error("execve({path:?})")]
    Exec {
        /// The candidate that the errno is about.
        path: PathBuf,
        /// Its index.
        index: usize,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// The child ended before it could say anything: a signal, often the OOM killer of its cgroup.
    #[error("the child ended during set-up: {status}")]
    KilledInSetup {
        /// How it ended.
        status: WaitStatus,
    },
    /// The child said something it should not have. A bug.
    #[error("protocol: {0}")]
    Protocol(&'static str),
    /// An id map is wrong.
    #[error("{file}: {reason}")]
    IdMap {
        /// `uid_map` or `gid_map`.
        file: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A file in `/proc/PID/` could not be written.
    #[error("write({path:?}, {value:?})")]
    Write {
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// newuidmap or newgidmap could not be run.
    #[error("execve({program:?})")]
    HelperExec {
        /// The program.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// newuidmap or newgidmap refused.
    #[error("{program:?} {arguments}: {message}")]
    Helper {
        /// The program.
        program: PathBuf,
        /// What it was given.
        arguments: String,
        /// What it wrote to stderr, or how it ended.
        message: String,
    },
    /// A namespace of a process could not be opened or looked at.
    #[error("{call}({path:?})")]
    Namespace {
        /// The call.
        call: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        errno: Errno,
    },
}

impl Error {
    /// The errno, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Clone { errno, .. }
            | Self::Parent { errno, .. }
            | Self::Join { errno, .. }
            | Self::Own { errno, .. }
            | Self::Step { errno, .. }
            | Self::Exec { errno, .. }
            | Self::Write { errno, .. }
            | Self::Namespace { errno, .. } => Some(*errno),
            Self::HelperExec { source, .. } => source.raw_os_error().map(Errno::from_raw_os_error),
            _ => None,
        }
    }

    /// What it means, where errno misleads.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        crate::hints::hint(self)
    }
}
