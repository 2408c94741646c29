//! Looking at a tree: names in order, facts of one file, by descriptor and without following a link.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, Statx, StatxFlags, fgetxattr,
    flistxattr, fstat, openat, openat2, readlinkat, statat, statx,
};
use rustix::io::Errno;

use super::super::error::{Bound, Call, Error, Rule};
use super::super::name::join;
use super::super::options::{Limits, OverlayAttrs};
use super::super::tar::{Entry, Kind};

/// A tree, and the directory in it that was looked at last.
pub(super) struct Tree<'a> {
    root: BorrowedFd<'a>,
    here: Option<(Vec<u8>, OwnedFd)>,
    /// The number of the root's mount, once it was asked for.
    mount: Option<u64>,
}

/// Something in a tree.
pub(super) struct Seen {
    pub(super) stat: Stat,
    /// For files and directories.
    pub(super) fd: Option<OwnedFd>,
    /// As an entry without its path; `None` for what a layer cannot hold.
    pub(super) entry: Option<Entry>,
    pub(super) opaque: bool,
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: BorrowedFd<'a>) -> Self {
        Self {
            root,
            here: None,
            mount: None,
        }
    }

    /// The directory at `path`, which no link leads to.
    fn dir(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>, Error> {
        if self.here.as_ref().is_none_or(|(known, _)| known != path) {
            let name = if path.is_empty() { b"." } else { path };
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            let fd = openat2(self.root, name, flags, Mode::empty(), resolve)
                .map_err(Error::call(path, Call::Parent))?;
            self.here = Some((path.to_vec(), fd));
        }
        match &self.here {
            Some((_, fd)) => Ok(fd.as_fd()),
            None => Err(Error::call(path, Call::Parent)(Errno::NOENT)),
        }
    }

    /// The names in `path`, unsorted.
    pub(super) fn names(&mut self, path: &[u8], limits: &Limits) -> Result<Vec<Vec<u8>>, Error> {
        let dir = self.dir(path)?;
        let failed = |errno| Error::call(path, Call::Readdir)(errno);
        let mut names = Vec::new();
        for entry in Dir::read_from(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if names.len() as u64 == limits.entries {
                return Err(Error::Limit {
                    bound: Bound::Entries,
                    limit: limits.entries,
                });
            }
            names.push(name.to_vec());
        }
        Ok(names)
    }

    /// The facts of what is at `name` in `parent`, and on which mount it is.
    pub(super) fn glance(&mut self, parent: &[u8], name: &[u8]) -> Result<Option<Statx>, Error> {
        let dir = self.dir(parent)?;
        let name = if name.is_empty() { b"." } else { name };
        match facts(dir, name) {
            Err(Errno::NOENT) => Ok(None),
            result => result
                .map(Some)
                .map_err(Error::call(&join(parent, name), Call::Stat)),
        }
    }

    /// Whether it is on another mount than the root.
    pub(super) fn is_elsewhere(&mut self, seen: &Statx) -> Result<bool, Error> {
        let mount = match self.mount {
            Some(mount) => mount,
            None => {
                let root = facts(self.root, b".").map_err(Error::call(b"", Call::Stat))?;
                *self.mount.insert(root.stx_mnt_id)
            }
        };
        Ok(seen.stx_mnt_id != mount)
    }

    /// What is at `name` in `parent`; an empty name is the directory itself.
    pub(super) fn look(
        &mut self,
        parent: &[u8],
        name: &[u8],
        overlay: OverlayAttrs,
    ) -> Result<Option<Seen>, Error> {
        let dir = self.dir(parent)?;
        let whole = join(parent, name);
        let name = if name.is_empty() { b"." } else { name };
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            result => result.map_err(Error::call(&whole, Call::Stat))?,
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Fifo,
            _ => {
                return Ok(Some(Seen {
                    stat,
                    fd: None,
                    entry: None,
                    opaque: false,
                }));
            }
        };
        let mut entry = entry(kind, &stat);
        // To open a pipe would tell who waits at its other end.
        if matches!(kind, Kind::Symlink | Kind::Fifo) {
            if kind == Kind::Symlink {
                let target = readlinkat(dir, name, Vec::new());
                entry.link = target
                    .map_err(Error::call(&whole, Call::Readlink))?
                    .into_bytes();
            }
            return Ok(Some(Seen {
                stat,
                fd: None,
                entry: Some(entry),
                opaque: false,
            }));
        }
        // Without waiting for the other end of a pipe, should it have become one.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = openat(dir, name, flags, Mode::empty());
        let fd = fd.map_err(Error::call(&whole, Call::Open))?;
        let opened = fstat(&fd).map_err(Error::call(&whole, Call::Stat))?;
        if (opened.st_dev, opened.st_ino) != (stat.st_dev, stat.st_ino) {
            return Err(Error::refused(&whole, Rule::Changed));
        }
        let (xattrs, opaque) = xattrs(fd.as_fd(), &whole, overlay)?;
        entry.xattrs = xattrs;
        Ok(Some(Seen {
            stat,
            fd: Some(fd),
            entry: Some(entry),
            opaque,
        }))
    }
}

/// statx(2) with the mount's number, since Linux 5.8. Nobody is asked who may not answer: what is mounted there can be
/// served by a process that stands still.
fn facts(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Statx, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    statx(
        dir,
        name,
        flags,
        StatxFlags::BASIC_STATS | StatxFlags::MNT_ID,
    )
}

/// Whether a file of an overlay is still the one of its layer: overlayfs shows the time of change of what is below it,
/// which nobody can set and which every copy gets anew.
pub(super) fn is_untouched(before: &Statx, after: &Statx) -> bool {
    let facts = |seen: &Statx| {
        let time = |time: &rustix::fs::StatxTimestamp| (time.tv_sec, time.tv_nsec);
        (
            (seen.stx_mode, seen.stx_uid, seen.stx_gid, seen.stx_nlink),
            (seen.stx_size, seen.stx_rdev_major, seen.stx_rdev_minor),
            (time(&seen.stx_mtime), time(&seen.stx_ctime)),
        )
    };
    let kind = FileType::from_raw_mode(after.stx_mode.into());
    kind != FileType::Directory && facts(before) == facts(after)
}

fn entry(kind: Kind, stat: &Stat) -> Entry {
    Entry {
        path: Vec::new(),
        link: Vec::new(),
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
        xattrs: Vec::new(),
        size: match kind {
            Kind::File => u64::try_from(stat.st_size).unwrap_or(0),
            _ => 0,
        },
        sparse: None,
    }
}

/// A name and a value.
type Xattr = (Vec<u8>, Vec<u8>);

/// The attributes that a layer carries, sorted, and whether overlayfs takes the directory for opaque.
fn xattrs(
    fd: BorrowedFd<'_>,
    whole: &[u8],
    overlay: OverlayAttrs,
) -> Result<(Vec<Xattr>, bool), Error> {
    let mut names = vec![0u8; 64 << 10];
    let length = match flistxattr(fd, &mut names) {
        Err(Errno::OPNOTSUPP) => 0,
        result => result.map_err(Error::call(whole, Call::Getxattr))?,
    };
    let (mut found, mut opaque) = (Vec::new(), false);
    let of_overlay = overlay.opaque().trim_end_matches("opaque").as_bytes();
    for name in names[..length].split(|byte| *byte == 0) {
        match name.strip_prefix(of_overlay) {
            Some(b"opaque") => opaque |= value(fd, name, whole)? == b"y",
            Some(b"redirect" | b"metacopy") => {
                return Err(Error::refused(whole, Rule::OverlayReference));
            }
            Some(_) => {}
            None if is_carried(name) => found.push((name.to_vec(), value(fd, name, whole)?)),
            None => {}
        }
    }
    found.sort();
    Ok((found, opaque))
}

/// What [`apply`](super::super::apply) sets again.
fn is_carried(name: &[u8]) -> bool {
    let carried = [
        &b"user."[..],
        b"trusted.",
        b"security.capability",
        b"system.posix_acl_",
    ];
    let marks = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    !marks && carried.iter().any(|prefix| name.starts_with(prefix))
}

fn value(fd: BorrowedFd<'_>, name: &[u8], whole: &[u8]) -> Result<Vec<u8>, Error> {
    let mut value = vec![0u8; 64 << 10];
    let length = fgetxattr(fd, name, &mut value[..]);
    value.truncate(length.map_err(Error::call(whole, Call::Getxattr))?);
    Ok(value)
}
