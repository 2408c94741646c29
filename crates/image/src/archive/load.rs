//! Images from a directory or a stream into the store.

use std::collections::{HashMap, HashSet};

use super::directory::Directory;
use super::stream::{self, Contents};
use super::{INDEX, Input, MANIFEST, OCI_LAYOUT, docker, names, oci, refuse};
use crate::config::ImageConfig;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::{Document, is_manifest};
use crate::media::Kind;
use crate::platform::{self, Platform};
use crate::pull::{Progress, Pulled, read_manifest};
use crate::reference::Reference;
use crate::store::{Blob, Record, Store};

/// Blobs of all images together that are handed out in use, each with a descriptor. One image has at most 131.
const HELD: usize = 256;

/// Brings images into the store, under their names there.
///
/// With a name, the image of that name is brought; an archive with a single image that has no full name, as
/// umoci's, gives it that one. Without a name these are all images that have one. Of an image for several
/// platforms it is the one for `wanted`. A blob that an archive leaves out may be in the store already.
///
/// From a stream, `progress` hears of the bytes of blobs first, and of the blobs of an image after them.
///
/// Every image stays in use while its [`Pulled`] lives, as long as all of them have 256 blobs at most: those
/// after that have nothing in [`Pulled::held`], and are kept by their names alone.
///
/// # Errors
///
/// [`Error::Archive`] with the entry that breaks a rule, [`Error::Tar`] for an archive that cannot be read, and
/// what documents and the store can do wrong. The names that were written before stay.
pub fn load(
    store: &Store,
    input: Input<'_>,
    name: Option<&Reference>,
    wanted: &Platform,
    progress: &dyn Progress,
) -> Result<Vec<Pulled>, Error> {
    load_checked(store, input, name, wanted, progress, &mut |_| Ok(()))
}

/// The same, and no image gets its name before `check` has agreed to it.
///
/// # Errors
///
/// As [`load`], and those of `check`.
pub fn load_checked<E: From<Error>>(
    store: &Store,
    input: Input<'_>,
    name: Option<&Reference>,
    wanted: &Platform,
    progress: &dyn Progress,
    check: Check<'_, E>,
) -> Result<Vec<Pulled>, E> {
    let mut loader = Loader {
        store,
        wanted,
        progress,
        check,
        configs: HashMap::new(),
        held: 0,
    };
    match input {
        Input::Directory(path) => {
            let directory = Directory::open(path)?;
            let layout = directory.document(OCI_LAYOUT)?;
            let candidates = oci::candidates(&layout, &directory.document(INDEX)?)?;
            let chosen = names::choose(INDEX, &candidates, name)?;
            loader.images(chosen, &|blob| directory.bring(store, blob, progress))
        }
        Input::Stream(reader) => {
            let contents = stream::read(store, reader, progress)?;
            loader.contents(&contents, name)
        }
    }
}

/// Looks at an image that has no name yet.
pub type Check<'a, E> = &'a mut dyn FnMut(&Pulled) -> Result<(), E>;

/// Finds a blob, or brings it.
type Bring<'a> = &'a dyn Fn(&Descriptor) -> Result<Blob, Error>;

struct Loader<'a, E> {
    store: &'a Store,
    wanted: &'a Platform,
    progress: &'a dyn Progress,
    check: Check<'a, E>,
    /// What Docker's part of the archive says, where there is an index as well.
    configs: HashMap<Reference, HashSet<Digest>>,
    held: usize,
}

impl<E: From<Error>> Loader<'_, E> {
    fn contents(
        &mut self,
        contents: &Contents,
        name: Option<&Reference>,
    ) -> Result<Vec<Pulled>, E> {
        let store = self.store;
        let bring = |wanted: &Descriptor| there(store, wanted);
        if let Some(index) = contents.document(INDEX) {
            let layout = contents
                .document(OCI_LAYOUT)
                .ok_or_else(|| refuse(OCI_LAYOUT, "is missing"))?;
            let candidates = oci::candidates(layout, index)?;
            self.configs = docker::configs(contents)?;
            return self.images(names::choose(INDEX, &candidates, name)?, &bring);
        }
        let bytes = contents.document(MANIFEST).ok_or_else(|| {
            refuse(
                MANIFEST,
                "is missing, and so is index.json: this is no archive of images",
            )
        })?;
        let candidates = docker::candidates(bytes)?;
        let mut images = Vec::new();
        for (name, item) in names::choose(MANIFEST, &candidates, name)? {
            let (descriptor, _held) = docker::manifest(store, contents, &item)?;
            images.push(self.named(name, &descriptor, &bring)?);
        }
        Ok(images)
    }

    fn images(
        &mut self,
        chosen: Vec<(Reference, Vec<Descriptor>)>,
        bring: Bring<'_>,
    ) -> Result<Vec<Pulled>, E> {
        let mut images = Vec::new();
        for (name, descriptors) in chosen {
            let target = match &descriptors[..] {
                // What it is for may stand in its configuration alone.
                [only] => only,
                several => platform::select(several, self.wanted)?,
            };
            images.push(self.named(name, target, bring)?);
        }
        Ok(images)
    }

    fn named(
        &mut self,
        name: Reference,
        target: &Descriptor,
        bring: Bring<'_>,
    ) -> Result<Pulled, E> {
        let mut image = self.image(name, target, bring)?;
        (self.check)(&image)?;
        self.store.tag(&image.record, &image.held)?;
        self.held += image.held.len();
        if self.held > HELD {
            image.held.clear();
        }
        Ok(image)
    }

    /// An image by its manifest, or by an index of its manifests.
    fn image(
        &self,
        name: Reference,
        target: &Descriptor,
        bring: Bring<'_>,
    ) -> Result<Pulled, Error> {
        if let Some(digest) = name.digest().filter(|digest| **digest != target.digest) {
            return Err(Error::Mismatch {
                wanted: digest.clone(),
                got: target.digest.clone(),
            });
        }
        let first = bring(target)?;
        let (at, blob) = match Kind::of(&target.media_type) {
            Some(Kind::Index) => {
                let what = target.digest.to_string();
                let bytes = first.document()?;
                let Document::Index(index) = Document::parse(&what, &target.media_type, &bytes)?
                else {
                    let why = "is a manifest where an index must be".to_owned();
                    return Err(Error::Document { what, why });
                };
                let chosen = platform::select(&index.manifests, self.wanted)?.clone();
                let blob = bring(&chosen)?;
                (chosen, Some(blob))
            }
            _ => (target.clone(), None),
        };
        if !is_manifest(&at) {
            return Err(Error::Document {
                what: format!("manifest {}", at.digest),
                why: format!("{:?} is no image", crate::error::shown(&at.media_type)),
            });
        }
        let manifest = read_manifest(&at, &blob.as_ref().unwrap_or(&first).document()?)?;
        let mut held: Vec<Blob> = [first].into_iter().chain(blob).collect();
        let mut parts = vec![manifest.config.clone()];
        parts.extend(manifest.layers.iter().cloned());
        self.progress.blobs(&parts);
        let blob = bring(&manifest.config)?;
        let config = ImageConfig::parse(&manifest, &blob.document()?)?;
        held.push(blob);
        platform::check(&config.platform, self.wanted)?;
        self.check_config(&name, &manifest.config.digest)?;
        let mut seen = HashSet::new();
        for (at, layer) in manifest.layers.iter().enumerate() {
            if seen.insert(&layer.digest) {
                let blob = bring(layer)?;
                self.progress.layer(at, layer, &blob)?;
                held.push(blob);
            }
        }
        let record = Record::new(name, target, &at, config.platform.clone());
        let before = self.store.image(&record.name)?;
        let was_present = before.is_some_and(|before| before.target == record.target);
        Ok(Pulled {
            record,
            manifest,
            config,
            held,
            was_present,
        })
    }

    fn check_config(&self, name: &Reference, config: &Digest) -> Result<(), Error> {
        match self.configs.get(name) {
            Some(said) if !said.contains(config) => {
                let why = format!("says that {name} is another image than {INDEX} says");
                Err(refuse(MANIFEST, why))
            }
            _ => Ok(()),
        }
    }
}

/// A blob that is in the store, of the size that it must have.
fn there(store: &Store, wanted: &Descriptor) -> Result<Blob, Error> {
    let digest = wanted.digest.clone();
    let Some(blob) = store.blob(&digest)? else {
        return Err(Error::Absent { digest });
    };
    match blob.size() == wanted.size {
        true => Ok(blob),
        false => Err(Error::Size {
            digest,
            wanted: wanted.size,
            got: blob.size(),
        }),
    }
}
