//! What can go wrong, in the engine's words.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::doctor::Diagnosis;
use crate::plan::Operation;
use crate::spec::Origin;

/// What is wrong with a [`Spec`](crate::spec::Spec) on this host, found before anything was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Which line asked for it.
    pub origin: Origin,
    /// What is wrong, lower case, without a full stop.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
    /// Whether the input is wrong, or the host cannot do what it asks for.
    pub fault: Fault,
}

/// Whose fault a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The input asks for something that makes no sense: exit status 2.
    Input,
    /// The host lacks what the input asks for: exit status 125.
    Host,
}

impl Diagnostic {
    /// The input is wrong.
    pub fn input(origin: Origin, message: impl Into<String>) -> Self {
        Self {
            origin,
            message: message.into(),
            help: None,
            fault: Fault::Input,
        }
    }

    /// The host cannot.
    pub fn host(origin: Origin, message: impl Into<String>) -> Self {
        Self {
            origin,
            message: message.into(),
            help: None,
            fault: Fault::Host,
        }
    }

    /// With a way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Result of the state directory's functions.
pub(crate) type StateResult<T> = Result<T, StateError>;

/// The state directory cannot be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
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
    /// The run root belongs to somebody else, or others may write into it.
    #[error("{path:?} (owner uid {uid}) is not a private directory of this user's")]
    NotPrivate {
        /// The run root.
        path: PathBuf,
        /// Who owns it.
        uid: u32,
    },
    /// A container of this name is running.
    #[error("a container named `{name}` is running{}", pid.map_or(String::new(), |pid| format!(" (supervisor pid {pid})")))]
    Running {
        /// Its name.
        name: String,
        /// The process that supervises it.
        pid: Option<u32>,
    },
    /// Every id range is taken.
    #[error("no free range of 65536 ids is left")]
    NoIds,
    /// A record cannot be written as JSON.
    #[error("cannot write the record {path:?}")]
    Record {
        /// Where.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl StateError {
    /// What the kernel said, when it said something.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// What to do about it, where the message does not say.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotPrivate { path, .. } => Some(format!(
                "remove {}, or name another place with --root",
                path.display()
            )),
            Self::Running { .. } => Some("stop it, or give this one another `name`".into()),
            Self::Call {
                errno: Errno::ACCESS | Errno::ROFS,
                path,
                ..
            } => Some(format!(
                "{} must be writable; --root names another place",
                path.display()
            )),
            _ => None,
        }
    }
}

/// Why a container did not run, or could not be supervised to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The spec cannot be had on this host; nothing was made.
    #[error("{} problems with what is asked for", .0.len())]
    Refused(Vec<Diagnostic>),
    /// The state directory cannot be kept; nothing was made.
    #[error("cannot keep the container's state")]
    State(#[from] StateError),
    /// An operation of the plan failed; everything before it was undone.
    #[error("{0}")]
    Failed(Box<Failure>),
    /// The program could not be executed; everything was undone.
    #[error("{}", .0.diagnosis)]
    Exec(Box<ExecFailure>),
    /// The supervisor itself failed; the container was killed and cleaned away.
    #[error("cannot supervise the container: {call}")]
    Supervise {
        /// The failing call.
        call: &'static str,
        /// Why.
        #[source]
        errno: Errno,
    },
}

impl Error {
    /// The exit status of `ctr run`.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(problems) if problems.iter().any(|p| p.fault == Fault::Input) => 2,
            Self::Exec(failure) => failure.diagnosis.exit_code(),
            _ => 125,
        }
    }
}

/// A failing operation of a plan.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The operation as planned.
    pub operation: Operation,
    /// Its place in the plan, from 1, and how many operations that has.
    pub place: Option<(usize, usize)>,
    /// What went wrong, when it is more than an errno.
    pub detail: Option<String>,
    /// The errno.
    pub errno: Option<Errno>,
    /// The way out, where errno misleads.
    pub hint: Option<String>,
    /// What could not be undone.
    pub left: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some((place, of)) = self.place {
            write!(f, "step {place} of {of}: ")?;
        }
        write!(f, "{}", self.operation.call)?;
        match (&self.detail, self.errno) {
            (Some(detail), _) => write!(f, ": {detail}"),
            (None, Some(errno)) => write!(f, ": {}", errno_name(errno)),
            (None, None) => Ok(()),
        }
    }
}

/// `ENOENT (No such file or directory)`.
#[must_use]
pub fn errno_name(errno: Errno) -> String {
    let known = nix::errno::Errno::from_raw(errno.raw_os_error());
    format!("{known:?} ({})", known.desc())
}

/// A program that could not be executed.
#[derive(Debug, Clone)]
pub struct ExecFailure {
    /// Why.
    pub diagnosis: Diagnosis,
    /// Where `command` stands.
    pub origin: Origin,
    /// What could not be undone.
    pub left: Vec<String>,
}
