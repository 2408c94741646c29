//! What changed, as a layer: from the upper directory of an overlay, or from a tree and the one it was made
//! of.
//!
//! Entries come in the order of their names' bytes, each directory before what is in it, so the same trees
//! give the same archive. Holes are written as zeros: the archive then reads the same everywhere.

mod scan;
pub(crate) mod write;

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::error::{Bound, Call, Error, Rule};
use super::name::{OPAQUE, WHITEOUT, join};
use super::options::{Limits, OverlayAttrs};
use super::tar::{Entry, Kind};
use scan::{Seen, Tree};

/// What is compared with what.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Changes<'a> {
    /// The upper directory of an overlay, or a layer as [`apply`](super::apply) leaves it: all of it is new, and it
    /// says itself what it hides.
    Upper {
        /// The directory.
        upper: BorrowedFd<'a>,
        /// How it marks what it hides.
        overlay: OverlayAttrs,
    },
    /// Two complete trees.
    Trees {
        /// How it was.
        before: BorrowedFd<'a>,
        /// How it is.
        after: BorrowedFd<'a>,
    },
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Entries, whiteouts among them.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Whiteouts and opaque marks.
    pub whiteouts: u64,
    /// Sockets and device nodes, which a layer does not hold.
    pub skipped: u64,
}

/// Writes the layer to `out`, uncompressed. Nobody may write to the trees meanwhile.
///
/// # Errors
///
/// [`Error::Refused`] for what a layer cannot say, [`Error::Limit`], [`Error::Call`].
pub fn diff(changes: Changes<'_>, out: impl Write, limits: &Limits) -> Result<Written, Error> {
    let (after, before, overlay) = match changes {
        Changes::Upper { upper, overlay } => (upper, None, Some(overlay)),
        Changes::Trees { before, after } => (after, Some(Tree::new(before)), None),
    };
    let mut diff = Diff {
        after: Tree::new(after),
        before,
        overlay,
        out,
        limits,
        linked: HashMap::new(),
        levels: Vec::new(),
        written: Written::default(),
    };
    diff.run()?;
    Ok(diff.written)
}

/// A directory on the way from the root to where the walk is.
struct Level {
    path: Vec<u8>,
    names: std::collections::btree_set::IntoIter<Vec<u8>>,
    /// Whether the tree before has a directory here.
    compared: bool,
    /// The entry of the directory, until something in it has to be written.
    pending: Option<Entry>,
}

struct Diff<'a, W> {
    after: Tree<'a>,
    before: Option<Tree<'a>>,
    overlay: Option<OverlayAttrs>,
    out: W,
    limits: &'a Limits,
    /// Files with several names: the first name that was written.
    linked: HashMap<(u64, u64), Vec<u8>>,
    levels: Vec<Level>,
    written: Written,
}

impl<W: Write> Diff<'_, W> {
    fn run(&mut self) -> Result<(), Error> {
        self.visit(b"", b"", self.before.is_some())?;
        while let Some(level) = self.levels.last_mut() {
            let Some(name) = level.names.next() else {
                self.levels.pop();
                continue;
            };
            let (path, compared) = (level.path.clone(), level.compared);
            self.visit(&path, &name, compared)?;
        }
        let end = write::end(&mut self.out).and_then(|()| self.out.flush());
        end.map_err(|error| failed(b"", &error))
    }

    fn visit(&mut self, parent: &[u8], name: &[u8], compared: bool) -> Result<(), Error> {
        let path = join(parent, name);
        if name.starts_with(WHITEOUT) {
            return Err(Error::refused(&path, Rule::WhiteoutName));
        }
        let overlay = self.overlay.unwrap_or_default();
        let before = match &mut self.before {
            Some(tree) if compared => tree.look(parent, name, overlay)?,
            _ => None,
        };
        let Some(mut seen) = self.after.look(parent, name, overlay)? else {
            return self.whiteout(parent, name);
        };
        let Some(mut entry) = seen.entry.take() else {
            let character = rustix::fs::FileType::from_raw_mode(seen.stat.st_mode)
                == rustix::fs::FileType::CharacterDevice;
            if character && seen.stat.st_rdev == 0 && self.overlay.is_some() {
                return self.whiteout(parent, name);
            }
            self.written.skipped += 1;
            return Ok(());
        };
        let same = match &before {
            Some(before) => same(&entry, &seen, before, &path)?,
            None => false,
        };
        entry.path = path;
        if entry.kind == Kind::Directory {
            let compared = before.is_some_and(|before| {
                before
                    .entry
                    .is_some_and(|entry| entry.kind == Kind::Directory)
            });
            return self.directory(entry, same, compared, seen.opaque);
        }
        if same {
            return Ok(());
        }
        self.file(entry, &seen)
    }

    fn directory(
        &mut self,
        mut entry: Entry,
        same: bool,
        compared: bool,
        opaque: bool,
    ) -> Result<(), Error> {
        if self.levels.len() > self.limits.depth {
            return Err(Error::refused(&entry.path, Rule::Depth));
        }
        let path = entry.path.clone();
        let mut names: BTreeSet<_> = self.after.names(&path, self.limits)?.into_iter().collect();
        if let Some(before) = self.before.as_mut().filter(|_| compared) {
            names.extend(before.names(&path, self.limits)?);
        }
        if path.is_empty() {
            entry.path.push(b'.');
        }
        entry.path.push(b'/');
        self.levels.push(Level {
            path: path.clone(),
            names: names.into_iter(),
            compared,
            pending: Some(entry),
        });
        if !same || opaque {
            self.parents()?;
        }
        // The root's mark says nothing to overlayfs, and to a reader of the archive the same as elsewhere.
        if opaque && self.overlay.is_some() {
            self.mark(join(&path, OPAQUE))?;
        }
        Ok(())
    }

    fn whiteout(&mut self, parent: &[u8], name: &[u8]) -> Result<(), Error> {
        self.parents()?;
        self.mark(join(parent, &[WHITEOUT, name].concat()))
    }

    /// An empty file whose name is all that counts.
    fn mark(&mut self, path: Vec<u8>) -> Result<(), Error> {
        self.written.whiteouts += 1;
        let entry = Entry {
            path,
            link: Vec::new(),
            kind: Kind::File,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            xattrs: Vec::new(),
            size: 0,
            sparse: None,
        };
        self.header(&entry)
    }

    /// Writes the directories on the way that are not written yet.
    fn parents(&mut self) -> Result<(), Error> {
        for at in 0..self.levels.len() {
            if let Some(entry) = self.levels[at].pending.take() {
                self.header(&entry)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, mut entry: Entry, seen: &Seen) -> Result<(), Error> {
        self.parents()?;
        if seen.stat.st_nlink > 1 {
            let identity = (seen.stat.st_dev, seen.stat.st_ino);
            if let Some(first) = self.linked.get(&identity) {
                entry.link.clone_from(first);
                entry.kind = Kind::HardLink;
                entry.size = 0;
                entry.xattrs.clear();
                return self.header(&entry);
            }
            self.linked.insert(identity, entry.path.clone());
        }
        self.header(&entry)?;
        if let (Kind::File, Some(fd)) = (entry.kind, &seen.fd) {
            self.contents(&entry, fd)?;
        }
        Ok(())
    }

    fn contents(&mut self, entry: &Entry, fd: &std::os::fd::OwnedFd) -> Result<(), Error> {
        let mut buffer = vec![0u8; 128 << 10];
        let mut at = 0;
        while at < entry.size {
            let wanted = usize::try_from(entry.size - at).unwrap_or(usize::MAX);
            let wanted = wanted.min(buffer.len());
            let count = match rustix::io::pread(fd, &mut buffer[..wanted], at) {
                Err(Errno::INTR) => continue,
                result => result.map_err(Error::call(&entry.path, Call::Read))?,
            };
            if count == 0 {
                return Err(Error::refused(&entry.path, Rule::Changed));
            }
            let written = self.out.write_all(&buffer[..count]);
            written.map_err(|error| failed(&entry.path, &error))?;
            at += count as u64;
        }
        self.written.bytes += entry.size;
        if self.written.bytes > self.limits.bytes {
            return Err(Error::Limit {
                bound: Bound::Bytes,
                limit: self.limits.bytes,
            });
        }
        write::pad(&mut self.out, entry.size).map_err(|error| failed(&entry.path, &error))
    }

    fn header(&mut self, entry: &Entry) -> Result<(), Error> {
        self.written.entries += 1;
        if self.written.entries > self.limits.entries {
            return Err(Error::Limit {
                bound: Bound::Entries,
                limit: self.limits.entries,
            });
        }
        write::header(&mut self.out, entry).map_err(|error| failed(&entry.path, &error))
    }
}

/// Whether nothing has to be written for it: the same facts, and the same bytes.
fn same(entry: &Entry, seen: &Seen, before: &Seen, path: &[u8]) -> Result<bool, Error> {
    let identity = |seen: &Seen| (seen.stat.st_dev, seen.stat.st_ino);
    if identity(seen) == identity(before) {
        return Ok(true);
    }
    let links =
        |seen: &Seen| entry.kind == Kind::Directory || seen.stat.st_nlink == before.stat.st_nlink;
    if before.entry.as_ref() != Some(entry) || !links(seen) {
        return Ok(false);
    }
    let (Kind::File, Some(one), Some(other)) = (entry.kind, &seen.fd, &before.fd) else {
        return Ok(true);
    };
    let (mut left, mut right) = (vec![0u8; 64 << 10], vec![0u8; 64 << 10]);
    let mut at = 0;
    while at < entry.size {
        let read = |fd, buffer: &mut [u8]| {
            rustix::io::pread(fd, buffer, at).map_err(Error::call(path, Call::Read))
        };
        let (first, second) = (read(one, &mut left)?, read(other, &mut right)?);
        if first != second || left[..first] != right[..second] {
            return Ok(false);
        }
        if first == 0 {
            break;
        }
        at += first as u64;
    }
    Ok(true)
}

fn failed(path: &[u8], error: &std::io::Error) -> Error {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    Error::call(path, Call::Output)(errno)
}
