//! The container's tree seen from outside: every lookup stays below one directory.
//!
//! The walk is done by hand, one component at a time, since the question is *which* component is to
//! blame; `openat2(2)` with `RESOLVE_IN_ROOT` answers only that one is. It is still what opens each
//! step, so that whoever changes the tree meanwhile cannot lead the walk outside.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// Symlinks followed in one walk, as many as the kernel follows.
const MAX_LINKS: usize = 40;

/// Components looked at in one walk. The kernel has no such bound; a path of 4 KiB has 2,048.
const MAX_COMPONENTS: usize = 4096;

/// Directory entries looked at for suggestions.
const MAX_ENTRIES: usize = 4096;

/// The root directory of a container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree<'a> {
    root: BorrowedFd<'a>,
}

/// How a walk ended.
#[derive(Debug)]
pub(super) enum Walk {
    /// Something is there.
    Found(Found),
    /// Nothing is there.
    Missing {
        /// The first component that is missing, in full.
        at: PathBuf,
        /// The symlink whose target it is a part of, and that target.
        link: Option<(PathBuf, PathBuf)>,
    },
    /// A component in the middle is no directory.
    NotDirectory {
        /// Which.
        at: PathBuf,
    },
    /// Too many symlinks.
    Loop {
        /// One of them.
        at: PathBuf,
    },
    /// The kernel would not say.
    Failed,
}

/// What a path leads to.
#[derive(Debug)]
pub(super) struct Found {
    /// Without symlinks, `.` or `..`.
    pub(super) real: PathBuf,
    /// The directories passed through, `/` first.
    pub(super) through: Vec<(PathBuf, Stat)>,
    /// Itself.
    pub(super) stat: Stat,
    /// Open for nothing but asking, `O_PATH`.
    pub(super) fd: OwnedFd,
}

impl Found {
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: BorrowedFd<'a>) -> Self {
        Self { root }
    }

    /// Opens a path without symlinks.
    fn open(&self, real: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        rustix::fs::openat2(
            self.root,
            real,
            flags | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    }

    /// Follows `path`; a relative one starts at `/`.
    pub(super) fn walk(&self, path: &Path) -> Walk {
        let mut real = PathBuf::from("/");
        let mut todo: VecDeque<PathBuf> = parts(path);
        let mut through = Vec::new();
        let mut links = 0;
        let mut link = None;
        let mut here = match self.look(&real) {
            Ok(here) => here,
            Err(_) => return Walk::Failed,
        };
        for _ in 0..MAX_COMPONENTS {
            let Some(part) = todo.pop_front() else {
                let (fd, stat) = here;
                return Walk::Found(Found {
                    real,
                    through,
                    stat,
                    fd,
                });
            };
            if FileType::from_raw_mode(here.1.st_mode) != FileType::Directory {
                return Walk::NotDirectory { at: real };
            }
            through.push((real.clone(), here.1));
            let mut next = real.clone();
            if part == Path::new("..") {
                next.pop();
            } else {
                next.push(&part);
            }
            here = match self.look(&next) {
                Ok(here) => here,
                Err(Errno::NOENT) => {
                    // What comes after the symlink's own parts is not the symlink's fault.
                    let dangling = link.filter(|(_, _, rest)| todo.len() >= *rest);
                    let link = dangling.map(|(link, target, _)| (link, target));
                    return Walk::Missing { at: next, link };
                }
                Err(_) => return Walk::Failed,
            };
            if FileType::from_raw_mode(here.1.st_mode) != FileType::Symlink {
                real = next;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Walk::Loop { at: next };
            }
            let target = match rustix::fs::readlinkat(&here.0, c"", Vec::new()) {
                Ok(target) => PathBuf::from(OsStr::from_bytes(target.as_bytes())),
                Err(_) => return Walk::Failed,
            };
            if target.is_absolute() {
                real = PathBuf::from("/");
            }
            let rest = todo.len();
            for part in parts(&target).into_iter().rev() {
                todo.push_front(part);
            }
            link = Some((next, target, rest));
            here = match self.look(&real) {
                Ok(here) => here,
                Err(_) => return Walk::Failed,
            };
        }
        Walk::Failed
    }

    fn look(&self, real: &Path) -> Result<(OwnedFd, Stat), Errno> {
        let fd = self.open(real, OFlags::PATH)?;
        let stat = rustix::fs::fstat(&fd)?;
        Ok((fd, stat))
    }

    /// Opens a regular file for reading. `O_NONBLOCK` and the second look, since it may have been
    /// swapped for a fifo after the walk.
    pub(super) fn open_regular(&self, real: &Path) -> Result<OwnedFd, Errno> {
        let fd = self.open(real, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let stat = rustix::fs::fstat(&fd)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(fd),
            _ => Err(Errno::INVAL),
        }
    }

    /// Names in a directory, a bounded number of them; none when it cannot be read.
    pub(super) fn names(&self, directory: &Path) -> Vec<String> {
        let Walk::Found(found) = self.walk(directory) else {
            return Vec::new();
        };
        let Ok(fd) = self.open(&found.real, OFlags::RDONLY | OFlags::DIRECTORY) else {
            return Vec::new();
        };
        let Ok(entries) = rustix::fs::Dir::new(fd) else {
            return Vec::new();
        };
        entries
            .take(MAX_ENTRIES)
            .map_while(Result::ok)
            .filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned))
            .filter(|name| name != "." && name != "..")
            .collect()
    }
}

/// Names and `..`, in order: `/` and `.` say nothing in a walk that starts at the root.
fn parts(path: &Path) -> VecDeque<PathBuf> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(PathBuf::from(name)),
            Component::ParentDir => Some(PathBuf::from("..")),
            _ => None,
        })
        .collect()
}

/// Reads `length` bytes at `offset`, fewer at the end of the file.
pub(super) fn read_at(fd: &OwnedFd, offset: u64, length: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        // A sum beyond what a file offset can be is beyond the end of every file.
        let Some(at) = offset
            .checked_add(filled as u64)
            .filter(|at| i64::try_from(*at).is_ok())
        else {
            break;
        };
        match rustix::io::pread(fd, &mut bytes[filled..], at) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
