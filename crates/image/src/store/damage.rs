//! What cannot be read any more.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Store;
use crate::digest::Digest;
use crate::error::Error;
use crate::reference::Reference;

/// Something in the store that cannot be read, or is not what it should be.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// The image that it belongs to; `None` for a record that does not say its name any more.
    pub image: Option<Reference>,
    /// The blob; `None` for a record.
    pub digest: Option<Digest>,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl Damage {
    fn new(
        image: Option<&Reference>,
        digest: Option<&Digest>,
        path: PathBuf,
        error: &Error,
    ) -> Self {
        let why = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        Self {
            image: image.cloned(),
            digest: digest.cloned(),
            path,
            why,
        }
    }

    /// Of a record.
    pub(super) fn record(store: &Store, file: &str, error: &Error) -> Self {
        Self::new(None, None, store.shown("images", file), error)
    }

    /// Of a blob that an image has.
    pub(super) fn blob(
        store: &Store,
        image: Option<&Reference>,
        digest: &Digest,
        error: &Error,
    ) -> Self {
        let place = store.shown("blobs", digest.algorithm().name());
        Self::new(image, Some(digest), place.join(digest.hex()), error)
    }
}
