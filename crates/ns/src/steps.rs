//! How other crates' work gets into the child: prepared lists, executed by index.

#![allow(unsafe_code, reason = "declares what an implementer has to vouch for")]

use std::os::fd::RawFd;

use rustix::io::Errno;

/// A list of prepared steps that the child executes one by one.
///
/// The child sends back nothing but the number of the step that failed: whoever made the list has
/// the words for it.
///
/// # Safety
///
/// [`len`](Steps::len) and [`apply`](Steps::apply) run in a child made by a raw `clone3(2)`, before
/// `execve(2)`: they must not allocate or free, take a lock, panic, or call anything that is not
/// async-signal-safe. They must not use or close the descriptors they did not make, other than
/// those in `passed`.
pub unsafe trait Steps {
    /// How many steps there are.
    fn len(&self) -> usize;

    /// `true`: there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Execute one.
    ///
    /// `passed` are the descriptors sent along with GO, in order.
    ///
    /// # Errors
    ///
    /// The errno of the call that failed.
    ///
    /// # Safety
    ///
    /// Called once per step, in order, in a single-threaded process whose state may be changed for
    /// good: its mounts, ids, limits, root directory.
    unsafe fn apply(&self, step: usize, passed: &[RawFd]) -> Result<(), Errno>;
}
