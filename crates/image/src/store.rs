//! What was pulled, built or loaded: blobs by digest, and names that lead to them.
//!
//! ```text
//! blobs/sha256/HEX    a blob: whole, verified, never changed
//! ingest/…            what is still being written; ingest/sha256-HEX is gone on with by whoever comes next,
//!                     which is who has the lock of ingest/sha256-HEX.lock
//! images/HEX.json     a name and what it leads to; HEX is the name's own digest
//! layers/sha256-HEX/  an unpacked layer, by its chain ID
//! ```
//!
//! There is no lock over the whole, no index and no daemon. Everything appears by rename, and who uses an object holds
//! a shared flock(2) on it, which ends with its process: [`Blob`], [`Layer`]. Who removes one takes the
//! exclusive lock first and then looks at the names anew. Who writes a name holds all that it leads to. So
//! a removal never takes what a pull or a run has in hand, and nobody waits for a download but those who
//! want the same blob.
//!
//! A blob never changes, and disks do. One that is damaged is in nobody's way: what reads it says so, a pull brings it
//! anew, and [`Store::verify_image`] and [`Store::remove_damaged`] look for it. What leads to nowhere because of damage
//! keeps everything that may have been meant.
//!
//! Directories are opened once, and everything is reached from them by one plain name, never through a
//! symbolic link.

mod blob;
mod budget;
mod damage;
mod df;
mod files;
mod growth;
mod ingest;
mod layers;
mod names;
mod prune;
mod turn;
mod verify;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, fstat, statat};
use rustix::io::Errno;

pub use blob::Blob;
pub use damage::Damage;
pub use df::{BlobUse, LayerUse, Usage};
pub(crate) use growth::Growth;
pub use growth::{Came, Growing};
pub use ingest::{Claim, Ingest, Writer};
pub use layers::{Layer, Staging};
pub use names::Record;
pub use prune::Pruned;
pub use verify::Verified;

use crate::digest::{Algorithm, Digest};
use crate::error::{Error, call};

/// A directory of content. Several processes may have the same open.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    sha256: OwnedFd,
    sha512: OwnedFd,
    ingest: OwnedFd,
    images: OwnedFd,
    layers: OwnedFd,
}

impl Store {
    /// Opens a store, and makes what is missing of it, with mode 0700. The directory above must exist.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] if the directory belongs to somebody else or is open to others; [`Error::Call`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let root = files::directory(rustix::fs::CWD, path, path)?;
        let below = |name: &str| files::directory(&root, Path::new(name), &path.join(name));
        let blobs = below("blobs")?;
        let algorithm = |algorithm: Algorithm| {
            let name = Path::new(algorithm.name());
            files::directory(&blobs, name, &path.join("blobs").join(name))
        };
        Ok(Self {
            sha256: algorithm(Algorithm::Sha256)?,
            sha512: algorithm(Algorithm::Sha512)?,
            ingest: below("ingest")?,
            images: below("images")?,
            layers: below("layers")?,
            path: path.to_owned(),
        })
    }

    /// Where it is, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn blobs(&self, algorithm: Algorithm) -> &OwnedFd {
        match algorithm {
            Algorithm::Sha256 => &self.sha256,
            Algorithm::Sha512 => &self.sha512,
        }
    }

    fn shown(&self, place: &str, name: &str) -> PathBuf {
        self.path.join(place).join(name)
    }
}

/// A digest as one plain file name.
fn file_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

/// The digest that a file name stands for.
fn digest_of(name: &str) -> Option<Digest> {
    name.replacen('-', ":", 1).parse().ok()
}

/// Whether a name still leads to what is open: it may have been removed while its lock was waited for.
fn is_still(directory: &OwnedFd, name: &str, open: &impl std::os::fd::AsFd) -> Result<bool, Error> {
    let spelled = || format!("fstatat(…, {name:?}, AT_SYMLINK_NOFOLLOW)");
    let ours = fstat(open).map_err(|errno| call(errno, || format!("fstat({name:?})")))?;
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(there) => Ok((there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(call(errno, spelled)),
    }
}

/// For what only the owner may read.
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "store_damage_tests.rs"]
mod damage_tests;

#[cfg(test)]
#[path = "store_budget_tests.rs"]
mod budget_tests;
