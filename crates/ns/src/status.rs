//! How a process ended, `wait(2)`.

use std::fmt;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WaitStatus {
    /// It called `exit(2)` with this status.
    Exited(u8),
    /// A signal ended it.
    Signaled {
        /// Which.
        signal: i32,
        /// A core dump was written.
        core_dumped: bool,
    },
}

impl WaitStatus {
    /// From the status word of `wait4(2)`; `None` for a process that has stopped or goes on.
    #[must_use]
    pub fn from_raw(status: i32) -> Option<Self> {
        if libc::WIFEXITED(status) {
            // The kernel keeps 8 bits of what exit(2) was given.
            Some(Self::Exited((libc::WEXITSTATUS(status) & 0xff) as u8))
        } else if libc::WIFSIGNALED(status) {
            Some(Self::Signaled {
                signal: libc::WTERMSIG(status),
                core_dumped: libc::WCOREDUMP(status),
            })
        } else {
            None
        }
    }

    /// The status a shell would give: the process's own, or 128 + the signal.
    #[must_use]
    pub fn shell_code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled { signal, .. } => 128u8.saturating_add((signal & 0x7f) as u8),
        }
    }

    /// `true`: it exited with status 0.
    #[must_use]
    pub fn success(self) -> bool {
        self == Self::Exited(0)
    }
}

impl fmt::Display for WaitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Signaled {
                signal,
                core_dumped,
            } => {
                let core = if *core_dumped { ", core dumped" } else { "" };
                write!(f, "killed by signal {signal}{core}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_words_are_read_as_the_kernel_writes_them() {
        assert_eq!(WaitStatus::from_raw(0), Some(WaitStatus::Exited(0)));
        assert_eq!(
            WaitStatus::from_raw(255 << 8),
            Some(WaitStatus::Exited(255))
        );
        let killed = WaitStatus::Signaled {
            signal: 9,
            core_dumped: false,
        };
        assert_eq!(WaitStatus::from_raw(9), Some(killed));
        let dumped = WaitStatus::Signaled {
            signal: 11,
            core_dumped: true,
        };
        assert_eq!(WaitStatus::from_raw(0x80 | 11), Some(dumped));
        assert_eq!(WaitStatus::from_raw(0x137f), None, "stopped");
        assert_eq!(WaitStatus::from_raw(0xffff), None, "continued");
    }

    #[test]
    fn a_signal_counts_from_128() {
        assert_eq!(WaitStatus::Exited(7).shell_code(), 7);
        assert_eq!(
            WaitStatus::Signaled {
                signal: 15,
                core_dumped: false
            }
            .shell_code(),
            143
        );
        assert_eq!(
            WaitStatus::Signaled {
                signal: 64,
                core_dumped: true
            }
            .shell_code(),
            192
        );
    }
}
