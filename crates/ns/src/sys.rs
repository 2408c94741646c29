//! The system calls that neither std nor rustix has, or not in a form that a child between clone
//! and exec may use: no allocation, no lock, no panic, plain integers in and out.

#![allow(
    unsafe_code,
    reason = "raw system calls and descriptors that came over a socket"
)]

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::io::Errno;
use rustix::process::Pid;

/// The most descriptors that one message carries: SCM_MAX_FD, unix(7).
pub(crate) const MAX_FDS: usize = 253;

/// `CLONE_CLEAR_SIGHAND`, since Linux 5.5: no handler of the parent can run in the child.
const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
/// `CLONE_INTO_CGROUP`, since Linux 5.7.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` up to `cgroup`, include/uapi/linux/sched.h (CLONE_ARGS_SIZE_VER2).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Which of the two processes we are.
pub(crate) enum Cloned {
    Child,
    Parent { pid: Pid, pidfd: OwnedFd },
}

fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result == -1 {
        // SAFETY: errno is this thread's own, always there.
        Err(Errno::from_raw_os_error(unsafe {
            *libc::__errno_location()
        }))
    } else {
        Ok(result)
    }
}

/// `clone3(2)` without CLONE_VM: fork, with flags of `CLONE_NEW*` and `CLONE_PARENT`.
///
/// # Safety
///
/// The child may make only async-signal-safe calls and must end in `execve` or `_exit`.
pub(crate) unsafe fn clone3(flags: u64, cgroup: Option<RawFd>) -> Result<Cloned, Errno> {
    let mut pidfd: RawFd = -1;
    let parent = flags & libc::CLONE_PARENT as u64 != 0;
    let mut args = CloneArgs {
        flags: flags | CLEAR_SIGHAND | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        // With CLONE_PARENT the child takes over its sibling's, and naming one is EINVAL.
        exit_signal: if parent { 0 } else { libc::SIGCHLD as u64 },
        ..CloneArgs::default()
    };
    if let Some(fd) = cgroup {
        args.flags |= INTO_CGROUP;
        args.cgroup = fd as u64;
    }
    // SAFETY: `args` is initialised and the size is its own; the kernel writes one i32 through
    // `args.pidfd`, which points at `pidfd`, alive until after the call. Without CLONE_VM the child
    // has a copy of this stack, so no reference is shared.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    let pid = check(pid)?;
    Ok(match Pid::from_raw(pid as i32) {
        Some(pid) => Cloned::Parent {
            pid,
            // SAFETY: the kernel has just opened it for us; nothing else has the number.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        },
        None => Cloned::Child,
    })
}

/// `true`: this process has one thread. `unshare(CLONE_THREAD)` does nothing, and is EINVAL in a
/// process that has several, unshare(2).
pub(crate) fn single_threaded() -> bool {
    // SAFETY: takes an integer; CLONE_THREAD alone unshares nothing.
    unsafe { libc::unshare(libc::CLONE_THREAD) == 0 }
}

/// `true`: the calling thread is the one whose id is the process's, gettid(2). In a program that does not end its
/// first thread alone (pthread_exit(3)) it goes with the process.
pub(crate) fn leads_its_threads() -> bool {
    rustix::thread::gettid() == rustix::process::getpid()
}

/// `unshare(2)` of namespaces.
pub(crate) fn unshare(flags: u32) -> Result<(), Errno> {
    // SAFETY: takes an integer; flags of CLONE_NEW* leave memory and descriptors alone.
    check(unsafe { libc::unshare(flags as c_int) }.into()).map(drop)
}

/// `setns(2)`.
pub(crate) fn setns(fd: RawFd, flags: u32) -> Result<(), Errno> {
    // SAFETY: takes two integers; an fd that is not open is EBADF.
    check(unsafe { libc::setns(fd, flags as c_int) }.into()).map(drop)
}

/// `close(2)` of a number, without an owner.
///
/// # Safety
///
/// Nothing may use the number afterwards, an owner's drop included.
pub(crate) unsafe fn close(fd: RawFd) {
    // SAFETY: nobody uses the number any more, as the caller vouches.
    unsafe { libc::close(fd) };
}

/// `close_range(2)`, since Linux 5.9; `CLOSE_RANGE_CLOEXEC` since 5.11.
///
/// # Safety
///
/// Without CLOSE_RANGE_CLOEXEC, as for [`close`], for every number in the range.
pub(crate) unsafe fn close_range(first: c_uint, last: c_uint, flags: c_uint) -> Result<(), Errno> {
    // SAFETY: integers only; ownership of what is closed is the caller's business.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }).map(drop)
}

/// Every signal that can be changed to its default disposition. Handlers are gone since the
/// clone, so this is for what was ignored, which execve(2) keeps.
pub(crate) fn default_dispositions() -> Result<(), Errno> {
    // `struct sigaction` as the kernel has it: SIG_DFL, no flags, no restorer, empty mask. All
    // zeros whatever the order of its fields; 4 words is its size on the architectures with one
    // mask word.
    let default = [0u64; 4];
    for signal in 1..=64 {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP {
            continue;
        }
        // SAFETY: reads the 32 bytes of `default`; the old action is not asked for. Not libc's
        // sigaction, which refuses the two signals it keeps for itself.
        check(unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                &raw const default,
                ptr::null::<u8>(),
                8,
            )
        })?;
    }
    Ok(())
}

/// Replace the signal mask, bit 0 for signal 1.
pub(crate) fn set_mask(mask: u64) -> Result<(), Errno> {
    // SAFETY: reads 8 bytes of `mask`; the old mask is not asked for.
    check(unsafe {
        let old = ptr::null::<u8>();
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            old,
            8,
        )
    })
    .map(drop)
}

/// Wait for any blocked signal.
pub(crate) fn wait_signal() -> Result<c_int, Errno> {
    let all = u64::MAX;
    // SAFETY: reads 8 bytes of `all`; neither siginfo nor a time-out is given.
    let signal = check(unsafe {
        let none = ptr::null::<u8>();
        libc::syscall(libc::SYS_rt_sigtimedwait, &raw const all, none, none, 8)
    })?;
    Ok(signal as c_int)
}

/// `wait4(-1, WNOHANG | __WALL)`: a dead child's pid and status, or `None` while all live.
pub(crate) fn reap_any() -> Result<Option<(i32, c_int)>, Errno> {
    let mut status = 0;
    // SAFETY: writes one int through the pointer to `status`.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) };
    let pid = check(pid.into())? as i32;
    Ok((pid > 0).then_some((pid, status)))
}

/// `kill(2)` with any signal number.
pub(crate) fn kill(pid: i32, signal: c_int) -> Result<(), Errno> {
    // SAFETY: takes two integers.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// `pidfd_send_signal(2)` with any signal number, since Linux 5.1.
pub(crate) fn pidfd_send_signal(pidfd: RawFd, signal: c_int) -> Result<(), Errno> {
    let info = ptr::null::<u8>();
    // SAFETY: integers, and no siginfo.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal, info, 0) }).map(drop)
}

/// `waitid(P_PIDFD)`, since Linux 5.4: how the child ended, as a status word of wait4(2); `None`
/// with WNOHANG while it lives.
pub(crate) fn waitid(pidfd: RawFd, options: c_int) -> Result<Option<c_int>, Errno> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let id = pidfd as libc::id_t;
    // SAFETY: writes one siginfo_t through the pointer.
    let result = unsafe { libc::waitid(libc::P_PIDFD, id, info.as_mut_ptr(), options) };
    check(result.into())?;
    // SAFETY: plain integers, zeroed before the call, so initialised whatever the kernel wrote;
    // the fields read are those of SIGCHLD.
    let (pid, status, code) = unsafe {
        let info = info.assume_init_ref();
        (info.si_pid(), info.si_status(), info.si_code)
    };
    Ok((pid != 0).then_some(match code {
        libc::CLD_EXITED => (status & 0xff) << 8,
        libc::CLD_DUMPED => status | 0x80,
        _ => status,
    }))
}

/// `_exit(2)`: no destructors, no buffers.
pub(crate) fn exit(code: c_int) -> ! {
    // SAFETY: ends the process; nothing runs afterwards.
    unsafe { libc::_exit(code) }
}

/// `execve(2)`; comes back only when it failed.
///
/// # Safety
///
/// `argv` and `envp` point at NULL-terminated arrays of C strings.
pub(crate) unsafe fn execve(
    path: &CStr,
    argv: *const *const libc::c_char,
    envp: *const *const libc::c_char,
) -> Errno {
    // SAFETY: the path ends with NUL and the arrays with NULL, as the caller vouches.
    let result = unsafe { libc::execve(path.as_ptr(), argv, envp) };
    check(result.into()).err().unwrap_or(Errno::NOEXEC)
}

/// `ioctl(2)` whose argument is an integer or a pointer to one struct.
///
/// # Safety
///
/// `argument` is what `request` expects.
pub(crate) unsafe fn ioctl(fd: RawFd, request: u64, argument: usize) -> Result<c_int, Errno> {
    // SAFETY: the caller vouches for the argument.
    let result = unsafe { libc::syscall(libc::SYS_ioctl, fd, request, argument) };
    check(result).map(|value| value as c_int)
}

/// The CLONE_NEW* value of a namespace, `NS_GET_NSTYPE`, ioctl_nsfs(2).
pub(crate) fn ns_kind(fd: RawFd) -> Result<c_int, Errno> {
    // SAFETY: takes no argument.
    unsafe { ioctl(fd, libc::NS_GET_NSTYPE, 0) }
}

/// A namespace related to another one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Relation {
    /// `NS_GET_USERNS`
    Owner,
    /// `NS_GET_PARENT`
    Parent,
}

/// A new descriptor, close-on-exec, of a related namespace.
pub(crate) fn ns_related(fd: RawFd, relation: Relation) -> Result<OwnedFd, Errno> {
    let request = match relation {
        Relation::Owner => libc::NS_GET_USERNS,
        Relation::Parent => libc::NS_GET_PARENT,
    };
    // SAFETY: neither takes an argument.
    let fd = unsafe { ioctl(fd, request, 0) }?;
    // SAFETY: both open a new descriptor, which nothing else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `NS_GET_OWNER_UID`
pub(crate) fn ns_owner_uid(fd: RawFd) -> Result<u32, Errno> {
    let mut uid: libc::uid_t = 0;
    // SAFETY: writes one uid_t through the pointer.
    unsafe { ioctl(fd, libc::NS_GET_OWNER_UID, (&raw mut uid) as usize) }?;
    Ok(uid)
}

/// `dup3(2)` onto a number of our choice.
///
/// # Safety
///
/// Whatever `to` was is replaced: nothing may rely on it.
pub(crate) unsafe fn dup_onto(from: RawFd, to: RawFd) -> Result<(), Errno> {
    // SAFETY: integers; the caller gives `to` up.
    check(unsafe { libc::dup3(from, to, 0) }.into()).map(drop)
}

/// `fchown(2)`, owner only.
pub(crate) fn chown_owner(fd: RawFd, uid: u32) -> Result<(), Errno> {
    // SAFETY: integers only.
    check(unsafe { libc::fchown(fd, uid, u32::MAX) }.into()).map(drop)
}

/// Fill the area that `/proc/PID/cmdline` shows with `name` and NULs.
///
/// # Safety
///
/// `start..end` is the argument area of this process, and nothing reads it any more.
pub(crate) unsafe fn overwrite_arguments(start: usize, end: usize, name: &[u8]) {
    let room = end.saturating_sub(start);
    let area: *mut u8 = ptr::with_exposed_provenance_mut(start);
    // SAFETY: the kernel put `room` writable bytes there at execve(2), and the caller vouches that
    // nobody looks at them. The last byte stays NUL, or the kernel would show what follows.
    unsafe {
        ptr::write_bytes(area, 0, room);
        ptr::copy_nonoverlapping(name.as_ptr(), area, name.len().min(room.saturating_sub(1)));
    }
}

/// Room for one SCM_RIGHTS message of [`MAX_FDS`], aligned as `struct cmsghdr` is.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

// SAFETY: arithmetic on a constant.
const CONTROL: usize = unsafe { libc::CMSG_SPACE((MAX_FDS * size_of::<RawFd>()) as u32) } as usize;

/// Send one message with descriptors, without SIGPIPE.
pub(crate) fn send(socket: RawFd, bytes: &[u8], fds: &[RawFd]) -> Result<(), Errno> {
    let mut control = Control([0; CONTROL]);
    let mut iov = libc::iovec {
        iov_base: bytes.as_ptr() as *mut c_void,
        iov_len: bytes.len(),
    };
    // SAFETY: all-zero is a valid msghdr: null pointers and lengths of 0.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    let fds = &fds[..fds.len().min(MAX_FDS)];
    if !fds.is_empty() {
        let size = size_of_val(fds) as u32;
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: arithmetic. `control` holds MAX_FDS and is aligned, so that the header and the
        // `fds` written behind it lie inside.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size) as _;
            ptr::copy_nonoverlapping(fds.as_ptr(), libc::CMSG_DATA(header).cast(), fds.len());
        }
    }
    loop {
        // SAFETY: `message` points at `iov` and `control`, both alive; sending only reads them.
        let sent = unsafe { libc::sendmsg(socket, &raw const message, libc::MSG_NOSIGNAL) };
        match check(sent as libc::c_long) {
            Err(Errno::INTR) => {}
            result => return result.map(drop),
        }
    }
}

/// What [`receive`] got.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received {
    /// Bytes of the message; 0 at the end.
    pub(crate) bytes: usize,
    /// Descriptors that came with it, close-on-exec.
    pub(crate) fds: usize,
    /// Some bytes or descriptors did not fit, or there was no room in the descriptor table.
    pub(crate) truncated: bool,
}

/// Receive one message with at most `fds.len()` descriptors.
pub(crate) fn receive(
    socket: RawFd,
    bytes: &mut [u8],
    fds: &mut [RawFd],
) -> Result<Received, Errno> {
    let mut control = Control([0; CONTROL]);
    let mut iov = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: all-zero is a valid msghdr: null pointers and lengths of 0.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    let room = fds.len().min(MAX_FDS) * size_of::<RawFd>();
    // SAFETY: arithmetic.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(room as u32) } as _;
    let got = loop {
        // SAFETY: `message` points at `iov` over `bytes` and at `control`, alive and of the
        // lengths given.
        let got = unsafe { libc::recvmsg(socket, &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        match check(got as libc::c_long) {
            Err(Errno::INTR) => {}
            result => break result? as usize,
        }
    };
    let mut count = 0;
    // SAFETY: the kernel has set msg_controllen to what it wrote into `control`, and the macros
    // stay inside; as many fds as the header says follow it.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if !header.is_null() && (*header).cmsg_type == libc::SCM_RIGHTS {
            let size = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
            count = (size / size_of::<RawFd>()).min(fds.len());
            ptr::copy_nonoverlapping(libc::CMSG_DATA(header).cast(), fds.as_mut_ptr(), count);
        }
    }
    let truncated = message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    Ok(Received {
        bytes: got,
        fds: count,
        truncated,
    })
}

/// Receive one message with at most two descriptors.
pub(crate) fn receive_owned(
    socket: RawFd,
    bytes: &mut [u8],
) -> Result<(Received, [Option<OwnedFd>; 2]), Errno> {
    let mut fds = [-1; 2];
    let got = receive(socket, bytes, &mut fds)?;
    let mut left = got.fds;
    let fds = fds.map(|fd| {
        left = left.checked_sub(1)?;
        // SAFETY: the kernel has just installed it for us; nothing else has the number.
        Some(unsafe { OwnedFd::from_raw_fd(fd) })
    });
    Ok((got, fds))
}
