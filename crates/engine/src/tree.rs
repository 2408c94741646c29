//! The container's tree seen from outside: every lookup stays below its root, one directory or the layers of an
//! overlay.
//!
//! The walk is done by hand, one component at a time, since the question is *which* component is to
//! blame; `openat2(2)` with `RESOLVE_IN_ROOT` answers only that one is. It is still what opens each
//! step, so that whoever changes the tree meanwhile cannot lead the walk outside.
//!
//! Layers are read as overlayfs reads them: what is highest counts, a character device 0:0 hides what is below it, and
//! so does a directory that `user.overlay.opaque` marks (overlayfs.rst, "whiteouts and opaque directories").

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// Symlinks followed in one walk, as many as the kernel follows.
const MAX_LINKS: usize = 40;

/// Components looked at in one walk. The kernel has no such bound; a path of 4 KiB has 2,048.
const MAX_COMPONENTS: usize = 4096;

/// Directory entries looked at for suggestions.
const MAX_ENTRIES: usize = 4096;

/// The root of a container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tree<'a> {
    /// Its layers, topmost first.
    layers: &'a [BorrowedFd<'a>],
}

/// How a walk ended.
#[derive(Debug)]
pub(crate) enum Walk {
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
    Failed(Errno),
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) struct Found {
    /// Without symlinks, `.` or `..`.
    pub(crate) real: PathBuf,
    /// The directories passed through, `/` first.
    pub(crate) through: Vec<(PathBuf, Stat)>,
    /// Itself.
    pub(crate) stat: Stat,
    /// Open for nothing but asking, `O_PATH`.
    pub(crate) fd: OwnedFd,
}

impl Found {
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

impl<'a> Tree<'a> {
    pub(crate) fn new(layers: &'a [BorrowedFd<'a>]) -> Self {
        Self { layers }
    }

    /// Opens a path without symlinks: a link in the middle is `ELOOP`, one at the end is opened itself, with `O_PATH`.
    fn open(&self, real: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let (lowest, above) = self.layers.split_last().ok_or(Errno::NOENT)?;
        for layer in above {
            match open_in(*layer, real, flags) {
                Ok(fd) if is_whiteout(&fd) => return Err(Errno::NOENT),
                Err(Errno::NOENT) if !hides(*layer, real.parent().unwrap_or(real)) => {}
                Err(Errno::NOTDIR | Errno::LOOP) => return Err(Errno::NOENT),
                done => return done,
            }
        }
        open_in(*lowest, real, flags)
    }

    /// A directory by its path without symlinks, opened once for several questions.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR; ELOOP where there is a symlink; EACCES where the caller may not read it.
    pub(crate) fn directory(&self, real: &Path) -> Result<Merged, Errno> {
        let mut layers = Vec::new();
        for layer in self.layers {
            let mut last = self.layers.len() == 1;
            match open_in(*layer, real, OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(fd) => {
                    last = last || is_opaque(&fd);
                    layers.push(fd);
                }
                Err(Errno::NOENT) => {}
                // Something else hides what is below it.
                Err(Errno::NOTDIR | Errno::LOOP) if !layers.is_empty() => break,
                Err(errno) => return Err(errno),
            }
            if last || hides(*layer, real.parent().unwrap_or(real)) {
                break;
            }
        }
        match layers.is_empty() {
            true => Err(Errno::NOENT),
            false => Ok(Merged { layers }),
        }
    }

    /// What a path leads to, `O_PATH`. Where no symlink is met that is one look at each layer.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, ELOOP as execve(2) would have them, and what the kernel says.
    pub(crate) fn find(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let direct = self.open(path, OFlags::PATH);
        let is_link = |fd: &OwnedFd| {
            rustix::fs::fstat(fd)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
        };
        match direct {
            Ok(fd) if !is_link(&fd) => return Ok(fd),
            Ok(_) | Err(Errno::LOOP | Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        match self.walk(path) {
            Walk::Found(found) => Ok(found.fd),
            Walk::Missing { .. } => Err(Errno::NOENT),
            Walk::NotDirectory { .. } => Err(Errno::NOTDIR),
            Walk::Loop { .. } => Err(Errno::LOOP),
            Walk::Failed(errno) => Err(errno),
        }
    }

    /// Follows `path`; a relative one starts at `/`.
    pub(crate) fn walk(&self, path: &Path) -> Walk {
        let mut real = PathBuf::from("/");
        let mut todo: VecDeque<PathBuf> = parts(path);
        let mut through = Vec::new();
        let mut links = 0;
        let mut link = None;
        let mut here = match self.look(&real) {
            Ok(here) => here,
            Err(errno) => return Walk::Failed(errno),
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
                Err(errno) => return Walk::Failed(errno),
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
                Err(errno) => return Walk::Failed(errno),
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
                Err(errno) => return Walk::Failed(errno),
            };
        }
        Walk::Failed(Errno::NAMETOOLONG)
    }

    fn look(&self, real: &Path) -> Result<(OwnedFd, Stat), Errno> {
        let fd = self.open(real, OFlags::PATH)?;
        let stat = rustix::fs::fstat(&fd)?;
        Ok((fd, stat))
    }

    /// Opens a regular file for reading. `O_NONBLOCK` and the second look, since it may have been
    /// swapped for a fifo after the walk.
    pub(crate) fn open_regular(&self, real: &Path) -> Result<OwnedFd, Errno> {
        let fd = self.open(real, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let stat = rustix::fs::fstat(&fd)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(fd),
            _ => Err(Errno::INVAL),
        }
    }

    /// Names in a directory, a bounded number of them; none when it cannot be read.
    pub(crate) fn names(&self, directory: &Path) -> Vec<String> {
        let Walk::Found(found) = self.walk(directory) else {
            return Vec::new();
        };
        let (mut names, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for layer in self.layers {
            if let Ok(fd) = open_in(*layer, &found.real, OFlags::RDONLY | OFlags::DIRECTORY) {
                for (name, is_device) in entries(fd) {
                    let whiteout = is_device
                        && open_in(*layer, &found.real.join(&name), OFlags::PATH)
                            .is_ok_and(|fd| is_whiteout(&fd));
                    // What a higher layer says counts.
                    match (gone.contains(&name), whiteout) {
                        (true, _) => false,
                        (false, true) => gone.insert(name),
                        (false, false) => names.insert(name),
                    };
                }
            }
            if self.layers.len() == 1 || hides(*layer, &found.real) {
                break;
            }
        }
        names.into_iter().take(MAX_ENTRIES).collect()
    }
}

/// The directories of the layers that are one directory together, topmost first.
#[derive(Debug)]
pub(crate) struct Merged {
    layers: Vec<OwnedFd>,
}

impl Merged {
    /// What it has under a name; a symlink is not followed.
    ///
    /// # Errors
    /// ENOENT, and what the kernel says.
    pub(crate) fn stat(&self, name: &str) -> Result<Stat, Errno> {
        for layer in &self.layers {
            match rustix::fs::statat(layer, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if hides_below(&stat) => return Err(Errno::NOENT),
                Err(Errno::NOENT) => {}
                done => return done,
            }
        }
        Err(Errno::NOENT)
    }
}

fn open_in(layer: BorrowedFd<'_>, real: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat2(
        layer,
        real,
        flags | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS,
    )
}

fn is_whiteout(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| hides_below(&stat))
}

/// A whiteout by what stat(2) says.
fn hides_below(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Whether what a directory of a layer has not is not to be looked for below the layer either: one of the directories
/// on the way is opaque there, or no directory.
fn hides(layer: BorrowedFd<'_>, directory: &Path) -> bool {
    let mut at = PathBuf::from("/");
    for part in parts(directory) {
        at.push(part);
        match open_in(layer, &at, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(fd) if is_opaque(&fd) => return true,
            Ok(_) => {}
            Err(errno) => return matches!(errno, Errno::NOTDIR | Errno::LOOP),
        }
    }
    false
}

fn is_opaque(directory: &OwnedFd) -> bool {
    let mut value = [0];
    matches!(
        rustix::fs::fgetxattr(directory, c"user.overlay.opaque", &mut value),
        Ok(1)
    ) && value == *b"y"
}

/// Names in a directory, and whether each is a character device.
fn entries(directory: OwnedFd) -> impl Iterator<Item = (String, bool)> {
    rustix::fs::Dir::new(directory)
        .into_iter()
        .flat_map(|entries| entries.take(MAX_ENTRIES).map_while(Result::ok))
        .filter_map(|entry| {
            let is_device = entry.file_type() == FileType::CharacterDevice;
            Some((entry.file_name().to_str().ok()?.to_owned(), is_device))
        })
        .filter(|(name, _)| name != "." && name != "..")
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
pub(crate) fn read_at(fd: &OwnedFd, offset: u64, length: usize) -> Result<Vec<u8>, Errno> {
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

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
