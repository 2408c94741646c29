//! What is there, and on whose account.

use std::collections::HashMap;
use std::hash::Hash;

use rustix::fs::{AtFlags, OFlags, statat};
use rustix::io::Errno;

use super::{Blob, Store, digest_of, files};
use crate::chain::ChainId;
use crate::config::ImageConfig;
use crate::digest::{Algorithm, Digest};
use crate::error::{Error, call};
use crate::manifest::Document;
use crate::reference::Reference;

/// A blob, or the unpacked form of one, and who holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobUse {
    /// Its name.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// The images that it belongs to. Without any, [`prune`](Store::prune) removes it.
    pub holders: Vec<Reference>,
}

/// All that a store holds.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// Blobs, by digest.
    pub blobs: Vec<BlobUse>,
    /// Unpacked layers, and their holders.
    pub layers: Vec<(ChainId, Vec<Reference>)>,
    /// Bytes of what is not whole yet.
    pub partial: u64,
}

/// Who holds which blob, and which layer.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) blobs: HashMap<Digest, Vec<Reference>>,
    pub(super) layers: HashMap<ChainId, Vec<Reference>>,
}

impl Store {
    /// What is there, who holds it, and how large it is.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] and the like where an image's own documents are damaged; [`Error::Call`].
    pub fn usage(&self) -> Result<Usage, Error> {
        let mut held = self.held()?;
        let mut usage = Usage::default();
        for digest in self.all_blobs()? {
            let size = self.size_of(&digest)?;
            let holders = held.blobs.remove(&digest).unwrap_or_default();
            usage.blobs.push(BlobUse {
                digest,
                size,
                holders,
            });
        }
        for id in self.all_layers()? {
            let holders = held.layers.remove(&id).unwrap_or_default();
            usage.layers.push((id, holders));
        }
        for name in files::names(&self.ingest, &self.path.join("ingest"))? {
            match statat(&self.ingest, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => usage.partial += u64::try_from(stat.st_size).unwrap_or_default(),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(call(errno, || format!("fstatat({name:?})"))),
            }
        }
        Ok(usage)
    }

    /// Follows every name down. A document that is missing leads nowhere; one that is damaged is an
    /// error, for what it held cannot be known.
    pub(super) fn held(&self) -> Result<Held, Error> {
        let mut held = Held::default();
        for record in self.images()? {
            let name = record.name;
            let mut blobs = vec![record.target.digest];
            let mut layers = Vec::new();
            let manifest = &record.manifest;
            if let Some(bytes) = self.document_if_there(&manifest.digest)? {
                let what = format!("manifest {}", manifest.digest);
                if let Document::Manifest(document) =
                    Document::parse(&what, &manifest.media_type, &bytes)?
                {
                    blobs.push(document.config.digest.clone());
                    blobs.extend(document.layers.iter().map(|layer| layer.digest.clone()));
                    if let Some(bytes) = self.document_if_there(&document.config.digest)? {
                        layers = ChainId::all(&ImageConfig::parse(&document, &bytes)?.diff_ids);
                    }
                }
            }
            blobs.push(record.manifest.digest);
            for digest in blobs {
                add(&mut held.blobs, digest, &name);
            }
            for id in layers {
                add(&mut held.layers, id, &name);
            }
        }
        Ok(held)
    }

    /// Without a lock: a prune reads names while it has locks of its own, and would wait for itself. A blob
    /// that loses its name meanwhile is still read whole.
    fn document_if_there(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        let shown = self
            .shown("blobs", digest.algorithm().name())
            .join(digest.hex());
        let directory = self.blobs(digest.algorithm());
        let file = files::open(directory, digest.hex(), OFlags::RDONLY, &shown)?;
        file.map(|file| Blob::new(file, digest)?.document())
            .transpose()
    }

    pub(super) fn all_blobs(&self) -> Result<Vec<Digest>, Error> {
        let mut all = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let shown = self.shown("blobs", algorithm.name());
            for name in files::names(self.blobs(algorithm), &shown)? {
                all.extend(format!("{}:{name}", algorithm.name()).parse::<Digest>());
            }
        }
        Ok(all)
    }

    pub(super) fn all_layers(&self) -> Result<Vec<ChainId>, Error> {
        let names = files::names(&self.layers, &self.path.join("layers"))?;
        let digests = names.iter().filter_map(|name| digest_of(name));
        Ok(digests.map(ChainId::of_name).collect())
    }

    /// 0 for one that is gone meanwhile.
    fn size_of(&self, digest: &Digest) -> Result<u64, Error> {
        match statat(
            self.blobs(digest.algorithm()),
            digest.hex(),
            AtFlags::SYMLINK_NOFOLLOW,
        ) {
            Ok(stat) => Ok(u64::try_from(stat.st_size).unwrap_or_default()),
            Err(Errno::NOENT) => Ok(0),
            Err(errno) => Err(call(errno, || format!("fstatat({digest})"))),
        }
    }
}

fn add<K: Eq + Hash>(map: &mut HashMap<K, Vec<Reference>>, key: K, name: &Reference) {
    let holders = map.entry(key).or_default();
    // An image may have the same layer twice.
    if holders.last() != Some(name) {
        holders.push(name.clone());
    }
}
