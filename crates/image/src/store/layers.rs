//! Unpacked layers: directories that appear whole.
//!
//! What fills one is no matter here, nor in which form: a tree of files, or one image of a file system.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, chmodat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::{Store, file_name, files, is_still};
use crate::chain::ChainId;
use crate::error::{Error, call};

/// A layer in use: as long as this lives, nobody removes it.
#[derive(Debug)]
pub struct Layer {
    directory: OwnedFd,
    path: PathBuf,
}

/// A layer that is being unpacked. Dropped before [`publish`](Self::publish), it stays unseen until
/// [`prune`](Store::prune) removes it.
#[derive(Debug)]
pub struct Staging<'a> {
    store: &'a Store,
    directory: OwnedFd,
    name: String,
}

/// How the names of directories below `ingest/` begin that are to become layers.
const STAGED: &str = "layer";

/// How those begin that are being removed.
pub(super) const DEAD: &str = "dead";

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Store {
    /// A layer, if it is unpacked.
    ///
    /// # Errors
    ///
    /// [`Error::Call`].
    pub fn layer(&self, id: &ChainId) -> Result<Option<Layer>, Error> {
        let name = file_name(id.digest());
        let shown = self.shown("layers", &name);
        loop {
            let directory = match openat(&self.layers, name.as_str(), DIRECTORY, Mode::empty()) {
                Ok(directory) => directory,
                Err(Errno::NOENT) => return Ok(None),
                Err(errno) => {
                    return Err(call(errno, || format!("openat({shown:?}, O_DIRECTORY)")));
                }
            };
            files::lock_shared(&directory, &shown)?;
            if is_still(&self.layers, &name, &directory)? {
                return Ok(Some(Layer {
                    directory,
                    path: shown,
                }));
            }
        }
    }

    /// An empty directory, mode 0700, to unpack a layer into.
    ///
    /// # Errors
    ///
    /// [`Error::Call`].
    pub fn stage(&self) -> Result<Staging<'_>, Error> {
        let make =
            |name: &str, shown: &Path| match files::directory(&self.ingest, Path::new(name), shown)
            {
                Err(error) if error.errno() == Some(Errno::NOENT) => Ok(None),
                made => made.map(Some),
            };
        let (directory, name) = self.fresh(STAGED, make)?;
        Ok(Staging {
            store: self,
            directory,
            name,
        })
    }

    /// Removes what was unpacked at [`Staging::path`], as [`Staging::discard`] does: for a process that has the right over
    /// its files where the one that staged it has not.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Store`] for another path.
    pub fn discard_staged(&self, path: &Path) -> Result<(), Error> {
        let name = path.file_name().and_then(|name| name.to_str());
        match name {
            Some(name) if name.starts_with(STAGED) && path == self.shown("ingest", name) => {
                remove_tree(&self.ingest, name)
            }
            _ => Err(Error::Store {
                path: path.to_owned(),
                why: "is no layer that is being unpacked",
            }),
        }
    }
}

impl Layer {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Layer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl AsFd for Staging<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Staging<'_> {
    /// Where it is, until it is published.
    pub fn path(&self) -> PathBuf {
        self.store.shown("ingest", &self.name)
    }

    /// Makes the directory a layer, unpacked with those below it that its name says. If another process was faster, its layer is returned
    /// and this one is removed.
    ///
    /// # Errors
    ///
    /// [`Error::Call`].
    pub fn publish(self, id: &ChainId) -> Result<Layer, Error> {
        let name = file_name(id.digest());
        let store = self.store;
        let shown = store.shown("ingest", &self.name);
        // What is in it must not be less durable than its name: nothing would look at it again. One call for
        // the file system costs less than one for each file.
        rustix::fs::syncfs(&self.directory)
            .map_err(|errno| call(errno, || format!("syncfs({shown:?})")))?;
        if files::rename_new((&store.ingest, &self.name), (&store.layers, &name))? {
            files::sync(&store.layers, &store.path.join("layers"))?;
        } else {
            // The other one's layer is what counts. An ordinary user may lack the right over files of subordinate
            // ids: a prune, which has it, removes what is left.
            let _ = remove_tree(&store.ingest, &self.name);
        }
        store.layer(id)?.ok_or_else(|| Error::Absent {
            digest: id.digest().clone(),
        })
    }

    /// Removes what was unpacked.
    ///
    /// # Errors
    ///
    /// [`Error::Call`].
    pub fn discard(self) -> Result<(), Error> {
        remove_tree(&self.store.ingest, &self.name)
    }
}

/// Removes a directory below `at` with all that is in it, however deep: a directory in it is moved up
/// beside it first, so that there is neither recursion nor a descriptor for each level. Two may remove the same
/// at once, for what was moved up looks abandoned to a prune: what is gone is no error.
pub(super) fn remove_tree(at: &OwnedFd, name: &str) -> Result<(), Error> {
    let mut waiting = vec![name.to_owned()];
    while let Some(directory) = waiting.pop() {
        let failed = |what: &'static str| {
            let directory = &directory;
            move |errno| call(errno, || format!("{what}(…, {directory:?})"))
        };
        // A directory of mode 000 can neither be read nor moved by its owner.
        match chmodat(at, directory.as_str(), Mode::RWXU, AtFlags::empty()) {
            Ok(()) | Err(Errno::PERM) => {}
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(failed("fchmodat")(errno)),
        }
        let fd = match openat(at, directory.as_str(), DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => continue,
            opened => opened.map_err(failed("openat"))?,
        };
        match empty(&fd, at, &mut waiting) {
            Ok(()) | Err((_, Errno::NOENT)) => {}
            Err((what, errno)) => return Err(failed(what)(errno)),
        }
        drop(fd);
        match unlinkat(at, directory.as_str(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            // Reading a directory while it is emptied may miss an entry: it is read again.
            Err(Errno::NOTEMPTY) => waiting.push(directory),
            Err(errno) => return Err(failed("rmdir")(errno)),
        }
    }
    Ok(())
}

/// Removes what is in a directory, or moves it up to `at`, to wait there.
fn empty(
    fd: &OwnedFd,
    at: &OwnedFd,
    waiting: &mut Vec<String>,
) -> Result<(), (&'static str, Errno)> {
    let of = |what| move |errno| (what, errno);
    for entry in Dir::read_from(fd).map_err(of("getdents64"))? {
        let entry = entry.map_err(of("getdents64"))?;
        let inner = entry.file_name();
        if matches!(inner.to_bytes(), b"." | b"..") {
            continue;
        }
        match unlinkat(fd, inner, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR) => {}
            Err(errno) => return Err(("unlinkat", errno)),
        }
        if unlinkat(fd, inner, AtFlags::REMOVEDIR).is_ok() {
            continue;
        }
        let up = files::fresh(DEAD);
        let _ = chmodat(fd, inner, Mode::RWXU, AtFlags::empty());
        match renameat(fd, inner, at, up.as_str()) {
            Ok(()) => waiting.push(up),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(("renameat", errno)),
        }
    }
    Ok(())
}
