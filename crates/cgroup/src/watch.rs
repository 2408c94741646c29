//! Being told when a file of a group changes.
//!
//! Two ways, both of them a descriptor for a poll loop of the caller's:
//!
//! - [`Watch`]: the open file itself, polled for `POLLPRI`. One descriptor per file, and the value is
//!   read through it.
//! - [`Inotify`]: one descriptor for any number of files of any number of groups.
//!
//! The kernel tells at most one change of a file in 10 ms, and never swallows the last
//! ([`cgroup_file_notify`]).
//!
//! [`cgroup_file_notify`]: https://elixir.bootlin.com/linux/v6.12/source/kernel/cgroup/cgroup.c

use std::collections::HashMap;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::{self, Errno};

use crate::group::path_of;
use crate::keyed::{Parsed, parse_error};
use crate::{CgroupEvents, Error, Group, MemoryEvents, PidsEvents, SwapEvents};

/// Event files are a few short lines.
const EVENTS_LIMIT: usize = 4096;

/// A file of a group that is polled for changes.
#[derive(Debug)]
pub struct Watch<T> {
    fd: OwnedFd,
    file: &'static str,
    value: PhantomData<fn() -> T>,
}

/// Polled for `POLLPRI`. After that, and before it is polled again, [`Watch::read`] has to be called:
/// the kernel reports a change until the file has been read.
impl<T> AsFd for Watch<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<T: Parsed> Watch<T> {
    /// Watches the file that `T` describes.
    ///
    /// # Errors
    ///
    /// [`Error::Read`]: `ENOENT` when the group does not have the file.
    pub fn new(group: &Group) -> Result<Self, Error> {
        Self::of_file(group, T::FILE)
    }

    fn of_file(group: &Group, file: &'static str) -> Result<Self, Error> {
        Ok(Self {
            fd: group.open_file(file, OFlags::RDONLY)?,
            file,
            value: PhantomData,
        })
    }

    /// What the file says now.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] with `ENODEV` when the group was removed; [`Error::Parse`].
    pub fn read(&self) -> Result<T, Error> {
        let mut buffer = [0; EVENTS_LIMIT];
        // The kernel writes such a file in one go: a short read is its end.
        let length =
            io::retry_on_intr(|| io::pread(&self.fd, &mut buffer, 0)).map_err(|source| {
                Error::Read {
                    path: path_of(self.as_fd()),
                    source,
                }
            })?;
        let text = str::from_utf8(&buffer[..length])
            .map_err(|error| parse_error(self.file, &error.to_string()))?;
        T::parse(text)
    }

    /// Waits until `done` says so of the file, polling for changes, until `deadline`.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`], naming `wanted`; else as [`Watch::read`], and [`Error::Poll`].
    pub(crate) fn wait(
        &self,
        deadline: Instant,
        wanted: &'static str,
        done: impl Fn(&T) -> bool,
    ) -> Result<T, Error> {
        let start = Instant::now();
        loop {
            // Read before the first poll: a change that came earlier is not reported again.
            let value = self.read()?;
            if done(&value) {
                return Ok(value);
            }
            if !self.changed_before(deadline)? {
                return Err(Error::Timeout {
                    path: path_of(self.as_fd()),
                    wanted,
                    waited: start.elapsed(),
                });
            }
        }
    }

    /// Waits for a change since the last read; `false`: the deadline came first.
    fn changed_before(&self, deadline: Instant) -> Result<bool, Error> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(&self.fd, PollFlags::PRI)];
            match poll(&mut fds, Some(&timespec(left))) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(source) => {
                    return Err(Error::Poll {
                        path: path_of(self.as_fd()),
                        source,
                    });
                }
            }
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

impl Group {
    /// Watches `cgroup.events`: populated, frozen.
    ///
    /// # Errors
    ///
    /// As [`Watch::new`].
    pub fn watch_events(&self) -> Result<Watch<CgroupEvents>, Error> {
        Watch::new(self)
    }

    /// Watches `memory.events`, of the group and all below it.
    ///
    /// # Errors
    ///
    /// As [`Watch::new`].
    pub fn watch_memory_events(&self) -> Result<Watch<MemoryEvents>, Error> {
        Watch::new(self)
    }

    /// Watches `memory.events.local`, of the group itself.
    ///
    /// # Errors
    ///
    /// As [`Watch::new`].
    pub fn watch_memory_events_local(&self) -> Result<Watch<MemoryEvents>, Error> {
        Watch::of_file(self, "memory.events.local")
    }

    /// Watches `memory.swap.events`.
    ///
    /// # Errors
    ///
    /// As [`Watch::new`].
    pub fn watch_swap_events(&self) -> Result<Watch<SwapEvents>, Error> {
        Watch::new(self)
    }

    /// Watches `pids.events`.
    ///
    /// # Errors
    ///
    /// As [`Watch::new`].
    pub fn watch_pids_events(&self) -> Result<Watch<PidsEvents>, Error> {
        Watch::new(self)
    }
}

/// Changes of many files through one descriptor, [`inotify(7)`].
///
/// [`inotify(7)`]: https://man7.org/linux/man-pages/man7/inotify.7.html
#[derive(Debug)]
pub struct Inotify {
    fd: OwnedFd,
    watched: HashMap<i32, PathBuf>,
}

/// Polled for `POLLIN`.
impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Inotify {
    /// A new one, non-blocking, that watches nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Inotify`]: `EMFILE` when `fs.inotify.max_user_instances` is reached.
    pub fn new() -> Result<Self, Error> {
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let fd = inotify::init(flags).map_err(|source| Error::Inotify {
            call: "inotify_init1",
            path: PathBuf::new(),
            source,
        })?;
        Ok(Self {
            fd,
            watched: HashMap::new(),
        })
    }

    /// Watches a file of a group. The number is that of [`Inotify::changed`].
    ///
    /// # Errors
    ///
    /// [`Error::Inotify`]: `ENOENT` when the group does not have the file, `ENOSPC` when
    /// `fs.inotify.max_user_watches` is reached.
    pub fn add(&mut self, group: &Group, file: &str) -> Result<i32, Error> {
        // inotify takes paths only; this one leads through the open directory all the same.
        let path = format!("/proc/self/fd/{}/{file}", group.dir().as_raw_fd());
        let shown = group.path().join(file);
        match inotify::add_watch(&self.fd, path, WatchFlags::MODIFY) {
            Ok(number) => {
                self.watched.insert(number, shown);
                Ok(number)
            }
            Err(source) => Err(Error::Inotify {
                call: "inotify_add_watch",
                path: shown,
                source,
            }),
        }
    }

    /// The path of a watched file.
    pub fn path(&self, number: i32) -> Option<&std::path::Path> {
        self.watched.get(&number).map(PathBuf::as_path)
    }

    /// Stops watching a file. One that was removed with its group has to be taken out like this:
    /// the kernel does not report the end of a file in this file system.
    ///
    /// # Errors
    ///
    /// [`Error::Inotify`]: `EINVAL` when the number is not that of a watched file.
    pub fn remove(&mut self, number: i32) -> Result<(), Error> {
        let path = self.watched.remove(&number).unwrap_or_default();
        inotify::remove_watch(&self.fd, number).map_err(|source| Error::Inotify {
            call: "inotify_rm_watch",
            path,
            source,
        })
    }

    /// The files that changed since the last call, each once; empty when none did.
    ///
    /// # Errors
    ///
    /// [`Error::Inotify`].
    pub fn changed(&mut self) -> Result<Vec<i32>, Error> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut changed = Vec::new();
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        loop {
            match reader.next() {
                // What was queued when its watch was removed, and IN_IGNORED of that, is no news.
                Ok(event) if self.watched.contains_key(&event.wd()) => changed.push(event.wd()),
                Ok(_) => {}
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(source) => {
                    return Err(Error::Inotify {
                        call: "read",
                        path: PathBuf::from("inotify"),
                        source,
                    });
                }
            }
        }
        changed.sort_unstable();
        changed.dedup();
        Ok(changed)
    }
}
