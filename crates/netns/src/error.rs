//! What can go wrong.

use rustix::io::Errno;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A step of [`Loopback`](crate::Loopback) failed.
    #[error("bring up `lo`: {call}")]
    Loopback {
        /// Index of the step.
        step: usize,
        /// The call, as strace spells it.
        call: String,
        /// For [`Error::hint`].
        hint: Option<&'static str>,
        /// What the kernel said.
        source: Errno,
    },
}

impl Error {
    /// What the kernel said.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Loopback { source, .. } => Some(*source),
        }
    }

    /// What to do about it, where errno alone misleads.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Loopback { hint, .. } => *hint,
        }
    }
}
