//! The directories that entries lie in: found inside the layer, made when missing, kept open for a while.
//!
//! Whatever an archive makes of its own symbolic links, a parent is looked up by [openat2(2)] with
//! RESOLVE_IN_ROOT, so it is below the layer's root, where `/` and `..` lead back to, and on its mount.
//!
//! A directory gets its time when it leaves the cache, since every file made in it changes that. One that is
//! entered again gives up the time it has and gets it back: so nothing has to be remembered to the end of
//! the archive.
//!
//! [openat2(2)]: https://man7.org/linux/man-pages/man2/openat2.2.html

use std::cell::Cell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, XattrFlags, fchmod,
    fchown, fsetxattr, fstat, futimens, mkdirat, openat, openat2, readlinkat, unlinkat,
};
use rustix::io::Errno;

use super::super::error::{Call, Error, Rule};
use super::super::name::{WHITEOUT, join};
use super::super::options::Options;
use super::lowers;

/// Directories kept open.
const KEPT: usize = 16;
/// Symbolic links followed on the way to a directory, as path_resolution(7) has it.
const MAX_LINKS: usize = 40;
/// Lookups of one path that others' renames may spoil.
const MAX_TRIES: u32 = 1000;

pub(super) const DIR: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A directory of the layer.
pub(super) struct Dir {
    pub(super) fd: OwnedFd,
    identity: (u64, u64),
    mtime: Cell<(i64, u32)>,
    changed: Cell<bool>,
}

impl Dir {
    /// Says that a name in it is about to change.
    pub(super) fn touch(&self) -> BorrowedFd<'_> {
        self.changed.set(true);
        self.fd.as_fd()
    }

    pub(super) fn set_mtime(&self, mtime: (i64, u32)) {
        self.mtime.set(mtime);
        self.changed.set(true);
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

/// The layer's tree.
pub(super) struct Tree<'a> {
    pub(super) root: BorrowedFd<'a>,
    pub(super) options: &'a Options<'a>,
    /// The one used last is at the end.
    cache: Vec<(Vec<u8>, Rc<Dir>)>,
    /// Those that left the cache while an entry was still at work in them. They are few: an entry has three.
    busy: Vec<(Vec<u8>, Rc<Dir>)>,
}

pub(super) fn times(mtime: (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime.0,
        tv_nsec: mtime.1.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

pub(super) fn is_overlay_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: BorrowedFd<'a>, options: &'a Options<'a>) -> Self {
        Self {
            root,
            options,
            cache: Vec::with_capacity(KEPT + 1),
            busy: Vec::new(),
        }
    }

    /// The directory at `path`, made when it is missing.
    pub(super) fn parent(&mut self, path: &[u8]) -> Result<Rc<Dir>, Error> {
        if let Some(dir) = self.cached(path) {
            return Ok(dir);
        }
        match self.open(path) {
            Ok(fd) => self.keep(path, fd),
            Err(Errno::NOENT | Errno::NOTDIR) => self.make(path),
            Err(Errno::LOOP) => Err(Error::refused(path, Rule::ParentLoop)),
            Err(errno) => Err(Error::call(path, Call::Parent)(errno)),
        }
    }

    /// The directory at `path` if the layer has it.
    pub(super) fn existing(&mut self, path: &[u8]) -> Result<Option<Rc<Dir>>, Error> {
        if let Some(dir) = self.cached(path) {
            return Ok(Some(dir));
        }
        match self.open(path) {
            Ok(fd) => self.keep(path, fd).map(Some),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(Errno::LOOP) => Err(Error::refused(path, Rule::ParentLoop)),
            Err(errno) => Err(Error::call(path, Call::Parent)(errno)),
        }
    }

    fn cached(&mut self, path: &[u8]) -> Option<Rc<Dir>> {
        let at = self.cache.iter().rposition(|(known, _)| known == path)?;
        if at + 1 != self.cache.len() {
            let entry = self.cache.remove(at);
            self.cache.push(entry);
        }
        self.cache.last().map(|(_, dir)| Rc::clone(dir))
    }

    fn open(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let mut tries = 0;
        loop {
            // EAGAIN: something was renamed or mounted on this machine while `..` of a link was followed. Who
            // does that without end shall not keep us here.
            tries += 1;
            match openat2(self.root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) if tries < MAX_TRIES => {}
                result => return result,
            }
        }
    }

    /// Puts an open directory into the cache under `path`.
    pub(super) fn keep(&mut self, path: &[u8], fd: OwnedFd) -> Result<Rc<Dir>, Error> {
        let stat = fstat(&fd).map_err(Error::call(path, Call::Stat))?;
        let identity = (stat.st_dev, stat.st_ino);
        // Two names of one directory, by a symbolic link, share what is to become of its time.
        let mut known = self.cache.iter().chain(&self.busy);
        let dir = match known.find(|(_, dir)| dir.identity == identity) {
            Some((_, dir)) => Rc::clone(dir),
            None => Rc::new(Dir {
                fd,
                identity,
                mtime: Cell::new((stat.st_mtime, stat.st_mtime_nsec as u32)),
                changed: Cell::new(false),
            }),
        };
        self.cache.retain(|(known, _)| known != path);
        self.cache.push((path.to_vec(), Rc::clone(&dir)));
        if self.cache.len() > KEPT {
            let oldest = self.cache.remove(0);
            self.busy.push(oldest);
        }
        self.leave()?;
        Ok(dir)
    }

    /// Forgets every directory: a name on the way to one of them means something else from now on.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        self.busy.append(&mut self.cache);
        self.leave()
    }

    /// Gives the directories that left the cache their time, but for those that are still in use: by an entry,
    /// or by another name that is in the cache. One that is here by two names counts once.
    fn leave(&mut self) -> Result<(), Error> {
        let mut left: Vec<(Vec<u8>, Rc<Dir>)> = Vec::new();
        for (path, dir) in std::mem::take(&mut self.busy) {
            let mut others = self.cache.iter().chain(&left);
            if !others.any(|(_, other)| Rc::ptr_eq(other, &dir)) {
                left.push((path, dir));
            }
        }
        for (path, dir) in left {
            match Rc::try_unwrap(dir) {
                Ok(dir) if dir.changed.get() => futimens(&dir.fd, &times(dir.mtime.get()))
                    .map_err(Error::call(&path, Call::Utimens))?,
                Ok(_) => {}
                Err(dir) => self.busy.push((path, dir)),
            }
        }
        Ok(())
    }

    /// Marks a directory so that nothing of it is seen in the layers below.
    pub(super) fn set_opaque(&self, path: &[u8], dir: BorrowedFd<'_>) -> Result<(), Error> {
        let name = self.options.overlay.opaque();
        fsetxattr(dir, name, b"y", XattrFlags::empty()).map_err(Error::call(path, Call::Setxattr))
    }

    /// Walks to `path` component by component, making what is missing. What a layer below has there counts:
    /// its directories are made alike, its symbolic links are followed.
    fn make(&mut self, path: &[u8]) -> Result<Rc<Dir>, Error> {
        let refused = |rule| Error::refused(path, rule);
        let mut todo: VecDeque<Vec<u8>> = path.split(|b| *b == b'/').map(<[u8]>::to_vec).collect();
        let mut here: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(component) = todo.pop_front() {
            match &component[..] {
                b"" | b"." => continue,
                b".." => {
                    here.pop();
                    continue;
                }
                _ => {}
            }
            let parent_path = here.join(&b'/');
            let link = match self.step(&parent_path, &component, path)? {
                Step::Down => {
                    here.push(component);
                    if here.len() > 2 * 1024 {
                        return Err(refused(Rule::Depth));
                    }
                    continue;
                }
                Step::Link(target) => target,
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(refused(Rule::ParentLoop));
            }
            if link.starts_with(b"/") {
                here.clear();
            }
            for part in link.split(|byte| *byte == b'/').rev() {
                todo.push_front(part.to_vec());
            }
        }
        let real = here.join(&b'/');
        let fd = self.open(&real).map_err(Error::call(path, Call::Parent))?;
        self.keep(path, fd)
    }

    /// One component of [`Tree::make`]: there is a directory afterwards, or a link to be followed.
    fn step(&mut self, parent_path: &[u8], name: &[u8], whole: &[u8]) -> Result<Step, Error> {
        let parent = match self.cached(parent_path) {
            Some(dir) => dir,
            None => {
                let fd = self.open(parent_path);
                let fd = fd.map_err(Error::call(whole, Call::Parent))?;
                self.keep(parent_path, fd)?
            }
        };
        let path = join(parent_path, name);
        match openat(
            &parent.fd,
            name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        ) {
            Ok(fd) => {
                let stat = fstat(&fd).map_err(Error::call(whole, Call::Stat))?;
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => return Ok(Step::Down),
                    FileType::Symlink => return read_link(&fd, whole),
                    _ if is_overlay_whiteout(&stat) => {
                        unlinkat(parent.touch(), name, AtFlags::empty())
                            .map_err(Error::call(whole, Call::Unlink))?;
                        let fd = self.mkdir(&parent, name, &path, None)?;
                        self.set_opaque(whole, fd.fd.as_fd())?;
                        return Ok(Step::Down);
                    }
                    _ => return Err(Error::refused(whole, Rule::ParentType)),
                }
            }
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::call(whole, Call::Open)(errno)),
        }
        let lower =
            lowers::find(self.root, self.options, &path).map_err(Error::call(whole, Call::Open))?;
        match lower {
            Some(found) => match FileType::from_raw_mode(found.stat.st_mode) {
                FileType::Symlink => read_link(&found.fd, whole),
                FileType::Directory => {
                    self.mkdir(&parent, name, &path, Some(&found))?;
                    Ok(Step::Down)
                }
                // As when the layers lie in one directory.
                _ => Err(Error::refused(whole, Rule::ParentType)),
            },
            None => {
                self.mkdir(&parent, name, &path, None)?;
                Ok(Step::Down)
            }
        }
    }

    /// A directory that no entry describes: like the one below, else 0755 of root, from 1970.
    fn mkdir(
        &mut self,
        parent: &Dir,
        name: &[u8],
        path: &[u8],
        like: Option<&lowers::Found>,
    ) -> Result<Rc<Dir>, Error> {
        // No entry has such a name in its way, and a link can lead there: who writes this tree as an archive would
        // write a whiteout.
        if name.starts_with(WHITEOUT) {
            return Err(Error::refused(path, Rule::WhiteoutParent));
        }
        mkdirat(parent.touch(), name, Mode::RWXU).map_err(Error::call(path, Call::Mkdir))?;
        let fd = openat(&parent.fd, name, DIR, Mode::empty());
        let fd = fd.map_err(Error::call(path, Call::Open))?;
        let dir = self.keep(path, fd)?;
        match like {
            Some(found) => {
                lowers::copy_facts(found, self.options, dir.fd.as_fd(), path)?;
                dir.set_mtime((found.stat.st_mtime, found.stat.st_mtime_nsec as u32));
            }
            None => {
                let owner = self.options.owners.of(0, 0);
                if let Some(owner) = owner.map_err(|rule| Error::refused(path, rule))? {
                    chown(dir.fd.as_fd(), owner).map_err(Error::call(path, Call::Chown))?;
                }
                fchmod(&dir.fd, Mode::from_raw_mode(0o755))
                    .map_err(Error::call(path, Call::Chmod))?;
                dir.set_mtime((0, 0));
            }
        }
        Ok(dir)
    }
}

enum Step {
    Down,
    Link(Vec<u8>),
}

fn read_link(fd: &OwnedFd, whole: &[u8]) -> Result<Step, Error> {
    let target = readlinkat(fd, c"", Vec::new()).map_err(Error::call(whole, Call::Readlink))?;
    Ok(Step::Link(target.into_bytes()))
}

pub(super) fn chown(fd: BorrowedFd<'_>, (uid, gid): (u32, u32)) -> Result<(), Errno> {
    fchown(
        fd,
        Some(rustix::fs::Uid::from_raw(uid)),
        Some(rustix::fs::Gid::from_raw(gid)),
    )
}
