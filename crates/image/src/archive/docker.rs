//! `manifest.json` of [`docker save`]: configurations and layers by the names of their files.
//!
//! Such an image has no manifest of its own. It is given one of OCI, whose layers are the files as they are: archives
//! without compression, mostly, whose digest the configuration has as a diffID.
//!
//! [`docker save`]: https://docs.docker.com/reference/cli/docker/image/save/

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::names::Candidate;
use super::stream::{Contents, Stored};
use super::{MANIFEST, refuse};
use crate::config::ImageConfig;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Error;
use crate::json::{self, FREE, Keys, MAX_DOCUMENT};
use crate::layer::Found;
use crate::manifest::{MAX_LAYERS, Manifest};
use crate::media::{OCI_CONFIG, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, OCI_MANIFEST};
use crate::reference::Reference;
use crate::store::{Blob, Store};

/// One image.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

static ITEMS: Keys = Keys::list(&ITEM);

static ITEM: Keys = Keys::object(&[("Config", &FREE), ("RepoTags", &FREE), ("Layers", &FREE)]);

/// The images of `manifest.json`.
pub(super) fn candidates(bytes: &[u8]) -> Result<Vec<Candidate<Item>>, Error> {
    let items: Vec<Item> = json::parse(MANIFEST, &ITEMS, bytes)?;
    let candidate = |item: Item| {
        Ok(Candidate {
            names: names(&item)?,
            tag: None,
            image: item,
        })
    };
    items.into_iter().map(candidate).collect()
}

fn names(item: &Item) -> Result<Vec<Reference>, Error> {
    let tags = item.repo_tags.iter().flatten();
    tags.map(|tag| {
        tag.parse()
            .map_err(|error: Error| refuse(MANIFEST, error.to_string()))
    })
    .collect()
}

/// Which configurations each name has: an archive with an index as well must say the same in both.
pub(super) fn configs(contents: &Contents) -> Result<HashMap<Reference, HashSet<Digest>>, Error> {
    let mut all: HashMap<Reference, HashSet<Digest>> = HashMap::new();
    let Some(bytes) = contents.document(MANIFEST) else {
        return Ok(all);
    };
    for candidate in candidates(bytes)? {
        let digest = &contents.file(&candidate.image.config)?.digest;
        for name in candidate.names {
            all.entry(name).or_default().insert(digest.clone());
        }
    }
    Ok(all)
}

/// Writes the manifest of an image.
pub(super) fn manifest(
    store: &Store,
    contents: &Contents,
    item: &Item,
) -> Result<(Descriptor, Blob), Error> {
    let config = contents.file(&item.config)?;
    check_name(&item.config, config)?;
    if config.size > MAX_DOCUMENT {
        let why = format!("has {} bytes, more than {MAX_DOCUMENT}", config.size);
        return Err(refuse(&item.config, why));
    }
    let names = item.layers.as_deref().unwrap_or_default();
    if names.is_empty() || names.len() > MAX_LAYERS {
        let why = format!("has {} layers: it takes 1 to {MAX_LAYERS}", names.len());
        return Err(refuse(MANIFEST, why));
    }
    let files = names.iter().map(|name| contents.file(name));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let mut layers = Vec::new();
    for (name, file) in names.iter().zip(&files) {
        let media_type = match file.found {
            Found::Plain => OCI_LAYER,
            Found::Gzip => OCI_LAYER_GZIP,
            Found::Zstd => OCI_LAYER_ZSTD,
            other => {
                let why = format!("is {other}, which is not a layer's compression");
                return Err(refuse(name, why));
            }
        };
        layers.push(Descriptor::new(media_type, file.digest.clone(), file.size));
    }
    let at = Descriptor::new(OCI_CONFIG, config.digest.clone(), config.size);
    let manifest = Manifest::new(at, layers);
    let parsed = ImageConfig::parse(&manifest, &store.document(&config.digest)?)?;
    for ((name, file), diff_id) in names.iter().zip(&files).zip(&parsed.diff_ids) {
        if file.found == Found::Plain && file.digest != *diff_id {
            let why = format!("is {}, and the config says {diff_id}", file.digest);
            return Err(refuse(name, why));
        }
    }
    let bytes = serde_json::to_vec(&manifest).map_err(|source| Error::Json {
        what: "a manifest".to_owned(),
        source,
    })?;
    let descriptor = Descriptor::new(OCI_MANIFEST, Digest::of(&bytes), bytes.len() as u64);
    let blob = store.put(&descriptor, &bytes)?;
    Ok((descriptor, blob))
}

/// Docker calls a configuration by its digest, and some readers go by that alone.
fn check_name(name: &str, config: &Stored) -> Result<(), Error> {
    let hex = name.strip_suffix(".json").unwrap_or_default();
    match format!("sha256:{hex}").parse::<Digest>() {
        Ok(said) if said != config.digest => {
            Err(refuse(name, format!("is {} by its content", config.digest)))
        }
        _ => Ok(()),
    }
}
