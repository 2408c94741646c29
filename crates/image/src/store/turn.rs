//! Whose turn it is to bring a blob, or to replace a damaged one.
//!
//! The turn is an exclusive flock(2) on `ingest/DIGEST.lock`, a file that holds nothing. What is written meanwhile
//! has a shared lock from its beginning, as everything that is in use: so no lock is ever made another one. flock(2)
//! gives the old one up first, and in between a prune would find the blob unused.

use std::fs::File;

use rustix::fs::{AtFlags, OFlags, unlinkat};

use super::{Store, file_name, files, is_still};
use crate::digest::Digest;
use crate::error::Error;

/// How the names of these files end.
pub(super) const ENDING: &str = ".lock";

/// Nobody else brings the blob as long as this lives. Then its file is gone.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    store: &'a Store,
    name: String,
    _lock: File,
}

impl Store {
    /// The turn for a digest, unless somebody else has it.
    pub(super) fn turn(&self, digest: &Digest) -> Result<Option<Turn<'_>>, Error> {
        let name = format!("{}{ENDING}", file_name(digest));
        let shown = self.shown("ingest", &name);
        let flags = OFlags::RDWR | OFlags::CREATE;
        loop {
            let Some(file) = files::open(&self.ingest, &name, flags, &shown)? else {
                continue;
            };
            if !files::try_lock(&file, &shown)? {
                return Ok(None);
            }
            // The one before removed the file when it was done, and the name may be another's by now.
            if is_still(&self.ingest, &name, &file)? {
                return Ok(Some(Turn {
                    store: self,
                    name,
                    _lock: file,
                }));
            }
        }
    }
}

impl Drop for Turn<'_> {
    /// Best effort, and before the lock is given up: who waits for it then sees that its file has no name.
    fn drop(&mut self) {
        let _ = unlinkat(&self.store.ingest, &self.name, AtFlags::empty());
    }
}
