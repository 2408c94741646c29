//! From a name to an image in the store.

mod bring;
mod coming;

use crate::config::ImageConfig;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::{Document, Manifest, is_manifest};
use crate::platform::{self, Platform};
use crate::reference::Reference;
use crate::registry::Registry;
use crate::store::{Blob, Record, Store};

use bring::Source;
pub use coming::Coming;

/// Hears how a pull goes on. Called from several threads.
pub trait Progress: Sync {
    /// What there is to bring, the configuration and the layers, before anything of it is brought.
    fn blobs(&self, _blobs: &[Descriptor]) {}

    /// So many bytes of a blob are there; `shared` if another process brings them. `false` ends the pull with
    /// [`Error::GivenUp`].
    fn bytes(&self, _digest: &Digest, _so_far: u64, _shared: bool) -> bool {
        true
    }

    /// Asked several times a second wherever a pull waits: for another attempt, as long as a registry wants to be left
    /// alone, and for another process's download. `false` ends the pull with [`Error::GivenUp`].
    fn go_on(&self) -> bool {
        true
    }

    /// A layer is there, whole and verified; `at` is its place in the manifest, lowest first.
    ///
    /// # Errors
    ///
    /// Whatever went wrong with it ends the pull.
    fn layer(&self, _at: usize, _layer: &Descriptor, _blob: &Blob) -> Result<(), Error> {
        Ok(())
    }
}

/// Hears nothing.
#[derive(Debug, Clone, Copy)]
pub struct Quiet;

impl Progress for Quiet {}

/// An image that is there, and stays as long as this lives.
#[derive(Debug)]
pub struct Pulled {
    /// Its name, and what that leads to.
    pub record: Record,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its configuration.
    pub config: ImageConfig,
    /// Every blob that it is made of, in use.
    pub held: Vec<Blob>,
    /// Nothing had to be brought.
    pub was_present: bool,
}

/// Brings what a name leads to, for a platform. What is in the store is not brought again; an image that is
/// there whole costs one HEAD. What is there and damaged, by its size or a document's digest, is brought anew; the digests
/// of layers are looked at by whoever unpacks them, and by [`Store::verify_image`].
///
/// # Errors
///
/// Whatever a registry, a document or the store can do wrong; the name keeps what it had.
pub fn pull(
    store: &Store,
    registry: &Registry,
    name: &Reference,
    wanted: &Platform,
    progress: &dyn Progress,
) -> Result<Pulled, Error> {
    let nothing = |_: &Coming<'_>| Ok::<_, Error>(());
    let pulled = pull_meanwhile(store, registry, name, wanted, progress, nothing);
    pulled.map(|(pulled, _)| pulled)
}

/// The same, with something done on the calling thread while the layers come; `None` where none had to.
///
/// The pull ends when both have ended. When one fails, the other one is told, by [`Coming`] or by being stopped, and the
/// image gets no name.
///
/// # Errors
///
/// As [`pull`], and that of `meanwhile`: whichever was first.
pub fn pull_meanwhile<T, E: From<Error>>(
    store: &Store,
    registry: &Registry,
    name: &Reference,
    wanted: &Platform,
    progress: &dyn Progress,
    meanwhile: impl FnOnce(&Coming<'_>) -> Result<T, E>,
) -> Result<(Pulled, Option<T>), E> {
    let digest = match name.digest() {
        // What a digest names cannot have changed.
        Some(digest) => Some(digest.clone()),
        None => registry.resolve_while(name, &mut || progress.go_on())?,
    };
    if let Some(digest) = &digest {
        match present(store, name, digest, wanted) {
            Ok(Some(there)) => return Ok((there, None)),
            // What is damaged is brought anew.
            Ok(None) | Err(Error::Damaged { .. }) => {}
            // So is what a record led to that cannot be read.
            Err(error) if error.is_damage() && store.image(name).is_err() => {}
            Err(error) => return Err(error.into()),
        }
    }
    // By digest from here on: a tag may move at any moment.
    let exact = digest.map_or_else(|| name.clone(), |digest| name.with_digest(digest));
    let mut go_on = || progress.go_on();
    let (target, bytes) = registry.manifest_while(&exact, &mut go_on)?;
    let mut held = vec![store.put_while(&target, &bytes, &mut go_on)?];
    let document = Document::parse(&target.digest.to_string(), &target.media_type, &bytes)?;
    let (at, manifest) = match document {
        Document::Manifest(manifest) => (target.clone(), manifest),
        Document::Index(index) => {
            let chosen = platform::select(&index.manifests, wanted)?.clone();
            let (manifest, blob) = chosen_manifest(store, registry, name, &chosen, &mut go_on)?;
            held.push(blob);
            (chosen, manifest)
        }
    };
    let source = Source {
        store,
        registry,
        name,
        progress,
    };
    let (config, config_blob) = source.config(&manifest, wanted)?;
    held.push(config_blob);
    let (layers, done) = source.layers(&manifest, &config, meanwhile)?;
    held.extend(layers);
    let mut record = Record::new(name.clone(), &target, &at, config.platform.clone());
    record.pulled = true;
    store.tag(&record, &held)?;
    let pulled = Pulled {
        record,
        manifest,
        config,
        held,
        was_present: false,
    };
    Ok((pulled, Some(done)))
}

/// An image that is in the store whole, under its name, for the platform. Documents are hashed, and layers are as
/// long as they should be.
///
/// # Errors
///
/// [`Error::Damaged`] where a blob is not what it should be; [`Error::Json`] and the like for a document that is
/// no image's; [`Error::Call`].
pub fn present(
    store: &Store,
    name: &Reference,
    target: &Digest,
    wanted: &Platform,
) -> Result<Option<Pulled>, Error> {
    match store.image(name)? {
        Some(record) if record.target.digest == *target => usable(store, record, wanted),
        _ => Ok(None),
    }
}

/// An image that is in the store whole, for the platform, whatever its name leads to at the registry.
///
/// # Errors
///
/// As [`present`].
pub fn local(store: &Store, name: &Reference, wanted: &Platform) -> Result<Option<Pulled>, Error> {
    match store.image(name)? {
        Some(record) => usable(store, record, wanted),
        None => Ok(None),
    }
}

fn usable(store: &Store, record: Record, wanted: &Platform) -> Result<Option<Pulled>, Error> {
    match platform::check(&record.platform, wanted) {
        Ok(()) => {
            store.used(&record.name)?;
            recorded(store, record)
        }
        Err(_) => Ok(None),
    }
}

/// An image that is in the store whole, by what a record says of it, wherever its name leads by now.
///
/// # Errors
///
/// As [`present`].
pub fn recorded(store: &Store, record: Record) -> Result<Option<Pulled>, Error> {
    let hold = |part: &Descriptor| -> Result<Option<Blob>, Error> {
        let blob = store.blob(&part.digest)?;
        blob.map(|blob| blob.of_size(part.size)).transpose()
    };
    let Some(at) = hold(&record.manifest)? else {
        return Ok(None);
    };
    let manifest = read_manifest(&record.manifest, &at.document()?)?;
    let mut held = vec![at];
    if record.target.digest != record.manifest.digest {
        let Some(index) = hold(&record.target)? else {
            return Ok(None);
        };
        held.push(index);
    }
    let Some(described) = hold(&manifest.config)? else {
        return Ok(None);
    };
    let config = ImageConfig::parse(&manifest, &described.document()?)?;
    held.push(described);
    for layer in &manifest.layers {
        let Some(blob) = hold(layer)? else {
            return Ok(None);
        };
        held.push(blob);
    }
    Ok(Some(Pulled {
        record,
        manifest,
        config,
        held,
        was_present: true,
    }))
}

fn chosen_manifest(
    store: &Store,
    registry: &Registry,
    name: &Reference,
    chosen: &Descriptor,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<(Manifest, Blob), Error> {
    if !is_manifest(chosen) {
        let what = format!("manifest {}", chosen.digest);
        let why = format!(
            "{:?} is no image: an index in an index is not followed",
            crate::error::shown(&chosen.media_type)
        );
        return Err(Error::Document { what, why });
    }
    let check = |got: u64| match got == chosen.size {
        true => Ok(()),
        false => Err(Error::Size {
            digest: chosen.digest.clone(),
            wanted: chosen.size,
            got,
        }),
    };
    if let Some(blob) = store.blob(&chosen.digest)? {
        match blob.document() {
            Ok(bytes) => {
                check(blob.size())?;
                return Ok((read_manifest(chosen, &bytes)?, blob));
            }
            // It is replaced below.
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error),
        }
    }
    let exact = name.with_digest(chosen.digest.clone());
    let (got, bytes) = registry.manifest_while(&exact, go_on)?;
    check(got.size)?;
    if got.media_type != chosen.media_type {
        let what = format!("manifest {}", got.digest);
        let why = format!(
            "comes as {}, and the index says {}",
            got.media_type, chosen.media_type
        );
        return Err(Error::Document { what, why });
    }
    let manifest = read_manifest(chosen, &bytes)?;
    let blob = store.put_while(&got, &bytes, go_on)?;
    Ok((manifest, blob))
}

pub(crate) fn read_manifest(at: &Descriptor, bytes: &[u8]) -> Result<Manifest, Error> {
    let what = format!("manifest {}", at.digest);
    match Document::parse(&what, &at.media_type, bytes)? {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(_) => Err(Error::Document {
            what,
            why: "is an index where a manifest must be".to_owned(),
        }),
    }
}
