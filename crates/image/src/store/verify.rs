//! Reading blobs once more, and removing those that are damaged.

use super::turn::Turn;
use super::{Blob, Record, Store, is_still};
use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::Document;

/// What came of reading all blobs of an image.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Blobs that are what their names say.
    pub blobs: usize,
    /// Bytes of these.
    pub bytes: u64,
    /// Blobs that are not. Where a manifest is among them, its configuration and layers could not be looked for.
    pub damaged: Vec<Digest>,
    /// Blobs that are not there.
    pub absent: Vec<Digest>,
}

impl Verified {
    /// Whether the image is whole and right.
    pub fn is_good(&self) -> bool {
        self.damaged.is_empty() && self.absent.is_empty()
    }
}

impl Store {
    /// Reads a blob and computes its digest. Answers its size.
    ///
    /// # Errors
    ///
    /// [`Error::Absent`]; [`Error::Damaged`] if it is another; [`Error::Call`] and [`Error::Store`] if it cannot be
    /// read.
    pub fn verify(&self, digest: &Digest) -> Result<u64, Error> {
        let blob = self.blob(digest)?.ok_or_else(|| Error::Absent {
            digest: digest.clone(),
        })?;
        blob.check().map(|()| blob.size())
    }

    /// Reads all blobs of an image: what its name leads to, its manifest, its configuration and its layers. Unpacked
    /// layers are not looked at.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] where the machine has a fault, [`Error::Json`] and [`Error::Document`] for a manifest that is
    /// right, and none; what is damaged or missing is part of the answer.
    pub fn verify_image(&self, record: &Record) -> Result<Verified, Error> {
        let mut verified = Verified::default();
        let manifest = &record.manifest;
        let mut all = vec![record.target.digest.clone()];
        if manifest.digest != record.target.digest {
            all.push(manifest.digest.clone());
        }
        match self.document(&manifest.digest) {
            Ok(bytes) => {
                let what = format!("manifest {}", manifest.digest);
                if let Document::Manifest(document) =
                    Document::parse(&what, &manifest.media_type, &bytes)?
                {
                    for part in [&document.config].into_iter().chain(&document.layers) {
                        if !all.contains(&part.digest) {
                            all.push(part.digest.clone());
                        }
                    }
                }
            }
            // It is told of below, as every other.
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error),
        }
        for digest in all {
            match self.verify(&digest) {
                Ok(size) => {
                    verified.blobs += 1;
                    verified.bytes += size;
                }
                Err(Error::Absent { .. }) => verified.absent.push(digest),
                Err(error) if error.is_damage() => verified.damaged.push(digest),
                Err(error) => return Err(error),
            }
        }
        Ok(verified)
    }

    /// Removes those of these blobs that are damaged, which is found out once more, and answers which. Names that lead
    /// to them stay, and so do layers that were unpacked of them: the next pull brings what is missing.
    ///
    /// Who has such a blob in use keeps its bytes. One that somebody brings at this moment is left alone.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Store`] for what is no file, which nobody but a person can have put there.
    pub fn remove_damaged(&self, digests: &[Digest]) -> Result<Vec<Digest>, Error> {
        let mut removed = Vec::new();
        for digest in digests {
            let Some(turn) = self.turn(digest)? else {
                continue;
            };
            if let Some(blob) = self.blob(digest)?
                && self.take_away(&turn, &blob)?
            {
                removed.push(digest.clone());
            }
        }
        Ok(removed)
    }

    /// Takes the name from a blob if it is damaged, and answers whether it was.
    ///
    /// Nobody else does so meanwhile: the turn keeps away who would replace it, the blob's own lock every prune. So the
    /// name still leads to the file that was read. An exclusive lock would have to wait for the end of each container
    /// that has the blob in use.
    pub(super) fn take_away(&self, _turn: &Turn<'_>, blob: &Blob) -> Result<bool, Error> {
        match blob.check() {
            Ok(()) => return Ok(false),
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error),
        }
        let digest = blob.digest();
        let directory = self.blobs(digest.algorithm());
        let place = self.shown("blobs", digest.algorithm().name());
        if is_still(directory, digest.hex(), blob)? {
            super::files::unlink(directory, digest.hex(), &place.join(digest.hex()))?;
            super::files::sync(directory, &place)?;
        }
        Ok(true)
    }
}
