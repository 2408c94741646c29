//! An image layout in a directory. Only what an image is made of is read.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;

use super::{CHUNK, blob_path, refuse};
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::{Error, call, errno};
use crate::json::MAX_DOCUMENT;
use crate::pull::Progress;
use crate::store::{Blob, Claim, Ingest, Store};

/// The directory, open.
pub(super) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty())
            .map_err(|errno| call(errno, || format!("openat({path:?}, O_DIRECTORY)")))?;
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    /// A file below the directory; what links lead to must lie there as well.
    fn file(&self, name: &str) -> Result<File, Error> {
        // Without O_NONBLOCK a FIFO would hold us for ever.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let shown = self.path.join(name);
        let fd = match openat2(&self.fd, name, flags, Mode::empty(), resolve) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Err(refuse(name, "is missing")),
            Err(Errno::XDEV) => return Err(refuse(name, "leads out of the directory")),
            Err(errno) => {
                return Err(call(errno, || {
                    format!("openat2({shown:?}, RESOLVE_BENEATH)")
                }));
            }
        };
        let stat = fstat(&fd).map_err(|errno| call(errno, || format!("fstat({shown:?})")))?;
        match FileType::from_raw_mode(stat.st_mode).is_file() {
            true => Ok(File::from(fd)),
            false => Err(refuse(name, "is not a regular file")),
        }
    }

    /// A document at the root of the layout.
    pub(super) fn document(&self, name: &str) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.file(name)?
            .take(MAX_DOCUMENT + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| {
                call(errno(&error), || {
                    format!("read({:?})", self.path.join(name))
                })
            })?;
        match bytes.len() as u64 > MAX_DOCUMENT {
            false => Ok(bytes),
            true => Err(refuse(name, format!("has more than {MAX_DOCUMENT} bytes"))),
        }
    }

    /// Copies a blob into the store, unless it is there.
    pub(super) fn bring(
        &self,
        store: &Store,
        wanted: &Descriptor,
        progress: &dyn Progress,
    ) -> Result<Blob, Error> {
        let digest = &wanted.digest;
        let given_up = || Error::GivenUp {
            what: digest.to_string(),
        };
        let mut ingest =
            match store.claim(wanted, &mut |so_far| progress.bytes(digest, so_far, true))? {
                Claim::Present(blob) => {
                    progress.bytes(digest, blob.size(), false);
                    return Ok(blob);
                }
                Claim::Given => return Err(given_up()),
                Claim::Mine(ingest) => ingest,
            };
        ingest.restart()?;
        let copied = self.copy(&mut ingest, digest, &mut |so_far| match progress
            .bytes(digest, so_far, false)
        {
            true => Ok(()),
            false => Err(given_up()),
        });
        match copied {
            Ok(()) => ingest.commit(),
            Err(error) => {
                ingest.discard()?;
                Err(error)
            }
        }
    }

    fn copy(
        &self,
        ingest: &mut Ingest<'_>,
        digest: &Digest,
        hear: &mut dyn FnMut(u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let name = blob_path(digest);
        let mut file = self.file(&name)?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let path = self.path.join(&name);
                    return Err(call(errno(&error), || format!("read({path:?})")));
                }
            };
            ingest.append(&buffer[..count])?;
            hear(ingest.written())?;
        }
    }
}
