//! Doing something in another network namespace.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::Error;

/// Runs `f` with the calling thread in `netns`, and brings the thread back.
///
/// In this thread, not in one made for it: that costs some 80 µs, on a busy machine a millisecond, for
/// a start that has none to spare. Other threads stay where they are.
///
/// # Errors
///
/// [`Error::Enter`]: not allowed, or no network namespace; `f` was not called.
///
/// # Aborts
///
/// When the thread cannot come back, which takes a caller that gave up its rights in `f`: whatever it
/// did afterwards would happen in the wrong place.
pub fn within<T>(netns: BorrowedFd<'_>, f: impl FnOnce() -> T) -> Result<T, Error> {
    struct Back<F: AsFd>(F);
    impl<F: AsFd> Drop for Back<F> {
        fn drop(&mut self) {
            if enter(self.0.as_fd()).is_err() {
                std::process::abort();
            }
        }
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = rustix::fs::open("/proc/thread-self/ns/net", flags, Mode::empty())
        .map_err(|source| Error::Enter { source })?;
    enter(netns).map_err(|source| Error::Enter { source })?;
    let _back = Back(own);
    Ok(f())
}

fn enter(netns: BorrowedFd<'_>) -> Result<(), Errno> {
    move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
}
