//! Blobs that are there.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::OFlags;

use super::{Store, files, is_still};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, call, errno};
use crate::json::MAX_DOCUMENT;

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
    /// [`Error::Absent`], [`Error::Mismatch`], and [`Error::Store`] if it is larger than
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

    pub(crate) fn document(&self) -> Result<Vec<u8>, Error> {
        let bytes = files::read(&self.file, MAX_DOCUMENT, self.digest.to_string().as_ref())?;
        let mut hasher = Hasher::new(self.digest.algorithm());
        hasher.update(&bytes);
        let got = hasher.finish();
        match got == self.digest {
            true => Ok(bytes),
            false => Err(Error::Mismatch {
                wanted: self.digest.clone(),
                got,
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
