//! What can go wrong before the child runs; a failing step in the child is a bare errno.

use std::path::PathBuf;

use rustix::io::Errno;

/// A tree that cannot be described, or a call of the parent's that failed.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A NUL byte where the kernel takes a string.
    #[error("{what} {text:?} contains a NUL byte")]
    Nul {
        /// What the string is.
        what: &'static str,
        /// The string.
        text: String,
    },
    /// A path in the container that is not absolute, is `/` itself, or climbs with `..`.
    #[error("{path:?} {why}")]
    Path {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two overlay layers of which one lies in the other.
    #[error("overlay layers {upper:?} and {lower:?} overlap")]
    LayersOverlap {
        /// The one nearer the top.
        upper: String,
        /// The one below it.
        lower: String,
    },
    /// No layer, or more than fsconfig(2) can name in 255 bytes.
    #[error("an overlay of {count} layers: it takes 1 to {max}")]
    LayerCount {
        /// How many were given.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A value that fsconfig(2) does not take.
    #[error("the value of {key:?} has {length} bytes: fsconfig takes 255")]
    ValueTooLong {
        /// The option.
        key: String,
        /// Its length in bytes.
        length: usize,
    },
    /// A builder method that rests on one not called yet, or already called.
    #[error("{step} must come {relation} {other}")]
    Order {
        /// The method called.
        step: &'static str,
        /// `after` or `before`.
        relation: &'static str,
        /// The other method.
        other: &'static str,
    },
    /// A kernel parameter name that is not one.
    #[error("{name:?} is not the name of a kernel parameter")]
    Sysctl {
        /// The name.
        name: String,
    },
    /// A system call of the parent failed.
    #[error("{call}")]
    Call {
        /// As strace would spell it.
        call: String,
        /// Why.
        #[source]
        errno: Errno,
        /// Where the errno misleads.
        hint: Option<&'static str>,
    },
}

impl Error {
    /// The kernel's answer, where it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// What to look at, where the message alone would mislead.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Call { hint, .. } => *hint,
            Self::LayersOverlap { .. } => Some("each layer must be a directory of its own"),
            _ => None,
        }
    }
}
