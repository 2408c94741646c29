//! What a process does that was made to unpack one layer and has nothing else.
//!
//! ```text
//! who:    root of a user namespace of its own, where the owners in the layer are mapped
//! where:  own user, mount, network, pid and ipc namespace; `/` is the layer's directory
//! holds:  the compressed stream, the verdict's pipe, the layer's directory, the layers below (read-only)
//! rights: CAP_CHOWN, CAP_FOWNER, CAP_FSETID, CAP_DAC_OVERRIDE, CAP_SETFCAP, CAP_MKNOD; the calls of [`SYSCALLS`]
//! ```
//!
//! A layer that found a fault in here could write into the layer that it is, and use up its processor time.

use std::io::{self, Read};
use std::os::fd::BorrowedFd;

use super::unpack::Unpack;
use super::verdict::Verdict;

/// The system calls of [`child`] from its first instruction on, threads and allocator included, and those
/// that end the process. A test runs it with no other allowed.
pub const SYSCALLS: &[&str] = &[
    // Streams and files.
    "close",
    "fchmod",
    "fchown",
    "fchownat",
    "fgetxattr",
    "flistxattr",
    "fsetxattr",
    "fstat",
    "ftruncate",
    "getdents64",
    "linkat",
    "lseek",
    "mkdirat",
    "mknodat",
    "newfstatat",
    "openat",
    "openat2",
    "pread64",
    "pwrite64",
    "read",
    "readlinkat",
    "symlinkat",
    "unlinkat",
    "utimensat",
    "write",
    // Threads: what glibc and the standard library do to start and end one.
    "clone3",
    "exit",
    "fcntl",
    "futex",
    "getrandom",
    "gettid",
    "prctl",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    "sigaltstack",
    // Memory.
    "brk",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    // The end.
    "exit_group",
    "restart_syscall",
];

/// Unpacks what `input` gives and writes a [`Verdict`] to `verdict`; `false` when that could not be written.
///
/// The caller has put the process where it is to be and ends it afterwards.
pub fn child(unpack: &Unpack<'_>, input: BorrowedFd<'_>, verdict: BorrowedFd<'_>) -> bool {
    let said = Verdict::of(&unpack.run(Input(input)));
    loop {
        match rustix::io::write(verdict, &said.0) {
            Err(rustix::io::Errno::INTR) => {}
            written => return written == Ok(said.0.len()),
        }
    }
}

/// A descriptor that is not this process's to close.
struct Input<'a>(BorrowedFd<'a>);

impl Read for Input<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(self.0, out)?)
    }
}
