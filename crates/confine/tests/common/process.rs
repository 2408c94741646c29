//! Each claim in a process of its own: rights are given up for good, and unshare(CLONE_NEWUSER) is EINVAL in a
//! process with threads.

#![allow(unsafe_code, reason = "fork and raw system calls")]
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use confine::Confinement;
use rustix::io::Errno;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Exited(i32),
    Killed(i32),
}

/// Forks; the child has one thread, runs `body` and ends with 0, or 101 after a panic, whose message goes
/// straight to standard error (libtest's capture is lost in a forked child).
pub(crate) fn fork(body: impl FnOnce()) -> i32 {
    // SAFETY: glibc's fork leaves the allocator usable in the child of a threaded process, and the child
    // ends in _exit: no destructor and no buffer of the parent's is touched twice.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid > 0 {
        return pid;
    }
    std::panic::set_hook(Box::new(|info| {
        let text = format!("{info}\n");
        // SAFETY: `text` is valid for its length and only read.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
    }));
    let code = if catch_unwind(AssertUnwindSafe(body)).is_ok() {
        0
    } else {
        101
    };
    // SAFETY: ends the process, nothing is run any more.
    unsafe { libc::_exit(code) }
}

/// Waits for a child.
pub(crate) fn wait(pid: i32) -> Ended {
    let mut status = 0;
    // SAFETY: `status` is ours and the kernel writes one int through it.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid);
    if libc::WIFSIGNALED(status) {
        return Ended::Killed(libc::WTERMSIG(status));
    }
    Ended::Exited(libc::WEXITSTATUS(status))
}

/// Runs `body` in a process of its own and hands on its failure.
pub(crate) fn isolated(body: impl FnOnce()) {
    assert_eq!(
        wait(fork(body)),
        Ended::Exited(0),
        "the message is on standard error"
    );
}

/// The same as root of a new user namespace, in which one id is mapped.
pub(crate) fn in_user_namespace(body: impl FnOnce()) {
    isolated(|| {
        let (uid, gid) = (
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        );
        // SAFETY: this process has one thread and shares no file descriptor table.
        let unshared = unsafe { libc::unshare(libc::CLONE_NEWUSER) };
        assert_eq!(
            unshared,
            0,
            "user namespaces are off: {}",
            std::io::Error::last_os_error()
        );
        std::fs::write("/proc/self/setgroups", "deny").unwrap();
        std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).unwrap();
        std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).unwrap();
        body();
    });
}

/// Runs all steps.
pub(crate) fn apply(confinement: &Confinement) {
    for step in 0..confinement.len() {
        let done = try_step(confinement, step);
        assert_eq!(
            done,
            Ok(()),
            "{}: {:?}",
            confinement.describe(step),
            hint(confinement, step, done)
        );
    }
}

fn hint(confinement: &Confinement, step: usize, done: Result<(), Errno>) -> Option<&'static str> {
    confinement.hint(step, done.err()?)
}

/// Runs one step.
pub(crate) fn try_step(confinement: &Confinement, step: usize) -> Result<(), Errno> {
    // SAFETY: called in a forked child with one thread, which gives its rights up for good.
    unsafe { confinement.apply(step) }
}

/// A field of /proc/self/status.
pub(crate) fn status(field: &str) -> String {
    field_of(
        &std::fs::read_to_string("/proc/self/status").unwrap(),
        field,
    )
}

/// A field of a status file's text.
pub(crate) fn field_of(text: &str, field: &str) -> String {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field} in status"))
        .trim()
        .to_owned()
}

/// A capability set of /proc/self/status.
pub(crate) fn caps(field: &str) -> confine::CapSet {
    confine::CapSet::from_bits(u64::from_str_radix(&status(field), 16).unwrap())
}

/// A system call by number with numbers for arguments, none of them a pointer the kernel may write to.
pub(crate) fn syscall(number: u32, args: &[u64]) -> Result<i64, Errno> {
    let arg = |i: usize| args.get(i).copied().unwrap_or(0);
    // SAFETY: the callers pass numbers, null pointers and addresses outside of the process's memory, so
    // nothing of it is read or written.
    let result = unsafe {
        libc::syscall(
            i64::from(number),
            arg(0),
            arg(1),
            arg(2),
            arg(3),
            arg(4),
            arg(5),
        )
    };
    if result == -1 {
        let errno = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&errno).unwrap());
    }
    Ok(result)
}

/// The number of a call on this machine.
pub(crate) fn number(name: &str) -> u32 {
    confine::seccomp::Arch::NATIVE
        .number(name)
        .unwrap_or_else(|| panic!("no {name} here"))
}
