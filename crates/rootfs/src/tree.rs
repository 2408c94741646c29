//! The finished list of steps.

use std::fmt;
use std::os::fd::RawFd;

use rustix::io::Errno;

use crate::step::{Registers, Step};

/// How to build a container's file system: an ordered list of steps, made by
/// [`TreeBuilder`](crate::TreeBuilder).
///
/// It holds no descriptor until steps are applied. Apply it in the child only, each step once, in
/// order: what a step opens stays in the child's copy.
pub struct Tree {
    pub(crate) steps: Vec<Step>,
    registers: Registers,
}

impl Tree {
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        Self {
            steps,
            registers: Registers::default(),
        }
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Does step `step`. `passed` holds the descriptors that [`Source::Passed`](crate::Source) counts.
    ///
    /// # Errors
    /// The errno of the failing call; [`describe`](Self::describe) and [`hint`](Self::hint) have the
    /// words for it. Some are this crate's own: ENODEV for a node that is not the device asked for,
    /// EISDIR and ENOTDIR where a file meets a directory, XDEV for a working directory outside.
    ///
    /// # Safety
    /// Every number in `passed` is an open descriptor. The call may be made between fork and exec of a
    /// process that had one thread: it is async-signal-safe, and neither allocates, locks nor frees.
    #[allow(
        unsafe_code,
        reason = "the contract between clone and exec is the caller's to keep"
    )]
    pub unsafe fn apply(&self, step: usize, passed: &[RawFd]) -> Result<(), Errno> {
        match self.steps.get(step).ok_or(Errno::INVAL)? {
            Step::Passed { index, into } => {
                // SAFETY: the caller promises that what is in `passed` is open.
                let fd = unsafe { crate::sys::duplicate(passed, *index) }?;
                self.registers.set(*into, fd);
                Ok(())
            }
            step => step.run(&self.registers),
        }
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries((0..self.len()).map(|step| self.describe(step)))
            .finish()
    }
}
