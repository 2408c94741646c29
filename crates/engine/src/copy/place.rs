//! A tar stream becomes files below one directory, whoever wrote it and whoever changes that directory meanwhile.
//!
//! Every entry's parent is opened below the directory anew, with no link on the way (`RESOLVE_BENEATH`,
//! `RESOLVE_NO_SYMLINKS`, [`openat2(2)`]), and what is made is one name in it. A link that the stream makes is so never
//! a way for what comes after it. What has the name of a file is removed first: nothing is written through it.
//!
//! [`openat2(2)`]: https://man7.org/linux/man-pages/man2/openat2.2.html

use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};

use image::layer::{Archive, Entry, Kind};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, StatxFlags, Timespec, Timestamps, Uid,
    chownat, fchmod, futimens, linkat, mkdirat, mknodat, openat, openat2, statat, statx, symlinkat,
    unlinkat, utimensat,
};
use rustix::io::Errno;

use super::Error;
use super::pack::join;

/// Bytes of the names of directories whose permissions and times are kept in mind.
const MAX_NAMES: usize = 64 << 20;

/// Where a stream goes.
pub(super) struct Place {
    /// The directory below which all is made.
    pub(super) base: OwnedFd,
    /// What the stream's `.` is called there, when it is not the directory itself.
    pub(super) name: Option<Vec<u8>>,
    /// Only a directory may get that name: it was written with a slash at its end.
    pub(super) directory: bool,
    /// Owners are those of the stream, and not whoever makes the files.
    pub(super) owners: bool,
    /// Permissions that the files may have.
    pub(super) mode: u32,
}

/// Reads the stream to its end; gives the number of device nodes that were left out.
pub(super) fn place(place: &Place, stream: impl BufRead) -> Result<u64, Error> {
    let mut archive = Archive::new(stream);
    let (mut skipped, mut made, mut names) = (0, Vec::new(), 0);
    while let Some(entry) = archive.next_entry().map_err(Error::Stream)? {
        let path = place.path(&entry.path)?;
        match entry.kind {
            Kind::Directory => {
                if place.directory(&path, &entry)? {
                    names += path.len() + size_of::<Entry>();
                    made.push((path, entry.mode, times(&entry)));
                }
                if names > MAX_NAMES {
                    return Err(Error::Refused {
                        path: "the stream".to_owned(),
                        why: "it has more directories than are copied at once",
                    });
                }
            }
            Kind::File => place.file(&path, &entry, &mut archive)?,
            Kind::Symlink | Kind::HardLink | Kind::Fifo => place.node(&path, &entry)?,
            _ => skipped += 1,
        }
    }
    // Only now, since a directory may be one that nobody may write to, and what is made in it changes its time.
    for (path, mode, times) in made.iter().rev() {
        let (dir, name) = place.parent(path)?;
        let made = open_directory(&dir, name, path)?;
        let mode = Mode::from_raw_mode(mode & place.mode);
        fchmod(&made, mode).map_err(|errno| Error::call("fchmod", path, errno))?;
        futimens(&made, times).map_err(|errno| Error::call("utimensat", path, errno))?;
    }
    Ok(skipped)
}

impl Place {
    /// Where the entry of that name goes, below the base; empty for the base itself.
    fn path(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        let refused = |why| Error::Refused {
            path: super::shown(path),
            why,
        };
        if path.starts_with(b"/") || path.contains(&0) {
            return Err(refused("the name of an entry is relative"));
        }
        let mut below = self.name.clone().unwrap_or_default();
        for component in path.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return Err(refused("the name of an entry does not climb")),
                component => below = join(&below, component),
            }
        }
        Ok(below)
    }

    /// The directory that a path lies in, and its name there.
    fn parent<'p>(&self, path: &'p [u8]) -> Result<(OwnedFd, &'p [u8]), Error> {
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&b"."[..], path),
        };
        if name.is_empty() {
            return Err(Error::Refused {
                path: super::shown(path),
                why: "a directory cannot be replaced by what is none",
            });
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat2(&self.base, parent, flags, Mode::empty(), resolve)
            .map_err(|errno| Error::call("openat2", parent, errno))?;
        Ok((dir, name))
    }

    /// Whether it was made; one that is there stays what it is.
    fn directory(&self, path: &[u8], entry: &Entry) -> Result<bool, Error> {
        if path.is_empty() {
            return Ok(false);
        }
        let (dir, name) = self.parent(path)?;
        match mkdirat(&dir, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => return is_directory(&dir, name, path).map(|()| false),
            Err(errno) => return Err(Error::call("mkdirat", path, errno)),
        }
        self.own(&dir, name, path, entry)?;
        Ok(true)
    }

    fn file(
        &self,
        path: &[u8],
        entry: &Entry,
        archive: &mut Archive<impl BufRead>,
    ) -> Result<(), Error> {
        self.may_be_a_file(path)?;
        let (dir, name) = self.parent(path)?;
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let make = flags | OFlags::CREATE | OFlags::EXCL;
        let private = Mode::RUSR | Mode::WUSR;
        let file = match make_room(&dir, name, path) {
            Ok(()) => openat(&dir, name, make, private),
            // Something is mounted there, as the container's /etc/hosts is: that file gets the bytes.
            Err(Error::Call {
                errno: Errno::BUSY, ..
            }) => return self.fill_mounted(&dir, path, entry, archive),
            Err(error) => return Err(error),
        };
        let file = file.map_err(|errno| Error::call("openat", path, errno))?;
        contents(&file, path, entry, archive)?;
        self.own(&dir, name, path, entry)?;
        let mode = Mode::from_raw_mode(entry.mode & self.mode);
        fchmod(&file, mode).map_err(|errno| Error::call("fchmod", path, errno))?;
        let times = times(entry);
        futimens(&file, &times).map_err(|errno| Error::call("utimensat", path, errno))
    }

    fn fill_mounted(
        &self,
        dir: &OwnedFd,
        path: &[u8],
        entry: &Entry,
        archive: &mut Archive<impl BufRead>,
    ) -> Result<(), Error> {
        let (_, name) = self.parent(path)?;
        let failed = |call| move |errno| Error::call(call, path, errno);
        let seen = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("fstatat"))?;
        if FileType::from_raw_mode(seen.st_mode) != FileType::RegularFile {
            return Err(Error::call("unlinkat", path, Errno::BUSY));
        }
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(dir, name, flags, Mode::empty()).map_err(failed("openat"))?;
        rustix::fs::ftruncate(&file, 0).map_err(failed("ftruncate"))?;
        contents(&file, path, entry, archive)
    }

    /// A link or a pipe.
    fn node(&self, path: &[u8], entry: &Entry) -> Result<(), Error> {
        self.may_be_a_file(path)?;
        let (dir, name) = self.parent(path)?;
        let failed = |call| move |errno| Error::call(call, path, errno);
        if entry.kind == Kind::HardLink {
            let target = self.path(&entry.link)?;
            let (from, target) = self.parent(&target)?;
            if rustix::fs::fstat(&from).ok().map(|stat| stat.st_ino)
                == rustix::fs::fstat(&dir).ok().map(|stat| stat.st_ino)
                && target == name
            {
                return Err(Error::call("linkat", path, Errno::EXIST));
            }
            make_room(&dir, name, path)?;
            return linkat(&from, target, &dir, name, AtFlags::empty()).map_err(failed("linkat"));
        }
        make_room(&dir, name, path)?;
        if entry.kind == Kind::Symlink {
            symlinkat(&entry.link[..], &dir, name).map_err(failed("symlinkat"))?;
        } else {
            let mode = Mode::from_raw_mode(entry.mode & self.mode);
            mknodat(&dir, name, FileType::Fifo, mode, 0).map_err(failed("mknodat"))?;
        }
        self.own(&dir, name, path, entry)?;
        let (times, flags) = (times(entry), AtFlags::SYMLINK_NOFOLLOW);
        utimensat(&dir, name, &times, flags).map_err(failed("utimensat"))
    }

    /// The top of a copy may not be a file where a directory was asked for.
    fn may_be_a_file(&self, path: &[u8]) -> Result<(), Error> {
        match self.directory && self.name.as_deref() == Some(path) {
            true => Err(Error::call("openat", path, Errno::NOTDIR)),
            false => Ok(()),
        }
    }

    fn own(&self, dir: &OwnedFd, name: &[u8], path: &[u8], entry: &Entry) -> Result<(), Error> {
        if !self.owners {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| Error::call("fchownat", path, errno))
    }
}

fn times(entry: &Entry) -> Timestamps {
    let (seconds, nanos) = entry.mtime;
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanos.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn open_directory(dir: &OwnedFd, name: &[u8], path: &[u8]) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty()).map_err(|errno| Error::call("openat", path, errno))
}

fn is_directory(dir: &OwnedFd, name: &[u8], path: &[u8]) -> Result<(), Error> {
    let seen = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| Error::call("fstatat", path, errno))?;
    match FileType::from_raw_mode(seen.st_mode) {
        FileType::Directory => Ok(()),
        _ => Err(Error::Refused {
            path: super::shown(path),
            why: "what is no directory cannot be replaced by one",
        }),
    }
}

/// Removes what has a file's name, but no directory, and nothing that something is mounted on: unlinkat(2) refuses that
/// only in the mount namespace of the mount, and elsewhere takes the mount away.
fn make_room(dir: &OwnedFd, name: &[u8], path: &[u8]) -> Result<(), Error> {
    let mount = |name: &[u8], flags| {
        statx(dir, name, flags, StatxFlags::MNT_ID).map(|seen| seen.stx_mnt_id)
    };
    let there = match mount(name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        there => there.map_err(|errno| Error::call("statx", path, errno))?,
    };
    if mount(b"", AtFlags::EMPTY_PATH).is_ok_and(|around| around != there) {
        return Err(Error::call("unlinkat", path, Errno::BUSY));
    }
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => Err(Error::Refused {
            path: super::shown(path),
            why: "a directory cannot be replaced by what is none",
        }),
        Err(errno) => Err(Error::call("unlinkat", path, errno)),
    }
}

/// The bytes of an entry; where there are holes, these stay.
fn contents(
    file: &OwnedFd,
    path: &[u8],
    entry: &Entry,
    archive: &mut Archive<impl BufRead>,
) -> Result<(), Error> {
    let whole = [image::layer::Region {
        offset: 0,
        length: entry.size,
    }];
    let failed = |call| move |errno| Error::call(call, path, errno);
    for region in entry.sparse.as_deref().unwrap_or(&whole) {
        let (mut at, end) = (region.offset, region.offset + region.length);
        while at < end {
            let data = archive.data().map_err(Error::Stream)?;
            let wanted = usize::try_from(end - at)
                .unwrap_or(usize::MAX)
                .min(data.len());
            if wanted == 0 {
                return Err(failed("read")(Errno::IO));
            }
            let count =
                rustix::io::retry_on_intr(|| rustix::io::pwrite(file.as_fd(), &data[..wanted], at));
            let count = count.map_err(failed("pwrite"))?;
            archive.consume(count);
            at += count as u64;
        }
    }
    if entry.sparse.is_some() {
        rustix::fs::ftruncate(file, entry.size).map_err(failed("ftruncate"))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
