//! Standard input, output and error of a helper program, set in the child that becomes it.
#![allow(
    unsafe_code,
    reason = "implements ns::Steps, whose promise only an unsafe impl can make"
)]

use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::Errno;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Puts the first three descriptors that come with GO in the places of 0, 1 and 2. A phase of
/// [`ns::Child::workload`], where everything else is close-on-exec already.
#[derive(Debug)]
pub(crate) struct Stdio;

// SAFETY: dup2(2) on numbers; allocates nothing, takes no lock, closes only 0 to 2, which the program
// is to have anew.
unsafe impl ns::Steps for Stdio {
    fn len(&self) -> usize {
        3
    }

    unsafe fn apply(&self, step: usize, passed: &[RawFd]) -> Result<(), Errno> {
        // Never one of 0 to 2 itself: the supervisor has these open, so it gets and sends others.
        let fd = *passed.get(step).ok_or(Errno::BADF)?;
        // SAFETY: the child has received it, and nothing closes it before execve.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        match step {
            0 => dup2_stdin(fd),
            1 => dup2_stdout(fd),
            _ => dup2_stderr(fd),
        }
    }
}
