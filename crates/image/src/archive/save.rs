//! Images from the store into a directory or a stream.
//!
//! Every form is an image layout with the blobs as they are, so digests stay what they were. That for Docker has
//! `manifest.json` and `repositories` beside the index, with the same blobs for its layers, as `docker save` itself
//! writes it since version 25; older readers go by those two.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

use serde::Serialize;

use super::sink::{Folder, Sink, Tarball};
use super::{CHUNK, CONTAINERD_NAME, INDEX, MANIFEST, OCI_LAYOUT, REF_NAME, blob_path, refuse};
use crate::descriptor::Descriptor;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, call, errno};
use crate::manifest::{Index, Manifest};
use crate::pull::read_manifest;
use crate::reference::Reference;
use crate::store::{Blob, Store};

/// Blobs that are kept in use while the others are written, each with a descriptor.
const HELD: usize = 256;
const REPOSITORIES: &str = "repositories";

/// Where images are written to.
#[allow(missing_debug_implementations, reason = "a writer has nothing to show")]
pub enum Output<'a> {
    /// An image layout; the directory is made, or must be empty.
    Directory(&'a Path),
    /// An archive of an image layout.
    Layout(&'a mut dyn Write),
    /// An archive of an image layout that `docker load` and what reads the same take as well.
    Docker(&'a mut dyn Write),
}

/// An image to be written.
struct Image {
    name: Reference,
    at: Descriptor,
    manifest: Manifest,
}

/// One image of `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// Writes images. The same images give the same bytes, in whatever order they are named.
///
/// Of an image for several platforms it is the one that is in the store, and no index of the others.
///
/// # Errors
///
/// [`Error::Archive`] for a name that the store does not know, or a directory that is not empty;
/// [`Error::Absent`] and [`Error::Mismatch`] for a store that has lost something; [`Error::Call`]. What was
/// written before stays.
pub fn save(store: &Store, names: &[Reference], output: Output<'_>) -> Result<(), Error> {
    let mut names: Vec<&Reference> = names.iter().collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Err(refuse(INDEX, "would have no image"));
    }
    let (mut images, mut held, mut blobs) = (Vec::new(), Vec::new(), BTreeMap::new());
    for name in names {
        let image = find(store, name)?;
        let parts = [&image.at, &image.manifest.config];
        for part in parts.into_iter().chain(&image.manifest.layers) {
            if blobs.insert(part.digest.clone(), part.size).is_none() && held.len() < HELD {
                held.push(open(store, &part.digest)?);
            }
        }
        images.push(image);
    }
    let mut documents = BTreeMap::from([
        (INDEX, index(&images)?),
        (OCI_LAYOUT, br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
    ]);
    match output {
        Output::Directory(path) => write(store, &blobs, &documents, &mut Folder::new(path)?),
        Output::Layout(out) => write(store, &blobs, &documents, &mut Tarball::new(out)),
        Output::Docker(out) => {
            documents.insert(MANIFEST, items(&images)?);
            documents.insert(REPOSITORIES, repositories(&images)?);
            write(store, &blobs, &documents, &mut Tarball::new(out))
        }
    }
}

fn find(store: &Store, name: &Reference) -> Result<Image, Error> {
    let unknown = || refuse(INDEX, format!("{name} is not in the store"));
    let record = store.image(name)?.ok_or_else(unknown)?;
    let mut at = record.manifest;
    let manifest = read_manifest(&at, &store.document(&at.digest)?)?;
    let note = |key: &str| (key.to_owned(), name.to_string());
    at.annotations = [note(CONTAINERD_NAME), note(REF_NAME)].into();
    at.platform = Some(record.platform);
    Ok(Image {
        name: record.name,
        at,
        manifest,
    })
}

fn open(store: &Store, digest: &Digest) -> Result<Blob, Error> {
    store.blob(digest)?.ok_or_else(|| Error::Absent {
        digest: digest.clone(),
    })
}

fn json(what: &str, value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|source| Error::Json {
        what: what.to_owned(),
        source,
    })
}

fn index(images: &[Image]) -> Result<Vec<u8>, Error> {
    let manifests = images.iter().map(|image| image.at.clone()).collect();
    json(INDEX, &Index::new(manifests))
}

/// Images that differ only in their names are one here.
fn items(images: &[Image]) -> Result<Vec<u8>, Error> {
    let mut items: BTreeMap<&Digest, Item> = BTreeMap::new();
    for image in images {
        let item = items.entry(&image.at.digest).or_insert_with(|| Item {
            config: blob_path(&image.manifest.config.digest),
            repo_tags: Vec::new(),
            layers: (image.manifest.layers.iter())
                .map(|layer| blob_path(&layer.digest))
                .collect(),
        });
        if let Some((repository, tag)) = tagged(&image.name)? {
            let name = format!("{repository}:{tag}");
            // A name with a digest and one without may have the same tag.
            if !item.repo_tags.contains(&name) {
                item.repo_tags.push(name);
            }
        }
    }
    json(MANIFEST, &items.into_values().collect::<Vec<_>>())
}

/// Docker's first index: names, and for each tag the uppermost layer.
fn repositories(images: &[Image]) -> Result<Vec<u8>, Error> {
    let mut all: BTreeMap<String, BTreeMap<String, &str>> = BTreeMap::new();
    for image in images {
        if let (Some((repository, tag)), Some(top)) =
            (tagged(&image.name)?, image.manifest.layers.last())
        {
            let tags = all.entry(repository).or_default();
            tags.insert(tag, top.digest.hex());
        }
    }
    json(REPOSITORIES, &all)
}

/// Repository and tag as Docker writes them there: the short form, and no digest.
fn tagged(name: &Reference) -> Result<Option<(String, String)>, Error> {
    let Some(tag) = name.tag() else {
        return Ok(None);
    };
    let plain: Reference = format!("{}/{}:{tag}", name.registry(), name.repository()).parse()?;
    let familiar = plain.familiar();
    let repository = familiar.strip_suffix(&format!(":{tag}"));
    Ok(Some((
        repository.unwrap_or(&familiar).to_owned(),
        tag.to_owned(),
    )))
}

fn write(
    store: &Store,
    blobs: &BTreeMap<Digest, u64>,
    documents: &BTreeMap<&str, Vec<u8>>,
    sink: &mut dyn Sink,
) -> Result<(), Error> {
    sink.directory("blobs")?;
    let mut algorithm = None;
    for (digest, size) in blobs {
        if algorithm != Some(digest.algorithm()) {
            algorithm = Some(digest.algorithm());
            sink.directory(&format!("blobs/{}", digest.algorithm().name()))?;
        }
        copy(open(store, digest)?, *size, sink)?;
    }
    for (name, bytes) in documents {
        sink.begin(name, bytes.len() as u64)?;
        sink.data(bytes)?;
    }
    sink.end()
}

/// Hashed once more on the way: a disk may have changed it, and whoever reads the archive would be told.
fn copy(mut blob: Blob, size: u64, sink: &mut dyn Sink) -> Result<(), Error> {
    let digest = blob.digest().clone();
    if blob.size() != size {
        let got = blob.size();
        return Err(Error::Size {
            digest,
            wanted: size,
            got,
        });
    }
    sink.begin(&blob_path(&digest), size)?;
    let mut hasher = Hasher::new(digest.algorithm());
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = match blob.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(call(errno(&error), || format!("read({digest})"))),
        };
        hasher.update(&buffer[..count]);
        sink.data(&buffer[..count])?;
    }
    let got = hasher.finish();
    match got == digest {
        true => Ok(()),
        false => Err(Error::Mismatch {
            wanted: digest,
            got,
        }),
    }
}
