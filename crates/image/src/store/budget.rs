//! Keeping what images take on disk within a budget.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, OFlags, Timespec, Timestamps, UTIME_NOW, statat, utimensat};
use rustix::io::Errno;
use walkdir::WalkDir;

use super::names::record_file;
use super::{Layer, Pruned, Record, Store, Usage, files};
use crate::digest::Digest;
use crate::error::{Error, call, errno};
use crate::reference::Reference;

/// A use is noted when the last one was longer ago than this.
const COARSE: Duration = Duration::from_secs(3600);

impl Store {
    /// Notes that an image is used, for [`shrink`](Self::shrink): by the time of its record, once an hour at most.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]. No name is none: it was taken away meanwhile.
    pub fn used(&self, name: &Reference) -> Result<(), Error> {
        let file = record_file(name);
        let Some(last) = self.last_use(&file)? else {
            return Ok(());
        };
        if last.elapsed().is_ok_and(|ago| ago < COARSE) {
            return Ok(());
        }
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let now = Timestamps {
            last_access: now,
            last_modification: now,
        };
        match utimensat(&self.images, &file, &now, AtFlags::SYMLINK_NOFOLLOW) {
            // A store that cannot be written to can be run from.
            Ok(()) | Err(Errno::NOENT | Errno::ROFS) => Ok(()),
            Err(errno) => Err(call(errno, || format!("utimensat(…, {file:?}, UTIME_NOW)"))),
        }
    }

    /// Prunes; and as long as what is left takes more than `budget` bytes on disk, the names of images that came from a
    /// registry and that nobody uses are taken away, that of the longest unused first, with all that only they lead to.
    /// Answers them, too.
    ///
    /// What was made or loaded here stays, for no pull brings it back, and so does everything as long as something
    /// damaged may lead to anything.
    ///
    /// # Errors
    ///
    /// As [`prune`](Self::prune).
    pub fn shrink(
        &self,
        budget: u64,
        abandoned: Duration,
    ) -> Result<(Vec<Reference>, Pruned), Error> {
        let mut pruned = self.prune(abandoned)?;
        let mut usage = self.usage()?;
        let mut left = usage.on_disk();
        let mut gone = Vec::new();
        if left <= budget || !usage.damaged.is_empty() {
            return Ok((gone, pruned));
        }
        for image in self.by_last_use()? {
            if left <= budget {
                break;
            }
            // Whoever runs, pulls or saves it holds its manifest.
            if self.is_in_use(&image[0])? {
                continue;
            }
            for record in image {
                left -= usage.without(&record.name);
                if self.untag(&record.name)? {
                    gone.push(record.name);
                }
            }
        }
        if !gone.is_empty() {
            pruned.add(self.prune(abandoned)?);
        }
        Ok((gone, pruned))
    }

    /// Images that a pull brings back, the longest unused first, each with all its names: one of several makes no room.
    fn by_last_use(&self) -> Result<Vec<Vec<Record>>, Error> {
        let mut images: HashMap<Digest, (SystemTime, Vec<Record>)> = HashMap::new();
        for record in self.images()? {
            let Some(last) = self.last_use(&record_file(&record.name))? else {
                continue;
            };
            let (latest, names) = images
                .entry(record.manifest.digest.clone())
                .or_insert((last, Vec::new()));
            *latest = last.max(*latest);
            names.push(record);
        }
        let mut images: Vec<_> = images.into_values().collect();
        images.retain(|(_, names)| names.iter().all(|record| record.pulled));
        images.sort_by_key(|(last, _)| *last);
        Ok(images.into_iter().map(|(_, names)| names).collect())
    }

    fn last_use(&self, file: &str) -> Result<Option<SystemTime>, Error> {
        match statat(&self.images, file, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
                let last = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
                Ok(Some(last.unwrap_or(SystemTime::UNIX_EPOCH)))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(call(errno, || format!("fstatat(…, {file:?})"))),
        }
    }

    fn is_in_use(&self, record: &Record) -> Result<bool, Error> {
        let digest = &record.manifest.digest;
        let (directory, name) = (self.blobs(digest.algorithm()), digest.hex());
        let shown = self.shown("blobs", digest.algorithm().name()).join(name);
        match files::open(directory, name, OFlags::RDONLY, &shown)? {
            Some(file) => Ok(!files::try_lock(&file, &shown)?),
            None => Ok(false),
        }
    }
}

impl Usage {
    /// Bytes of all that is there.
    pub fn on_disk(&self) -> u64 {
        let blobs: u64 = self.blobs.iter().map(|blob| blob.size).sum();
        let layers: u64 = self.layers.iter().map(|layer| layer.size).sum();
        blobs + layers + self.partial
    }

    /// Takes a name from all that it holds; the bytes that nothing holds any more.
    fn without(&mut self, name: &Reference) -> u64 {
        let blobs = self
            .blobs
            .iter_mut()
            .map(|one| (one.size, &mut one.holders));
        let layers = self
            .layers
            .iter_mut()
            .map(|one| (one.size, &mut one.holders));
        let mut freed = 0;
        for (size, holders) in blobs.chain(layers) {
            let before = holders.len();
            holders.retain(|holder| holder != name);
            if before > 0 && holders.is_empty() {
                freed += size;
            }
        }
        freed
    }
}

impl Layer {
    /// Bytes on disk, a file with several names counted once; without what lies in directories that the caller may not
    /// read.
    ///
    /// # Errors
    ///
    /// [`Error::Call`].
    pub fn size(&self) -> Result<u64, Error> {
        let (mut all, mut seen) = (0, HashSet::new());
        for entry in WalkDir::new(self.path()) {
            let looked = entry.and_then(|entry| entry.metadata());
            match looked {
                Ok(file) if file.nlink() > 1 && !file.is_dir() && !seen.insert(file.ino()) => {}
                // stat(2) counts in units of 512 bytes.
                Ok(file) => all += file.blocks() * 512,
                Err(error) => {
                    let path = error.path().map(ToOwned::to_owned);
                    let errno = error.io_error().map_or(Errno::LOOP, errno);
                    if !matches!(errno, Errno::ACCESS | Errno::NOENT) {
                        return Err(call(errno, || format!("getdents64({path:?})")));
                    }
                }
            }
        }
        Ok(all)
    }
}
