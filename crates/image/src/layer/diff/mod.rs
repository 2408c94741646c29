//! What changed, as a layer: from the upper directory of an overlay, or from a tree and the one it was made
//! of.
//!
//! Entries come in the order of their names' bytes, each directory before what is in it, so the same trees
//! give the same archive. Holes are written as zeros: the archive then reads the same everywhere.

mod scan;
mod sink;
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
use sink::{Sink, Told};
use write::Tarball;

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
    /// Two overlays of the same layers, mounted alike: one that nobody writes to, and one in use. What is mounted in
    /// them is no part of either.
    ///
    /// A file that has the same facts in both, its time of change among them, was never copied up and is not read. The
    /// times of directories do not count.
    Overlays {
        /// The one that nobody writes to.
        before: BorrowedFd<'a>,
        /// The one in use.
        after: BorrowedFd<'a>,
    },
}

/// How something is otherwise than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// It is new.
    Added,
    /// It was there: itself, or something in it.
    Changed,
    /// It is gone, with all that was in it.
    Deleted,
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
    Diff::new(changes, Tarball::new(out), limits).run()
}

/// Tells what the layer would say, one path after the other, each directory before what is in it. The root is not
/// among them.
///
/// # Errors
///
/// As [`diff`]; what `told` returns is [`Call::Output`].
pub fn differences(
    changes: Changes<'_>,
    limits: &Limits,
    told: &mut dyn FnMut(Difference, &[u8]) -> std::io::Result<()>,
) -> Result<Written, Error> {
    Diff::new(changes, Told(told), limits).run()
}

/// A directory on the way from the root to where the walk is.
struct Level {
    path: Vec<u8>,
    names: std::collections::btree_set::IntoIter<Vec<u8>>,
    /// Whether the tree before has a directory here.
    compared: bool,
    /// The entry of the directory, until something in it has to be written.
    pending: Option<(Difference, Entry)>,
}

struct Diff<'a, S> {
    after: Tree<'a>,
    before: Option<Tree<'a>>,
    overlay: Option<OverlayAttrs>,
    /// Both are overlays: see [`Changes::Overlays`].
    alike: bool,
    out: S,
    limits: &'a Limits,
    /// Files with several names: the first name that was written.
    linked: HashMap<(u64, u64), Vec<u8>>,
    levels: Vec<Level>,
    written: Written,
}

impl<'a, S: Sink> Diff<'a, S> {
    fn new(changes: Changes<'a>, out: S, limits: &'a Limits) -> Self {
        let (after, before, overlay) = match changes {
            Changes::Upper { upper, overlay } => (upper, None, Some(overlay)),
            Changes::Trees { before, after } | Changes::Overlays { before, after } => {
                (after, Some(Tree::new(before)), None)
            }
        };
        Self {
            after: Tree::new(after),
            before,
            overlay,
            alike: matches!(changes, Changes::Overlays { .. }),
            out,
            limits,
            linked: HashMap::new(),
            levels: Vec::new(),
            written: Written::default(),
        }
    }

    fn run(mut self) -> Result<Written, Error> {
        self.visit(b"", b"", self.before.is_some())?;
        while let Some(level) = self.levels.last_mut() {
            let Some(name) = level.names.next() else {
                self.levels.pop();
                continue;
            };
            let (path, compared) = (level.path.clone(), level.compared);
            self.visit(&path, &name, compared)?;
        }
        self.out.end().map_err(|error| failed(b"", &error))?;
        Ok(self.written)
    }

    fn visit(&mut self, parent: &[u8], name: &[u8], compared: bool) -> Result<(), Error> {
        let path = join(parent, name);
        if self.alike && self.same_at_a_glance(parent, name, compared)? {
            return Ok(());
        }
        if name.starts_with(WHITEOUT) && S::CONTENTS {
            return Err(Error::refused(&path, Rule::WhiteoutName));
        }
        let overlay = self.overlay.unwrap_or_default();
        let mut before = match &mut self.before {
            Some(tree) if compared => tree.look(parent, name, overlay)?,
            _ => None,
        };
        let Some(mut seen) = self.after.look(parent, name, overlay)? else {
            // What came and went since its directory was read hides nothing.
            return match before {
                Some(_) => self.whiteout(parent, name),
                None => Ok(()),
            };
        };
        let Some(mut entry) = seen.entry.take() else {
            let character = rustix::fs::FileType::from_raw_mode(seen.stat.st_mode)
                == rustix::fs::FileType::CharacterDevice;
            if character && seen.stat.st_rdev == 0 && self.overlay.is_some() {
                return self.whiteout(parent, name);
            }
            self.written.skipped += 1;
            return match before.is_some_and(|before| before.entry.is_some()) {
                true => self.whiteout(parent, name),
                false => Ok(()),
            };
        };
        if let Some(was) = before.as_mut().and_then(|before| before.entry.as_mut())
            && self.alike
            && (was.kind, entry.kind) == (Kind::Directory, Kind::Directory)
        {
            was.mtime = entry.mtime;
        }
        let how = match before {
            Some(_) => Difference::Changed,
            None => Difference::Added,
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
            return self.directory((how, entry), same, compared, seen.opaque);
        }
        if same {
            return Ok(());
        }
        self.file(how, entry, &seen)
    }

    /// Whether there is nothing to say of it by its facts alone: it is a mount, or it was never copied up.
    fn same_at_a_glance(
        &mut self,
        parent: &[u8],
        name: &[u8],
        compared: bool,
    ) -> Result<bool, Error> {
        let Some(after) = self.after.glance(parent, name)? else {
            return Ok(false);
        };
        if self.after.is_elsewhere(&after)? {
            return Ok(true);
        }
        match &mut self.before {
            Some(tree) if compared => {
                let before = tree.glance(parent, name)?;
                Ok(before.is_some_and(|before| scan::is_untouched(&before, &after)))
            }
            _ => Ok(false),
        }
    }

    fn directory(
        &mut self,
        (how, mut entry): (Difference, Entry),
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
            pending: Some((how, entry)),
        });
        if !same || opaque {
            self.parents()?;
        }
        // The root's mark says nothing to overlayfs, and to a reader of the archive the same as elsewhere.
        if opaque && self.overlay.is_some() {
            let mark = self.mark(join(&path, OPAQUE));
            self.header(Difference::Changed, &mark)?;
        }
        Ok(())
    }

    fn whiteout(&mut self, parent: &[u8], name: &[u8]) -> Result<(), Error> {
        self.parents()?;
        self.count()?;
        let mark = self.mark(join(parent, &[WHITEOUT, name].concat()));
        let path = join(parent, name);
        let told = self.out.gone(&path, &mark);
        told.map_err(|error| failed(&path, &error))
    }

    /// An empty file whose name is all that counts.
    fn mark(&mut self, path: Vec<u8>) -> Entry {
        self.written.whiteouts += 1;
        Entry::new(Kind::File, path)
    }

    /// Writes the directories on the way that are not written yet.
    fn parents(&mut self) -> Result<(), Error> {
        for at in 0..self.levels.len() {
            if let Some((how, entry)) = self.levels[at].pending.take() {
                self.header(how, &entry)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, how: Difference, mut entry: Entry, seen: &Seen) -> Result<(), Error> {
        self.parents()?;
        if seen.stat.st_nlink > 1 {
            let identity = (seen.stat.st_dev, seen.stat.st_ino);
            if let Some(first) = self.linked.get(&identity) {
                entry.link.clone_from(first);
                entry.kind = Kind::HardLink;
                entry.size = 0;
                entry.xattrs.clear();
                return self.header(how, &entry);
            }
            self.linked.insert(identity, entry.path.clone());
        }
        // Before the first byte: holes cost a container nothing, and would be written as zeros.
        if S::CONTENTS
            && entry.kind == Kind::File
            && self.written.bytes.saturating_add(entry.size) > self.limits.bytes
        {
            return Err(Error::Limit {
                bound: Bound::Bytes,
                limit: self.limits.bytes,
            });
        }
        self.header(how, &entry)?;
        if let (Kind::File, Some(fd), true) = (entry.kind, &seen.fd, S::CONTENTS) {
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
            let written = self.out.data(&buffer[..count]);
            written.map_err(|error| failed(&entry.path, &error))?;
            at += count as u64;
        }
        self.written.bytes += entry.size;
        self.out
            .pad(entry.size)
            .map_err(|error| failed(&entry.path, &error))
    }

    fn header(&mut self, how: Difference, entry: &Entry) -> Result<(), Error> {
        self.count()?;
        let written = self.out.entry(how, entry);
        written.map_err(|error| failed(&entry.path, &error))
    }

    fn count(&mut self) -> Result<(), Error> {
        self.written.entries += 1;
        if self.written.entries > self.limits.entries {
            return Err(Error::Limit {
                bound: Bound::Entries,
                limit: self.limits.entries,
            });
        }
        Ok(())
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
