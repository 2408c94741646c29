//! What is there, and on whose account.

use std::collections::HashMap;
use std::hash::Hash;

use rustix::fs::{AtFlags, OFlags, statat};
use rustix::io::Errno;

use super::{Blob, Damage, Record, Store, digest_of, files};
use crate::chain::ChainId;
use crate::config::ImageConfig;
use crate::descriptor::Descriptor;
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

/// An unpacked layer, and who holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerUse {
    /// Its name.
    pub id: ChainId,
    /// Bytes on disk, see [`Layer::size`](super::Layer::size).
    pub size: u64,
    /// The images that it belongs to.
    pub holders: Vec<Reference>,
}

/// All that a store holds.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// Blobs, by digest.
    pub blobs: Vec<BlobUse>,
    /// Unpacked layers, by chain ID.
    pub layers: Vec<LayerUse>,
    /// Bytes of what is not whole yet.
    pub partial: u64,
    /// What cannot be read, or has another size than it should have. What such a document leads to has no holder here, and
    /// is kept by [`prune`](Store::prune) all the same.
    pub damaged: Vec<Damage>,
}

/// Who holds which blob, and which layer.
#[derive(Debug, Default)]
pub(super) struct Held {
    blobs: HashMap<Digest, Vec<Reference>>,
    layers: HashMap<ChainId, Vec<Reference>>,
    pub(super) damaged: Vec<Damage>,
    /// Something that leads to blobs cannot be read: any may be meant.
    any_blob: bool,
    /// The same of unpacked layers.
    any_layer: bool,
}

impl Held {
    /// Whether a name leads to it, or may.
    pub(super) fn has_blob(&self, digest: &Digest) -> bool {
        self.any_blob || self.blobs.contains_key(digest)
    }

    /// Whether a name leads to it, or may.
    pub(super) fn has_layer(&self, id: &ChainId) -> bool {
        self.any_layer || self.layers.contains_key(id)
    }
}

impl Store {
    /// What is there, who holds it, and how large it is.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] where the machine has a fault; what is damaged is part of the answer.
    pub fn usage(&self) -> Result<Usage, Error> {
        let mut held = self.held()?;
        let mut usage = Usage {
            damaged: std::mem::take(&mut held.damaged),
            ..Usage::default()
        };
        for digest in self.all_blobs()? {
            let Some(size) = self.size_of(&digest)? else {
                continue;
            };
            let holders = held.blobs.remove(&digest).unwrap_or_default();
            usage.blobs.push(BlobUse {
                digest,
                size,
                holders,
            });
        }
        for id in self.all_layers()? {
            let Some(layer) = self.layer(&id)? else {
                continue;
            };
            let (size, holders) = (layer.size()?, held.layers.remove(&id).unwrap_or_default());
            usage.layers.push(LayerUse { id, size, holders });
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

    /// Follows every name down. A document that is missing leads nowhere; one that is damaged may lead
    /// anywhere, for what it held cannot be known.
    pub(super) fn held(&self) -> Result<Held, Error> {
        let mut held = Held::default();
        let (records, damaged) = self.records()?;
        held.any_blob = !damaged.is_empty();
        held.any_layer = held.any_blob;
        held.damaged = damaged;
        for record in records {
            self.hold(&mut held, &record)?;
        }
        Ok(held)
    }

    fn hold(&self, held: &mut Held, record: &Record) -> Result<(), Error> {
        let (name, at) = (&record.name, &record.manifest);
        let mut parts = vec![&record.target];
        if at.digest != record.target.digest {
            parts.push(at);
        }
        let what = format!("manifest {}", at.digest);
        let parse = |bytes: &[u8]| Document::parse(&what, &at.media_type, bytes);
        let read = self.read_held(held, name, &at.digest, parse)?;
        (held.any_blob, held.any_layer) = match read {
            Read::Damaged => (true, true),
            _ => (held.any_blob, held.any_layer),
        };
        if let Read::There(Document::Manifest(document)) = &read {
            parts.push(&document.config);
            parts.extend(&document.layers);
            let parse = |bytes: &[u8]| ImageConfig::parse(document, bytes);
            match self.read_held(held, name, &document.config.digest, parse)? {
                Read::There(config) => {
                    for id in ChainId::all(&config.diff_ids) {
                        add(&mut held.layers, id, name);
                    }
                }
                Read::Damaged => held.any_layer = true,
                Read::Absent => {}
            }
        }
        for part in parts {
            self.look(held, name, part)?;
            add(&mut held.blobs, part.digest.clone(), name);
        }
        Ok(())
    }

    /// Reads a document of an image's, and notes that it cannot be read.
    fn read_held<T>(
        &self,
        held: &mut Held,
        name: &Reference,
        digest: &Digest,
        parse: impl FnOnce(&[u8]) -> Result<T, Error>,
    ) -> Result<Read<T>, Error> {
        let read = self.document_if_there(digest);
        match read.and_then(|bytes| bytes.map(|bytes| parse(&bytes)).transpose()) {
            Ok(Some(document)) => Ok(Read::There(document)),
            Ok(None) => Ok(Read::Absent),
            Err(error) if error.is_damage() => {
                note(held, Damage::blob(self, Some(name), digest, &error));
                Ok(Read::Damaged)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a blob that is there has the size that it should have.
    fn look(&self, held: &mut Held, name: &Reference, part: &Descriptor) -> Result<(), Error> {
        if let Some(size) = self.size_of(&part.digest)?
            && size != part.size
        {
            let error = Error::Damaged {
                digest: part.digest.clone(),
                why: format!("it has {size} bytes instead of {}", part.size),
            };
            note(held, Damage::blob(self, Some(name), &part.digest, &error));
        }
        Ok(())
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

    fn size_of(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        match statat(
            self.blobs(digest.algorithm()),
            digest.hex(),
            AtFlags::SYMLINK_NOFOLLOW,
        ) {
            Ok(stat) => Ok(u64::try_from(stat.st_size).ok()),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(call(errno, || format!("fstatat({digest})"))),
        }
    }
}

/// What came of reading a document.
enum Read<T> {
    There(T),
    Absent,
    Damaged,
}

/// Once for each file of an image.
fn note(held: &mut Held, damage: Damage) {
    let is_same = |known: &Damage| known.image == damage.image && known.path == damage.path;
    if !held.damaged.iter().any(is_same) {
        held.damaged.push(damage);
    }
}

fn add<K: Eq + Hash>(map: &mut HashMap<K, Vec<Reference>>, key: K, name: &Reference) {
    let holders = map.entry(key).or_default();
    // An image may have the same layer twice.
    if holders.last() != Some(name) {
        holders.push(name.clone());
    }
}
