//! Descriptors whose close takes its time, closed by a process of its own.
//!
//! After something was deleted from the firewall, closing any nfnetlink socket waits for an RCU grace
//! period, 8 ms and more: longer than a whole container takes. Nobody needs to wait for that. All work
//! is done before; what is left to the other process is the wait.

#![allow(unsafe_code, reason = "fork, and descriptors by number in the child")]

use std::os::fd::{AsRawFd, OwnedFd};

use nix::unistd::{ForkResult, fork};

/// Close them without waiting: by a copy of this process, which holds nothing else and ends then.
///
/// Called by a supervisor at its end, which does not wait for its child: init does.
pub(crate) fn close(slow: Vec<OwnedFd>) {
    if slow.is_empty() {
        return;
    }
    // SAFETY: the supervisor has one thread; the child makes system calls only.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            let mut kept: [u32; 2] = [u32::MAX; 2];
            for (place, fd) in kept.iter_mut().zip(&slow) {
                *place = fd.as_raw_fd().unsigned_abs();
            }
            kept.sort_unstable();
            // Whoever reads our output must not wait for us.
            let mut from = 0;
            for fd in kept {
                if fd > from {
                    close_range(from, fd - 1);
                }
                from = fd.saturating_add(1);
            }
            close_range(from, u32::MAX);
            // SAFETY: ends the process, and the kernel closes what is left.
            unsafe { libc::_exit(0) }
        }
        // Without a child they are closed here.
        Ok(ForkResult::Parent { .. }) | Err(_) => {}
    }
}

fn close_range(first: u32, last: u32) {
    if first <= last {
        // SAFETY: in the child, where nothing is used any more.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}
