//! Removing what no name leads to.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;

use super::{Damage, Store, file_name, files, is_still, layers, turn};
use crate::chain::ChainId;
use crate::digest::Digest;
use crate::error::{Error, call};

/// Objects that are locked at once, each with a descriptor.
const BATCH: usize = 128;

/// What a prune did.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Blobs that are gone.
    pub blobs: Vec<Digest>,
    /// Unpacked layers that are gone.
    pub layers: Vec<ChainId>,
    /// What was never finished.
    pub partial: usize,
    /// Bytes of the blobs and of what was never finished.
    pub bytes: u64,
    /// Objects without a name that somebody uses at this moment.
    pub busy: usize,
    /// What cannot be read, or has another size than it should have. As long as a record or a manifest is among it, no
    /// blob and no unpacked layer is removed, and with a configuration no layer: they may be what it leads to.
    pub damaged: Vec<Damage>,
}

impl Pruned {
    /// What another prune did after this one, too.
    pub(super) fn add(&mut self, later: Self) {
        self.blobs.extend(later.blobs);
        self.layers.extend(later.layers);
        self.partial += later.partial;
        self.bytes += later.bytes;
        // Both are of how it is now.
        self.busy = later.busy;
        self.damaged = later.damaged;
    }
}

impl Store {
    /// Removes what no name leads to and nobody uses, and what was left unfinished for longer than
    /// `abandoned`.
    ///
    /// # Errors
    ///
    /// As [`usage`](Self::usage): damage is none. What was removed before the error stays removed.
    pub fn prune(&self, abandoned: Duration) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        self.prune_blobs(&mut pruned)?;
        self.prune_layers(&mut pruned)?;
        self.prune_partial(abandoned, &mut pruned)?;
        Ok(pruned)
    }

    fn prune_blobs(&self, pruned: &mut Pruned) -> Result<(), Error> {
        let held = self.held()?;
        let mut candidates = self.all_blobs()?;
        candidates.retain(|digest| !held.has_blob(digest));
        pruned.damaged = held.damaged;
        for batch in candidates.chunks(BATCH) {
            let mut locked: Vec<(&Digest, File)> = Vec::new();
            for digest in batch {
                let (directory, name) = (self.blobs(digest.algorithm()), digest.hex());
                let shown = self.shown("blobs", digest.algorithm().name()).join(name);
                let file = match files::open(directory, name, OFlags::RDONLY, &shown) {
                    Ok(Some(file)) => file,
                    Ok(None) => continue,
                    // A link or a FIFO is none of ours to remove.
                    Err(error) if error.is_damage() => {
                        let damage = Damage::blob(self, None, digest, &error);
                        pruned.damaged.push(damage);
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                if !files::try_lock(&file, &shown)? {
                    pruned.busy += 1;
                } else if is_still(directory, name, &file)? {
                    locked.push((digest, file));
                }
            }
            // After the locks, because until then a pull may have written a name for any of these; now
            // whoever wants one waits.
            let held = self.held()?;
            locked.retain(|(digest, _)| !held.has_blob(digest));
            for (digest, file) in locked {
                let shown = self
                    .shown("blobs", digest.algorithm().name())
                    .join(digest.hex());
                pruned.bytes += file.metadata().map_or(0, |metadata| metadata.len());
                files::unlink(self.blobs(digest.algorithm()), digest.hex(), &shown)?;
                pruned.blobs.push(digest.clone());
            }
        }
        Ok(())
    }

    fn prune_layers(&self, pruned: &mut Pruned) -> Result<(), Error> {
        let held = self.held()?;
        let mut candidates = self.all_layers()?;
        candidates.retain(|id| !held.has_layer(id));
        for id in candidates {
            let name = file_name(id.digest());
            let directory = match self.lock_directory(&self.layers, &name)? {
                Lock::Ours(directory) => directory,
                Lock::Gone => continue,
                Lock::Busy => {
                    pruned.busy += 1;
                    continue;
                }
            };
            if self.held()?.has_layer(&id) {
                continue;
            }
            // Out of sight first: a tree takes time to remove, and half a layer is none.
            let dead = files::fresh(layers::DEAD);
            if files::rename_new((&self.layers, &name), (&self.ingest, &dead))? {
                layers::remove_tree(&self.ingest, &dead)?;
                pruned.layers.push(id);
            }
            drop(directory);
        }
        Ok(())
    }

    fn prune_partial(&self, abandoned: Duration, pruned: &mut Pruned) -> Result<(), Error> {
        let now = SystemTime::now();
        for name in files::names(&self.ingest, &self.path.join("ingest"))? {
            let shown = self.shown("ingest", &name);
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = match openat(&self.ingest, name.as_str(), flags, Mode::empty()) {
                Ok(fd) => File::from(fd),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(call(errno, || format!("openat({shown:?})"))),
            };
            // Looked at before the lock: not even for a moment is that taken from who has just made it.
            let stat = fstat(&file).map_err(|errno| call(errno, || format!("fstat({shown:?})")))?;
            if age(&stat, now) < abandoned && !name.starts_with(layers::DEAD) {
                continue;
            }
            // Whoever writes it has it in use.
            if !files::try_lock(&file, &shown)? || !is_still(&self.ingest, &name, &file)? {
                continue;
            }
            if FileType::from_raw_mode(stat.st_mode).is_dir() {
                layers::remove_tree(&self.ingest, &name)?;
            } else if name.ends_with(turn::ENDING) {
                // Of a process that was killed; nothing was in it.
                files::unlink(&self.ingest, &name, &shown)?;
                continue;
            } else {
                files::unlink(&self.ingest, &name, &shown)?;
                pruned.bytes += u64::try_from(stat.st_size).unwrap_or_default();
            }
            pruned.partial += 1;
        }
        Ok(())
    }

    fn lock_directory(&self, at: &OwnedFd, name: &str) -> Result<Lock, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match openat(at, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(Lock::Gone),
            Err(errno) => return Err(call(errno, || format!("openat({name:?}, O_DIRECTORY)"))),
        };
        if !files::try_lock(&fd, name.as_ref())? {
            return Ok(Lock::Busy);
        }
        Ok(match is_still(at, name, &fd)? {
            true => Lock::Ours(fd),
            false => Lock::Gone,
        })
    }
}

/// What came of wanting a directory for oneself.
enum Lock {
    Ours(OwnedFd),
    /// Somebody uses it.
    Busy,
    Gone,
}

/// Since somebody last changed it. The time of its content will not do: a layer's own directory has that which
/// the layer says.
fn age(stat: &Stat, now: SystemTime) -> Duration {
    let since = u64::try_from(stat.st_ctime).unwrap_or_default();
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(since);
    now.duration_since(changed).unwrap_or_default()
}
