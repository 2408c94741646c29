//! What a server tells its caller, who decides whether it is worth a line in a log.

use std::fmt;
use std::net::SocketAddr;

use rustix::io::Errno;

use crate::Error;

/// Something that a client saw as `SERVFAIL`, or that explains one.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// No upstream server answered.
    Unanswered {
        /// The name that was asked for.
        name: String,
        /// Who was asked, in order, and what came of it.
        tries: Vec<(SocketAddr, TryFailure)>,
    },
    /// As many queries wait for upstream servers as may.
    Overloaded {
        /// The name that was asked for.
        name: String,
        /// How many wait.
        waiting: usize,
    },
    /// A network's names cannot be read.
    Zone {
        /// Why.
        error: Error,
    },
    /// An upstream server of the host is this server itself, and is not asked.
    OwnAddress {
        /// The address.
        address: SocketAddr,
    },
}

/// Why an upstream server was of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryFailure {
    /// It said nothing in time.
    Timeout,
    /// It answered with this code: 2 `SERVFAIL`, 4 `NOTIMP`, 5 `REFUSED`.
    Code(u8),
    /// It closed the connection without an answer.
    Closed,
    /// A call failed.
    Call {
        /// Which.
        call: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered { name, tries } => {
                write!(f, "DNS: nobody upstream resolved {name}: ")?;
                for (i, (server, why)) in tries.iter().enumerate() {
                    write!(f, "{}{server} {why}", if i == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Self::Overloaded { name, waiting } => write!(
                f,
                "DNS: {waiting} queries wait for upstream servers, {name} is refused"
            ),
            Self::Zone { error } => write!(f, "DNS: the names of a network: {error}"),
            Self::OwnAddress { address } => {
                write!(
                    f,
                    "DNS: upstream server {address} is this one, and is not asked"
                )
            }
        }
    }
}

impl fmt::Display for TryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("did not answer in time"),
            Self::Code(2) => f.write_str("said SERVFAIL"),
            Self::Code(4) => f.write_str("said NOTIMP"),
            Self::Code(5) => f.write_str("said REFUSED"),
            Self::Code(code) => write!(f, "said code {code}"),
            Self::Closed => f.write_str("closed the connection"),
            Self::Call { call, errno } => write!(f, "{call}: {errno}"),
        }
    }
}
