//! One group: its directory, and reading and writing the files in it.
//!
//! Everything goes through the open directory, so a group that is removed and made again under the
//! same name meanwhile is never mistaken for the old one: the old directory answers `ENODEV`.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::{self, Errno};

use crate::keyed::{Parsed, parse_error};
use crate::limits::Write;
use crate::{Bytes, Controller, Controllers, Error};

/// The longest file here is the `cgroup.procs` of a group with all of 4 million processes.
const FILE_LIMIT: usize = 32 << 20;

/// A group, by its open directory.
#[derive(Debug)]
pub struct Group {
    dir: OwnedFd,
    name: OsString,
}

/// How [`Group::reclaim`] went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reclaimed {
    /// As much as was asked for.
    All,
    /// Less; the kernel does not say how much.
    Less,
}

impl Group {
    /// Opens a group by its path.
    ///
    /// # Errors
    ///
    /// [`Error::Open`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        open_dir(fs::CWD, path)
            .map(|dir| Self::from_dir(dir, path.file_name().unwrap_or_default()))
            .map_err(|source| Error::Open {
                path: path.to_owned(),
                source,
            })
    }

    /// The group whose directory this is (open for reading, not `O_PATH`) and its name.
    pub fn from_dir(dir: OwnedFd, name: impl Into<OsString>) -> Self {
        Self {
            dir,
            name: name.into(),
        }
    }

    /// Makes a group in `parent` (a directory that is open in any way) and opens it: two syscalls.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] for a name that would leave the parent, or that an interface file could
    /// have; [`Error::Create`]: `EEXIST` when it is there already, `EAGAIN` when an ancestor's
    /// `cgroup.max.*` is reached, `EACCES` when the parent is not the caller's to divide.
    ///
    /// # Kernel
    ///
    /// [`mkdir(2)`](https://man7.org/linux/man-pages/man2/mkdir.2.html), mode 0755.
    pub fn create(parent: impl AsFd, name: impl AsRef<OsStr>) -> Result<Self, Error> {
        let (parent, name) = (parent.as_fd(), name.as_ref());
        check_name(name)?;
        fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)).map_err(|source| Error::Create {
            path: path_of(parent).join(name),
            source,
        })?;
        Self::open_in(parent, name).inspect_err(|_| {
            // Nobody holds a handle on it: do not leave it behind. It was empty a moment ago, and
            // if it no longer is, the error that is returned matters more.
            let _ = fs::unlinkat(parent, name, AtFlags::REMOVEDIR);
        })
    }

    /// Opens a group in `parent`.
    ///
    /// # Errors
    ///
    /// [`Error::Name`]; [`Error::Open`] with `ENOENT` when there is none.
    pub fn open_in(parent: impl AsFd, name: impl AsRef<OsStr>) -> Result<Self, Error> {
        let (parent, name) = (parent.as_fd(), name.as_ref());
        check_name(name)?;
        open_dir(parent, Path::new(name))
            .map(|dir| Self::from_dir(dir, name))
            .map_err(|source| Error::Open {
                path: path_of(parent).join(name),
                source,
            })
    }

    /// The directory: for `clone_args.cgroup`, for [`device::Program::attach`], for another
    /// process.
    ///
    /// [`device::Program::attach`]: crate::device::Program::attach
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Where it lies. Looked up when it is asked for (`/proc/self/fd`), so that a start that
    /// succeeds does not pay for it.
    pub fn path(&self) -> PathBuf {
        path_of(self.dir())
    }

    /// Its name.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Writes one value.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] with the path and the value; [`Error::hint`] says what its errno means for
    /// that file.
    pub fn write(&self, write: &Write) -> Result<(), Error> {
        self.write_file(write.file, &write.value)
    }

    /// Writes `value` into `file`: open, write, close. The kernel takes a value whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn write_file(&self, file: &str, value: &str) -> Result<(), Error> {
        io::retry_on_intr(|| self.write_once(file, value))
            .map_err(|source| self.write_error(file, value, source))
    }

    fn write_once(&self, file: &str, value: &str) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = fs::openat(&self.dir, file, flags, Mode::empty())?;
        let written = io::write(&fd, value.as_bytes())?;
        // A second write would be a second command: there is no such thing as the rest of a value.
        if written == value.len() {
            Ok(())
        } else {
            Err(Errno::IO)
        }
    }

    pub(crate) fn write_error(&self, file: &str, value: &str, source: Errno) -> Error {
        Error::Write {
            path: self.path().join(file),
            value: value.to_owned(),
            source,
        }
    }

    /// Reads a whole file.
    ///
    /// # Errors
    ///
    /// [`Error::Read`]: `ENOENT` when the controller is not enabled in the parent, `ENODEV` when
    /// the group was removed. [`Error::TooLong`] above 32 MiB.
    pub fn read(&self, file: &str) -> Result<String, Error> {
        let fd = self.open_file(file, OFlags::RDONLY)?;
        let mut text = Vec::with_capacity(4096);
        loop {
            text.reserve(4096);
            let read =
                io::retry_on_intr(|| io::read(&fd, rustix::buffer::spare_capacity(&mut text)))
                    .map_err(|source| self.read_error(file, source))?;
            if read == 0 {
                break;
            }
            if text.len() > FILE_LIMIT {
                return Err(Error::TooLong {
                    path: self.path().join(file),
                    limit: FILE_LIMIT,
                });
            }
        }
        String::from_utf8(text)
            .map_err(|error| parse_error(file, &String::from_utf8_lossy(error.as_bytes())))
    }

    /// Reads a file and makes sense of it: `group.get::<cgroup::stat::MemoryStat>()`.
    ///
    /// # Errors
    ///
    /// As [`Group::read`], and [`Error::Parse`].
    pub fn get<T: Parsed>(&self) -> Result<T, Error> {
        T::parse(&self.read(T::FILE)?)
    }

    /// The same, or `None` when the group has no such file: the controller is not enabled for it,
    /// or this kernel does not have the file.
    ///
    /// # Errors
    ///
    /// As [`Group::get`], but for `ENOENT` and, of pressure files when it is not measured,
    /// `EOPNOTSUPP`.
    pub fn get_if_there<T: Parsed>(&self) -> Result<Option<T>, Error> {
        self.if_there(T::FILE)?
            .map(|text| T::parse(&text))
            .transpose()
    }

    pub(crate) fn if_there(&self, file: &str) -> Result<Option<String>, Error> {
        match self.read(file) {
            Ok(text) => Ok(Some(text)),
            Err(Error::Read {
                source: Errno::NOENT | Errno::OPNOTSUPP,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn open_file(&self, file: &str, flags: OFlags) -> Result<OwnedFd, Error> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        io::retry_on_intr(|| fs::openat(&self.dir, file, flags, Mode::empty()))
            .map_err(|source| self.read_error(file, source))
    }

    pub(crate) fn read_error(&self, file: &str, source: Errno) -> Error {
        Error::Read {
            path: self.path().join(file),
            source,
        }
    }

    /// Whether the group has this file: `cgroup.type` is missing in the root group alone.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] for anything but `ENOENT`.
    pub fn has_file(&self, file: &str) -> Result<bool, Error> {
        match fs::statat(&self.dir, file, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(source) => Err(self.read_error(file, source)),
        }
    }

    /// What the group offers its children: `cgroup.controllers`.
    ///
    /// # Errors
    ///
    /// As [`Group::read`].
    pub fn controllers(&self) -> Result<Controllers, Error> {
        self.read("cgroup.controllers")
            .map(|t| Controllers::parse(&t))
    }

    /// What it enables for them: `cgroup.subtree_control`.
    ///
    /// # Errors
    ///
    /// As [`Group::read`].
    pub fn enabled(&self) -> Result<Controllers, Error> {
        self.read("cgroup.subtree_control")
            .map(|t| Controllers::parse(&t))
    }

    /// The processes of the group itself, not of its children; 0 stands for one that the reader's
    /// pid namespace does not show. One that forks meanwhile may be missing or there twice.
    ///
    /// # Errors
    ///
    /// As [`Group::read`]; `EOPNOTSUPP` in a threaded group, whose processes its domain lists.
    pub fn procs(&self) -> Result<Vec<u32>, Error> {
        let text = self.read("cgroup.procs")?;
        text.lines()
            .map(|line| {
                line.parse()
                    .ok()
                    .ok_or_else(|| parse_error("cgroup.procs", line))
            })
            .collect()
    }

    /// Asks the kernel to take memory away from the group: `memory.reclaim`, since Linux 5.19.
    ///
    /// # Errors
    ///
    /// [`Error::Write`]; `EINTR` when a signal came, having reclaimed some.
    pub fn reclaim(&self, amount: Bytes) -> Result<Reclaimed, Error> {
        let (file, value) = ("memory.reclaim", amount.to_string());
        // Not repeated on EINTR: that would reclaim what was reclaimed once more.
        match self.write_once(file, &value) {
            Ok(()) => Ok(Reclaimed::All),
            Err(Errno::AGAIN) => Ok(Reclaimed::Less),
            Err(source) => Err(self.write_error(file, &value, source)),
        }
    }

    /// The names of its child groups, sorted.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] of the directory.
    pub fn children(&self) -> Result<Vec<OsString>, Error> {
        let mut names = child_names(&self.dir).map_err(|source| Error::Read {
            path: self.path(),
            source,
        })?;
        names.sort();
        Ok(names)
    }
}

/// The directories in a directory.
pub(crate) fn child_names(dir: impl AsFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    // `read_from` opens "." anew: the descriptor's own position stays where it is.
    for entry in fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if entry.file_type() == fs::FileType::Directory && name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

fn open_dir(at: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    io::retry_on_intr(|| fs::openat(at, path, flags, Mode::empty()))
}

/// Where an open directory lies, for messages.
pub(crate) fn path_of(dir: BorrowedFd<'_>) -> PathBuf {
    let link = format!("/proc/self/fd/{}", dir.as_raw_fd());
    let Ok(path) = fs::readlink(&link, Vec::new()) else {
        return link.into();
    };
    // What the kernel appends to the path of a directory that is gone.
    let bytes = path.as_bytes();
    let bytes = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// Refuses what `mkdir` would take for another place, and names that an interface file has or may
/// get: those start with a controller's name, or `cgroup`, and a dot.
fn check_name(name: &OsStr) -> Result<(), Error> {
    let bytes = name.as_bytes();
    let taken = name
        .to_str()
        .and_then(|name| name.split_once('.'))
        .is_some_and(|(prefix, _)| prefix == "cgroup" || Controller::by_name(prefix).is_some());
    let bad = bytes.is_empty()
        || bytes == b"."
        || bytes == b".."
        || bytes.len() > 255
        || bytes.iter().any(|b| matches!(b, b'/' | b'\n' | 0));
    if bad || taken {
        return Err(Error::Name {
            name: name.to_string_lossy().into_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
