//! Blobs that are there.

use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt as _;

use rustix::fs::OFlags;

use super::{Store, files, is_still};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, call, errno};
use crate::json::MAX_DOCUMENT;

const CHUNK: usize = 256 * 1024;

/// A blob in use: as long as this lives, nobody removes it.
///
/// Reads from its beginning; each has a position of its own.
#[derive(Debug)]
pub struct Blob {
    file: File,
    digest: Digest,
    size: u64,
}

impl Store {
    /// A blob, if it is there.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Store`] if something else than a file bears its name.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Blob>, Error> {
        let directory = self.blobs(digest.algorithm());
        let shown = self
            .shown("blobs", digest.algorithm().name())
            .join(digest.hex());
        loop {
            let Some(file) = files::open(directory, digest.hex(), OFlags::RDONLY, &shown)? else {
                return Ok(None);
            };
            files::lock_shared(&file, &shown)?;
            if is_still(directory, digest.hex(), &file)? {
                return Blob::new(file, digest).map(Some);
            }
        }
    }

    /// The whole of a small blob, a document, hashed anew: a disk may have changed it.
    ///
    /// # Errors
    ///
    /// [`Error::Absent`], [`Error::Damaged`], and [`Error::Store`] if it is larger than
    /// [`MAX_DOCUMENT`].
    pub fn document(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let blob = self.blob(digest)?.ok_or_else(|| Error::Absent {
            digest: digest.clone(),
        })?;
        blob.document()
    }
}

impl Blob {
    pub(super) fn new(file: File, digest: &Digest) -> Result<Self, Error> {
        let size = file
            .metadata()
            .map_err(|error| call(errno(&error), || format!("fstat({digest})")))?
            .len();
        Ok(Self {
            file,
            digest: digest.clone(),
            size,
        })
    }

    /// Its name.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The whole of a document; the position is at its beginning afterwards, as before.
    pub(crate) fn document(&self) -> Result<Vec<u8>, Error> {
        let bytes = files::read(&self.file, MAX_DOCUMENT, self.digest.to_string().as_ref())?;
        (&self.file)
            .rewind()
            .map_err(|error| call(errno(&error), || format!("lseek({})", self.digest)))?;
        let mut hasher = Hasher::new(self.digest.algorithm());
        hasher.update(&bytes);
        self.right(hasher).map(|()| bytes)
    }

    /// Reads all of it once more, wherever its own position is.
    pub(super) fn check(&self) -> Result<(), Error> {
        let failed = |error| call(errno(&error), || format!("pread64({})", self.digest));
        let mut hasher = Hasher::new(self.digest.algorithm());
        let (mut buffer, mut at) = (vec![0; CHUNK], 0);
        loop {
            let count = match self.file.read_at(&mut buffer, at) {
                Ok(0) => return self.right(hasher),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            hasher.update(&buffer[..count]);
            at += count as u64;
        }
    }

    /// As long as a document says: costs nothing, and finds what a full disk or a lost write left.
    pub(crate) fn of_size(self, wanted: u64) -> Result<Self, Error> {
        match self.size == wanted {
            true => Ok(self),
            false => Err(Error::Damaged {
                why: format!("it has {} bytes instead of {wanted}", self.size),
                digest: self.digest,
            }),
        }
    }

    fn right(&self, hasher: Hasher) -> Result<(), Error> {
        let got = hasher.finish();
        match got == self.digest {
            true => Ok(()),
            false => Err(Error::Damaged {
                digest: self.digest.clone(),
                why: format!("its bytes are {got}"),
            }),
        }
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl AsFd for Blob {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
