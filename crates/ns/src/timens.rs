//! Offsets of a new time namespace, [`time_namespaces(7)`].
//!
//! Since Linux 5.6. The offsets of a child made by `clone3(CLONE_NEWTIME)` cannot be set any more
//! (EACCES: it already lives in it), and one made by `unshare(CLONE_NEWTIME)` takes only children.
//! So the child unshares, writes the offsets, and enters through `/proc/self/ns/time_for_children`,
//! which needs no further process.
//!
//! Needs CAP_SYS_TIME in the user namespace that owns the time namespace.
//!
//! [`time_namespaces(7)`]: https://man7.org/linux/man-pages/man7/time_namespaces.7.html

/// What a new time namespace adds to the clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeOffsets {
    /// For `CLOCK_MONOTONIC` and its kin.
    pub monotonic: ClockOffset,
    /// For `CLOCK_BOOTTIME` and its kin, `/proc/uptime` included.
    pub boottime: ClockOffset,
}

/// An offset; the sum with the clock may not be negative (ERANGE).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockOffset {
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds on top, below 1 000 000 000.
    pub nanoseconds: u32,
}

impl TimeOffsets {
    /// What is written to `timens_offsets`.
    pub(crate) fn text(&self) -> String {
        let Self {
            monotonic,
            boottime,
        } = self;
        format!(
            "monotonic {} {}\nboottime {} {}\n",
            monotonic.seconds, monotonic.nanoseconds, boottime.seconds, boottime.nanoseconds
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_the_kernel_parses() {
        let offsets = TimeOffsets {
            monotonic: ClockOffset {
                seconds: -3,
                nanoseconds: 500_000_000,
            },
            boottime: ClockOffset {
                seconds: 86_400,
                nanoseconds: 0,
            },
        };
        assert_eq!(offsets.text(), "monotonic -3 500000000\nboottime 86400 0\n");
    }
}
