//! Calls on the store's directories, with errors that name the file.

use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, fchmod, flock, fstat, fsync,
    mkdirat, openat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::PRIVATE_FILE;
use crate::error::{Error, call, errno};

/// Entries of a directory of the store that are looked at.
const MAX_ENTRIES: usize = 1 << 20;

/// Opens a directory that is ours alone, and makes it if it is missing. Looked for first: a start finds it.
pub(super) fn directory(at: impl AsFd, name: &Path, shown: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || openat(at.as_fd(), name, flags, Mode::empty());
    let (opened, made) = match open() {
        Err(Errno::NOENT) => {
            let made = match mkdirat(at.as_fd(), name, Mode::RWXU) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(errno) => return Err(call(errno, || format!("mkdirat({shown:?}, 0700)"))),
            };
            (open(), made)
        }
        opened => (opened, false),
    };
    let fd = opened.map_err(|errno| {
        call(errno, || {
            format!("openat({shown:?}, O_DIRECTORY|O_NOFOLLOW)")
        })
    })?;
    let fstat = fstat(&fd).map_err(|errno| call(errno, || format!("fstat({shown:?})")))?;
    let refuse = |why| Error::Store {
        path: shown.to_owned(),
        why,
    };
    if fstat.st_uid != geteuid().as_raw() {
        return Err(refuse("belongs to another user"));
    }
    if made {
        // The umask may have taken more than it should.
        fchmod(&fd, Mode::RWXU)
            .map_err(|errno| call(errno, || format!("fchmod({shown:?}, 0700)")))?;
    } else if fstat.st_mode & 0o077 != 0 {
        return Err(refuse("is open to others; its mode must be 0700"));
    }
    Ok(fd)
}

/// Opens a regular file, or says that there is none.
pub(super) fn open(
    at: &OwnedFd,
    name: &str,
    flags: OFlags,
    shown: &Path,
) -> Result<Option<File>, Error> {
    // Without O_NONBLOCK a FIFO would hold us for ever.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = match openat(at, name, flags, PRIVATE_FILE) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(call(errno, || format!("openat({shown:?}, {flags:?})"))),
    };
    let stat = fstat(&fd).map_err(|errno| call(errno, || format!("fstat({shown:?})")))?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(Error::Store {
            path: shown.to_owned(),
            why: "is not a regular file",
        });
    }
    Ok(Some(File::from(fd)))
}

/// Takes a lock, if it can be had at once.
pub(super) fn try_lock(file: impl AsFd, shown: &Path) -> Result<bool, Error> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(call(errno, || format!("flock({shown:?}, LOCK_EX|LOCK_NB)"))),
    }
}

/// Says that the object is in use, until the descriptor is closed. Only a removal is waited for, which
/// takes no longer than reading the names.
pub(super) fn lock_shared(file: impl AsFd, shown: &Path) -> Result<(), Error> {
    loop {
        match flock(file.as_fd(), FlockOperation::LockShared) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(call(errno, || format!("flock({shown:?}, LOCK_SH)"))),
        }
    }
}

/// `true` if the new name was free, and the old one still there.
pub(super) fn rename_new(
    (from, old): (&OwnedFd, &str),
    (to, new): (&OwnedFd, &str),
) -> Result<bool, Error> {
    match renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOENT) => Ok(false),
        Err(errno) => Err(call(errno, || {
            format!("renameat2({old:?}, {new:?}, RENAME_NOREPLACE)")
        })),
    }
}

/// Removes a file; `false` if it is gone already.
pub(super) fn unlink(at: &OwnedFd, name: &str, shown: &Path) -> Result<bool, Error> {
    match unlinkat(at, name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(call(errno, || format!("unlinkat({shown:?})"))),
    }
}

/// Makes what was written or renamed survive a loss of power.
pub(super) fn sync(fd: impl AsFd, shown: &Path) -> Result<(), Error> {
    fsync(fd).map_err(|errno| call(errno, || format!("fsync({shown:?})")))
}

pub(super) fn write(mut file: &File, bytes: &[u8], shown: &Path) -> Result<(), Error> {
    file.write_all(bytes).map_err(|error| {
        call(errno(&error), || {
            format!("write({shown:?}, {} bytes)", bytes.len())
        })
    })
}

/// Reads a whole file of at most `limit` bytes.
pub(super) fn read(file: &File, limit: u64, shown: &Path) -> Result<Vec<u8>, Error> {
    let length = file.metadata().map_or(0, |file| file.len()).min(limit);
    // One more than there is, so that the end is met without asking for more room.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1);
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| call(errno(&error), || format!("read({shown:?})")))?;
    if bytes.len() as u64 > limit {
        return Err(Error::Store {
            path: shown.to_owned(),
            why: "is larger than it can be",
        });
    }
    Ok(bytes)
}

/// The names in a directory, sorted. What is no UTF-8 was not put there by us and is passed over.
pub(super) fn names(at: &OwnedFd, shown: &Path) -> Result<Vec<String>, Error> {
    let failed = |errno| call(errno, || format!("getdents64({shown:?})"));
    let mut names = Vec::new();
    for entry in Dir::read_from(at).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        match entry.file_name().to_str() {
            Ok("." | "..") | Err(_) => {}
            Ok(name) => names.push(name.to_owned()),
        }
        if names.len() > MAX_ENTRIES {
            return Err(Error::Store {
                path: shown.to_owned(),
                why: "has more than a million entries",
            });
        }
    }
    names.sort();
    Ok(names)
}

/// A name that nobody else uses: of this process, at this moment.
pub(super) fn fresh(prefix: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let time = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    format!("{prefix}-{}-{time}-{count}", std::process::id())
}
