//! A root file system in an archive becomes an image of one layer.

use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::time::SystemTime;

use super::assemble::{Draft, assemble};
use super::change::Change;
use super::plain::Plain;
use super::{CHUNK, tar};
use crate::error::{Error, call, errno};
use crate::layer::{Archive, Bound, Error as LayerError, Limits, check_name};
use crate::platform::Platform;
use crate::pull::Pulled;
use crate::reference::Reference;
use crate::store::{Blob, Store, Writer};

/// The image that a root file system becomes.
#[non_exhaustive]
#[derive(Debug)]
pub struct Root<'a> {
    /// Its name, which has no digest.
    pub name: &'a Reference,
    /// What its programs are made for; this machine, at first.
    pub platform: Platform,
    /// What its configuration has; it is empty without.
    pub changes: &'a [Change],
    /// What the maker says about it.
    pub comment: Option<&'a str>,
    /// When it was made; without it no time gets into the image, and the same archive gives the same digest.
    pub created: Option<SystemTime>,
}

impl<'a> Root<'a> {
    /// With an empty configuration.
    pub fn new(name: &'a Reference) -> Self {
        Self {
            name,
            platform: Platform::host(),
            changes: &[],
            comment: None,
            created: None,
        }
    }
}

/// Makes an image of an archive, as it is or packed by gzip or Zstandard. Its layer is the archive without
/// compression. It has its name only when [`Store::tag`] gives it.
///
/// The archive is read as one of a layer is: headers and names that a layer must not have are refused now, and not
/// when the image is run.
///
/// # Errors
///
/// [`Error::Tar`] for the archive, and those of [`assemble`].
pub fn import(store: &Store, reader: &mut dyn Read, root: &Root<'_>) -> Result<Pulled, Error> {
    let layer = stage(store, reader)?;
    let mut draft = Draft::new(root.name);
    draft.platform = root.platform.clone();
    draft.layers = vec![layer];
    draft.changes = root.changes;
    draft.comment = root.comment;
    draft.created = root.created;
    assemble(store, draft)
}

/// Writes the archive to the store while it is read.
fn stage(store: &Store, reader: &mut dyn Read) -> Result<Blob, Error> {
    let limits = Limits::default();
    let reader = BufReader::with_capacity(CHUNK, reader);
    let mut copied = Copied {
        inner: Plain::new(reader, &limits).map_err(tar)?,
        writer: store.writer()?,
        failed: None,
    };
    let walked = walk(&mut copied, &limits);
    // It breaks off the walk, too, and is the cause then.
    if let Some(error) = copied.failed {
        return Err(call(errno(&error), || "write(a layer)".to_owned()));
    }
    walked.map_err(tar)?;
    copied.writer.finish()
}

fn walk(input: impl BufRead, limits: &Limits) -> Result<(), LayerError> {
    let mut archive = Archive::new(input);
    let (mut entries, mut bytes) = (0, 0_u64);
    while let Some(entry) = archive.next_entry()? {
        entries += 1;
        bytes = bytes.saturating_add(entry.size);
        check_name(&entry.path, limits.depth)?;
        for (bound, is, limit) in [
            (Bound::Entries, entries, limits.entries),
            (Bound::Bytes, bytes, limits.bytes),
        ] {
            if is > limit {
                return Err(LayerError::Limit { bound, limit });
            }
        }
    }
    Ok(())
}

/// Writes whatever is taken from it.
struct Copied<'a, R: BufRead> {
    inner: Plain<'a, R>,
    writer: Writer<'a>,
    failed: Option<io::Error>,
}

impl<R: BufRead> Read for Copied<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(out.len());
        out[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Copied<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match &self.failed {
            Some(error) => Err(error.kind().into()),
            None => self.inner.fill_buf(),
        }
    }

    fn consume(&mut self, count: usize) {
        let written = self
            .inner
            .fill_buf()
            .and_then(|taken| self.writer.write_all(&taken[..count]));
        self.failed = written.err();
        self.inner.consume(count);
    }
}
