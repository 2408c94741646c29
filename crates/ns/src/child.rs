//! What runs between clone and exec. Nothing else in this crate does, but [`crate::sys`].
//!
//! Who: a copy of the caller made by a raw clone3, in new namespaces, with whatever lock another
//! part of the copied memory holds. Allowed here: integers, the copied [`Task`], `sys` and rustix
//! calls that are one system call without allocation, and `Steps::apply`, which promises the same.
//! Not allowed: allocation, `format!`, `?` on types that own memory, drops that matter, panics,
//! locks, `exit`. The child sends numbers; the parent owns the words.
//!
//! Calls: close, prctl, setsid, rt_sigaction, rt_sigprocmask, setns, unshare, openat, write, read,
//! recvmsg, sendmsg, clone3, close_range, execve, _exit; in `init` socketpair, rt_sigtimedwait,
//! wait4, kill; in `terminal` ioctl, fchown, dup3.

#![allow(unsafe_code, reason = "applies steps, and owns descriptors by number")]

mod init;
mod terminal;

use std::cell::Cell;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal, setsid,
};

use crate::flags::Namespaces;
use crate::message::{GO, Message};
use crate::own::Own;
use crate::spawn::Child;
use crate::steps::Steps;
use crate::sys::{self, Cloned, MAX_FDS};

/// Exit status after a failure was reported.
const FAILED: i32 = 127;
/// Exit status when there is nobody to report to.
const PARENT_DIED: i32 = 126;

/// What the child knows, made before the clone.
pub(crate) struct Task<'a> {
    pub(crate) child: &'a Child<'a>,
    /// Entered first, in order.
    pub(crate) join: &'a [(RawFd, u32)],
    /// Made by clone3.
    pub(crate) flags: u32,
    /// What is written to `timens_offsets` of a time namespace the child makes itself.
    pub(crate) time: Option<&'a [u8]>,
    /// The child makes its cgroup namespace itself.
    pub(crate) cgroup_late: bool,
    /// The child's end of the control socket.
    pub(crate) socket: RawFd,
    /// The other one.
    pub(crate) parents_end: RawFd,
    /// The parent is busy with us, and will look at the socket only after GO.
    pub(crate) before_go: Cell<bool>,
}

/// Clone, and never return in the child.
pub(crate) fn start(
    task: &Task<'_>,
    flags: u64,
    cgroup: Option<RawFd>,
    relay: bool,
) -> Result<Cloned, Errno> {
    // SAFETY: the child's branch is `task.relay` or `task.run`, which keep to the calls listed
    // above and never return.
    let cloned = unsafe { sys::clone3(flags, cgroup) }?;
    if matches!(cloned, Cloned::Child) {
        if relay { task.relay() } else { task.run() }
    }
    Ok(cloned)
}

/// Clone a process that does nothing until the other end of its pipe is closed.
pub(crate) fn start_idle(flags: u32, pipe: RawFd, parents_end: RawFd) -> Result<Cloned, Errno> {
    // SAFETY: the child's branch makes calls of the list above and never returns.
    let cloned = unsafe { sys::clone3(flags.into(), None) }?;
    if matches!(cloned, Cloned::Child) {
        // SAFETY: the copy of the parent's end; the number is not used again.
        unsafe { sys::close(parents_end) };
        // SAFETY: open, and used no longer than this call.
        let pipe = unsafe { BorrowedFd::borrow_raw(pipe) };
        while rustix::io::read(pipe, &mut [0]) == Err(Errno::INTR) {}
        sys::exit(0)
    }
    Ok(cloned)
}

impl Task<'_> {
    /// Who: the process in between, in the caller's namespaces and with its rights. It enters what
    /// is to be joined, makes the child as the caller's own (CLONE_PARENT), tells its pid, and ends.
    fn relay(&self) -> ! {
        // SAFETY: the copy of the parent's end; the number is not used again.
        unsafe { sys::close(self.parents_end) };
        self.join_all();
        let flags = u64::from(self.flags) | libc::CLONE_PARENT as u64;
        // SAFETY: the child's branch is `prepare_and_go`, which keeps to the calls above.
        match unsafe { sys::clone3(flags, None) } {
            Ok(Cloned::Child) => self.prepare_and_go(),
            Ok(Cloned::Parent { pid, pidfd }) => {
                let pid = pid.as_raw_nonzero().get();
                self.tell(Message::Forked { pid }, &[pidfd.as_raw_fd()]);
                sys::exit(0)
            }
            Err(errno) => self.fail(Own::Fork, errno),
        }
    }

    /// Who: the child, in its new namespaces, ids not mapped yet.
    fn run(&self) -> ! {
        // SAFETY: the copy of the parent's end; the number is not used again.
        unsafe { sys::close(self.parents_end) };
        self.before_go.set(true);
        self.join_all();
        self.prepare_and_go()
    }

    fn join_all(&self) {
        // Processes of a joined pid namespace can see the child before it executes anything, and
        // root of a joined user namespace may trace what is in it. The child holds the caller's
        // memory and descriptors (CVE-2016-9962), so before: what is not dumpable can be traced
        // only with rights in the caller's user namespace. execve makes it dumpable again.
        let exposing = (Namespaces::NEWPID | Namespaces::NEWUSER).bits();
        if self.join.iter().any(|(_, kinds)| kinds & exposing != 0) {
            self.not_dumpable();
        }
        for (index, (fd, kinds)) in self.join.iter().enumerate() {
            if let Err(errno) = sys::setns(*fd, *kinds) {
                let errno = errno.raw_os_error();
                self.give_up(Message::Join {
                    index: index as u32,
                    errno,
                });
            }
        }
    }

    fn prepare_and_go(&self) -> ! {
        self.before_go.set(true);
        let arguments = self.prepare();
        let mut fds = [-1; MAX_FDS];
        let passed = self.wait_for_go(&mut fds);
        // Set-up must not outlive the parent. Cleared by changes of ids, so set again at the end.
        self.death_signal(true);
        self.apply(self.child.early.len(), &self.child.setup, passed);
        if self.child.hold {
            self.tell(Message::Held, &[]);
            self.wait_for_go(&mut []);
        }
        match &self.child.init {
            Some(init) => init::start(self, init, arguments, passed),
            None => self.execute(passed),
        }
    }

    /// What needs nothing of the parent runs while the parent is busy with the id maps. Gives the
    /// argument area, which an init will hide.
    fn prepare(&self) -> (usize, usize) {
        // Out of the terminal's reach: Ctrl-C there is passed on by the parent, and must not come
        // twice. And no controlling terminal to inject input into (TIOCSTI).
        self.check(Own::Setsid, setsid().map(drop));
        self.check(Own::ResetSignals, sys::default_dispositions());
        if let Some(offsets) = self.time {
            self.new_time(offsets);
        }
        if self.cgroup_late {
            self.check(
                Own::UnshareCgroup,
                sys::unshare(Namespaces::NEWCGROUP.bits()),
            );
        }
        // The host's /proc, so before set-up replaces it.
        let arguments = match self.child.init {
            Some(_) => self.got(Own::ArgumentArea, init::argument_area()),
            None => (0, 0),
        };
        self.apply(0, &self.child.early, &[]);
        arguments
    }

    /// See timens.rs for why not by clone3.
    fn new_time(&self, offsets: &[u8]) {
        self.check(Own::UnshareTime, sys::unshare(Namespaces::NEWTIME.bits()));
        let file = open(c"/proc/self/timens_offsets", OFlags::WRONLY);
        let file = self.got(Own::TimeOffsets, file);
        // SAFETY: open, and used no longer than this call.
        let written = rustix::io::write(unsafe { BorrowedFd::borrow_raw(file) }, offsets);
        self.check(Own::TimeOffsets, written.map(drop));
        let entry = open(c"/proc/self/ns/time_for_children", OFlags::RDONLY);
        let entry = self.got(Own::EnterTime, entry);
        self.check(
            Own::EnterTime,
            sys::setns(entry, Namespaces::NEWTIME.bits()),
        );
        // SAFETY: both were opened here and are not used again.
        unsafe {
            sys::close(file);
            sys::close(entry);
        }
    }

    /// The byte GO and what comes with it; the end means that the parent has died.
    fn wait_for_go<'f>(&self, fds: &'f mut [RawFd]) -> &'f [RawFd] {
        let mut byte = [0; 2];
        let got = self.got(Own::ReceiveGo, sys::receive(self.socket, &mut byte, fds));
        self.before_go.set(false);
        if got.bytes == 0 {
            sys::exit(PARENT_DIED);
        }
        if got.truncated {
            self.fail(Own::ReceiveGo, Errno::MFILE);
        }
        if got.bytes != 1 || byte.first() != Some(&GO) {
            self.fail(Own::ReceiveGo, Errno::BADMSG);
        }
        fds.get(..got.fds).unwrap_or_default()
    }

    fn apply(&self, first: usize, phases: &[&dyn Steps], passed: &[RawFd]) {
        for (index, phase) in phases.iter().enumerate() {
            for step in 0..phase.len() {
                // SAFETY: each step once, in order, in a process of one thread that is ours to change.
                if let Err(errno) = unsafe { phase.apply(step, passed) } {
                    let phase = (first + index) as u8;
                    let errno = errno.raw_os_error();
                    self.give_up(Message::Step {
                        phase,
                        step: step as u32,
                        errno,
                    });
                }
            }
        }
    }

    /// Who: the process that becomes the program, all set up but not confined yet.
    fn execute(&self, passed: &[RawFd]) -> ! {
        let child = self.child;
        let pty = child.tty.as_ref().map(|tty| terminal::open(self, tty));
        self.check(Own::EmptyMask, sys::set_mask(0));
        // Before confinement, whose filter need not allow it. What a step opens later it must open
        // close-on-exec.
        // SAFETY: closes nothing yet.
        let cloexec = unsafe { sys::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        self.check(Own::CloseOnExec, cloexec);
        self.apply(
            child.early.len() + child.setup.len(),
            &child.workload,
            passed,
        );
        // After the last change of ids, which clears it. A workload below an init dies with that.
        // The parent may have died before: then the message below finds nobody.
        if child.init.is_none() {
            self.death_signal(!child.outlive_parent);
        }
        match &pty {
            Some(master) => self.tell(Message::Ready, &[*master]),
            None => self.tell(Message::Ready, &[]),
        }
        self.exec()
    }

    /// As execvp(3): what is not there, or not for us, is passed over.
    fn exec(&self) -> ! {
        let program = self.child.program;
        let mut worst = (0, Errno::NOENT);
        for (index, path) in program.candidates().iter().enumerate() {
            // SAFETY: `Program` ends its arrays with NULL and keeps the strings alive.
            let errno = unsafe { sys::execve(path, program.argv_ptr(), program.envp_ptr()) };
            match errno {
                Errno::NOENT | Errno::NOTDIR if index == 0 => worst = (index, errno),
                Errno::NOENT | Errno::NOTDIR => {}
                Errno::ACCESS if worst.1 != Errno::ACCESS => worst = (index, errno),
                Errno::ACCESS => {}
                errno => {
                    worst = (index, errno);
                    break;
                }
            }
        }
        let (index, errno) = worst;
        let errno = errno.raw_os_error();
        self.give_up(Message::Exec {
            candidate: index as u32,
            errno,
        })
    }

    fn death_signal(&self, wanted: bool) {
        let signal = wanted.then_some(Signal::KILL);
        self.check(Own::DeathSignal, set_parent_process_death_signal(signal));
    }

    fn not_dumpable(&self) {
        self.check(
            Own::NotDumpable,
            set_dumpable_behavior(DumpableBehavior::NotDumpable),
        );
    }

    /// The value of a call of our own, or the end.
    fn got<T>(&self, call: Own, result: Result<T, Errno>) -> T {
        match result {
            Ok(value) => value,
            Err(errno) => self.fail(call, errno),
        }
    }

    fn check(&self, call: Own, result: Result<(), Errno>) {
        self.got(call, result);
    }

    fn fail(&self, call: Own, errno: Errno) -> ! {
        self.give_up(Message::Own {
            call: call as u32,
            errno: errno.raw_os_error(),
        })
    }

    fn give_up(&self, message: Message) -> ! {
        // When nobody listens there is nobody to tell.
        let _ = sys::send(self.socket, &message.encode(), &[]);
        if self.before_go.get() {
            // The parent must be able to finish what it does to us: the files in /proc of a process
            // that has ended belong to root, and the error would be about that.
            let _ = sys::receive(self.socket, &mut [0; 2], &mut []);
        }
        sys::exit(FAILED)
    }

    fn tell(&self, message: Message, fds: &[RawFd]) {
        if sys::send(self.socket, &message.encode(), fds).is_err() {
            sys::exit(PARENT_DIED);
        }
    }
}

fn open(path: &CStr, flags: OFlags) -> Result<RawFd, Errno> {
    let fd = rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())?;
    Ok(fd.into_raw_fd())
}
