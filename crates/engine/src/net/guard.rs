//! Who watches the firewall: of all supervisors of a run root, one.
//!
//! The kernel offers each change of the ruleset to each socket that watches, and whoever makes the change waits for
//! that. So there is one, [`Watch`], whoever has a flock(2) on the FIFO `RUN/net/.watch`, and it has that open for
//! writing. All others have it open for reading: when it is closed, however its supervisor ended, poll(2) tells them
//! by POLLHUP, and the first of them takes over. Nobody has watched in between, so that one looks at the firewall.
//!
//! A supervisor takes part once its container has run for a moment: one that ends sooner has no cost of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use netns::nft::{Seen, Watch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags, flock, mknodat, openat};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::define::NetworkError;
use super::facts::table_name;

/// How long a container runs before its supervisor takes part.
const BEGIN_AFTER: Duration = Duration::from_millis(100);

/// A supervisor's part in watching.
#[derive(Debug)]
pub(crate) enum Guard {
    /// None yet: a timer.
    Later(OwnedFd),
    /// Another one watches: the FIFO, open for reading.
    Other(OwnedFd),
    /// This one does.
    Own {
        watch: Watch,
        /// The FIFO, open for writing and locked.
        _end: OwnedFd,
    },
}

impl Guard {
    /// Takes part in a moment. The FIFO is made now, for it stays, and no more is to come.
    ///
    /// # Errors
    /// It cannot be made, or no descriptor is free.
    pub(crate) fn later(run_root: &Path) -> Result<Self, NetworkError> {
        let path = fifo(run_root);
        let mode = Mode::RUSR | Mode::WUSR;
        match mknodat(CWD, &path, FileType::Fifo, mode, 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("mknodat", path)(errno)),
        }
        timer().map(Self::Later).map_err(failed("timerfd", path))
    }

    /// Does what there is to do, without waiting. True: the firewall is to be looked at.
    ///
    /// # Errors
    /// It cannot take part; the others can.
    pub(crate) fn turn(&mut self, run_root: &Path) -> Result<bool, NetworkError> {
        match self {
            Self::Own { watch, .. } => Ok(match watch.take()? {
                Seen::Nothing => false,
                Seen::Changed(tables) => {
                    let ours = table_name(run_root);
                    tables.iter().any(|table| table.name == ours)
                }
                Seen::Overrun => true,
            }),
            Self::Later(waits) | Self::Other(waits) if is_ready(waits) => {
                *self = Self::stand(run_root)?;
                Ok(matches!(self, Self::Own { .. }))
            }
            Self::Later(_) | Self::Other(_) => Ok(false),
        }
    }

    /// Watches, unless somebody does.
    fn stand(run_root: &Path) -> Result<Self, NetworkError> {
        Ok(match Place::take(run_root)? {
            Place::Own(end) => Self::Own {
                watch: Watch::open()?,
                _end: end,
            },
            Place::Other(end) => Self::Other(end),
        })
    }

    /// Its watch, to be closed when there is time. Another one takes over now.
    pub(crate) fn into_watch(self) -> Option<OwnedFd> {
        match self {
            Self::Own { watch, .. } => Some(watch.into()),
            Self::Later(_) | Self::Other(_) => None,
        }
    }
}

impl AsFd for Guard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Later(fd) | Self::Other(fd) => fd.as_fd(),
            Self::Own { watch, .. } => watch.as_fd(),
        }
    }
}

/// One end of the FIFO.
#[derive(Debug)]
enum Place {
    /// For writing: the place of who watches.
    Own(OwnedFd),
    /// For reading: somebody has that place.
    Other(OwnedFd),
}

impl Place {
    fn take(run_root: &Path) -> Result<Self, NetworkError> {
        let path = fifo(run_root);
        let end = open(&path, OFlags::RDWR)?;
        match flock(&end, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self::Own(end)),
            // Opened while ours is open for writing: without any writer, poll(2) would not tell of the last one's end
            // (`fifo_open` in fs/pipe.c).
            Err(Errno::WOULDBLOCK) => open(&path, OFlags::RDONLY).map(Self::Other),
            Err(errno) => Err(failed("flock", path)(errno)),
        }
    }
}

/// The time has come, or the other end is closed.
fn is_ready(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// A timer of [`BEGIN_AFTER`].
fn timer() -> Result<OwnedFd, Errno> {
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    let once = Itimerspec {
        it_interval: Timespec::default(),
        it_value: Timespec {
            tv_sec: 0,
            tv_nsec: BEGIN_AFTER.subsec_nanos().into(),
        },
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
    Ok(timer)
}

fn fifo(run_root: &Path) -> PathBuf {
    run_root.join("net/.watch")
}

/// Neither end of a FIFO waits for the other: fifo(7).
fn open(path: &Path, how: OFlags) -> Result<OwnedFd, NetworkError> {
    let flags = how | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(CWD, path, flags, Mode::empty()).map_err(failed("openat", path.to_owned()))
}

fn failed(call: &'static str, path: PathBuf) -> impl FnOnce(Errno) -> NetworkError {
    move |errno| NetworkError::Call { call, path, errno }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(place: &Place) -> &OwnedFd {
        match place {
            Place::Other(end) => end,
            Place::Own(_) => panic!("it has the place"),
        }
    }

    #[test]
    fn of_all_one_has_the_place_and_its_end_is_told_to_the_others() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("net")).expect("mkdir");
        let _made = Guard::later(root.path()).expect("a FIFO");
        let take = || Place::take(root.path()).expect("a place");
        let first = take();
        assert!(matches!(first, Place::Own(_)));
        let (second, third) = (take(), take());
        assert!(!is_ready(other(&second)) && !is_ready(other(&third)));
        drop(first);
        assert!(is_ready(other(&second)) && is_ready(other(&third)));
        let next = take();
        assert!(matches!(next, Place::Own(_)));
        assert!(!is_ready(other(&third)), "somebody has it again");
        let fourth = take();
        drop(next);
        assert!(is_ready(other(&third)) && is_ready(other(&fourth)));
    }

    #[test]
    fn a_supervisor_takes_part_after_a_moment() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("net")).expect("mkdir");
        let mut guard = Guard::later(root.path()).expect("a timer");
        let nowhere = Path::new("/nonexistent");
        assert!(!guard.turn(nowhere).expect("too early"));
        std::thread::sleep(BEGIN_AFTER + Duration::from_millis(10));
        let error = guard.turn(nowhere).expect_err("there is no such place");
        assert_eq!(error.errno(), Some(Errno::NOENT));
        let error = Guard::later(nowhere).expect_err("no FIFO either");
        assert_eq!(error.errno(), Some(Errno::NOENT));
    }
}
