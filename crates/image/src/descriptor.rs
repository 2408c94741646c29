//! Descriptors: how one document names the next, by [descriptor.md].
//!
//! [descriptor.md]: https://github.com/opencontainers/image-spec/blob/main/descriptor.md

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::json::{FREE, Keys};
use crate::platform::Platform;

/// What a blob is, how large it is, and its digest. Nothing is fetched without one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What its bytes mean.
    pub media_type: String,
    /// Its name.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// What the maker noted; never control.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// In an index, for which machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

pub(crate) static KEYS: Keys = Keys::object(&[
    ("mediaType", &FREE),
    ("digest", &FREE),
    ("size", &FREE),
    ("annotations", &FREE),
    ("platform", &crate::platform::KEYS),
]);

impl Descriptor {
    /// Without annotations and platform.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        let media_type = media_type.to_owned();
        Self {
            media_type,
            digest,
            size,
            annotations: BTreeMap::new(),
            platform: None,
        }
    }
}

/// Go writes an absent map or list as `null`.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
