//! Removing a group, whatever is in it.
//!
//! A group can be removed when it holds no live process and no child group. So: kill, wait until
//! `cgroup.events` says `populated 0`, remove the children deepest first. A frozen group is killed
//! like any other. What a process makes meanwhile (a child group, a fork that a signal to each
//! process would miss) is found in the next round; rounds end with the deadline.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::{self, Errno};

use crate::group::child_names;
use crate::{Error, Group, Straggler};

/// How long [`Group::remove_tree`] waits for processes to die.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many processes that would not die an error names.
const SHOWN: usize = 8;

impl Group {
    /// Removes the group, which must be empty: one syscall. One that is gone already is fine.
    ///
    /// # Errors
    ///
    /// [`Error::Remove`]: `EBUSY` when it holds processes or child groups.
    ///
    /// # Kernel
    ///
    /// [`rmdir(2)`](https://man7.org/linux/man-pages/man2/rmdir.2.html).
    pub fn remove(&self) -> Result<(), Error> {
        self.rmdir().map_err(|source| Error::Remove {
            path: self.path(),
            source,
        })
    }

    /// `..` of a group is its parent for ever: version 2 has no rename. So the group can be removed
    /// without a descriptor of the parent.
    fn rmdir(&self) -> Result<(), Errno> {
        match fs::unlinkat(
            self.dir(),
            Path::new("..").join(self.name()),
            AtFlags::REMOVEDIR,
        ) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Kills everything in the group and below it, waits for that up to 10 s, and removes it with
    /// all groups below it. An empty group costs one syscall.
    ///
    /// # Errors
    ///
    /// [`Error::StillPopulated`] with the processes that would not die; [`Error::Remove`];
    /// [`Error::Write`] when the group may not be killed.
    pub fn remove_tree(&self) -> Result<(), Error> {
        self.remove_tree_within(PATIENCE)
    }

    /// [`Group::remove_tree`] with a patience of one's own.
    ///
    /// # Errors
    ///
    /// As [`Group::remove_tree`].
    pub fn remove_tree_within(&self, timeout: Duration) -> Result<(), Error> {
        let start = Instant::now();
        let deadline = start + timeout;
        loop {
            match self.rmdir() {
                Ok(()) => return Ok(()),
                Err(Errno::BUSY) => {}
                Err(source) => {
                    return Err(Error::Remove {
                        path: self.path(),
                        source,
                    });
                }
            }
            if let Err(error) = self.empty(deadline) {
                // Somebody else may have removed it meanwhile, or it emptied at the last moment.
                return self.rmdir().map_err(|_busy| match error {
                    Error::Timeout { .. } => self.still_populated(start.elapsed()),
                    other => other,
                });
            }
            self.remove_below()?;
            if Instant::now() >= deadline {
                // The last try after the last round, so that a deadline of zero works at all.
                return self.rmdir().map_err(|source| match source {
                    Errno::BUSY => self.still_populated(start.elapsed()),
                    source => Error::Remove {
                        path: self.path(),
                        source,
                    },
                });
            }
        }
    }

    fn empty(&self, deadline: Instant) -> Result<(), Error> {
        let watch = self.watch_events()?;
        if !watch.read()?.populated {
            return Ok(());
        }
        self.kill()?;
        watch.wait(deadline, "populated 0", |events| !events.populated)?;
        Ok(())
    }

    /// Removes all groups below, deepest first, with two descriptors open however deep they lie. A
    /// group that has become busy is left: the caller's next round kills what is in it.
    fn remove_below(&self) -> Result<(), Error> {
        let failed = |source| Error::Remove {
            path: self.path(),
            source,
        };
        let mut at = reopen(&self.dir(), Path::new(".")).map_err(failed)?;
        // Names still to be removed, one list per level from the group down to `at`; the last of
        // each list but the deepest is the one that was descended into.
        let mut levels: Vec<Vec<OsString>> = vec![child_names(&at).map_err(failed)?];
        while let Some(names) = levels.last_mut() {
            let Some(name) = names.last() else {
                levels.pop();
                if let Some(parent) = levels.last_mut() {
                    at = reopen(&at, Path::new("..")).map_err(failed)?;
                    if let Some(name) = parent.pop() {
                        remove_child(&at, &name).map_err(failed)?;
                    }
                }
                continue;
            };
            if remove_child(&at, name).map_err(failed)? {
                names.pop();
                continue;
            }
            match reopen(&at, Path::new(name)).and_then(|dir| Ok((child_names(&dir)?, dir))) {
                Ok((below, dir)) if !below.is_empty() => {
                    at = dir;
                    levels.push(below);
                }
                // Busy with processes, or gone.
                Ok(_) | Err(Errno::NOENT | Errno::NODEV) => {
                    names.pop();
                }
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(())
    }

    fn still_populated(&self, waited: Duration) -> Error {
        let mut processes = Vec::new();
        collect(self, &mut processes);
        Error::StillPopulated {
            path: self.path(),
            waited,
            processes,
        }
    }
}

/// `false`: busy.
fn remove_child(at: &OwnedFd, name: &std::ffi::OsStr) -> Result<bool, Errno> {
    match fs::unlinkat(at, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::BUSY) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn reopen(at: &impl std::os::fd::AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    io::retry_on_intr(|| fs::openat(at, path, flags, Mode::empty()))
}

/// Some of the processes in a group and below it: for a message, so what fails is left out.
fn collect(group: &Group, processes: &mut Vec<Straggler>) {
    for pid in group.procs().unwrap_or_default() {
        if processes.len() == SHOWN {
            return;
        }
        processes.push(Straggler {
            pid,
            state: state_of(pid),
        });
    }
    for name in group.children().unwrap_or_default() {
        if processes.len() < SHOWN
            && let Ok(child) = Group::open_in(group.dir(), name)
        {
            collect(&child, processes);
        }
    }
}

/// The third field of `/proc/PID/stat`; the second is in parentheses and may hold any character.
fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    stat.rsplit_once(") ")?.1.chars().next()
}
