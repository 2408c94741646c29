//! What the layers below have at a path, seen as overlayfs would show it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    FileType, Mode, OFlags, Stat, XattrFlags, fchmod, fgetxattr, flistxattr, fsetxattr, fstat,
    openat,
};
use rustix::io::Errno;

use super::super::error::{Call, Error, Rule};
use super::super::options::{Options, OverlayAttrs, Owners};
use super::dirs::{DIR, chown, is_overlay_whiteout};

/// Something in a layer below.
pub(super) struct Found {
    /// An O_PATH descriptor for what is not a directory or a file, a real one for those.
    pub(super) fd: OwnedFd,
    pub(super) stat: Stat,
}

enum Walk {
    Found(Found),
    /// This layer has nothing; the next one counts.
    Missing,
    /// This layer hides what is below it.
    Hidden,
}

/// What is at `path`, a normal path, below the layer at `root`; that layer's own whiteouts hide it.
pub(super) fn find(
    root: BorrowedFd<'_>,
    options: &Options<'_>,
    path: &[u8],
) -> Result<Option<Found>, Errno> {
    if options.lowers.is_empty() {
        return Ok(None);
    }
    if let Walk::Hidden = walk(root, options.overlay, path)? {
        return Ok(None);
    }
    for lower in &options.lowers {
        match walk(*lower, options.overlay, path)? {
            Walk::Found(found) => return Ok(Some(found)),
            Walk::Hidden => return Ok(None),
            Walk::Missing => {}
        }
    }
    Ok(None)
}

fn walk(layer: BorrowedFd<'_>, overlay: OverlayAttrs, path: &[u8]) -> Result<Walk, Errno> {
    let mut dir = openat(layer, c".", DIR, Mode::empty())?;
    let mut opaque = is_opaque(&dir, overlay)?;
    let mut components = path.split(|byte| *byte == b'/').peekable();
    while let Some(name) = components.next() {
        let looked = openat(
            &dir,
            name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let fd = match looked {
            Ok(fd) => fd,
            Err(Errno::NOENT) if opaque => return Ok(Walk::Hidden),
            Err(Errno::NOENT) => return Ok(Walk::Missing),
            Err(errno) => return Err(errno),
        };
        let stat = fstat(&fd)?;
        let last = components.peek().is_none();
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                dir = openat(&dir, name, DIR, Mode::empty())?;
                if last {
                    return Ok(Walk::Found(Found { fd: dir, stat }));
                }
                opaque |= is_opaque(&dir, overlay)?;
            }
            _ if !last || is_overlay_whiteout(&stat) => return Ok(Walk::Hidden),
            FileType::RegularFile => {
                let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = openat(&dir, name, flags, Mode::empty())?;
                return Ok(Walk::Found(Found { fd, stat }));
            }
            _ => return Ok(Walk::Found(Found { fd, stat })),
        }
    }
    Ok(Walk::Missing)
}

fn is_opaque(dir: &OwnedFd, overlay: OverlayAttrs) -> Result<bool, Errno> {
    let mut value = [0u8; 2];
    match fgetxattr(dir, overlay.opaque(), &mut value) {
        Ok(length) => Ok(length == 1 && value[0] == b'y'),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Owner, mode and attributes of a file or directory below, set on `fd`. They are on disk already, so no id
/// is moved.
pub(super) fn copy_facts(
    found: &Found,
    options: &Options<'_>,
    fd: BorrowedFd<'_>,
    path: &[u8],
) -> Result<(), Error> {
    if options.owners != Owners::Caller {
        chown(fd, (found.stat.st_uid, found.stat.st_gid))
            .map_err(Error::call(path, Call::Chown))?;
    }
    let mode = Mode::from_raw_mode(found.stat.st_mode & 0o7777);
    fchmod(fd, mode).map_err(Error::call(path, Call::Chmod))?;
    let too_large = |_range| Error::refused(path, Rule::XattrSize);
    let mut names = vec![0u8; 64 << 10];
    let length = match flistxattr(&found.fd, &mut names) {
        Err(Errno::OPNOTSUPP) => 0,
        Err(Errno::RANGE) => return Err(too_large(Errno::RANGE)),
        other => other.map_err(Error::call(path, Call::Getxattr))?,
    };
    let mut value = Vec::new();
    for name in names[..length].split(|byte| *byte == 0) {
        let marks = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
        if name.is_empty() || marks || name == b"security.selinux" {
            continue;
        }
        value.resize(64 << 10, 0);
        let length = fgetxattr(found.fd.as_fd(), name, &mut value[..]);
        let length = length.map_err(Error::call(path, Call::Getxattr))?;
        fsetxattr(fd, name, &value[..length], XattrFlags::empty())
            .map_err(Error::call(path, Call::Setxattr))?;
    }
    Ok(())
}
