//! Runs a command in a directory tree, as root of a user namespace of its own.
//!
//! ```sh
//! cargo run -p rootfs --example enter -- --plan /srv/image /bin/sh   # what would be done
//! cargo run -p rootfs --example enter -- /srv/image /bin/sh
//! ```
//!
//! The directory must belong to the caller: what is missing of /proc, /dev and /sys is made in it.
//! One uid and one gid are mapped. There is no network, and nothing is limited: this shows the file
//! system only.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program"
)]
#![allow(
    unsafe_code,
    reason = "unshare, fork and applying steps, in a process with one thread"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "writes its own id maps, before there is any container"
)]

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitCode, ExitStatus};

use rootfs::{Error, Proc, Propagation, Pts, Source, Tree, TreeBuilder};

const MASKED: [&str; 6] = [
    "/proc/kcore",
    "/proc/keys",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/sys/firmware",
    "/sys/kernel/debug",
];

fn main() -> ExitCode {
    let mut args: Vec<_> = std::env::args_os().skip(1).collect();
    let plan_only = args.first().is_some_and(|arg| arg == "--plan");
    if plan_only {
        args.remove(0);
    }
    let mut args = args.into_iter();
    let (Some(root), Some(program)) = (args.next(), args.next()) else {
        eprintln!("usage: enter [--plan] DIRECTORY PROGRAM [ARGUMENT]…");
        return ExitCode::from(2);
    };
    let Ok(root) = CString::new(root.into_vec()) else {
        eprintln!("enter: a NUL byte in the directory's name");
        return ExitCode::from(2);
    };
    let tree = match tree(root) {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("enter: {error}");
            return ExitCode::FAILURE;
        }
    };
    if plan_only {
        for step in 0..tree.len() {
            println!("{step:3} {}", tree.describe(step));
        }
        return ExitCode::SUCCESS;
    }
    if let Err(error) = unshare() {
        eprintln!("enter: unshare(CLONE_NEWUSER|CLONE_NEWNS|…): {error}");
        return ExitCode::FAILURE;
    }
    // SAFETY: this process has one thread, so the child is as good as the parent.
    match unsafe { libc::fork() } {
        -1 => {
            eprintln!("enter: fork: {}", std::io::Error::last_os_error());
            ExitCode::FAILURE
        }
        0 => child(&tree, Command::new(program).args(args)),
        pid => wait(pid),
    }
}

/// PID 1 of the new pid namespace.
fn child(tree: &Tree, command: &mut Command) -> ExitCode {
    for step in 0..tree.len() {
        // SAFETY: no descriptor is passed, and this process has one thread.
        if let Err(errno) = unsafe { tree.apply(step, &[]) } {
            eprintln!("enter: step {step}: {}: {errno}", tree.describe(step));
            if let Some(hint) = tree.hint(step, errno) {
                eprintln!("hint: {hint}");
            }
            return ExitCode::from(126);
        }
    }
    let error = command.env_clear().env("PATH", "/usr/bin:/bin").exec();
    eprintln!("enter: execve: {error}");
    ExitCode::from(127)
}

fn wait(pid: libc::pid_t) -> ExitCode {
    let mut status = 0;
    // SAFETY: `status` lives on this stack until after the call.
    while unsafe { libc::waitpid(pid, &raw mut status, 0) } != pid {}
    let status = ExitStatus::from_raw(status);
    let code = status
        .code()
        .or(status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

fn tree(root: CString) -> Result<Tree, Error> {
    let mut tree = TreeBuilder::new(Propagation::Private);
    // One gid is mapped, and with it goes the right to call setgroups.
    tree.ids(0, 0, false)?;
    tree.scratch(None)?;
    tree.root_bind(&Source::Path(root), true)?;
    tree.proc(&Proc::default())?;
    tree.sysfs()?;
    tree.dev()?;
    tree.devpts(&Pts::default())?;
    tree.shm(64 << 20)?;
    tree.mqueue()?;
    tree.mask(&MASKED)?;
    tree.readonly_leaf(&["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"])?;
    tree.pivot()?;
    Ok(tree.build())
}

/// New namespaces, the caller being root in them. The pid namespace is that of the next child.
fn unshare() -> std::io::Result<()> {
    let (uid, gid) = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC;
    // SAFETY: plain integers; this process has one thread, so nothing shares what is unshared.
    if unsafe { libc::unshare(flags) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}
