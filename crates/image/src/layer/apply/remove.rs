//! Removing a directory with everything in it, by descriptor and without recursion.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, fstat, openat, unlinkat};
use rustix::io::Errno;

use super::dirs::DIR;

/// Directories that are not empty, noted in one reading of the directory they are in. More would be read
/// less often, and take more memory.
const BATCH: usize = 128;

/// A directory on the way down.
struct Level {
    name: Vec<u8>,
    /// Directories in it that are to be gone through.
    full: Vec<Vec<u8>>,
}

/// Removes the directory `name` of `parent`. No link is followed, and one descriptor is held however deep it
/// is.
pub(super) fn tree(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let start = fstat(parent)?;
    let mut here: OwnedFd = openat(parent, name, DIR, Mode::empty())?;
    let mut levels = vec![Level {
        name: name.to_vec(),
        full: Vec::new(),
    }];
    while let Some(level) = levels.last_mut() {
        if level.full.is_empty() {
            level.full = empty(here.as_fd())?;
        }
        if let Some(name) = level.full.pop() {
            here = openat(&here, &name[..], DIR, Mode::empty())?;
            levels.push(Level {
                name,
                full: Vec::new(),
            });
            continue;
        }
        let Some(Level { name, .. }) = levels.pop() else {
            break;
        };
        if levels.is_empty() {
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
    Ok(())
}

/// Removes what is no directory, and empty directories; some of the others' names, none when `dir` is empty.
fn empty(dir: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let mut full = Vec::new();
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
            Err(Errno::NOTEMPTY) => {
                full.push(name.to_vec());
                if full.len() == BATCH {
                    break;
                }
            }
            result => result?,
        }
    }
    Ok(full)
}
