//! Raw system calls: the point is to see the kernel's own answer.

#![allow(
    unsafe_code,
    reason = "system calls are made by number, with arguments no wrapper would take"
)]

use std::io;
use std::mem::zeroed;

use probe::Answer;

/// After so many seconds a call counts as hung.
const PATIENCE: u32 = 5;

/// getppid(2).
pub(crate) fn getppid() -> i32 {
    // SAFETY: no memory is involved.
    unsafe { libc::getppid() }
}

/// getsid(2) of this process.
pub(crate) fn getsid() -> i32 {
    // SAFETY: no memory is involved.
    unsafe { libc::getsid(0) }
}

/// getpgrp(2).
pub(crate) fn getpgrp() -> i32 {
    // SAFETY: no memory is involved.
    unsafe { libc::getpgrp() }
}

/// isatty(3).
pub(crate) fn isatty(fd: i32) -> bool {
    // SAFETY: a number; a descriptor that is not open is an error.
    unsafe { libc::isatty(fd) == 1 }
}

/// Rows and columns of standard input.
pub(crate) fn window_size() -> Option<(u16, u16)> {
    // SAFETY: `winsize` is four integers.
    let mut size: libc::winsize = unsafe { zeroed() };
    // SAFETY: the kernel writes one `winsize` to the local whose address it gets.
    let answer = unsafe { libc::ioctl(0, libc::TIOCGWINSZ, &raw mut size) };
    (answer == 0).then_some((size.ws_row, size.ws_col))
}

/// socket(2) with the family's default protocol.
pub(crate) fn socket(family: i32, kind: i32) -> Answer {
    socket_of(family, kind, 0)
}

/// socket(2).
pub(crate) fn socket_of(family: i32, kind: i32, protocol: i32) -> Answer {
    // SAFETY: no memory is involved; the descriptor is closed below and known to nobody else.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return last_error();
    }
    // SAFETY: it was opened above.
    unsafe { libc::close(fd) };
    Answer::Ok
}

fn last_error() -> Answer {
    Answer::Errno(io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// Make a system call in a child process, and say what it answered there.
pub(crate) fn call_in_child(number: u32, arguments: [u64; 6]) -> Answer {
    let mut pipe = [0; 2];
    // SAFETY: the kernel writes two descriptors into the array.
    if unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } != 0 {
        return last_error();
    }
    // SAFETY: this program has one thread, so the child inherits no lock in use, and it only makes
    // system calls.
    let child = unsafe { libc::fork() };
    if child == 0 {
        child_call(number, arguments, pipe[1]);
    }
    if child < 0 {
        return last_error();
    }
    let mut status = 0;
    // SAFETY: the status goes to a local.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    let mut errno = 0_i32;
    // SAFETY: at most four bytes are written to the local integer.
    let got = unsafe { libc::read(pipe[0], (&raw mut errno).cast(), size_of_val(&errno)) };
    for fd in pipe {
        // SAFETY: both were opened above and are known to nobody else in this process.
        unsafe { libc::close(fd) };
    }
    match (got, errno) {
        (4, 0) => Answer::Ok,
        (4, errno) => Answer::Errno(errno),
        _ if libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGALRM => Answer::Hung,
        _ if libc::WIFSIGNALED(status) => Answer::Killed(libc::WTERMSIG(status)),
        _ => Answer::Errno(-1),
    }
}

fn child_call(number: u32, [a, b, c, d, e, f]: [u64; 6], report: i32) -> ! {
    // SAFETY: the call is made with arguments chosen so that it cannot reach into this process's memory
    // (see `syscalls::arguments`), or changes only this child, which ends right after. Nothing is
    // allocated or locked; `errno` is a local that outlives the write.
    unsafe {
        let own = libc::syscall(libc::SYS_getpid);
        libc::alarm(PATIENCE);
        let answer = libc::syscall(i64::from(number), a, b, c, d, e, f);
        let errno = if answer == -1 {
            *libc::__errno_location()
        } else {
            0
        };
        // The child of a fork that succeeded has nothing to say.
        if libc::syscall(libc::SYS_getpid) == own {
            libc::write(report, (&raw const errno).cast(), size_of_val(&errno));
        }
        libc::_exit(0)
    }
}
