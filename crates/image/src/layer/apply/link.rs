//! Hard links: to what this layer has, or to a file of a layer below, which is copied up first.

use std::io::BufRead;
use std::os::fd::AsFd;
use std::rc::Rc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, SeekFrom, Stat, ftruncate, futimens, linkat, openat, seek,
    statat,
};
use rustix::io::Errno;

use super::super::error::{Bound, Call, Error, Rule};
use super::super::name;
use super::super::tar::Entry;
use super::dirs::{Dir, is_overlay_whiteout, times};
use super::{Layer, lowers};

impl<R: BufRead> Layer<'_, R> {
    /// The link is another name of the very thing at the target: a symbolic link there is linked itself and
    /// never followed.
    pub(super) fn hard_link(
        &mut self,
        entry: &Entry,
        parent: &[u8],
        name: &[u8],
    ) -> Result<(), Error> {
        let refused = |rule| Error::refused(&entry.path, rule);
        let (target_parent, target) =
            name::parse_target(&entry.link, self.limits.depth).map_err(refused)?;
        let (from, stat) = self.target(entry, &target_parent, &target)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile | FileType::Symlink | FileType::Fifo => {}
            _ if is_overlay_whiteout(&stat) => return Err(refused(Rule::LinkMissing)),
            _ => return Err(refused(Rule::LinkType)),
        }
        let dir = self.tree.parent(parent)?;
        if from.is(&dir) && target == name {
            return Err(refused(Rule::LinkSelf));
        }
        let make = || linkat(&from.fd, &target[..], dir.touch(), name, AtFlags::empty());
        match make() {
            Err(Errno::EXIST) => {
                self.make_room(&dir, name, entry)?;
                make()
            }
            result => result,
        }
        .map_err(|errno| match errno {
            // The target lay in the directory that had to make room.
            Errno::NOENT => refused(Rule::LinkMissing),
            errno => Error::call(&entry.path, Call::Link)(errno),
        })?;
        self.applied.hard_links += 1;
        Ok(())
    }

    /// The directory of the target, and what the target is.
    fn target(
        &mut self,
        entry: &Entry,
        parent: &[u8],
        name: &[u8],
    ) -> Result<(Rc<Dir>, Stat), Error> {
        let look = |dir: &Dir| statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        if let Some(dir) = self.tree.existing(parent)? {
            match look(&dir) {
                Ok(stat) => return Ok((dir, stat)),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(Error::call(&entry.path, Call::Stat)(errno)),
            }
        }
        let path = name::join(parent, name);
        let found = lowers::find(self.tree.root, self.options, &path)
            .map_err(Error::call(&entry.path, Call::Open))?;
        let found = found.ok_or_else(|| Error::refused(&entry.path, Rule::LinkMissing))?;
        if FileType::from_raw_mode(found.stat.st_mode) != FileType::RegularFile {
            return Err(Error::refused(&entry.path, Rule::LinkType));
        }
        let dir = self.tree.parent(parent)?;
        self.copy_up(entry, &found, &dir, name)?;
        let stat = look(&dir).map_err(Error::call(&entry.path, Call::Stat))?;
        Ok((dir, stat))
    }

    /// The file below, copied into this layer with all that it has. The bytes count as this layer's.
    fn copy_up(
        &mut self,
        entry: &Entry,
        found: &lowers::Found,
        dir: &Dir,
        name: &[u8],
    ) -> Result<(), Error> {
        let size = u64::try_from(found.stat.st_size).unwrap_or(0);
        let bytes = self.applied.bytes.checked_add(size);
        match bytes.filter(|bytes| *bytes <= self.limits.bytes) {
            Some(bytes) => self.applied.bytes = bytes,
            None => {
                return Err(Error::Limit {
                    bound: Bound::Bytes,
                    limit: self.limits.bytes,
                });
            }
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let fd = openat(dir.touch(), name, flags | OFlags::CLOEXEC, mode)
            .map_err(Error::call(&entry.path, Call::Create))?;
        ftruncate(&fd, size).map_err(Error::call(&entry.path, Call::Truncate))?;
        let mut buffer = vec![0u8; 64 << 10];
        let mut at = 0;
        // From data to data, so that holes stay holes; ENXIO is the end.
        while at < size {
            at = match seek(&found.fd, SeekFrom::Data(at)) {
                Ok(at) => at,
                Err(Errno::NXIO) => break,
                Err(errno) => return Err(Error::call(&entry.path, Call::Read)(errno)),
            };
            let end = seek(&found.fd, SeekFrom::Hole(at))
                .map_err(Error::call(&entry.path, Call::Read))?;
            while at < end {
                let wanted = usize::try_from(end - at).unwrap_or(usize::MAX);
                let wanted = wanted.min(buffer.len());
                let count = rustix::io::pread(&found.fd, &mut buffer[..wanted], at)
                    .map_err(Error::call(&entry.path, Call::Read))?;
                if count == 0 {
                    break;
                }
                let count = rustix::io::pwrite(&fd, &buffer[..count], at)
                    .map_err(Error::call(&entry.path, Call::Write))?;
                at += count as u64;
            }
        }
        lowers::copy_facts(found, self.options, fd.as_fd(), &entry.path)?;
        let mtime = (found.stat.st_mtime, found.stat.st_mtime_nsec as u32);
        futimens(&fd, &times(mtime)).map_err(Error::call(&entry.path, Call::Utimens))
    }
}
