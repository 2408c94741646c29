//! The loopback interface, `lo`.
//!
//! An `ioctl` on a datagram socket rather than a netlink message: three syscalls, nothing to parse,
//! and no buffer to prepare. The kernel gives `lo` the addresses `127.0.0.1/8` and `::1/128` by
//! itself when it comes up ([`inetdev_event`], [`init_loopback`]).
//!
//! [`inetdev_event`]: https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/devinet.c
//! [`init_loopback`]: https://elixir.bootlin.com/linux/v6.12/source/net/ipv6/addrconf.c

use std::cell::Cell;
use std::os::fd::RawFd;

use rustix::io::Errno;

use crate::{Error, sys};

const SOCKET: usize = 0;
const FLAGS: usize = 1;
const CLOSE: usize = 2;
const LEN: usize = 3;

/// The steps that bring `lo` up in the network namespace of the process that runs them.
///
/// # Kernel
///
/// [`socket(2)`], `SIOCSIFFLAGS` of [`netdevice(7)`], [`close(2)`].
///
/// [`socket(2)`]: https://man7.org/linux/man-pages/man2/socket.2.html
/// [`netdevice(7)`]: https://man7.org/linux/man-pages/man7/netdevice.7.html
/// [`close(2)`]: https://man7.org/linux/man-pages/man2/close.2.html
#[derive(Debug)]
pub struct Loopback {
    /// The socket of step 0, until step 2 closes it. A plain number: nothing may be dropped
    /// between clone and exec, and what the last step did not close is `CLOEXEC`.
    socket: Cell<RawFd>,
}

impl Loopback {
    /// The list; nothing is asked of the kernel.
    pub fn new() -> Self {
        Self {
            socket: Cell::new(-1),
        }
    }

    /// How many steps there are.
    #[expect(clippy::len_without_is_empty, reason = "the list is never empty")]
    pub fn len(&self) -> usize {
        LEN
    }

    /// The step as strace would spell it; an empty string past the end.
    pub fn describe(&self, step: usize) -> String {
        match step {
            SOCKET => "socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP)",
            FLAGS => r#"ioctl(3<lo socket>, SIOCSIFFLAGS, {ifr_name="lo", ifr_flags=IFF_UP})"#,
            CLOSE => "close(3<lo socket>)",
            _ => "",
        }
        .to_owned()
    }

    /// What to do about a failure of this step, where errno alone misleads.
    pub fn hint(&self, step: usize, errno: Errno) -> Option<&'static str> {
        match (step, errno) {
            (SOCKET, Errno::AFNOSUPPORT) => {
                Some("the kernel has no IPv4, or a seccomp filter around ctr refuses AF_INET")
            }
            (SOCKET, Errno::PERM | Errno::ACCESS) => Some(
                "no privilege is needed for this: a seccomp filter or LSM around ctr refuses it",
            ),
            (FLAGS, Errno::PERM) => Some(
                "needs CAP_NET_ADMIN in the user namespace that owns the network namespace; \
                 CAP_NET_ADMIN in any other does not count",
            ),
            (FLAGS, Errno::NODEV) => {
                Some("no interface of this network namespace is called lo: it was renamed")
            }
            _ => None,
        }
    }

    /// Runs one step. Steps run in order, from 0, in one process.
    ///
    /// `passed` is not used: the list needs nothing from the parent.
    ///
    /// # Errors
    ///
    /// What the kernel says, see [`Loopback::hint`]; `EINVAL` for a step past the end.
    ///
    /// # Safety
    ///
    /// The process must own the file descriptor that step 0 made until step 2 closed it: nothing
    /// else may close it in between. Async-signal-safe: it neither allocates nor locks.
    #[expect(
        unsafe_code,
        reason = "the contract of a step between clone and exec is the caller's"
    )]
    pub unsafe fn apply(&self, step: usize, _passed: &[RawFd]) -> Result<(), Errno> {
        match step {
            SOCKET => {
                self.socket.set(sys::datagram_socket()?);
                Ok(())
            }
            // SAFETY: the caller keeps the socket of step 0 open; -1, before it, is EBADF there.
            FLAGS => unsafe { sys::set_interface_up(self.socket.get(), b"lo") },
            CLOSE => {
                // SAFETY: the caller lets nobody else close it, and the register forgets it here.
                unsafe { sys::close(self.socket.replace(-1)) }
            }
            _ => Err(Errno::INVAL),
        }
    }
}

impl Default for Loopback {
    fn default() -> Self {
        Self::new()
    }
}

/// Brings `lo` up in the network namespace of the calling thread. Fine to call when it is up.
///
/// # Errors
///
/// [`Error::Loopback`] with `EPERM` when the caller has no `CAP_NET_ADMIN` in the user namespace
/// that owns this network namespace.
///
/// # Kernel
///
/// See [`Loopback`].
pub fn bring_up() -> Result<(), Error> {
    let lo = Loopback::new();
    let mut failed = None;
    for step in [SOCKET, FLAGS, CLOSE] {
        // A failed ioctl must not leak the socket, so CLOSE runs all the same; a failed socket()
        // leaves nothing to work with.
        if failed.is_some() && (step != CLOSE || lo.socket.get() < 0) {
            continue;
        }
        // SAFETY: the socket lives in `lo`, which nobody else can see.
        #[expect(unsafe_code, reason = "runs the steps in this very thread")]
        if let Err(errno) = unsafe { lo.apply(step, &[]) } {
            failed.get_or_insert((step, errno));
        }
    }
    match failed {
        None => Ok(()),
        Some((step, source)) => Err(Error::Loopback {
            step,
            call: lo.describe(step),
            hint: lo.hint(step, source),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_described_and_nothing_past_the_end() {
        let lo = Loopback::new();
        for step in 0..lo.len() {
            assert!(
                lo.describe(step).ends_with(')'),
                "{step}: {}",
                lo.describe(step)
            );
        }
        assert_eq!(lo.describe(lo.len()), "");
    }

    #[test]
    #[expect(unsafe_code, reason = "calls steps out of order on purpose")]
    fn steps_out_of_order_or_range_are_refused_by_errno() {
        let lo = Loopback::new();
        // SAFETY: no socket was made, so there is none that anybody could close.
        unsafe {
            assert_eq!(lo.apply(FLAGS, &[]), Err(Errno::BADF));
            assert_eq!(lo.apply(CLOSE, &[]), Err(Errno::BADF));
            assert_eq!(lo.apply(LEN, &[]), Err(Errno::INVAL));
        }
    }

    #[test]
    fn the_hint_for_eperm_names_the_capability_and_whose() {
        let hint = Loopback::new().hint(FLAGS, Errno::PERM).expect("hint");
        assert!(hint.contains("CAP_NET_ADMIN") && hint.contains("owns"));
        assert_eq!(Loopback::new().hint(CLOSE, Errno::PERM), None);
    }
}
