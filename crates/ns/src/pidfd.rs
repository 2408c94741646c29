//! Processes by descriptor: no number that could have been given to another one, [`pidfd_open(2)`].
//!
//! Since Linux 5.3 (signals 5.1, waiting 5.4). A pidfd becomes readable for `poll(2)` when its
//! process ends. Errors are plain errnos: each function is one call.
//!
//! [`pidfd_open(2)`]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::status::WaitStatus;
use crate::sys;

/// Open a process. Close-on-exec.
///
/// Only a child that has not been waited for, or a process whose pid is checked afterwards, is
/// sure to be the one meant.
///
/// # Errors
///
/// ESRCH: there is none. EINVAL: a thread that is not the first of its process.
pub fn open(pid: Pid) -> Result<OwnedFd, Errno> {
    pidfd_open(pid, PidfdFlags::empty())
}

/// Send a signal, by any number the kernel knows.
///
/// # Errors
///
/// ESRCH: it has ended and was waited for. EPERM: no right to. EINVAL: no such signal.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    sys::pidfd_send_signal(pidfd.as_raw_fd(), signal)
}

/// Wait until a child has ended, and reap it.
///
/// # Errors
///
/// ECHILD: not a child of the caller, or reaped before.
pub fn wait(pidfd: BorrowedFd<'_>) -> Result<WaitStatus, Errno> {
    loop {
        match ended(pidfd, 0) {
            Ok(Some(status)) => return Ok(status),
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Reap a child if it has ended; `None` while it lives.
///
/// # Errors
///
/// As [`wait`].
pub fn try_wait(pidfd: BorrowedFd<'_>) -> Result<Option<WaitStatus>, Errno> {
    ended(pidfd, libc::WNOHANG)
}

fn ended(pidfd: BorrowedFd<'_>, options: i32) -> Result<Option<WaitStatus>, Errno> {
    // __WALL: also a child that sends another signal than SIGCHLD at its end.
    let status = sys::waitid(pidfd.as_raw_fd(), libc::WEXITED | libc::__WALL | options)?;
    Ok(status.and_then(WaitStatus::from_raw))
}
