//! Blobs that are being written.
//!
//! A blob whose digest is known is written to `ingest/DIGEST` by whose turn it is: whoever wants the same
//! meanwhile waits for the turn, and then finds the blob, or goes on where the other one was stopped. What a
//! partial file holds is hashed again before anything is added to it.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, OFlags, ftruncate, statat};

use super::growth::Growth;
use super::turn::Turn;
use super::{Blob, Store, file_name, files, is_still};
use crate::descriptor::Descriptor;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, call, errno};

/// Between two looks at another's download.
const LOOK: Duration = Duration::from_millis(20);
const CHUNK: usize = 256 * 1024;
/// Of making something that a prune takes at once.
const TRIES: u32 = 100;

/// Who is to bring a blob.
#[derive(Debug)]
pub enum Claim<'a> {
    /// Nobody: it is there.
    Present(Blob),
    /// The caller.
    Mine(Box<Ingest<'a>>),
    /// Somebody else, and the caller did not want to wait any longer.
    Given,
}

/// A blob that this process brings. Dropped before [`commit`](Self::commit), what came so far is kept for
/// the next attempt.
#[derive(Debug)]
pub struct Ingest<'a> {
    store: &'a Store,
    file: File,
    name: String,
    digest: Digest,
    size: u64,
    hasher: Hasher,
    written: u64,
    /// Hears of every change.
    growth: Option<&'a Growth>,
    /// Last, so that it ends after the rest.
    _turn: Turn<'a>,
}

impl Store {
    /// Claims a blob. While another process or thread brings it, `waiting` is called every 20 ms with the
    /// bytes that it has so far, and answers whether to go on waiting. A blob of another size than `wanted` is
    /// read once more, and removed if it is damaged; one of that size is taken for what it is.
    ///
    /// # Errors
    ///
    /// [`Error::Size`] if the blob is there, right, and of another size; [`Error::Call`], [`Error::Store`].
    pub fn claim(
        &self,
        wanted: &Descriptor,
        waiting: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Claim<'_>, Error> {
        loop {
            let there = self.blob(&wanted.digest)?;
            if let Some(blob) = there.filter(|blob| blob.size() == wanted.size) {
                return Ok(Claim::Present(blob));
            }
            let Some(turn) = self.turn(&wanted.digest)? else {
                if !waiting(self.so_far(&wanted.digest)) {
                    return Ok(Claim::Given);
                }
                std::thread::sleep(LOOK);
                continue;
            };
            // The one before may have published it before the turn was ours.
            let there = self.blob(&wanted.digest)?;
            let other = there.filter(|blob| blob.size() != wanted.size);
            if let Some(blob) = &other
                && !self.take_away(&turn, blob)?
            {
                return Err(size(wanted, blob.size()));
            }
            if self.blob(&wanted.digest)?.is_none() {
                let mut ingest = self.begin(turn, wanted)?;
                ingest.resume()?;
                return Ok(Claim::Mine(Box::new(ingest)));
            }
        }
    }

    /// Bytes that another has of a blob.
    fn so_far(&self, digest: &Digest) -> u64 {
        let name = file_name(digest);
        let stat = statat(&self.ingest, name.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        stat.map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or_default())
    }

    /// Opens what is there of a blob, or begins it.
    fn begin<'a>(&'a self, turn: Turn<'a>, wanted: &Descriptor) -> Result<Ingest<'a>, Error> {
        let name = file_name(&wanted.digest);
        let shown = self.shown("ingest", &name);
        let flags = OFlags::RDWR | OFlags::CREATE;
        loop {
            let Some(file) = files::open(&self.ingest, &name, flags, &shown)? else {
                continue;
            };
            files::lock_shared(&file, &shown)?;
            // A prune may have taken it before it was locked.
            if is_still(&self.ingest, &name, &file)? {
                let digest = wanted.digest.clone();
                return Ok(Ingest {
                    store: self,
                    file,
                    name,
                    hasher: Hasher::new(digest.algorithm()),
                    digest,
                    size: wanted.size,
                    written: 0,
                    growth: None,
                    _turn: turn,
                });
            }
        }
    }

    /// Puts a small blob that is at hand, and in the place of one that is there and damaged.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`], [`Error::Size`], [`Error::Call`].
    pub fn put(&self, wanted: &Descriptor, bytes: &[u8]) -> Result<Blob, Error> {
        self.put_while(wanted, bytes, &mut || true)
    }

    /// The same, waiting for somebody who brings it only as long as `go_on` says so.
    pub(crate) fn put_while(
        &self,
        wanted: &Descriptor,
        bytes: &[u8],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Blob, Error> {
        loop {
            match self.claim(wanted, &mut |_| go_on())? {
                Claim::Present(blob) => match blob.check() {
                    Err(error) if error.is_damage() => {
                        if self
                            .remove_damaged(std::slice::from_ref(&wanted.digest))?
                            .is_empty()
                        {
                            // Somebody else is at it.
                            std::thread::sleep(LOOK);
                        }
                    }
                    checked => return checked.map(|()| blob),
                },
                Claim::Mine(mut ingest) => {
                    ingest.restart()?;
                    ingest.append(bytes)?;
                    return ingest.commit();
                }
                Claim::Given => {
                    return Err(Error::GivenUp {
                        what: wanted.digest.to_string(),
                    });
                }
            }
        }
    }

    /// Begins a blob whose digest is known only when it is whole.
    ///
    /// # Errors
    ///
    /// [`Error::Call`].
    pub fn writer(&self) -> Result<Writer<'_>, Error> {
        let (file, name) = self.fresh_file("new")?;
        Ok(Writer {
            store: self,
            file,
            name,
            hasher: Hasher::new(Algorithm::Sha256),
        })
    }

    /// A new file below `ingest/`, in use, and its name.
    pub(super) fn fresh_file(&self, prefix: &str) -> Result<(File, String), Error> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        self.fresh(prefix, |name, shown| {
            files::open(&self.ingest, name, flags, shown)
        })
    }

    /// Something new below `ingest/`, in use, and its name. What a prune took before it was locked is made
    /// once more.
    pub(super) fn fresh<T: AsFd>(
        &self,
        prefix: &str,
        make: impl Fn(&str, &Path) -> Result<Option<T>, Error>,
    ) -> Result<(T, String), Error> {
        for _ in 0..TRIES {
            let name = files::fresh(prefix);
            let shown = self.shown("ingest", &name);
            let Some(made) = make(&name, &shown)? else {
                continue;
            };
            files::lock_shared(&made, &shown)?;
            if is_still(&self.ingest, &name, &made)? {
                return Ok((made, name));
            }
        }
        Err(Error::Store {
            path: self.path.join("ingest"),
            why: "loses whatever is made in it",
        })
    }

    /// Gives a file that is whole its name, and keeps it in use: the shared lock that it has had since it was made
    /// ends only after the returned one is there.
    fn publish(&self, file: &File, name: &str, digest: &Digest) -> Result<Blob, Error> {
        let (directory, hex) = (self.blobs(digest.algorithm()), digest.hex());
        let shown = self.shown("ingest", name);
        files::sync(file, &shown)?;
        if files::rename_new((&self.ingest, name), (directory, hex))? {
            files::sync(directory, &self.shown("blobs", digest.algorithm().name()))?;
        } else {
            files::unlink(&self.ingest, name, &shown)?;
        }
        self.blob(digest)?.ok_or_else(|| Error::Absent {
            digest: digest.clone(),
        })
    }
}

fn size(wanted: &Descriptor, got: u64) -> Error {
    Error::Size {
        digest: wanted.digest.clone(),
        wanted: wanted.size,
        got,
    }
}

impl<'a> Ingest<'a> {
    /// From now on others can read along.
    pub(crate) fn shown_by(&mut self, growth: &'a Growth) -> Result<(), Error> {
        let file = self.file.try_clone().map_err(|error| {
            let shown = self.store.shown("ingest", &self.name);
            call(errno(&error), || {
                format!("fcntl({shown:?}, F_DUPFD_CLOEXEC)")
            })
        })?;
        growth.begin(file, self.written, self.size);
        self.growth = Some(growth);
        Ok(())
    }

    /// Hashes what is there already.
    fn resume(&mut self) -> Result<(), Error> {
        let shown = self.store.shown("ingest", &self.name);
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = self
                .file
                .read(&mut buffer)
                .map_err(|error| call(errno(&error), || format!("read({shown:?})")))?;
            if count == 0 {
                break;
            }
            self.written += count as u64;
            self.hasher.update(&buffer[..count]);
            if self.written > self.size {
                break;
            }
        }
        if self.written >= self.size && !self.is_right() {
            self.restart()?;
        }
        Ok(())
    }

    /// Whether this is the blob that was promised, whole.
    pub(crate) fn is_right(&self) -> bool {
        self.written == self.size && self.hasher.clone().finish() == self.digest
    }

    /// Bytes that are there; a registry is asked for those after them.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The bytes that are to come in all.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Throws away what is there.
    ///
    /// # Errors
    ///
    /// [`Error::Call`].
    pub fn restart(&mut self) -> Result<(), Error> {
        // Before the file is touched: nobody shall take what is in it next for what was.
        if let Some(growth) = self.growth {
            growth.restart();
        }
        let shown = self.store.shown("ingest", &self.name);
        ftruncate(&self.file, 0)
            .map_err(|errno| call(errno, || format!("ftruncate({shown:?}, 0)")))?;
        self.file
            .rewind()
            .map_err(|error| call(errno(&error), || format!("lseek({shown:?})")))?;
        self.hasher = Hasher::new(self.digest.algorithm());
        self.written = 0;
        Ok(())
    }

    /// Adds the next bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Size`] if they are more than the descriptor says; [`Error::Call`].
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let after = self.written.saturating_add(bytes.len() as u64);
        if after > self.size {
            let got = self.size.saturating_add(1);
            return Err(Error::Size {
                digest: self.digest.clone(),
                wanted: self.size,
                got,
            });
        }
        files::write(&self.file, bytes, &self.store.shown("ingest", &self.name))?;
        self.hasher.update(bytes);
        self.written = after;
        if let Some(growth) = self.growth {
            growth.grown(after);
        }
        Ok(())
    }

    /// Publishes the blob, if it is the one that was promised; else nothing of it is kept.
    ///
    /// # Errors
    ///
    /// [`Error::Size`], [`Error::Mismatch`], [`Error::Call`].
    pub fn commit(mut self) -> Result<Blob, Error> {
        let got =
            std::mem::replace(&mut self.hasher, Hasher::new(self.digest.algorithm())).finish();
        let (written, wanted) = (self.written, self.size);
        if written == wanted && got == self.digest {
            return self.store.publish(&self.file, &self.name, &self.digest);
        }
        let digest = self.digest.clone();
        self.discard()?;
        Err(match written == wanted {
            false => Error::Size {
                digest,
                wanted,
                got: written,
            },
            true => Error::Mismatch {
                wanted: digest,
                got,
            },
        })
    }

    /// Gives the blob up, with all that came of it.
    ///
    /// # Errors
    ///
    /// [`Error::Call`].
    pub fn discard(self) -> Result<(), Error> {
        if let Some(growth) = self.growth {
            growth.discard();
        }
        files::unlink(
            &self.store.ingest,
            &self.name,
            &self.store.shown("ingest", &self.name),
        )
        .map(drop)
    }
}

/// A blob of our own making.
#[derive(Debug)]
pub struct Writer<'a> {
    store: &'a Store,
    file: File,
    name: String,
    hasher: Hasher,
}

impl Writer<'_> {
    /// Publishes what was written under its SHA-256 digest.
    ///
    /// # Errors
    ///
    /// [`Error::Call`].
    pub fn finish(mut self) -> Result<Blob, Error> {
        let hasher = std::mem::replace(&mut self.hasher, Hasher::new(Algorithm::Sha256));
        self.store.publish(&self.file, &self.name, &hasher.finish())
    }
}

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Writer<'_> {
    /// Best effort: after `finish` there is nothing of this name any more.
    fn drop(&mut self) {
        let _ = rustix::fs::unlinkat(&self.store.ingest, &self.name, rustix::fs::AtFlags::empty());
    }
}
