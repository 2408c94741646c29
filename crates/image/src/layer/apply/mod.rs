//! A layer becomes a directory, as an upper directory of overlayfs would look: whiteouts are character
//! devices 0:0, and a directory that hides the layers below has the opaque attribute.
//!
//! Everything is done by descriptor: a parent directory found inside the root, then one system call on one
//! name in it that follows no link. Nothing is opened that was not just made, and an entry that replaces
//! another removes that first, so a write never goes through a link.
//!
//! Needs CAP_CHOWN, CAP_FOWNER, CAP_DAC_OVERRIDE and CAP_SETFCAP over the owners in the layer, which a user
//! namespace gives, and Linux 5.8 for whiteouts in one.

mod attrs;
mod dirs;
mod link;
mod lowers;
mod remove;

use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fchmod, fstat, ftruncate, futimens,
    mkdirat, mknodat, openat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::error::{Bound, Call, Error, Rule};
use super::name::{self, Name};
use super::options::{Applied, Limits, Options};
use super::tar::{Archive, Entry, Kind};
use dirs::{DIR, Dir, Tree, chown, times};

/// Applies the layer that `reader` gives, uncompressed, to the directory `root`, which must be empty and
/// nobody else's until this returns. After an error it holds a part of the layer.
///
/// # Errors
///
/// [`Error::Refused`], [`Error::Malformed`] and [`Error::Limit`] for what the layer holds, [`Error::End`] and
/// [`Error::Input`] when it stops, [`Error::Call`] where the kernel refuses.
pub fn apply(
    root: BorrowedFd<'_>,
    reader: impl BufRead,
    limits: &Limits,
    options: &Options<'_>,
) -> Result<Applied, Error> {
    let mut layer = Layer {
        archive: Archive::new(reader),
        tree: Tree::new(root, options),
        limits,
        options,
        applied: Applied::default(),
    };
    while let Some(entry) = layer.archive.next_entry()? {
        layer.entry(&entry)?;
    }
    layer.tree.flush()?;
    Ok(layer.applied)
}

struct Layer<'a, R> {
    archive: Archive<R>,
    tree: Tree<'a>,
    limits: &'a Limits,
    options: &'a Options<'a>,
    applied: Applied,
}

impl<R: BufRead> Layer<'_, R> {
    fn entry(&mut self, entry: &Entry) -> Result<(), Error> {
        self.count(entry)?;
        match name::parse(&entry.path, self.limits.depth)? {
            Name::Root => self.root(entry),
            Name::Ignored => Ok(()),
            Name::Opaque { parent } => self.opaque(&parent),
            Name::Whiteout { parent, name } => self.whiteout(entry, &parent, &name),
            Name::Plain { parent, name } => match entry.kind {
                Kind::File => self.file(entry, &parent, &name),
                Kind::Directory => self.directory(entry, &parent, &name),
                Kind::Symlink => self.symlink(entry, &parent, &name),
                Kind::HardLink => self.hard_link(entry, &parent, &name),
                Kind::Fifo => self.fifo(entry, &parent, &name),
                Kind::CharDevice { major: 0, minor: 0 } => {
                    Err(Error::refused(&entry.path, Rule::OverlayWhiteout))
                }
                Kind::CharDevice { .. } | Kind::BlockDevice { .. } => {
                    self.applied.devices_skipped += 1;
                    Ok(())
                }
            },
        }
    }

    fn count(&mut self, entry: &Entry) -> Result<(), Error> {
        let limit = |bound, limit| Err(Error::Limit { bound, limit });
        self.applied.entries += 1;
        if self.applied.entries > self.limits.entries {
            return limit(Bound::Entries, self.limits.entries);
        }
        let bytes = self.applied.bytes.checked_add(entry.size);
        match bytes.filter(|bytes| *bytes <= self.limits.bytes) {
            Some(bytes) => self.applied.bytes = bytes,
            None => return limit(Bound::Bytes, self.limits.bytes),
        }
        Ok(())
    }

    fn root(&mut self, entry: &Entry) -> Result<(), Error> {
        if entry.kind != Kind::Directory {
            return Err(Error::refused(&entry.path, Rule::RootType));
        }
        let dir = self.tree.parent(b"")?;
        self.facts(dir.fd.as_fd(), entry)?;
        dir.set_mtime(entry.mtime);
        Ok(())
    }

    fn opaque(&mut self, parent: &[u8]) -> Result<(), Error> {
        self.applied.whiteouts += 1;
        self.applied.root_opaque |= parent.is_empty();
        let dir = self.tree.parent(parent)?;
        self.tree.set_opaque(parent, dir.fd.as_fd())
    }

    /// What this layer has itself stays, whichever comes first.
    fn whiteout(&mut self, entry: &Entry, parent: &[u8], name: &[u8]) -> Result<(), Error> {
        self.applied.whiteouts += 1;
        let dir = self.tree.parent(parent)?;
        let made = mknodat(
            dir.touch(),
            name,
            FileType::CharacterDevice,
            Mode::empty(),
            0,
        );
        match made {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => {
                let stat = statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(Error::call(&entry.path, Call::Stat))?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    return Ok(());
                }
                let fd = openat(&dir.fd, name, DIR, Mode::empty())
                    .map_err(Error::call(&entry.path, Call::Open))?;
                self.tree.set_opaque(&entry.path, fd.as_fd())
            }
            Err(errno) => Err(Error::call(&entry.path, Call::Mknod)(errno)),
        }
    }

    fn file(&mut self, entry: &Entry, parent: &[u8], name: &[u8]) -> Result<(), Error> {
        let dir = self.tree.parent(parent)?;
        let create = || {
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(dir.touch(), name, flags, Mode::RUSR | Mode::WUSR)
        };
        let fd = match create() {
            Err(Errno::EXIST) => {
                self.make_room(&dir, name, entry)?;
                create()
            }
            result => result,
        };
        let fd = fd.map_err(Error::call(&entry.path, Call::Create))?;
        self.contents(&fd, entry)?;
        self.facts(fd.as_fd(), entry)?;
        futimens(&fd, &times(entry.mtime)).map_err(Error::call(&entry.path, Call::Utimens))?;
        self.applied.files += 1;
        Ok(())
    }

    fn contents(&mut self, fd: &OwnedFd, entry: &Entry) -> Result<(), Error> {
        let whole = [super::tar::Region {
            offset: 0,
            length: entry.size,
        }];
        let regions = entry.sparse.as_deref().unwrap_or(&whole);
        if entry.sparse.is_some() {
            ftruncate(fd, entry.size).map_err(Error::call(&entry.path, Call::Truncate))?;
        }
        for region in regions {
            let mut done = 0;
            while done < region.length {
                let wanted = usize::try_from(region.length - done).unwrap_or(usize::MAX);
                let data = self.archive.data()?;
                let data = &data[..data.len().min(wanted)];
                let count = match rustix::io::pwrite(fd, data, region.offset + done) {
                    Err(Errno::INTR) => continue,
                    result => result.map_err(Error::call(&entry.path, Call::Write))?,
                };
                self.archive.consume(count);
                done += count as u64;
            }
        }
        Ok(())
    }

    /// Owner, mode, attributes: in this order, for each can undo the one after it.
    fn facts(&mut self, fd: BorrowedFd<'_>, entry: &Entry) -> Result<(), Error> {
        let owners = &self.options.owners;
        let owner = owners.of(entry.uid, entry.gid);
        if let Some(owner) = owner.map_err(|rule| Error::refused(&entry.path, rule))? {
            chown(fd, owner).map_err(Error::call(&entry.path, Call::Chown))?;
        }
        fchmod(fd, Mode::from_raw_mode(entry.mode))
            .map_err(Error::call(&entry.path, Call::Chmod))?;
        self.applied.xattrs_skipped += attrs::set(fd, entry, owners, self.options.overlay)?;
        Ok(())
    }

    fn directory(&mut self, entry: &Entry, parent: &[u8], name: &[u8]) -> Result<(), Error> {
        let dir = self.tree.parent(parent)?;
        let mut replaced = false;
        let make = || mkdirat(dir.touch(), name, Mode::RWXU);
        match make() {
            Err(Errno::EXIST) => {
                let stat = statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(Error::call(&entry.path, Call::Stat))?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    self.make_room(&dir, name, entry)?;
                    make().map_err(Error::call(&entry.path, Call::Mkdir))?;
                    replaced = true;
                }
            }
            result => result.map_err(Error::call(&entry.path, Call::Mkdir))?,
        }
        let fd = openat(&dir.fd, name, DIR, Mode::empty())
            .map_err(Error::call(&entry.path, Call::Open))?;
        if replaced {
            // What was there had hidden a directory of the layers below, whiteout or not.
            self.tree.set_opaque(&entry.path, fd.as_fd())?;
        }
        self.facts(fd.as_fd(), entry)?;
        let kept = self.tree.keep(&name::join(parent, name), fd)?;
        kept.set_mtime(entry.mtime);
        self.applied.directories += 1;
        Ok(())
    }

    fn symlink(&mut self, entry: &Entry, parent: &[u8], name: &[u8]) -> Result<(), Error> {
        let target = &entry.link[..];
        // PATH_MAX with its NUL.
        if target.is_empty() || target.len() > 4095 || target.contains(&0) {
            return Err(Error::refused(&entry.path, Rule::LinkTarget));
        }
        let dir = self.tree.parent(parent)?;
        let make = || symlinkat(target, dir.touch(), name);
        match make() {
            Err(Errno::EXIST) => {
                self.make_room(&dir, name, entry)?;
                make()
            }
            result => result,
        }
        .map_err(Error::call(&entry.path, Call::Symlink))?;
        let owner = self.options.owners.of(entry.uid, entry.gid);
        if let Some((uid, gid)) = owner.map_err(|rule| Error::refused(&entry.path, rule))? {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            chownat(&dir.fd, name, Some(uid), Some(gid), flags)
                .map_err(Error::call(&entry.path, Call::Chown))?;
        }
        utimensat(
            &dir.fd,
            name,
            &times(entry.mtime),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(Error::call(&entry.path, Call::Utimens))?;
        // A link can have none but those that are left out anyway.
        self.applied.xattrs_skipped += entry.xattrs.len() as u64;
        self.applied.symlinks += 1;
        Ok(())
    }

    fn fifo(&mut self, entry: &Entry, parent: &[u8], name: &[u8]) -> Result<(), Error> {
        let dir = self.tree.parent(parent)?;
        let make = || {
            mknodat(
                dir.touch(),
                name,
                FileType::Fifo,
                Mode::RUSR | Mode::WUSR,
                0,
            )
        };
        match make() {
            Err(Errno::EXIST) => {
                self.make_room(&dir, name, entry)?;
                make()
            }
            result => result,
        }
        .map_err(Error::call(&entry.path, Call::Mknod))?;
        // Opened for reading without waiting for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&dir.fd, name, flags, Mode::empty())
            .map_err(Error::call(&entry.path, Call::Open))?;
        let stat = fstat(&fd).map_err(Error::call(&entry.path, Call::Stat))?;
        debug_assert_eq!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo);
        self.facts(fd.as_fd(), entry)?;
        futimens(&fd, &times(entry.mtime)).map_err(Error::call(&entry.path, Call::Utimens))?;
        self.applied.fifos += 1;
        Ok(())
    }

    /// Removes what an earlier entry of this layer put at `name`.
    fn make_room(&mut self, dir: &Dir, name: &[u8], entry: &Entry) -> Result<(), Error> {
        let stat = statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(Error::call(&entry.path, Call::Stat))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if matches!(kind, FileType::Directory | FileType::Symlink) {
            // A cached directory may have been reached by it.
            self.tree.flush()?;
        }
        if kind == FileType::Directory {
            remove::tree(dir.touch(), name)
        } else {
            unlinkat(dir.touch(), name, AtFlags::empty())
        }
        .map_err(Error::call(&entry.path, Call::Unlink))
    }
}
