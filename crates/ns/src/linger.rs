//! A process that keeps descriptors for a while.
//!
//! Who: a child of the caller that shares its memory and nothing else, least of all thread-local
//! storage that it could write without a race. It makes three kinds of system calls on memory that is never
//! given back: [`close_range(2)`], [`clock_nanosleep(2)`] and its end.
//!
//! [`close_range(2)`]: https://man7.org/linux/man-pages/man2/close_range.2.html
//! [`clock_nanosleep(2)`]: https://man7.org/linux/man-pages/man2/clock_nanosleep.2.html

#![allow(unsafe_code, reason = "a process below the C library, and its stack")]

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

/// It uses a fraction of it.
const STACK: usize = 16 << 10;

#[repr(align(16))]
struct Stack(UnsafeCell<MaybeUninit<[u8; STACK]>>);

/// What the process does, in memory that lives as long as it.
struct Orders {
    /// First and last descriptor of each range that is closed at once.
    close: Vec<(u32, u32)>,
    time: libc::timespec,
}

/// Let a process of its own hold `held`, and nothing else, for `time`, and close it then.
///
/// For descriptors whose last close makes the caller wait, or others, when it comes too early: the
/// caller goes on at once. Every other descriptor that it has open at the moment of the call is open a
/// little longer, too, until that process has closed its own: locks and ports that somebody waits for
/// are given up before.
///
/// The process is a child of the caller, to be reaped by whoever inherits it: this is for a caller that is
/// about to end. It costs some pages of memory that are never given back.
///
/// # Kernel
///
/// `clone(CLONE_VM)`, [`clone(2)`]: the caller's memory is neither copied nor is its end waited for.
///
/// # Errors
///
/// What clone(2) says, EAGAIN above all; then `held` was closed here.
///
/// [`clone(2)`]: https://man7.org/linux/man-pages/man2/clone.2.html
pub fn linger(held: Vec<OwnedFd>, time: Duration) -> Result<(), Errno> {
    if held.is_empty() {
        return Ok(());
    }
    let orders = Box::leak(Box::new(Orders {
        close: others(&held),
        time: libc::timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: time.subsec_nanos().into(),
        },
    }));
    let stack = Box::leak(Box::new(Stack(UnsafeCell::new(MaybeUninit::uninit()))));
    // SAFETY: the end of an aligned stack that only the process uses; both live for ever. It shares memory
    // without sharing thread-local storage that it writes: `body` makes system calls that cannot fail or
    // whose failure changes nothing but errno, which the caller does not read before its own next call.
    let pid = unsafe {
        libc::clone(
            body,
            stack.0.get().wrapping_add(1).cast(),
            libc::CLONE_VM | libc::SIGCHLD,
            (&raw mut *orders).cast(),
        )
    };
    if pid == -1 {
        // SAFETY: errno is this thread's own, always there.
        let errno = unsafe { *libc::__errno_location() };
        return Err(Errno::from_raw_os_error(errno));
    }
    Ok(())
}

/// Ranges of all descriptors that there can be, without `held`.
fn others(held: &[OwnedFd]) -> Vec<(u32, u32)> {
    let mut numbers: Vec<u32> = held
        .iter()
        .map(|fd| fd.as_raw_fd().unsigned_abs())
        .collect();
    numbers.sort_unstable();
    let mut ranges = Vec::new();
    let mut from = 0;
    for number in numbers {
        if number > from {
            ranges.push((from, number - 1));
        }
        from = number + 1;
    }
    ranges.push((from, u32::MAX));
    ranges
}

/// The process. What it returns is its exit status; the kernel closes what is left.
extern "C" fn body(orders: *mut c_void) -> c_int {
    // SAFETY: what `linger` passed, never freed, and not changed by anybody.
    let orders = unsafe { &*orders.cast_const().cast::<Orders>() };
    for (first, last) in &orders.close {
        // SAFETY: this process uses none of them.
        unsafe { libc::syscall(libc::SYS_close_range, *first, *last, 0) };
    }
    // SAFETY: reads a timespec. A signal ends the wait early, which is no harm.
    unsafe {
        libc::syscall(
            libc::SYS_clock_nanosleep,
            libc::CLOCK_MONOTONIC,
            0,
            &raw const orders.time,
            std::ptr::null_mut::<libc::timespec>(),
        )
    };
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_left_out_of_the_ranges() {
        let fds: Vec<OwnedFd> = (0..3)
            .map(|_| OwnedFd::from(std::fs::File::open("/dev/null").expect("open")))
            .collect();
        let numbers: Vec<u32> = fds.iter().map(|fd| fd.as_raw_fd().unsigned_abs()).collect();
        let ranges = others(&fds);
        let closed = |number: u32| ranges.iter().any(|(a, b)| (*a..=*b).contains(&number));
        assert!(numbers.iter().all(|number| !closed(*number)), "{ranges:?}");
        let all: u64 = ranges.iter().map(|(a, b)| u64::from(b - a) + 1).sum();
        assert_eq!(all, (1 << 32) - 3);
    }
}
