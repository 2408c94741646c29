//! The calls themselves. Plain syscalls of rustix's `linux_raw` back end: no errno in thread-local
//! storage, nothing allocated, so they may run between clone and exec; all but [`netns_cookie`].
#![allow(
    unsafe_code,
    reason = "raw file descriptors and an ioctl without a safe wrapper"
)]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd, IntoRawFd, RawFd};

use rustix::io::Errno;
use rustix::ioctl::{self, Opcode, Setter};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// `socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP)`: what `netdevice(7)` calls go through.
pub(crate) fn datagram_socket() -> Result<RawFd, Errno> {
    rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map(IntoRawFd::into_raw_fd)
}

/// `ioctl(socket, SIOCSIFFLAGS, {ifr_name=name, ifr_flags=IFF_UP})`. `name` is shorter than
/// `IFNAMSIZ` (16).
///
/// The flags not named are switched off, which matters to no other flag of a loopback interface
/// that nobody configured yet; `IFF_LOOPBACK` cannot be changed by anybody.
///
/// # Safety
///
/// `socket` stays open during the call. A negative one is `EBADF`.
pub(crate) unsafe fn set_interface_up(socket: RawFd, name: &[u8]) -> Result<(), Errno> {
    if socket < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: `ifreq` is integers, a union of integers and, in that union, a raw pointer: all of
    // them may be zero bytes.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    // The last byte stays zero: the kernel wants the name terminated.
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..room].iter_mut().zip(name) {
        *to = from.cast_signed() as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: `socket` is not negative and stays open, by this function's contract.
    let socket = unsafe { BorrowedFd::borrow_raw(socket) };
    // SAFETY: SIOCSIFFLAGS reads one `struct ifreq` through the pointer, which is what `Setter`
    // passes: `request` lives inside it until the call has returned.
    unsafe {
        ioctl::ioctl(
            socket,
            Setter::<{ libc::SIOCSIFFLAGS as Opcode }, libc::ifreq>::new(request),
        )
    }
}

/// `close(fd)`. A negative `fd` is `EBADF`.
///
/// # Safety
///
/// `fd` belongs to the caller and is not used afterwards.
pub(crate) unsafe fn close(fd: RawFd) -> Result<(), Errno> {
    if fd < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the caller owned it and gives it up. What close(2) says about a socket is of no use:
    // Linux has released the number in every case.
    unsafe { rustix::io::close(fd) };
    Ok(())
}

/// `socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_ROUTE)`.
pub(crate) fn route_socket() -> Result<RawFd, Errno> {
    rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // NETLINK_ROUTE is protocol 0.
        None,
    )
    .map(IntoRawFd::into_raw_fd)
}

/// `getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE)`: a number that no two network namespaces of one
/// boot share. Since Linux 5.14.
pub(crate) fn netns_cookie(socket: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is the size of `cookie`, and the length
    // that it wrote; both live until the call has returned.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if outcome == 0 {
        return Ok(cookie);
    }
    let error = std::io::Error::last_os_error();
    Err(Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
}
