//! Unpacked layers: directories that appear whole.
//!
//! What fills one is no matter here, nor in which form: a tree of files, or one image of a file system.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, chmodat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::{Store, file_name, files, is_still};
use crate::digest::Digest;
use crate::error::{Error, call};

/// A layer in use: as long as this lives, nobody removes it.
#[derive(Debug)]
pub struct Layer {
    directory: OwnedFd,
}

/// A layer that is being unpacked. Dropped before [`publish`](Self::publish), it stays unseen until
/// [`prune`](Store::prune) removes it.
#[derive(Debug)]
pub struct Staging<'a> {
    store: &'a Store,
    directory: OwnedFd,
    name: String,
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Store {
    /// The layer of a diffID, if it is unpacked.
    ///
    /// # Errors
    ///
    /// [`Error::Call`].
    pub fn layer(&self, diff_id: &Digest) -> Result<Option<Layer>, Error> {
        let name = file_name(diff_id);
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
                return Ok(Some(Layer { directory }));
            }
        }
    }

    /// An empty directory, mode 0700, to unpack a layer into.
    ///
    /// # Errors
    ///
    /// [`Error::Call`].
    pub fn stage(&self) -> Result<Staging<'_>, Error> {
        let name = files::fresh("layer");
        let shown = self.shown("ingest", &name);
        let directory = files::directory(&self.ingest, Path::new(&name), &shown)?;
        match files::try_lock(&directory, &shown)? {
            true => Ok(Staging {
                store: self,
                directory,
                name,
            }),
            false => Err(Error::Store {
                path: shown,
                why: "is locked by another",
            }),
        }
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
    /// Makes the directory the layer of a diffID. If another process was faster, its layer is returned
    /// and this one is removed.
    ///
    /// # Errors
    ///
    /// [`Error::Call`].
    pub fn publish(self, diff_id: &Digest) -> Result<Layer, Error> {
        let name = file_name(diff_id);
        let store = self.store;
        // Before it is seen, as with blobs.
        files::lock_shared(&self.directory, &store.shown("ingest", &self.name))?;
        if files::rename_new((&store.ingest, &self.name), (&store.layers, &name))? {
            files::sync(&store.layers, &store.path.join("layers"))?;
        } else {
            remove_tree(&store.ingest, &self.name)?;
        }
        store.layer(diff_id)?.ok_or_else(|| Error::Absent {
            digest: diff_id.clone(),
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
/// beside it first, so that there is neither recursion nor a descriptor for each level.
pub(super) fn remove_tree(at: &OwnedFd, name: &str) -> Result<(), Error> {
    let failed = |what: &'static str, name: &str| {
        let name = name.to_owned();
        move |errno| call(errno, || format!("{what}(…, {name:?})"))
    };
    let mut waiting = vec![name.to_owned()];
    while let Some(directory) = waiting.pop() {
        // A directory of mode 000 can neither be read nor moved by its owner.
        match chmodat(at, directory.as_str(), Mode::RWXU, AtFlags::empty()) {
            Ok(()) | Err(Errno::PERM) => {}
            Err(errno) => return Err(failed("fchmodat", &directory)(errno)),
        }
        let fd = openat(at, directory.as_str(), DIRECTORY, Mode::empty())
            .map_err(failed("openat", &directory))?;
        for entry in rustix::fs::Dir::read_from(&fd).map_err(failed("getdents64", &directory))? {
            let entry = entry.map_err(failed("getdents64", &directory))?;
            let inner = entry.file_name();
            if matches!(inner.to_bytes(), b"." | b"..") {
                continue;
            }
            match unlinkat(&fd, inner, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(Errno::ISDIR) => {}
                Err(errno) => return Err(failed("unlinkat", &directory)(errno)),
            }
            if unlinkat(&fd, inner, AtFlags::REMOVEDIR).is_ok() {
                continue;
            }
            let up = files::fresh("dead");
            let _ = chmodat(&fd, inner, Mode::RWXU, AtFlags::empty());
            renameat(&fd, inner, at, up.as_str()).map_err(failed("renameat", &up))?;
            waiting.push(up);
        }
        drop(fd);
        match unlinkat(at, directory.as_str(), AtFlags::REMOVEDIR) {
            Ok(()) => {}
            // Reading a directory while it is emptied may miss an entry: it is read again.
            Err(Errno::NOTEMPTY) => waiting.push(directory),
            Err(errno) => return Err(failed("rmdir", &directory)(errno)),
        }
    }
    Ok(())
}
