//! The limit: the fewest system calls that start a program in a container, and nothing else.
//!
//! `limit [--no-user] ROOT` makes the namespaces that `ctr run` makes with its defaults and
//! `network = "none"` (user, pid, mnt, net, ipc, uts, cgroup), gives it ids, binds ROOT, mounts a
//! proc and a tmpfs on `/dev`, changes into it with pivot_root and executes `/bin/true`; then waits.
//! It is the yardstick of `cargo xtask bench`, so what it leaves out is the point:
//!
//! - no cgroup, capabilities, no_new_privs, seccomp, rlimits, masks, device nodes, devpts, /sys, init,
//!   state directory, report, signal forwarding, manifest: all that `ctr` gives must fit into the
//!   difference;
//! - no allocation, no thread, no Rust runtime: `main` is C's. It is linked like `ctr` (static, the same
//!   flags), since starting a static glibc program is something both must pay once.
//!
//! What it does not leave out is what the kernel asks for: the id maps are written by the parent, so the
//! child waits for one byte; the child becomes uid 0 of its namespace, because a tmpfs refuses ids that
//! have no mapping (EOVERFLOW).
//!
//! ROOT needs the directories `proc` and `dev`, and a `bin/true`. Runs as root. On a failure: the name of
//! the call on stderr, status 1.

#![no_main]
#![allow(
    unsafe_code,
    reason = "clone3(2), execve(2) and C's main have no safe form"
)]

use core::ffi::{CStr, c_char, c_int};
use core::ptr;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::pipe::PipeFlags;
use rustix::process::{WaitId, WaitIdOptions};
use rustix::thread::{Gid, Uid};

/// 65 536 ids from 0x7000_0000 on, as `ctr` maps them for root.
const ID_MAP: &[u8] = b"0 1879048192 65536\n";

const NAMESPACES: c_int = libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// C's `main`, called by the C start-up code.
///
/// # Safety
/// `argv` holds `argc` pointers to NUL-terminated strings that live as long as the process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let argument = |index: c_int| -> Option<&CStr> {
        // SAFETY: below `argc`, see above, and the caller is the C start-up code with the kernel's argv.
        (index < argc).then(|| unsafe { CStr::from_ptr(*argv.add(index as usize)) })
    };
    match (argument(1), argument(2), argument(3)) {
        (Some(root), None, None) => run(root, true),
        (Some(flag), Some(root), None) if flag == c"--no-user" => run(root, false),
        _ => fail("usage: limit [--no-user] ROOT"),
    }
}

fn run(root: &CStr, user: bool) -> c_int {
    let (wait, go) = need(rustix::pipe::pipe_with(PipeFlags::CLOEXEC), "pipe2");
    let namespaces = if user {
        NAMESPACES | libc::CLONE_NEWUSER
    } else {
        NAMESPACES
    };
    let Some((pid, pidfd)) = need(clone3(namespaces), "clone3") else {
        drop(go); // or the child would keep its own pipe open and never see the parent die
        container(root, wait.as_fd(), user)
    };
    if user {
        write_map(pid, b"/uid_map");
        write_map(pid, b"/gid_map");
    }
    need(rustix::io::write(&go, b"1"), "write go");
    let status = need(
        rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED),
        "waitid",
    );
    status.and_then(|status| status.exit_status()).unwrap_or(1)
}

/// The child: PID 1 of the new namespaces.
fn container(root: &CStr, wait: BorrowedFd<'_>, user: bool) -> ! {
    let mut byte = [0];
    if need(rustix::io::read(wait, &mut byte), "read go") == 0 {
        fail("the parent died");
    }
    if user {
        need(
            rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT),
            "setresgid",
        );
        need(
            rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT),
            "setresuid",
        );
    }
    // First of all: nothing mounted below may travel to the host, and pivot_root refuses shared mounts.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    need(
        rustix::mount::mount_change(c"/", private),
        "mount private /",
    );
    // With what is mounted below it (nothing, here): a lone bind of a tree that came along from another
    // user namespace is EINVAL when something is mounted in it, mount_namespaces(7).
    need(
        rustix::mount::mount_bind_recursive(root, root),
        "mount bind root",
    );
    need(rustix::process::chdir(root), "chdir root");
    let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    need(
        rustix::mount::mount(c"proc", c"proc", c"proc", safe, None),
        "mount proc",
    );
    let device = MountFlags::NOSUID | MountFlags::NOEXEC;
    need(
        rustix::mount::mount(c"tmpfs", c"dev", c"tmpfs", device, c"mode=755"),
        "mount dev",
    );
    // The old root ends up below "." and is taken off at once, pivot_root(2).
    need(rustix::process::pivot_root(c".", c"."), "pivot_root");
    need(
        rustix::mount::unmount(c".", UnmountFlags::DETACH),
        "umount2",
    );
    let argv = [c"true".as_ptr(), ptr::null()];
    let envp = [ptr::null()];
    // SAFETY: the path and argv[0] are NUL-terminated constants, both arrays end with NULL and live on
    // this stack until the call replaces it or fails.
    unsafe { libc::execve(c"/bin/true".as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    fail("execve /bin/true")
}

/// In the parent the child's pid and pidfd, in the child `None`.
fn clone3(namespaces: c_int) -> Result<Option<(u32, OwnedFd)>, Errno> {
    let mut pidfd: c_int = -1;
    // SAFETY: `clone_args` is plain integers, for which zero means "not used".
    let mut args: libc::clone_args = unsafe { core::mem::zeroed() };
    args.flags = (namespaces | libc::CLONE_PIDFD) as u64;
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: `args` is initialised and the size passed is its own; the kernel writes one i32 through
    // `args.pidfd`, which points at `pidfd`, alive until after the call. Without CLONE_VM the child has
    // a copy of this stack, and this process has no other thread whose lock it could inherit.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args)) };
    match pid {
        // SAFETY: errno is this thread's own.
        -1 => Err(Errno::from_raw_os_error(unsafe {
            *libc::__errno_location()
        })),
        0 => Ok(None),
        // SAFETY: the kernel stored a new descriptor there, which nobody else owns.
        pid => Ok(Some((pid as u32, unsafe { OwnedFd::from_raw_fd(pidfd) }))),
    }
}

/// Write [`ID_MAP`] to `/proc/PID` `file`.
fn write_map(pid: u32, file: &[u8]) {
    let mut path = [0_u8; 32];
    let mut digits = [0_u8; 10];
    let mut first = digits.len();
    let mut rest = pid;
    while first == digits.len() || rest > 0 {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let mut end = 0;
    for part in [b"/proc/", &digits[first..], file] {
        path[end..end + part.len()].copy_from_slice(part);
        end += part.len();
    }
    let Ok(path) = CStr::from_bytes_until_nul(&path) else {
        fail("path")
    };
    let map = need(
        rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()),
        "open id map",
    );
    need(rustix::io::write(&map, ID_MAP), "write id map");
}

fn need<T>(result: Result<T, Errno>, call: &str) -> T {
    match result {
        Ok(value) => value,
        Err(_) => fail(call),
    }
}

fn fail(what: &str) -> ! {
    for text in ["limit: ", what, "\n"] {
        // SAFETY: descriptor 2 is only written to; whoever started us owns it for as long as we live.
        let stderr = unsafe { BorrowedFd::borrow_raw(2) };
        let _ = rustix::io::write(stderr, text.as_bytes());
    }
    // SAFETY: ends the process without running exit handlers, of which a forked child must run none.
    unsafe { libc::_exit(1) }
}
