//! A group to play with, and processes in it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use cgroup::{Controllers, Error, Group, Hierarchy, Limits};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, openat};

/// Not libc's, whose type is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A group below `cgroup-test` with these limits, removed when it is dropped.
pub(crate) struct Playground(pub(crate) Group);

impl Playground {
    pub(crate) fn new(name: &str, limits: &Limits) -> Self {
        let group = Self::with_controllers(name, limits.controllers());
        for write in limits.writes() {
            group.0.write(&write).expect("a limit");
        }
        group
    }

    pub(crate) fn with_controllers(name: &str, needed: Controllers) -> Self {
        let hierarchy = Hierarchy::find().expect("cgroup2");
        let subtree = hierarchy.subtree("cgroup-test", needed).expect("subtree");
        Self(Group::create(subtree.dir(), name).expect("group"))
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        let _ = self.0.remove_tree();
    }
}

fn procs_of(group: &Group) -> OwnedFd {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    openat(group.dir(), "cgroup.procs", flags, Mode::empty()).expect("cgroup.procs")
}

/// A command that moves itself into the group, and then does `also`, before it executes.
pub(crate) fn command_in(
    group: &Group,
    program: &str,
    mut also: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) -> Command {
    let procs = procs_of(group);
    let mut command = Command::new(program);
    // SAFETY: the closure makes system calls only.
    unsafe {
        command.pre_exec(move || {
            rustix::io::write(&procs, b"0")?;
            also()
        });
    }
    command
}

/// A shell script that runs in the group.
pub(crate) fn sh(group: &Group, script: &str) -> Child {
    command_in(group, "/bin/sh", || Ok(()))
        .args(["-c", script])
        .spawn()
        .expect("sh")
}

/// What becomes of a process that does `action` in the group.
pub(crate) fn try_in(
    group: &Group,
    action: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<ExitStatus> {
    command_in(group, "/bin/true", action).status()
}

/// Whether the descriptor reports `events` in time.
pub(crate) fn reports(fd: BorrowedFd<'_>, events: PollFlags, patience: Duration) -> bool {
    let timeout = Timespec {
        tv_sec: i64::try_from(patience.as_secs()).expect("seconds"),
        tv_nsec: patience.subsec_nanos().into(),
    };
    let mut fds = [PollFd::new(&fd, events)];
    poll(&mut fds, Some(&timeout)).expect("poll") == 1 && fds[0].revents().contains(events)
}

/// Waits for a counter that no descriptor reports.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// `clone3(CLONE_INTO_CGROUP)` of a process that waits for a signal.
pub(crate) fn clone_into(group: &Group) -> Result<i32, rustix::io::Errno> {
    // SAFETY: all fields of the struct are integers.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = CLONE_INTO_CGROUP;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = std::os::fd::AsRawFd::as_raw_fd(&group.dir().as_fd()) as u64;
    // SAFETY: `args` is initialised and its own size is passed; without CLONE_VM the child has a
    // copy of this stack, and it calls nothing but pause(2) there.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args)) };
    match pid {
        -1 => Err(rustix::io::Errno::from_io_error(&io::Error::last_os_error()).expect("errno")),
        0 => loop {
            // SAFETY: pause(2) takes nothing.
            unsafe { libc::pause() };
        },
        pid => Ok(i32::try_from(pid).expect("a pid")),
    }
}

/// The signal that ended a child.
pub(crate) fn reap(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: the kernel writes one int to `status`, which lives until the call has returned.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid);
    libc::WTERMSIG(status)
}

/// Asserts the errno and a part of the hint.
pub(crate) fn refused(error: &Error, errno: rustix::io::Errno, hint: &str) {
    assert_eq!(error.errno(), Some(errno), "{error}");
    let said = error.hint().unwrap_or_default();
    assert!(said.contains(hint), "{error}: hint {said:?}");
}
