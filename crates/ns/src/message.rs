//! What the child tells the parent: 12 bytes, one type of message, one write each.
//!
//! `"ctr"`, a phase (u8), a step (u32), an errno (i32), in the machine's own byte order. The words
//! for all of them are the parent's. Phases from [`MAX_PHASES`] up are the protocol's own.

/// The one byte that the parent sends: go on.
pub(crate) const GO: u8 = 1;

/// Bytes of a message.
pub(crate) const SIZE: usize = 12;

/// Phases that a caller can have.
pub(crate) const MAX_PHASES: usize = 240;

const MAGIC: [u8; 3] = *b"ctr";
const JOIN: u8 = 248;
const EXIT: u8 = 249;
const FORKED: u8 = 250;
const STARTED: u8 = 251;
const HELD: u8 = 252;
const READY: u8 = 253;
const EXEC: u8 = 254;
const OWN: u8 = 255;

/// A message of the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// A step of the caller's failed.
    Step { phase: u8, step: u32, errno: i32 },
    /// A namespace could not be entered.
    Join { index: u32, errno: i32 },
    /// A call of the child's own failed, see [`crate::own`].
    Own { call: u32, errno: i32 },
    /// No candidate could be executed; `candidate` is the one the errno is about.
    Exec { candidate: u32, errno: i32 },
    /// execve(2) is next. With a terminal, its master comes along.
    Ready,
    /// Set up; waits for the second GO.
    Held,
    /// Init has cloned the workload. Its pidfd and the status socket come along.
    Started,
    /// The process between us and the child has made it, with this pid. Its pidfd comes along.
    Forked { pid: i32 },
    /// The workload has ended, with this status of wait(2).
    Exit { status: i32 },
}

impl Message {
    pub(crate) fn encode(self) -> [u8; SIZE] {
        let (phase, step, errno) = match self {
            Self::Step { phase, step, errno } => (phase, step, errno),
            Self::Join { index, errno } => (JOIN, index, errno),
            Self::Own { call, errno } => (OWN, call, errno),
            Self::Exec { candidate, errno } => (EXEC, candidate, errno),
            Self::Ready => (READY, 0, 0),
            Self::Held => (HELD, 0, 0),
            Self::Started => (STARTED, 0, 0),
            Self::Forked { pid } => (FORKED, 0, pid),
            Self::Exit { status } => (EXIT, 0, status),
        };
        let [m0, m1, m2] = MAGIC;
        let [s0, s1, s2, s3] = step.to_ne_bytes();
        let [e0, e1, e2, e3] = errno.to_ne_bytes();
        [m0, m1, m2, phase, s0, s1, s2, s3, e0, e1, e2, e3]
    }

    /// `None`: not one of ours.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let &[m0, m1, m2, phase, s0, s1, s2, s3, e0, e1, e2, e3] = bytes else {
            return None;
        };
        if [m0, m1, m2] != MAGIC {
            return None;
        }
        let step = u32::from_ne_bytes([s0, s1, s2, s3]);
        let errno = i32::from_ne_bytes([e0, e1, e2, e3]);
        Some(match phase {
            JOIN => Self::Join { index: step, errno },
            OWN => Self::Own { call: step, errno },
            EXEC => Self::Exec {
                candidate: step,
                errno,
            },
            READY => Self::Ready,
            HELD => Self::Held,
            STARTED => Self::Started,
            FORKED => Self::Forked { pid: errno },
            EXIT => Self::Exit { status: errno },
            phase if usize::from(phase) < MAX_PHASES => Self::Step { phase, step, errno },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_survives_the_wire() {
        for message in [
            Message::Step {
                phase: 239,
                step: 70_000,
                errno: -1,
            },
            Message::Step {
                phase: 0,
                step: 0,
                errno: 2,
            },
            Message::Join {
                index: 2,
                errno: 22,
            },
            Message::Own { call: 7, errno: 1 },
            Message::Exec {
                candidate: 3,
                errno: 13,
            },
            Message::Ready,
            Message::Held,
            Message::Started,
            Message::Forked { pid: 4_194_304 },
            Message::Exit { status: 0x8b },
        ] {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
    }

    #[test]
    fn anything_else_is_not_a_message() {
        let good = Message::Ready.encode();
        assert_eq!(Message::decode(&good[..11]), None);
        assert_eq!(Message::decode(&[good.as_slice(), &[0]].concat()), None);
        let mut bad = good;
        bad[0] = b'C';
        assert_eq!(Message::decode(&bad), None);
        bad = good;
        bad[3] = 245;
        assert_eq!(
            Message::decode(&bad),
            None,
            "a phase between the caller's and ours"
        );
    }
}
