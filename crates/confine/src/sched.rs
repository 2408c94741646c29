//! CPU scheduling, I/O priority, personality and the OOM killer's preference.
//!
//! All but the last are steps a process takes on itself. Kernel pages: [`sched_setattr(2)`],
//! [`ioprio_set(2)`], [`personality(2)`], [`proc_pid_oom_score_adj(5)`].
//!
//! [`sched_setattr(2)`]: https://man7.org/linux/man-pages/man2/sched_setattr.2.html
//! [`ioprio_set(2)`]: https://man7.org/linux/man-pages/man2/ioprio_set.2.html
//! [`personality(2)`]: https://man7.org/linux/man-pages/man2/personality.2.html
//! [`proc_pid_oom_score_adj(5)`]: https://man7.org/linux/man-pages/man5/proc_pid_oom_score_adj.5.html

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::Error;

/// A scheduling policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Policy {
    /// `SCHED_OTHER`
    #[default]
    Other,
    /// `SCHED_FIFO`
    Fifo,
    /// `SCHED_RR`
    Rr,
    /// `SCHED_BATCH`
    Batch,
    /// `SCHED_IDLE`
    Idle,
    /// `SCHED_DEADLINE`
    Deadline,
}

impl Policy {
    /// By the kernel's name, `SCHED_FIFO`. `SCHED_ISO` is reserved and never was implemented.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }

    const ALL: [Self; 6] = [
        Self::Other,
        Self::Fifo,
        Self::Rr,
        Self::Batch,
        Self::Idle,
        Self::Deadline,
    ];

    /// The kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Other => "SCHED_OTHER",
            Self::Fifo => "SCHED_FIFO",
            Self::Rr => "SCHED_RR",
            Self::Batch => "SCHED_BATCH",
            Self::Idle => "SCHED_IDLE",
            Self::Deadline => "SCHED_DEADLINE",
        }
    }

    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Other => 0,
            Self::Fifo => 1,
            Self::Rr => 2,
            Self::Batch => 3,
            Self::Idle => 5,
            Self::Deadline => 6,
        }
    }
}

/// What `sched_setattr` takes. FIFO, RR and DEADLINE need CAP_SYS_NICE in the initial user namespace or
/// RLIMIT_RTPRIO; a nice value below the present one needs the same or RLIMIT_NICE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Scheduler {
    /// The policy.
    pub policy: Policy,
    /// -20 to 19, for OTHER and BATCH.
    pub nice: i32,
    /// 1 to 99, for FIFO and RR; else 0.
    pub priority: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nanoseconds, for DEADLINE.
    pub runtime_ns: u64,
    /// Nanoseconds, for DEADLINE.
    pub deadline_ns: u64,
    /// Nanoseconds, for DEADLINE.
    pub period_ns: u64,
}

impl Scheduler {
    /// As strace prints the structure.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!(
            "{{sched_policy={}, sched_flags={:#x}, sched_nice={}, sched_priority={}",
            self.policy.name(),
            self.flags,
            self.nice,
            self.priority
        );
        if self.policy == Policy::Deadline {
            text.push_str(&format!(
                ", sched_runtime={}, sched_deadline={}, sched_period={}",
                self.runtime_ns, self.deadline_ns, self.period_ns
            ));
        }
        text.push('}');
        text
    }
}

/// A class of I/O priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IoClass {
    /// `IOPRIO_CLASS_RT`: needs CAP_SYS_NICE or CAP_SYS_ADMIN in the initial user namespace.
    RealTime,
    /// `IOPRIO_CLASS_BE`
    BestEffort,
    /// `IOPRIO_CLASS_IDLE`
    Idle,
}

/// An I/O priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IoPriority {
    /// The class.
    pub class: IoClass,
    /// 0 (first) to 7 within the class; idle has none.
    pub level: u8,
}

impl IoPriority {
    pub(crate) fn raw(self) -> u32 {
        let class: u32 = match self.class {
            IoClass::RealTime => 1,
            IoClass::BestEffort => 2,
            IoClass::Idle => 3,
        };
        class << 13 | u32::from(self.level & 7)
    }

    pub(crate) fn describe(self) -> String {
        let class = match self.class {
            IoClass::RealTime => "IOPRIO_CLASS_RT",
            IoClass::BestEffort => "IOPRIO_CLASS_BE",
            IoClass::Idle => "IOPRIO_CLASS_IDLE",
        };
        format!("IOPRIO_PRIO_VALUE({class}, {})", self.level & 7)
    }
}

/// An execution domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Personality {
    /// `PER_LINUX`
    Linux,
    /// `PER_LINUX32`: uname shows a 32-bit machine.
    Linux32,
}

impl Personality {
    pub(crate) fn raw(self) -> u32 {
        match self {
            Self::Linux => 0,
            Self::Linux32 => 8,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Linux => "PER_LINUX",
            Self::Linux32 => "PER_LINUX32",
        }
    }
}

/// How willingly the OOM killer takes a process: -1000 (never) to 1000 (first).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OomScoreAdj(i16);

impl OomScoreAdj {
    /// Checks the range.
    ///
    /// # Errors
    /// [`Error::OomScoreAdj`].
    pub fn new(value: i32) -> Result<Self, Error> {
        match i16::try_from(value) {
            Ok(small) if (-1000..=1000).contains(&small) => Ok(Self(small)),
            _ => Err(Error::OomScoreAdj { value }),
        }
    }

    /// The number.
    pub fn value(self) -> i32 {
        i32::from(self.0)
    }

    /// The file of a process, below the mount point of a procfs.
    pub fn file(pid: Pid) -> String {
        format!("{}/oom_score_adj", pid.as_raw_nonzero())
    }

    /// Writes it for `pid`. `proc` is the root of a procfs whose pid namespace numbers the process so.
    ///
    /// # Kernel
    /// Lowering below the inherited minimum needs CAP_SYS_RESOURCE in the initial user namespace, so the
    /// parent writes it while the child waits. The file belongs to root once the child has changed its
    /// ids.
    ///
    /// # Errors
    /// [`Error::Write`] with EACCES (lowering without the capability), ENOENT (no such process).
    pub fn write(self, proc: BorrowedFd<'_>, pid: Pid) -> Result<(), Error> {
        let name = Self::file(pid);
        let failed = |errno| Error::Write {
            path: format!("/proc/{name}"),
            value: self.0.to_string(),
            source: errno,
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let fd = openat2(proc.as_fd(), &*name, flags, Mode::empty(), resolve).map_err(failed)?;
        File::from(fd)
            .write_all(self.0.to_string().as_bytes())
            .map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_priorities_are_encoded_as_the_kernel_does() {
        let value = |class, level| IoPriority { class, level }.raw();
        assert_eq!(value(IoClass::RealTime, 0), 0x2000);
        assert_eq!(value(IoClass::BestEffort, 4), 0x4004);
        assert_eq!(value(IoClass::Idle, 0), 0x6000);
    }

    #[test]
    fn policies_are_found_by_the_kernels_name() {
        assert_eq!(Policy::from_name("SCHED_BATCH"), Some(Policy::Batch));
        assert_eq!(Policy::from_name("SCHED_ISO"), None);
    }

    #[test]
    fn an_oom_score_adj_outside_of_a_thousand_is_refused() {
        assert!(OomScoreAdj::new(-1000).is_ok() && OomScoreAdj::new(1000).is_ok());
        for value in [-1001, 1001, 65536 + 5] {
            assert!(
                matches!(OomScoreAdj::new(value), Err(Error::OomScoreAdj { value: v }) if v == value)
            );
        }
    }
}
