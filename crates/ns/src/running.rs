//! The parent's side of the protocol, from the clone to READY and the end of the control socket.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Error, Result};
use crate::message::{GO, Message, SIZE};
use crate::own;
use crate::pidfd;
use crate::spawn::Child;
use crate::status::WaitStatus;
use crate::sys;

/// A child process. Dropped, it is killed and reaped.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    /// `None`: it is somebody else's business now.
    pidfd: Option<OwnedFd>,
}

impl Process {
    pub(crate) fn new(pid: Pid, pidfd: OwnedFd) -> Self {
        Self {
            pid,
            pidfd: Some(pidfd),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    fn wait(mut self) -> Result<WaitStatus> {
        let pidfd = self
            .pidfd
            .take()
            .ok_or(Error::Protocol("the child was reaped before"))?;
        pidfd::wait(pidfd.as_fd()).map_err(|errno| Error::Parent {
            call: "waitid(P_PIDFD)",
            errno,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pidfd) = &self.pidfd {
            // It may be dead already; that it is reaped is what counts.
            let _ = pidfd::send_signal(pidfd.as_fd(), libc::SIGKILL);
            let _ = pidfd::wait(pidfd.as_fd());
        }
    }
}

/// What the control socket gave.
enum Event {
    Message(Message, [Option<OwnedFd>; 2]),
    End,
}

#[derive(Debug)]
struct Control(OwnedFd);

impl Control {
    fn receive(&self) -> Result<Event> {
        let mut bytes = [0; SIZE + 1];
        let (got, fds) = match sys::receive_owned(self.0.as_raw_fd(), &mut bytes) {
            Ok(got) => got,
            // The child died with our GO unread in its queue; what it sent comes next, unix(7).
            Err(Errno::CONNRESET) => return self.receive(),
            Err(errno) => {
                return Err(Error::Parent {
                    call: "recvmsg(control)",
                    errno,
                });
            }
        };
        if got.bytes == 0 {
            return Ok(Event::End);
        }
        if got.truncated {
            return Err(Error::Protocol("the child's message was cut off"));
        }
        match Message::decode(bytes.get(..got.bytes).unwrap_or_default()) {
            Some(message) => Ok(Event::Message(message, fds)),
            None => Err(Error::Protocol("the child sent what is no message")),
        }
    }

    fn send_go(&self, passed: &[BorrowedFd<'_>]) -> Result<()> {
        if passed.len() > sys::MAX_FDS {
            return Err(Error::TooManyFds {
                count: passed.len(),
                max: sys::MAX_FDS,
            });
        }
        let fds: Vec<RawFd> = passed.iter().map(AsRawFd::as_raw_fd).collect();
        match sys::send(self.0.as_raw_fd(), &[GO], &fds) {
            // The child is gone. Why, it has said before, or its wait status will.
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(Error::Parent {
                call: "sendmsg(GO)",
                errno,
            }),
        }
    }
}

/// A child that waits for GO. Dropped, it is killed and reaped.
pub struct Spawned<'a> {
    process: Process,
    control: Control,
    child: &'a Child<'a>,
}

/// A child that goes on by itself, while its parent does something else. Dropped, it is killed and reaped.
pub struct Going<'a> {
    spawned: Spawned<'a>,
    /// The second GO was sent, or is not needed.
    released: bool,
}

/// A child that is set up and waits for the second GO. Dropped, it is killed and reaped.
pub struct Held<'a>(Spawned<'a>);

/// A child whose program is being executed. Dropping it leaves the child alone.
#[derive(Debug)]
pub struct Running {
    /// The child in the caller's pid namespace: PID 1 of its own, if it has one.
    pub pid: Pid,
    /// The same by descriptor; with an init, SIGKILL to it ends the whole pid namespace.
    pub pidfd: OwnedFd,
    /// The workload, where an init stands between.
    pub workload_pidfd: Option<OwnedFd>,
    /// The master of the terminal.
    pub pty: Option<OwnedFd>,
    /// Becomes readable when the workload has ended, where an init stands between; see
    /// [`Running::read_exit`].
    pub status: Option<OwnedFd>,
}

impl Running {
    /// How the workload ended, from its init's report. Waits for it.
    ///
    /// `None`: there is no init, or it was killed before it could report (by us, or with its whole
    /// cgroup under `memory.oom.group`); what [`pidfd::wait`](crate::pidfd::wait) gives for
    /// [`pidfd`](Running::pidfd) is all there is to know. The report can be read once.
    #[must_use]
    pub fn read_exit(&self) -> Option<WaitStatus> {
        self.status
            .as_ref()
            .and_then(|status| read_exit(status.as_fd()))
    }
}

fn read_exit(status: BorrowedFd<'_>) -> Option<WaitStatus> {
    let mut bytes = [0; SIZE + 1];
    let got = sys::receive(status.as_raw_fd(), &mut bytes, &mut []).ok()?;
    match Message::decode(bytes.get(..got.bytes)?)? {
        Message::Exit { status } => WaitStatus::from_raw(status),
        _ => None,
    }
}

/// What a child has sent on its way.
#[derive(Default)]
struct Progress {
    ready: bool,
    pty: Option<OwnedFd>,
    workload_pidfd: Option<OwnedFd>,
    status: Option<OwnedFd>,
}

impl<'a> Spawned<'a> {
    pub(crate) fn new(process: Process, control: OwnedFd, child: &'a Child<'a>) -> Self {
        Self {
            process,
            control: Control(control),
            child,
        }
    }

    /// The child in the caller's pid namespace.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.process.pid
    }

    /// The same by descriptor.
    ///
    /// # Panics
    ///
    /// Never: the descriptor is given away only with `self`.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.process
            .pidfd
            .as_ref()
            .expect("owned until `self` is consumed")
            .as_fd()
    }

    /// Let the child go on, with descriptors for its steps, and wait until its program is being
    /// executed. One that would be held is not.
    ///
    /// # Errors
    ///
    /// What failed in the child: [`Error::Step`], [`Error::Own`], [`Error::Join`],
    /// [`Error::Exec`], [`Error::KilledInSetup`]. It has been reaped then.
    pub fn go(self, passed: &[BorrowedFd<'_>]) -> Result<Running> {
        self.begin(passed)?.until_running()
    }

    /// Let the child go on, with descriptors for its steps, and do not wait for it. One with
    /// [`Child::hold`] stops after `setup` unless it is [released](Going::release) by then: so what it does
    /// before that needs nothing of what the parent does meanwhile.
    ///
    /// What it may fail at is told by [`Going::until_running`].
    ///
    /// # Errors
    ///
    /// [`Error::TooManyFds`], [`Error::Parent`] when nothing could be sent.
    pub fn begin(self, passed: &[BorrowedFd<'_>]) -> Result<Going<'a>> {
        self.control.send_go(passed)?;
        Ok(Going {
            released: !self.child.hold,
            spawned: self,
        })
    }

    /// Let the child go on until all of `setup` is done. [`Child::hold`] must be set.
    ///
    /// # Errors
    ///
    /// As [`Spawned::go`], and [`Error::Invalid`] for a child that would not hold.
    pub fn go_until_held(self, passed: &[BorrowedFd<'_>]) -> Result<Held<'a>> {
        if !self.child.hold {
            return Err(Error::Invalid("only a child with `hold` can be held"));
        }
        self.control.send_go(passed)?;
        self.until_held()
    }

    fn until_held(self) -> Result<Held<'a>> {
        match self.control.receive()? {
            Event::Message(Message::Held, _) => Ok(Held(self)),
            Event::Message(message, _) => Err(self.failure(message)),
            Event::End => Err(self.killed(None)),
        }
    }

    fn until_running(self) -> Result<Running> {
        let mut progress = Progress::default();
        loop {
            match self.control.receive()? {
                Event::Message(Message::Ready, [pty, _]) => {
                    progress.ready = true;
                    progress.pty = pty;
                }
                // It was released before it got there.
                Event::Message(Message::Held, _) if self.child.hold => {}
                Event::Message(Message::Started, [pidfd, status]) => {
                    progress.workload_pidfd = pidfd;
                    progress.status = status;
                }
                Event::Message(message, _) => return Err(self.failure(message)),
                Event::End => break,
            }
        }
        let complete = self.child.init.is_none() || progress.status.is_some();
        if !progress.ready || !complete {
            return Err(self.killed(progress.status));
        }
        let mut process = self.process;
        let pidfd = process
            .pidfd
            .take()
            .ok_or(Error::Protocol("the child was reaped before"))?;
        let Progress {
            pty,
            workload_pidfd,
            status,
            ..
        } = progress;
        Ok(Running {
            pid: process.pid,
            pidfd,
            workload_pidfd,
            pty,
            status,
        })
    }

    /// The process in between has made the child, or says why not.
    pub(crate) fn after_relay(mut self) -> Result<Self> {
        let mut failure = None;
        let mut child = None;
        // When the child itself has failed, its word may come before the one that tells its pid,
        // which is needed to reap it.
        while child.is_none() {
            match self.control.receive()? {
                Event::Message(Message::Forked { pid }, [Some(pidfd), _]) => {
                    let pid = Pid::from_raw(pid).ok_or(Error::Protocol("the child's pid is 0"))?;
                    child = Some(Process {
                        pid,
                        pidfd: Some(pidfd),
                    });
                }
                Event::Message(message, _) => failure = Some(self.failure(message)),
                Event::End => break,
            }
        }
        match (child, failure) {
            (Some(child), None) => {
                std::mem::replace(&mut self.process, child).wait()?;
                Ok(self)
            }
            (_, Some(failure)) => Err(failure),
            (None, None) => Err(self.killed(None)),
        }
    }

    fn failure(&self, message: Message) -> Error {
        let errno = Errno::from_raw_os_error;
        let index = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        match message {
            Message::Step {
                phase,
                step,
                errno: raw,
            } => Error::Step {
                phase: usize::from(phase),
                step: index(step),
                errno: errno(raw),
            },
            Message::Own { call, errno: raw } => Error::Own {
                call: own::call_of(call),
                errno: errno(raw),
            },
            Message::Join {
                index: number,
                errno: raw,
            } => {
                let index = index(number);
                let namespaces = self.child.join.get(index).map(|(_, kinds)| *kinds);
                Error::Join {
                    index,
                    namespaces: namespaces.unwrap_or_default(),
                    errno: errno(raw),
                }
            }
            Message::Exec {
                candidate,
                errno: raw,
            } => Error::Exec {
                path: self.child.program.path(candidate),
                index: index(candidate),
                errno: errno(raw),
            },
            Message::Ready
            | Message::Held
            | Message::Started
            | Message::Forked { .. }
            | Message::Exit { .. } => Error::Protocol("the child sent a message out of turn"),
        }
    }

    /// The end without a word: the wait status is all there is, that of the workload if its init
    /// got as far as telling it.
    fn killed(self, status: Option<OwnedFd>) -> Error {
        let workload = status.and_then(|status| read_exit(status.as_fd()));
        match self.process.wait() {
            Ok(status) => Error::KilledInSetup {
                status: workload.unwrap_or(status),
            },
            Err(error) => error,
        }
    }
}

impl Going<'_> {
    /// Let the child go past where it would be held, whether it has got there or not.
    ///
    /// # Errors
    ///
    /// [`Error::Parent`] when nothing could be sent. That the child has failed is told by
    /// [`Going::until_running`].
    pub fn release(&mut self) -> Result<()> {
        if !self.released {
            self.spawned.control.send_go(&[])?;
            self.released = true;
        }
        Ok(())
    }

    /// Wait until the program is being executed; a child that would be held is released.
    ///
    /// # Errors
    ///
    /// As [`Spawned::go`].
    pub fn until_running(mut self) -> Result<Running> {
        self.release()?;
        self.spawned.until_running()
    }
}

impl Held<'_> {
    /// The child in the caller's pid namespace.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.0.pid()
    }

    /// The same by descriptor.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.0.pidfd()
    }

    /// Execute the program.
    ///
    /// # Errors
    ///
    /// As [`Spawned::go`].
    pub fn start(self) -> Result<Running> {
        self.0.control.send_go(&[])?;
        self.0.until_running()
    }
}
