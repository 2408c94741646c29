//! From READY to the end of a container: one thread, one poll(2) loop.
//!
//! It waits for the workload's end, for signals to pass on, for the grace period of a stop, and for
//! a terminal's bytes. It holds no locks and allocates nothing while it waits.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use ns::{Running, WaitStatus};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::net::serve::Service;
use crate::report::{Sender, Sent};
use crate::spec::Stop;
use crate::tty::Tty;

/// So many signals are kept for the report: a program may be sent any number of SIGUSR1.
const MAX_SENT: usize = 32;

/// How a container ended, as its supervisor saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    /// The workload's wait status.
    pub(crate) status: WaitStatus,
    /// What was sent to it, in order; at most [`MAX_SENT`] are kept.
    pub(crate) sent: Vec<Sent>,
}

/// The signals a supervisor takes for its container. Blocked from the first operation of a start
/// on, so that none can end it half-way: one that comes early is acted on at READY.
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Block them, and read them from a descriptor.
    pub(crate) fn take() -> Result<Self, Errno> {
        let mut set = SigSet::empty();
        for signal in Signal::iterator().filter(|signal| passed_on(*signal)) {
            set.add(signal);
        }
        let errno = |errno: nix::errno::Errno| Errno::from_raw_os_error(errno as i32);
        set.thread_block().map_err(errno)?;
        SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map(Self)
            .map_err(errno)
    }
}

/// What stays as it is: errors of our own program, job control of the caller's shell, and our
/// children's ends (seen by pidfd).
fn passed_on(signal: Signal) -> bool {
    !matches!(
        signal,
        Signal::SIGKILL
            | Signal::SIGSTOP
            | Signal::SIGTSTP
            | Signal::SIGTTIN
            | Signal::SIGTTOU
            | Signal::SIGCONT
            | Signal::SIGCHLD
            | Signal::SIGPIPE
            | Signal::SIGSEGV
            | Signal::SIGBUS
            | Signal::SIGILL
            | Signal::SIGFPE
            | Signal::SIGTRAP
            | Signal::SIGABRT
            | Signal::SIGSYS
    )
}

/// One container's supervision.
pub(crate) struct Supervisor<'a> {
    pub(crate) running: &'a Running,
    pub(crate) signals: &'a Signals,
    pub(crate) stop: &'a Stop,
    pub(crate) tty: Option<Tty>,
    /// Its network, when it is on one.
    pub(crate) service: Option<Service>,
}

/// What poll(2) has found.
struct Woken {
    /// The program has ended.
    ended: bool,
    /// There are signals to read.
    signalled: bool,
    /// Its network wants to be looked after.
    served: bool,
    /// What stdin, stdout and the terminal's master can do, in this order: (read, write).
    tty: Option<[(bool, bool); 3]>,
}

/// Where a stop stands.
#[derive(Default)]
struct Stopping {
    deadline: Option<Instant>,
    sent: Vec<Sent>,
}

impl Stopping {
    fn note(&mut self, signal: i32, by: Sender) {
        if self.sent.len() < MAX_SENT {
            self.sent.push(Sent { signal, by });
        }
    }
}

impl Supervisor<'_> {
    /// Wait for the workload's end.
    ///
    /// # Errors
    /// The errno of a poll(2) or waitid(2) that cannot fail on a healthy kernel.
    pub(crate) fn run(&mut self) -> Result<End, Errno> {
        let mut stopping = Stopping::default();
        let end = self
            .running
            .status
            .as_ref()
            .map_or(self.running.pidfd.as_fd(), |fd| fd.as_fd());
        loop {
            let Woken {
                ended,
                signalled,
                served,
                tty,
            } = self.wait(end, &stopping)?;
            if served && let Some(service) = &mut self.service {
                service.turn();
            }
            if signalled {
                self.pass_on(&mut stopping);
            }
            if let (Some(relay), Some(ready)) = (&mut self.tty, tty) {
                relay.relay(ready);
            }
            if ended {
                break;
            }
            if stopping
                .deadline
                .is_some_and(|deadline| deadline <= Instant::now())
            {
                stopping.deadline = None;
                let (asked, grace) = (self.stop.signal.value, self.stop.grace.value);
                stopping.note(libc::SIGKILL, Sender::GraceExpired { asked, grace });
                self.kill();
            }
        }
        let status = self.reap()?;
        if let Some(tty) = self.tty.take() {
            tty.finish();
        }
        Ok(End {
            status,
            sent: stopping.sent,
        })
    }

    /// Sleep until something happens.
    fn wait(&self, end: BorrowedFd<'_>, stopping: &Stopping) -> Result<Woken, Errno> {
        let interest = self.tty.as_ref().map(Tty::interest);
        let mut fds = [
            PollFd::from_borrowed_fd(end, PollFlags::IN),
            PollFd::from_borrowed_fd(self.signals.0.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(end, PollFlags::empty()),
            PollFd::from_borrowed_fd(end, PollFlags::empty()),
            PollFd::from_borrowed_fd(end, PollFlags::empty()),
            PollFd::from_borrowed_fd(end, PollFlags::empty()),
            PollFd::from_borrowed_fd(end, PollFlags::empty()),
        ];
        let mut used = 2;
        let network = self.service.as_ref().map(Service::interest);
        for fd in network.into_iter().flatten().flatten() {
            fds[used] = PollFd::from_borrowed_fd(fd, PollFlags::IN);
            used += 1;
        }
        let served = 2..used;
        // A descriptor nobody wants anything of is left out: a hang-up on it would spin the loop.
        let mut place = [None; 3];
        for (slot, (fd, read, write)) in place.iter_mut().zip(interest.into_iter().flatten()) {
            if read || write {
                let mut flags = PollFlags::empty();
                flags.set(PollFlags::IN, read);
                flags.set(PollFlags::OUT, write);
                fds[used] = PollFd::from_borrowed_fd(fd, flags);
                *slot = Some(used);
                used += 1;
            }
        }
        let timeout = stopping
            .deadline
            .map(|at| timespec(at.saturating_duration_since(Instant::now())));
        match poll(&mut fds[..used], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let gone = PollFlags::HUP | PollFlags::ERR;
        let ready = interest.map(|_| {
            place.map(|place| {
                let got = place.map_or(PollFlags::empty(), |place| fds[place].revents());
                (
                    got.intersects(PollFlags::IN | gone),
                    got.intersects(PollFlags::OUT | gone),
                )
            })
        });
        Ok(Woken {
            ended: !fds[0].revents().is_empty(),
            signalled: !fds[1].revents().is_empty(),
            served: fds[served].iter().any(|fd| !fd.revents().is_empty()),
            tty: ready,
        })
    }

    /// Pass on every signal that has come.
    ///
    /// SIGTERM and SIGHUP mean "stop the container": it gets its own stop signal, and SIGKILL when
    /// the grace period ends or the request is repeated. Every other signal is for the program.
    fn pass_on(&mut self, stopping: &mut Stopping) {
        while let Ok(Some(info)) = self.signals.0.read_signal() {
            let signal = i32::try_from(info.ssi_signo).unwrap_or(libc::SIGKILL);
            match signal {
                libc::SIGWINCH => {
                    if let Some(tty) = &self.tty {
                        tty.resize();
                    }
                }
                libc::SIGTERM | libc::SIGHUP if stopping.deadline.is_some() => {
                    stopping.note(libc::SIGKILL, Sender::AskedTwice);
                    self.kill();
                }
                libc::SIGTERM | libc::SIGHUP => {
                    let stop = self.stop.signal.value;
                    stopping.note(stop, passed_on_from(info.ssi_pid));
                    stopping.deadline = Instant::now().checked_add(self.stop.grace.value);
                    self.send(stop);
                }
                other => {
                    stopping.note(other, passed_on_from(info.ssi_pid));
                    self.send(other);
                }
            }
        }
    }

    /// To the workload. It may have ended meanwhile: then there is nobody to tell.
    fn send(&self, signal: i32) {
        let to = self
            .running
            .workload_pidfd
            .as_ref()
            .unwrap_or(&self.running.pidfd);
        let _ = ns::pidfd::send_signal(to.as_fd(), signal);
    }

    /// The whole pid namespace: its init cannot refuse.
    fn kill(&self) {
        let _ = ns::pidfd::send_signal(self.running.pidfd.as_fd(), libc::SIGKILL);
    }

    /// The workload's status from its init's report, or PID 1's own.
    fn reap(&self) -> Result<WaitStatus, Errno> {
        let reported = self.running.read_exit();
        let init = ns::pidfd::wait(self.running.pidfd.as_fd())?;
        Ok(reported.unwrap_or(init))
    }
}

fn passed_on_from(pid: u32) -> Sender {
    Sender::PassedOn {
        from: (pid != 0).then_some(pid),
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
