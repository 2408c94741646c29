//! One pass over an archive: blobs go to the store as they come, documents are kept, the rest is passed over.
//!
//! What an archive holds is known only at its end: its index may be the last entry. Blobs that turn out to belong
//! to no image are left to [`Store::prune`](crate::Store::prune).

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write as _};

use super::plain::Plain;
use super::{CHUNK, INDEX, MANIFEST, OCI_LAYOUT, names, refuse, tar};
use crate::descriptor::Descriptor;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, call, errno};
use crate::json::MAX_DOCUMENT;
use crate::layer::{Archive, Entry, Found, Kind, Limits};
use crate::pull::Progress;
use crate::store::{Blob, Claim, Store};

/// Entries of an archive.
const MAX_ENTRIES: usize = 16 * 1024;
/// Blobs that are kept in use until the archive is read. Those after them are safe from everything but a prune that
/// runs at the same time, and then missed when their image is given its name.
const HELD: usize = 128;
/// Symbolic links that lead to each other.
const MAX_LINKS: usize = 8;
/// Enough to tell a compression.
const START: usize = 16;

/// A file of the archive that is in the store.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// What its first bytes say.
    pub(super) found: Found,
}

/// What an archive held.
#[derive(Default)]
pub(super) struct Contents {
    documents: HashMap<String, Vec<u8>>,
    files: HashMap<String, Stored>,
    links: HashMap<String, String>,
    held: Vec<Blob>,
}

/// Reads an archive to its end.
pub(super) fn read(
    store: &Store,
    input: impl Read,
    progress: &dyn Progress,
) -> Result<Contents, Error> {
    let limits = Limits::default();
    let plain = Plain::new(BufReader::with_capacity(CHUNK, input), &limits).map_err(tar)?;
    let mut archive = Archive::new(plain);
    let mut contents = Contents::default();
    let mut count = 0;
    while let Some(entry) = archive.next_entry().map_err(tar)? {
        count += 1;
        if count > MAX_ENTRIES {
            let why = format!("comes after {MAX_ENTRIES} others, and no image has as many");
            return Err(refuse(&String::from_utf8_lossy(&entry.path), why));
        }
        contents.take((store, progress), &mut archive, &entry)?;
    }
    contents.check_parents()?;
    Ok(contents)
}

impl Contents {
    /// A document at the root of the archive.
    pub(super) fn document(&self, name: &str) -> Option<&[u8]> {
        self.documents.get(name).map(Vec::as_slice)
    }

    /// A file by the name that a document calls it, through links.
    pub(super) fn file(&self, name: &str) -> Result<&Stored, Error> {
        let mut at = names::clean(name.as_bytes()).map_err(|why| refuse(name, why))?;
        for _ in 0..MAX_LINKS {
            match (self.files.get(&at), self.links.get(&at)) {
                (Some(stored), _) => return Ok(stored),
                (None, Some(target)) => at.clone_from(target),
                (None, None) => return Err(refuse(name, "is not in the archive")),
            }
        }
        Err(refuse(name, "is a link to a link to a link"))
    }

    fn take<R: BufRead>(
        &mut self,
        (store, progress): (&Store, &dyn Progress),
        archive: &mut Archive<R>,
        entry: &Entry,
    ) -> Result<(), Error> {
        let shown = String::from_utf8_lossy(&entry.path);
        let refused = |why: &str| refuse(&shown, why);
        let name = names::clean(&entry.path).map_err(refused)?;
        if entry.kind == Kind::Directory {
            return match self.has(&name) {
                true => Err(refused("comes twice")),
                false => Ok(()),
            };
        }
        if name.is_empty() {
            return Err(refused("has no name"));
        }
        if self.has(&name) {
            return Err(refused("comes twice"));
        }
        match entry.kind {
            Kind::File if entry.sparse.is_some() => Err(refused("is sparse")),
            Kind::File => self.put((store, progress), archive, entry.size, name),
            Kind::Symlink | Kind::HardLink => {
                let from = match entry.kind {
                    Kind::Symlink => name.rsplit_once('/').map_or("", |(parent, _)| parent),
                    _ => "",
                };
                let target = names::follow(from, &entry.link)
                    .map_err(|why| refused(&format!("the target of the link {why}")))?;
                self.links.insert(name, target);
                Ok(())
            }
            _ => Err(refused("is neither a file, a link nor a directory")),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
            || self.links.contains_key(name)
            || self.documents.contains_key(name)
    }

    /// A reader that unpacks the archive would follow the link, and find another file than we do.
    fn check_parents(&self) -> Result<(), Error> {
        let all = self.files.keys().chain(self.links.keys());
        for name in all {
            let ends = name.match_indices('/').map(|(at, _)| &name[..at]);
            if let Some(parent) = ends.into_iter().find(|parent| self.has(parent)) {
                return Err(refuse(
                    name,
                    format!("lies below {parent:?}, which is no directory"),
                ));
            }
        }
        Ok(())
    }

    fn put<R: BufRead>(
        &mut self,
        (store, progress): (&Store, &dyn Progress),
        archive: &mut Archive<R>,
        size: u64,
        name: String,
    ) -> Result<(), Error> {
        if [OCI_LAYOUT, INDEX, MANIFEST].contains(&name.as_str()) {
            if size > MAX_DOCUMENT {
                let why = format!("has {size} bytes, more than {MAX_DOCUMENT}");
                return Err(refuse(&name, why));
            }
            let mut bytes = Vec::new();
            each(archive, |piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            })?;
            self.documents.insert(name, bytes);
            return Ok(());
        }
        // Of Docker before 1.10, whose formats nobody reads who reads manifest.json.
        if name == "repositories" || name.ends_with("/json") || name.ends_with("/VERSION") {
            return Ok(());
        }
        let (blob, found) = match name.strip_prefix("blobs/") {
            Some(rest) => {
                let digest: Digest = rest
                    .replacen('/', ":", 1)
                    .parse()
                    .map_err(|error: Error| refuse(&name, error.to_string()))?;
                named(store, archive, &Descriptor::new("", digest, size), progress)?
            }
            None => nameless(store, archive)?,
        };
        let (digest, size) = (blob.digest().clone(), blob.size());
        if self.held.len() < HELD {
            self.held.push(blob);
        }
        self.files.insert(
            name,
            Stored {
                digest,
                size,
                found,
            },
        );
        Ok(())
    }
}

fn each<R: BufRead>(
    archive: &mut Archive<R>,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    loop {
        let piece = archive.data().map_err(tar)?;
        let count = piece.len();
        if count == 0 {
            return Ok(());
        }
        take(piece)?;
        archive.consume(count);
    }
}

/// A blob whose name is its digest. One that is there already is hashed all the same: whether an archive is refused
/// does not depend on what the store has.
fn named<R: BufRead>(
    store: &Store,
    archive: &mut Archive<R>,
    wanted: &Descriptor,
    progress: &dyn Progress,
) -> Result<(Blob, Found), Error> {
    let digest = &wanted.digest;
    let given_up = || Error::GivenUp {
        what: digest.to_string(),
    };
    let claim = store.claim(wanted, &mut |so_far| progress.bytes(digest, so_far, true))?;
    let (mut so_far, mut start) = (0, Vec::new());
    let mut hear = |piece: &[u8]| {
        begin(&mut start, piece);
        so_far += piece.len() as u64;
        match progress.bytes(digest, so_far, false) {
            true => Ok(()),
            false => Err(given_up()),
        }
    };
    let blob = match claim {
        Claim::Given => return Err(given_up()),
        Claim::Mine(mut ingest) => {
            ingest.restart()?;
            let taken = each(archive, |piece| {
                ingest.append(piece)?;
                hear(piece)
            });
            // A stream begins anew next time: nobody would go on with this.
            if let Err(error) = taken {
                ingest.discard()?;
                return Err(error);
            }
            ingest.commit()?
        }
        Claim::Present(blob) => {
            let mut hasher = Hasher::new(digest.algorithm());
            each(archive, |piece| {
                hasher.update(piece);
                hear(piece)
            })?;
            let got = hasher.finish();
            if got != *digest {
                let wanted = digest.clone();
                return Err(Error::Mismatch { wanted, got });
            }
            blob
        }
    };
    Ok((blob, Found::of(&start)))
}

/// A file that is named otherwise; its digest is found on the way.
fn nameless<R: BufRead>(store: &Store, archive: &mut Archive<R>) -> Result<(Blob, Found), Error> {
    let mut writer = store.writer()?;
    let mut start = Vec::new();
    each(archive, |piece| {
        begin(&mut start, piece);
        writer
            .write_all(piece)
            .map_err(|error| call(errno(&error), || "write(a blob)".to_owned()))
    })?;
    Ok((writer.finish()?, Found::of(&start)))
}

fn begin(start: &mut Vec<u8>, piece: &[u8]) {
    let missing = START.saturating_sub(start.len()).min(piece.len());
    start.extend_from_slice(&piece[..missing]);
}
