//! The kernel crates' step lists, as phases that `ns` runs in the child.
#![allow(
    unsafe_code,
    reason = "implements ns::Steps, whose promise only an unsafe impl can make"
)]

use std::os::fd::RawFd;

use rustix::io::Errno;

/// Host name of the container.
#[derive(Debug)]
pub(crate) struct Uts {
    pub(crate) hostname: String,
}

/// `lo`, in a network namespace that a thread makes beside the rest.
pub(crate) type Net = ns::Beside<Lo>;

/// The steps that bring `lo` up.
#[derive(Debug)]
pub(crate) struct Lo(netns::Loopback);

/// A new network namespace with nothing but `lo`.
pub(crate) fn net() -> Net {
    // SAFETY: netns makes raw system calls of rustix, which touch no thread-local storage.
    unsafe { ns::Beside::new(Lo(netns::Loopback::new())) }
}

/// One phase of the child.
#[derive(Debug)]
pub(crate) enum Phase<'a> {
    Uts(&'a Uts),
    NetStart(&'a Net),
    NetJoin(&'a Net),
    /// Steps of the tree from the first to before the second.
    Tree(&'a rootfs::Tree, usize, usize),
    Confine(&'a confine::Confinement),
}

// SAFETY: documented as async-signal-safe by netns.
unsafe impl ns::Steps for Lo {
    fn len(&self) -> usize {
        self.0.len()
    }

    unsafe fn apply(&self, step: usize, passed: &[RawFd]) -> Result<(), Errno> {
        // SAFETY: as for this function.
        unsafe { self.0.apply(step, passed) }
    }
}

// SAFETY: each list is documented as async-signal-safe by its crate: it makes system calls on memory
// prepared by the parent, allocates nothing and takes no lock. sethostname(2) reads the name's bytes.
unsafe impl ns::Steps for Phase<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Uts(_) => 1,
            Self::NetStart(net) => net.start().len(),
            Self::NetJoin(net) => net.join().len(),
            Self::Tree(_, from, to) => to - from,
            Self::Confine(steps) => steps.len(),
        }
    }

    unsafe fn apply(&self, step: usize, passed: &[RawFd]) -> Result<(), Errno> {
        // SAFETY: the caller is the child between clone and exec, which is what each asks for.
        unsafe {
            match self {
                Self::Uts(uts) => rustix::system::sethostname(uts.hostname.as_bytes()),
                Self::NetStart(net) => net.start().apply(step, passed),
                Self::NetJoin(net) => net.join().apply(step, passed),
                Self::Tree(steps, from, _) => steps.apply(from + step, passed),
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
            Self::NetStart(net) => net.start().describe(),
            Self::NetJoin(net) => match net.join().inside(step) {
                Some(inside) => net.inside().0.describe(inside),
                None => net.join().describe(step).into(),
            },
            Self::Tree(steps, from, _) => steps.describe(from + step),
            Self::Confine(steps) => steps.describe(step),
        }
    }

    /// What to do when it fails with `errno`, where errno misleads.
    pub(crate) fn hint(&self, step: usize, errno: Errno) -> Option<&'static str> {
        match self {
            Self::Uts(_) | Self::NetStart(_) => None,
            Self::NetJoin(net) => match net.join().inside(step) {
                Some(inside) => net.inside().0.hint(inside, errno),
                None => net.join().hint(step, errno),
            },
            Self::Tree(steps, from, _) => steps.hint(from + step, errno),
            Self::Confine(steps) => steps.hint(step, errno),
        }
    }
}
