//! What both test binaries need: a process per test, steps to put into a child, and a run.

#![allow(unsafe_code, reason = "steps, and a fork per test")]
#![allow(dead_code, reason = "each of the two binaries uses its part")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::CString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::Command;
use std::sync::atomic::{AtomicI32, Ordering};

use ns::{
    Child, Errno, IdMaps, Namespaces, Program, Running, Setgroups, Spawned, Steps, WaitStatus,
    pidfd, spawn, write_maps,
};

/// The process that may allocate; 0: any.
static MAY_ALLOCATE: AtomicI32 = AtomicI32::new(0);

/// Ends a child that allocates or frees between clone and exec with status 99.
pub(crate) struct Trap;

impl Trap {
    fn check() {
        let allowed = MAY_ALLOCATE.load(Ordering::Relaxed);
        if allowed != 0 && own_pid() != allowed {
            // SAFETY: takes an integer.
            unsafe { libc::_exit(99) }
        }
    }
}

fn own_pid() -> i32 {
    // SAFETY: takes nothing.
    unsafe { libc::getpid() }
}

// SAFETY: hands everything to the system's allocator.
unsafe impl GlobalAlloc for Trap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::check();
        // SAFETY: the caller's own promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::check();
        // SAFETY: the caller's own promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Trap = Trap;

/// Run `body` in a process of one thread: a copy of this binary runs the one test, and forks, since
/// libtest gives every test a thread beside the main one.
pub(crate) fn alone(body: fn()) {
    const ONLY: &str = "NS_TEST_ALONE";
    // libtest names the thread after the test.
    let name = std::thread::current().name().expect("a test").to_owned();
    if std::env::var(ONLY).as_deref() != Ok(&name) {
        let this = std::env::current_exe().expect("our own path");
        let output = Command::new(this)
            .args([
                &name,
                "--exact",
                "--nocapture",
                "--include-ignored",
                "--test-threads=1",
            ])
            .env(ONLY, &name)
            .output()
            .expect("our own binary");
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}{errors}"
        );
        return;
    }
    let status = in_fork(|| {
        MAY_ALLOCATE.store(own_pid(), Ordering::Relaxed);
        body();
    });
    assert_eq!(status, WaitStatus::Exited(0), "the test's own process");
}

/// Run `body` in a forked copy; how that ended.
pub(crate) fn in_fork(body: impl FnOnce()) -> WaitStatus {
    // SAFETY: in a test's own process, whose only other thread is asleep or not there.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid == 0 {
        if MAY_ALLOCATE.load(Ordering::Relaxed) != 0 {
            MAY_ALLOCATE.store(own_pid(), Ordering::Relaxed);
        }
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        // SAFETY: nothing of this copy is needed any more.
        unsafe { libc::_exit(i32::from(done.is_err())) }
    }
    wait_for(pid)
}

/// Wait for a child by number.
pub(crate) fn wait_for(pid: i32) -> WaitStatus {
    let mut status = 0;
    // SAFETY: writes one int.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid, "waitpid");
    WaitStatus::from_raw(status).expect("an end")
}

/// A program found at a path, with arguments and no environment but PATH.
pub(crate) fn program(path: &str, args: &[&str]) -> Program {
    let c = |text: &str| CString::new(text).expect("no NUL");
    let argv = std::iter::once(path)
        .chain(args.iter().copied())
        .map(c)
        .collect();
    Program::new(vec![c(path)], argv, vec![c"PATH=/bin:/usr/bin".into()])
}

/// A shell script.
pub(crate) fn sh(script: &str) -> Program {
    program("/bin/sh", &["-c", script])
}

/// Steps made of a closure, called with the step's number.
pub(crate) struct Do<F>(pub(crate) usize, pub(crate) F);

// SAFETY: the closures in these tests make plain system calls.
unsafe impl<F: Fn(usize, &[RawFd]) -> Result<(), Errno>> Steps for Do<F> {
    fn len(&self) -> usize {
        self.0
    }

    unsafe fn apply(&self, step: usize, passed: &[RawFd]) -> Result<(), Errno> {
        (self.1)(step, passed)
    }
}

/// Turns a libc result into ours.
pub(crate) fn check(result: i32) -> Result<(), Errno> {
    if result >= 0 {
        return Ok(());
    }
    // SAFETY: errno is this thread's own.
    Err(Errno::from_raw_os_error(unsafe {
        *libc::__errno_location()
    }))
}

/// Kill the calling process.
pub(crate) fn die() -> Result<(), Errno> {
    // SAFETY: integers only.
    check(unsafe { libc::kill(own_pid(), libc::SIGKILL) })
}

/// Orphans of our children become our children.
pub(crate) fn adopt_orphans() {
    // SAFETY: integers only.
    let done = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    assert_eq!(done, 0, "prctl");
}

/// Makes the first descriptor passed the child's own of this number.
pub(crate) fn first_becomes(number: RawFd) -> impl Steps {
    Do(1, move |_, passed: &[RawFd]| {
        // SAFETY: stdio of the child is nobody's.
        check(unsafe { libc::dup2(passed[0], number) })
    })
}

/// A private mount tree with a /proc of the own pid namespace.
pub(crate) fn own_proc() -> impl Steps {
    Do(2, |step, _: &[RawFd]| {
        let none = std::ptr::null();
        let (source, target, flags) = match step {
            0 => (none, c"/", libc::MS_REC | libc::MS_PRIVATE),
            _ => (c"proc".as_ptr(), c"/proc", 0),
        };
        // SAFETY: C strings or NULL, and no data.
        check(unsafe { libc::mount(source, target.as_ptr(), source, flags, none.cast()) })
    })
}

/// The caller's own ids, which anybody may map: as root inside.
pub(crate) fn map_self(spawned: &Spawned<'_>) {
    let (uid, gid) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    let maps = IdMaps::own((0, 0), (uid, gid));
    write_maps(spawned.pid(), &maps, Setgroups::Deny).expect("one's own ids");
}

/// A pipe: (read, write).
pub(crate) fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe")
}

/// Everything until the end.
pub(crate) fn read_all(fd: OwnedFd) -> String {
    let mut bytes = Vec::new();
    // A terminal's master ends with EIO.
    let _ = File::from(fd).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Write to a descriptor.
pub(crate) fn write(fd: &OwnedFd, text: &str) {
    File::from(fd.try_clone().expect("a copy"))
        .write_all(text.as_bytes())
        .expect("room");
}

/// Spawn, map the own ids if there is a user namespace, and go.
pub(crate) fn start(child: &Child<'_>, passed: &[BorrowedFd<'_>]) -> ns::Result<Running> {
    let spawned = spawn(child)?;
    if child.namespaces.contains(Namespaces::NEWUSER) {
        map_self(&spawned);
    }
    spawned.go(passed)
}

/// What a child left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Of the process the parent made.
    pub(crate) status: WaitStatus,
    /// Of the workload, from its init.
    pub(crate) reported: Option<WaitStatus>,
    /// What it wrote.
    pub(crate) output: String,
}

/// Run a child to its end, its stdout caught. `setup` gets one phase more, in front.
pub(crate) fn run(child: Child<'_>) -> ns::Result<Ended> {
    let (read, write) = pipe();
    let stdout = first_becomes(1);
    let mut setup: Vec<&dyn Steps> = vec![&stdout];
    setup.extend(child.setup.iter().copied());
    let child = Child { setup, ..child };
    let running = start(&child, &[write.as_fd()])?;
    drop(write);
    let output = read_all(read);
    let reported = running.read_exit();
    let status = pidfd::wait(running.pidfd.as_fd()).expect("our child");
    Ok(Ended {
        status,
        reported,
        output,
    })
}

/// The number of a descriptor.
pub(crate) fn raw(fd: &OwnedFd) -> RawFd {
    fd.as_raw_fd()
}
