//! Removing a directory with everything in it, by descriptor and without recursion.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, fstat, openat, unlinkat};
use rustix::io::Errno;

use super::dirs::DIR;

/// Removes the directory `name` of `parent`. No link is followed, and one descriptor is held however deep it
/// is.
pub(super) fn tree(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let start = fstat(parent)?;
    let mut names: Vec<Vec<u8>> = vec![name.to_vec()];
    let mut here: OwnedFd = openat(parent, name, DIR, Mode::empty())?;
    loop {
        if let Some(child) = empty(here.as_fd())? {
            here = openat(&here, &child[..], DIR, Mode::empty())?;
            names.push(child);
            continue;
        }
        let Some(name) = names.pop() else {
            return Ok(());
        };
        if names.is_empty() {
            return unlinkat(parent, name, AtFlags::REMOVEDIR);
        }
        // Nobody renames in a layer that is being made, so `..` is where this walk came from; were it not,
        // the name would not be there.
        here = openat(&here, c"..", DIR, Mode::empty())?;
        let now = fstat(&here)?;
        if (now.st_dev, now.st_ino) == (start.st_dev, start.st_ino) {
            return Err(Errno::XDEV);
        }
        unlinkat(&here, name, AtFlags::REMOVEDIR)?;
    }
}

/// Removes what is no directory, and empty directories; the name of the first one that is not empty.
fn empty(dir: BorrowedFd<'_>) -> Result<Option<Vec<u8>>, Errno> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        match unlinkat(dir, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            result => {
                result?;
                continue;
            }
        }
        match unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY) => return Ok(Some(name.to_vec())),
            result => result?,
        }
    }
    Ok(None)
}
