//! Media types: of the [OCI] image specification, and of [Docker]'s schema 2, which says the same in
//! other words.
//!
//! [OCI]: https://github.com/opencontainers/image-spec/blob/main/media-types.md
//! [Docker]: https://distribution.github.io/distribution/spec/manifest-v2-2/

use crate::layer::Compression;

/// An OCI index.
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI manifest.
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI configuration.
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Docker's index.
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's manifest.
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's configuration.
pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// A layer without compression.
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer packed by gzip.
pub(crate) const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer packed by Zstandard.
pub(crate) const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const SCHEMA_1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// What a registry is told we read, most wanted first.
pub(crate) const ACCEPT: [&str; 4] = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST];

/// What a document is by its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Index,
    Manifest,
    /// Docker's first format: signed, without layers' sizes, and gone from registries since 2019.
    Schema1,
}

impl Kind {
    /// `None` for what is no document of an image.
    pub(crate) fn of(media_type: &str) -> Option<Self> {
        match media_type {
            OCI_INDEX | DOCKER_LIST => Some(Self::Index),
            OCI_MANIFEST | DOCKER_MANIFEST => Some(Self::Manifest),
            other if SCHEMA_1.contains(&other) => Some(Self::Schema1),
            _ => None,
        }
    }
}

/// The packing that a layer's media type names.
///
/// # Errors
///
/// The rule that it breaks: encrypted, kept elsewhere, or no layer at all.
pub fn layer_compression(media_type: &str) -> Result<Compression, &'static str> {
    if media_type.ends_with("+encrypted") {
        return Err("is encrypted");
    }
    if media_type.contains(".foreign.") || media_type.contains(".nondistributable.") {
        return Err("is not distributed by registries");
    }
    match media_type {
        OCI_LAYER | "application/vnd.docker.image.rootfs.diff.tar" => Ok(Compression::Plain),
        OCI_LAYER_GZIP | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
            Ok(Compression::Gzip)
        }
        OCI_LAYER_ZSTD | "application/vnd.docker.image.rootfs.diff.tar.zstd" => {
            Ok(Compression::Zstd)
        }
        _ => Err("is no layer of an image"),
    }
}

/// A header's value without its parameters: `application/json; charset=utf-8` is `application/json`.
pub(crate) fn essence(header: &str) -> &str {
    header.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_cannot_be_unpacked_say_why() {
        let oci = "application/vnd.oci.image.layer";
        for (media_type, answer) in [
            (format!("{oci}.v1.tar"), Ok(Compression::Plain)),
            (format!("{oci}.v1.tar+gzip"), Ok(Compression::Gzip)),
            (format!("{oci}.v1.tar+zstd"), Ok(Compression::Zstd)),
            (format!("{oci}.v1.tar+gzip+encrypted"), Err("is encrypted")),
            (
                format!("{oci}.nondistributable.v1.tar+gzip"),
                Err("is not distributed by registries"),
            ),
            (
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".to_owned(),
                Err("is not distributed by registries"),
            ),
            (
                "application/vnd.in-toto+json".to_owned(),
                Err("is no layer of an image"),
            ),
            (String::new(), Err("is no layer of an image")),
        ] {
            assert_eq!(layer_compression(&media_type), answer, "{media_type}");
        }
    }
}
