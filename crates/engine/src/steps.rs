//! The kernel crates' step lists, as phases that `ns` runs in the child.
#![allow(
    unsafe_code,
    reason = "implements ns::Steps, whose promise only an unsafe impl can make"
)]

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::io::Errno;

/// Host name of the container.
#[derive(Debug)]
pub(crate) struct Uts {
    pub(crate) hostname: String,
}

/// One phase of the child.
#[derive(Debug)]
pub(crate) enum Phase<'a> {
    Uts(&'a Uts),
    Loopback(&'a netns::Loopback),
    Tree(&'a rootfs::Tree),
    Confine(&'a confine::Confinement),
}

// SAFETY: each list is documented as async-signal-safe by its crate: it makes system calls on memory
// prepared by the parent, allocates nothing and takes no lock. sethostname(2) reads the name's bytes.
unsafe impl ns::Steps for Phase<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Uts(_) => 1,
            Self::Loopback(steps) => steps.len(),
            Self::Tree(steps) => steps.len(),
            Self::Confine(steps) => steps.len(),
        }
    }

    unsafe fn apply(&self, step: usize, passed: &[RawFd]) -> Result<(), Errno> {
        // SAFETY: the caller is the child between clone and exec, which is what each asks for.
        unsafe {
            match self {
                Self::Uts(uts) => rustix::system::sethostname(uts.hostname.as_bytes()),
                Self::Loopback(steps) => steps.apply(step, passed),
                Self::Tree(steps) => steps.apply(step, passed),
                Self::Confine(steps) => steps.apply(step),
            }
        }
    }
}

impl Phase<'_> {
    /// The step, as strace spells it.
    pub(crate) fn describe(&self, step: usize) -> String {
        match self {
            Self::Uts(uts) => format!("sethostname({:?}, {})", uts.hostname, uts.hostname.len()),
            Self::Loopback(steps) => steps.describe(step),
            Self::Tree(steps) => steps.describe(step),
            Self::Confine(steps) => steps.describe(step),
        }
    }

    /// What to do when it fails with `errno`, where errno misleads.
    pub(crate) fn hint(&self, step: usize, errno: Errno) -> Option<&'static str> {
        match self {
            Self::Uts(_) => None,
            Self::Loopback(steps) => steps.hint(step, errno),
            Self::Tree(steps) => steps.hint(step, errno),
            Self::Confine(steps) => steps.hint(step, errno),
        }
    }
}

/// Does steps in this very process, which has one thread and was started for nothing else. `passed` are the
/// descriptors that the steps name by number.
pub(crate) fn here(steps: &Phase<'_>, passed: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    use ns::Steps as _;
    let passed: Vec<RawFd> = passed.iter().map(AsRawFd::as_raw_fd).collect();
    for step in 0..steps.len() {
        // SAFETY: each step once, in order, in a process of one thread that is ours to change; what is passed is
        // borrowed, so it is open.
        unsafe { steps.apply(step, &passed) }?;
    }
    Ok(())
}
