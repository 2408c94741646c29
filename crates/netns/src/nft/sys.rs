//! Options of a netlink socket that no safe wrapper offers.
#![allow(unsafe_code, reason = "setsockopt with structures of the kernel")]

use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::io::Errno;

/// `setsockopt(socket, SOL_NETLINK, option, value)`.
pub(crate) fn set_netlink_option(
    socket: BorrowedFd<'_>,
    option: libc::c_int,
    value: libc::c_int,
) -> Result<(), Errno> {
    set(socket, libc::SOL_NETLINK, option, &value)
}

/// Attaches a classic BPF program ([`socket(7)`], `SO_ATTACH_FILTER`): what it returns 0 for never
/// reaches the socket.
///
/// [`socket(7)`]: https://man7.org/linux/man-pages/man7/socket.7.html
pub(crate) fn attach_filter(
    socket: BorrowedFd<'_>,
    program: &mut [libc::sock_filter],
) -> Result<(), Errno> {
    let program = libc::sock_fprog {
        len: program.len() as libc::c_ushort,
        filter: program.as_mut_ptr(),
    };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

fn set<T>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> Result<(), Errno> {
    // SAFETY: the pointer is that of `value`, a live reference, and the length is its size. The
    // options used take an int or a sock_fprog, whose `filter` points at a slice that the caller
    // borrows for the whole call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}
