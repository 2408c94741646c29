//! The calls rustix does not wrap: mount_setattr(2), getcwd(2) without an allocation, and borrowing
//! the descriptors a caller passes by number.
//!
//! All of them may run between clone and exec: plain system calls, nothing allocated.

#![allow(
    unsafe_code,
    reason = "raw system calls and fds received by number live here and nowhere else"
)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;

use crate::attrs::Change;

/// `struct mount_attr`, MOUNT_ATTR_SIZE_VER0.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

fn call(fd: BorrowedFd<'_>, flags: libc::c_int, attr: &MountAttr) -> Result<(), Errno> {
    const EMPTY: &CStr = c"";
    // SAFETY: `attr` is initialised and the size passed is its own; the kernel only reads it and the
    // NUL-terminated literal during the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            EMPTY.as_ptr(),
            flags | libc::AT_EMPTY_PATH,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// `mount_setattr(fd, "", AT_EMPTY_PATH[|AT_RECURSIVE], {…})`.
pub(crate) fn mount_setattr(
    fd: BorrowedFd<'_>,
    recursive: bool,
    change: &Change,
) -> Result<(), Errno> {
    let attr = MountAttr {
        attr_set: u64::from(change.set.bits()),
        attr_clr: change.clear_bits(),
        propagation: change.propagation.map_or(0, crate::Propagation::bits),
        userns_fd: 0,
    };
    call(fd, if recursive { libc::AT_RECURSIVE } else { 0 }, &attr)
}

/// `mount_setattr(fd, "", AT_EMPTY_PATH[|AT_RECURSIVE], {attr_set=MOUNT_ATTR_IDMAP, userns_fd})`.
pub(crate) fn mount_idmap(
    fd: BorrowedFd<'_>,
    recursive: bool,
    userns: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let userns_fd = u64::try_from(userns.as_raw_fd()).map_err(|_negative| Errno::BADF)?;
    let attr = MountAttr {
        attr_set: MOUNT_ATTR_IDMAP,
        userns_fd,
        ..MountAttr::default()
    };
    call(fd, if recursive { libc::AT_RECURSIVE } else { 0 }, &attr)
}

/// Whether getcwd(2) names a place below the calling process's root; for one outside the kernel
/// answers `(unreachable)…`, and glibc's wrapper would go looking for a name.
pub(crate) fn cwd_is_reachable() -> Result<bool, Errno> {
    let mut path = [0u8; libc::PATH_MAX as usize];
    // SAFETY: the kernel writes at most `path.len()` bytes into the array, which lives on this stack.
    let result = unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) };
    if result < 0 {
        Err(last_errno())
    } else {
        Ok(path[0] == b'/')
    }
}

/// A copy of `passed[index]`.
///
/// # Safety
/// The numbers in `passed` must be open descriptors for the whole call.
pub(crate) unsafe fn duplicate(passed: &[RawFd], index: usize) -> Result<OwnedFd, Errno> {
    let raw = *passed.get(index).ok_or(Errno::BADF)?;
    if raw < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the caller keeps `raw` open, and the borrow ends with this function.
    let fd = unsafe { BorrowedFd::borrow_raw(raw) };
    rustix::io::fcntl_dupfd_cloexec(fd, 0)
}

fn last_errno() -> Errno {
    // SAFETY: errno is a thread-local integer of this thread.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}
