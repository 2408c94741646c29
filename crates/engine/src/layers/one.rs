//! One layer that is not there: from a stream of its blob to a directory with its name.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use image::layer::Unpacked;
use image::{ChainId, Descriptor, Digest, Layer, Staging, Store};
use rustix::fs::SeekFrom;

use super::sandbox::{Order, Sandbox};
use super::{Error, Heard};

/// The layer, and what it needs.
pub(super) struct One<'a> {
    pub(super) store: &'a Store,
    pub(super) sandbox: &'a Sandbox,
    /// Its place, lowest first.
    pub(super) at: usize,
    pub(super) part: &'a Descriptor,
    pub(super) diff_id: &'a Digest,
    pub(super) id: &'a ChainId,
    /// The layers below, the lowest first.
    pub(super) below: &'a [Layer],
}

impl One<'_> {
    /// From its blob, which is there, as long as `go_on` says so.
    pub(super) fn unpack(
        &self,
        go_on: &dyn Fn() -> bool,
        heard: Heard<'_>,
    ) -> Result<Layer, Error> {
        let digest = &self.part.digest;
        let blob = self
            .store
            .blob(digest)?
            .ok_or_else(|| image::Error::Absent {
                digest: digest.clone(),
            })?;
        let staging = self.store.stage()?;
        let mut tell = || {
            // The child reads from the same open file, so its position is how far it has come.
            let so_far = rustix::fs::seek(blob.as_fd(), SeekFrom::Current(0)).unwrap_or(0);
            heard(self.at, self.part, so_far);
            go_on()
        };
        match self.fill(staging.path(), blob.as_fd(), &mut tell) {
            Ok(()) => Ok(staging.publish(self.id)?),
            Err(error) => {
                self.discard(staging);
                // A layer that the disk has changed is not to fail for ever: the next pull brings it anew.
                match self
                    .store
                    .remove_damaged(std::slice::from_ref(digest))?
                    .is_empty()
                {
                    true => Err(error),
                    false => Err(Error::Image(image::Error::Damaged {
                        digest: digest.clone(),
                        why: "its bytes have another digest".to_owned(),
                    })),
                }
            }
        }
    }

    /// Removes what was begun. The cause is what counts: a prune removes what is left.
    pub(super) fn discard(&self, staging: Staging<'_>) {
        let _ = match self.sandbox.has_foreign_ids() {
            true => self.sandbox.discard(self.store.path(), &staging),
            false => staging.discard().map_err(Error::Image),
        };
    }

    /// Unpacks `input` into `root`; fails unless both digests are those that the image says.
    pub(super) fn fill(
        &self,
        root: PathBuf,
        input: BorrowedFd<'_>,
        tell: &mut dyn FnMut() -> bool,
    ) -> Result<(), Error> {
        let digest = &self.part.digest;
        image::layer_compression(&self.part.media_type).map_err(|why| {
            Error::Image(image::Error::Document {
                what: format!("layer {digest}"),
                why: format!("{:?}: {why}", self.part.media_type),
            })
        })?;
        let order = Order {
            root,
            // The nearest first.
            lowers: self
                .below
                .iter()
                .rev()
                .map(|layer| layer.path().into())
                .collect(),
            media_type: self.part.media_type.clone(),
            compressed: self.part.size,
            caller_owns: self.sandbox.has_one_id(),
        };
        let unpacked = self.sandbox.unpack(&order, input, tell)?;
        self.judge(unpacked.map_err(|source| Error::Layer {
            digest: digest.clone(),
            source,
        })?)
    }

    fn judge(&self, unpacked: Unpacked) -> Result<(), Error> {
        let digest = &self.part.digest;
        let got = Digest::from(unpacked.compressed);
        if digest.algorithm() == got.algorithm() && got != *digest {
            return Err(Error::Image(image::Error::Mismatch {
                wanted: digest.clone(),
                got,
            }));
        }
        let got = Digest::from(unpacked.plain);
        if got != *self.diff_id {
            return Err(Error::DiffId {
                digest: digest.clone(),
                wanted: self.diff_id.clone(),
                got,
            });
        }
        Ok(())
    }
}
