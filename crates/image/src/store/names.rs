//! The names of images, and what they lead to.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{OFlags, renameat};
use serde::{Deserialize, Serialize};

use super::{Blob, Damage, Store, files};
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::{Error, call};
use crate::json::{self, FREE};
use crate::platform::Platform;
use crate::reference::Reference;

/// Bytes of one record; annotations are not kept in it.
const MAX_RECORD: u64 = 64 * 1024;

/// A name and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// The name.
    pub name: Reference,
    /// What the registry has under that name: an index, or the manifest itself.
    pub target: Descriptor,
    /// The manifest for the platform that was asked for.
    pub manifest: Descriptor,
    /// What that manifest is made for.
    pub platform: Platform,
    /// When it was written, seconds since 1970.
    pub updated: u64,
    /// It came from the registry that its name says, which has it still.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pulled: bool,
}

impl Record {
    /// A record of this moment, of something that was not pulled.
    pub fn new(
        name: Reference,
        target: &Descriptor,
        manifest: &Descriptor,
        platform: Platform,
    ) -> Self {
        // The annotations of an index can be large, and are in the index.
        let plain = |of: &Descriptor| Descriptor::new(&of.media_type, of.digest.clone(), of.size);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Self {
            name,
            target: plain(target),
            manifest: plain(manifest),
            platform,
            updated: now,
            pulled: false,
        }
    }
}

impl Store {
    /// Lets a name lead to an image; what it led to before is forgotten.
    ///
    /// `held` are the blobs of that image: a prune that runs meanwhile leaves them alone, and sees the
    /// name afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::Absent`] if `held` lacks one of the record's documents; [`Error::Call`].
    pub fn tag(&self, record: &Record, held: &[Blob]) -> Result<(), Error> {
        for digest in [&record.target.digest, &record.manifest.digest] {
            if !held.iter().any(|blob| blob.digest() == digest) {
                return Err(Error::Absent {
                    digest: digest.clone(),
                });
            }
        }
        let json = |source| Error::Json {
            what: format!("the record of {}", record.name),
            source,
        };
        let bytes = serde_json::to_vec_pretty(record).map_err(json)?;
        let (file, fresh) = self.fresh_file("name")?;
        let shown = self.shown("ingest", &fresh);
        files::write(&file, &bytes, &shown)?;
        files::sync(&file, &shown)?;
        let name = record_file(&record.name);
        renameat(&self.ingest, fresh.as_str(), &self.images, name.as_str())
            .map_err(|errno| call(errno, || format!("renameat({fresh:?}, {name:?})")))?;
        files::sync(&self.images, &self.path.join("images"))
    }

    /// What a name leads to.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] and [`Error::Store`] for a record that is damaged; [`Error::Call`].
    pub fn image(&self, name: &Reference) -> Result<Option<Record>, Error> {
        self.record(&record_file(name))
    }

    /// All names whose records can be read, sorted. Those that cannot are told of by [`usage`](Self::usage).
    ///
    /// # Errors
    ///
    /// [`Error::Call`].
    pub fn images(&self) -> Result<Vec<Record>, Error> {
        self.records().map(|(records, _)| records)
    }

    /// All names, sorted, and the records that cannot be read.
    pub(super) fn records(&self) -> Result<(Vec<Record>, Vec<Damage>), Error> {
        let (mut records, mut damaged) = (Vec::new(), Vec::new());
        for file in files::names(&self.images, &self.path.join("images"))? {
            match self.record(&file) {
                // One that has been removed in between is no error.
                Ok(record) => records.extend(record),
                Err(error) if error.is_damage() => {
                    damaged.push(Damage::record(self, &file, &error));
                }
                Err(error) => return Err(error),
            }
        }
        records.sort_by(|a, b| a.name.cmp(&b.name));
        Ok((records, damaged))
    }

    /// Forgets a name, whatever its record says; `false` if it was not known. Its blobs stay until
    /// [`prune`](Self::prune).
    ///
    /// # Errors
    ///
    /// [`Error::Call`].
    pub fn untag(&self, name: &Reference) -> Result<bool, Error> {
        let file = record_file(name);
        files::unlink(&self.images, &file, &self.shown("images", &file))
    }

    fn record(&self, file: &str) -> Result<Option<Record>, Error> {
        let shown = self.shown("images", file);
        let Some(open) = files::open(&self.images, file, OFlags::RDONLY, &shown)? else {
            return Ok(None);
        };
        let bytes = files::read(&open, MAX_RECORD, &shown)?;
        let record: Record = json::parse(&shown.display().to_string(), &FREE, &bytes)?;
        match record_file(&record.name) == file {
            true => Ok(Some(record)),
            false => Err(Error::Store {
                path: shown,
                why: "is the record of another name",
            }),
        }
    }
}

/// A name can be longer than a file's, and has slashes: its digest has not.
pub(super) fn record_file(name: &Reference) -> String {
    format!("{}.json", Digest::of(name.to_string().as_bytes()).hex())
}
