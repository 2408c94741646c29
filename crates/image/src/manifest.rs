//! Manifests and indexes: one image, or the images of one name, by [manifest.md] and [image-index.md].
//!
//! A document is read by what it says it is, and then it must be that in every respect: what could be
//! read as a manifest by one program and as an index by another is refused.
//!
//! [manifest.md]: https://github.com/opencontainers/image-spec/blob/main/manifest.md
//! [image-index.md]: https://github.com/opencontainers/image-spec/blob/main/image-index.md

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::descriptor::{self, Descriptor, null_as_default};
use crate::error::{Error, shown};
use crate::json::{self, FREE, Keys, MAX_DOCUMENT};
use crate::media::{
    self, DOCKER_CONFIG, DOCKER_MANIFEST, Kind, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST,
    layer_compression,
};

/// Of an image. Builders stay below: Docker's storage takes 125 to 128, overlayfs 500 in one mount.
pub const MAX_LAYERS: usize = 128;
/// Of an index.
const MAX_MANIFESTS: usize = 1024;

/// One image: its configuration, and its layers from the lowest up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    schema_version: u32,
    media_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// What the maker noted; never control.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// An OCI manifest of our own making.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        let media_type = OCI_MANIFEST.to_owned();
        Self {
            schema_version: 2,
            media_type,
            config,
            layers,
            annotations: BTreeMap::new(),
        }
    }

    /// What it is by its own words.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }
}

/// The images of one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    schema_version: u32,
    media_type: String,
    /// The manifests; [`select`](crate::select) finds the one for a machine.
    pub manifests: Vec<Descriptor>,
    /// What the maker noted; never control.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// An OCI index of our own making.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        let media_type = OCI_INDEX.to_owned();
        Self {
            schema_version: 2,
            media_type,
            manifests,
            annotations: BTreeMap::new(),
        }
    }

    /// What it is by its own words.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }
}

/// What a name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// Several images.
    Index(Index),
    /// One image.
    Manifest(Manifest),
}

/// All that tells the two apart, in one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    // Of schema 1.
    fs_layers: Option<serde::de::IgnoredAny>,
    #[serde(default, deserialize_with = "null_as_default")]
    annotations: BTreeMap<String, String>,
}

static DESCRIPTORS: Keys = Keys::list(&descriptor::KEYS);

static KEYS: Keys = Keys::object(&[
    ("schemaVersion", &FREE),
    ("mediaType", &FREE),
    ("artifactType", &FREE),
    ("config", &descriptor::KEYS),
    ("layers", &DESCRIPTORS),
    ("manifests", &DESCRIPTORS),
    ("fsLayers", &FREE),
    ("annotations", &FREE),
]);

impl Document {
    /// Reads a document whose media type is known from elsewhere: a header, or the descriptor that led
    /// here. `what` names it in errors.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] and [`Error::Document`].
    pub fn parse(what: &str, media_type: &str, bytes: &[u8]) -> Result<Self, Error> {
        let refuse = |why: String| Error::Document {
            what: what.to_owned(),
            why,
        };
        let said = media::essence(media_type);
        if Kind::of(said) == Some(Kind::Schema1) {
            return Err(refuse(SCHEMA_1.to_owned()));
        }
        let raw: Raw = json::parse(what, &KEYS, bytes)?;
        if raw.schema_version == Some(1) || raw.fs_layers.is_some() {
            return Err(refuse(SCHEMA_1.to_owned()));
        }
        if raw.schema_version != Some(2) {
            return Err(refuse("schemaVersion must be 2".to_owned()));
        }
        // A document need not repeat its type (image-spec: SHOULD); if it does, it must be the same.
        let own = raw.media_type.as_deref().unwrap_or(said);
        if own != said {
            let (own, said) = (shown(own), shown(said));
            return Err(refuse(format!(
                "mediaType {own:?} was announced as {said:?}"
            )));
        }
        let kind = Kind::of(said)
            .ok_or_else(|| refuse(format!("{:?} is no image and no index", shown(said))))?;
        match (kind, raw.config, raw.layers, raw.manifests) {
            (_, _, Some(_), Some(_)) | (_, Some(_), _, Some(_)) => {
                Err(refuse("is a manifest and an index at once".to_owned()))
            }
            (Kind::Index, None, None, Some(manifests)) => {
                let (schema_version, media_type) = (2, said.to_owned());
                let index = Index {
                    schema_version,
                    media_type,
                    manifests,
                    annotations: raw.annotations,
                };
                index.check().map_err(refuse)?;
                Ok(Self::Index(index))
            }
            (Kind::Manifest, Some(config), Some(layers), None) => {
                let (schema_version, media_type) = (2, said.to_owned());
                let annotations = raw.annotations;
                let manifest = Manifest {
                    schema_version,
                    media_type,
                    config,
                    layers,
                    annotations,
                };
                manifest
                    .check(raw.artifact_type.as_deref())
                    .map_err(refuse)?;
                Ok(Self::Manifest(manifest))
            }
            (Kind::Index, ..) => Err(refuse("an index has manifests, and no layers".to_owned())),
            (Kind::Manifest | Kind::Schema1, ..) => {
                Err(refuse("a manifest has a config and layers".to_owned()))
            }
        }
    }
}

const SCHEMA_1: &str = "is in Docker's schema 1, which has been given up: \
                        push the image again with a tool of today";

impl Index {
    fn check(&self) -> Result<(), String> {
        if self.manifests.len() > MAX_MANIFESTS {
            let count = self.manifests.len();
            return Err(format!("has {count} manifests, more than {MAX_MANIFESTS}"));
        }
        Ok(())
    }
}

impl Manifest {
    fn check(&self, artifact_type: Option<&str>) -> Result<(), String> {
        let config = self.config.media_type.as_str();
        if config != OCI_CONFIG && config != DOCKER_CONFIG {
            let what = shown(artifact_type.unwrap_or(config));
            return Err(format!("is an artifact of type {what:?}, and no image"));
        }
        if self.layers.is_empty() || self.layers.len() > MAX_LAYERS {
            return Err(format!(
                "has {} layers: it takes 1 to {MAX_LAYERS}",
                self.layers.len()
            ));
        }
        if self.config.size > MAX_DOCUMENT {
            return Err(format!(
                "its config has {} bytes, more than {MAX_DOCUMENT}",
                self.config.size
            ));
        }
        let mut total = 0_u64;
        for layer in &self.layers {
            let digest = &layer.digest;
            if *digest == self.config.digest {
                return Err(format!("{digest} is both its config and a layer"));
            }
            layer_compression(&layer.media_type)
                .map_err(|why| format!("layer {digest}: {:?} {why}", shown(&layer.media_type)))?;
            total = total
                .checked_add(layer.size)
                .filter(|total| i64::try_from(*total).is_ok())
                .ok_or("its layers have more bytes than a file can have")?;
        }
        Ok(())
    }
}

/// Whether a descriptor of an index can lead to an image.
pub(crate) fn is_manifest(descriptor: &Descriptor) -> bool {
    [OCI_MANIFEST, DOCKER_MANIFEST].contains(&descriptor.media_type.as_str())
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
