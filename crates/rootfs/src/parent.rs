//! What the parent does before the child runs: detached clones of mounts, idmapped if need be.
//!
//! Needs CAP_SYS_ADMIN in the caller's mount namespace; idmapping also over the user namespace that
//! owns the file system. A detached mount is gone with its last descriptor, so nothing is left behind
//! on any path of failure.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use crate::attrs::Change;
use crate::error::Error;
use crate::sys;

/// A detached clone of what is mounted at `path`, with all below when `recursive`, to be passed to
/// the child as a [`Source::Passed`](crate::Source::Passed). The caller owns the descriptor.
///
/// # Kernel
/// [`open_tree(2)`](https://man7.org/linux/man-pages/man2/open_tree.2.html), Linux 5.2.
///
/// # Errors
/// [`Error::Call`]: EPERM without CAP_SYS_ADMIN in this mount namespace; EINVAL where a mount of a
/// more privileged user namespace would be left behind, or the mount is unbindable.
pub fn clone_mount(path: &Path, recursive: bool) -> Result<OwnedFd, Error> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_nul| Error::Nul {
        what: "path",
        text: path.display().to_string(),
    })?;
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(CWD, name.as_c_str(), flags).map_err(|errno| {
        let recursive = if recursive { "|AT_RECURSIVE" } else { "" };
        Error::Call {
            call: format!(
                "open_tree(AT_FDCWD, {path:?}, OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC{recursive})"
            ),
            errno,
            hint: match errno {
                Errno::PERM => Some("cloning a mount needs CAP_SYS_ADMIN in this mount namespace"),
                Errno::INVAL => Some(
                    "something is mounted below that may not be left behind (bind recursively), \
                     or the mount is unbindable",
                ),
                _ => None,
            },
        }
    })
}

/// Maps the owners of a detached mount's files through `userns`: who is 0 on disk shows as the user
/// namespace's 0. `path` is what `mount` stands for, for messages.
///
/// # Kernel
/// [`mount_setattr(2)`](https://man7.org/linux/man-pages/man2/mount_setattr.2.html) with
/// MOUNT_ATTR_IDMAP, Linux 5.12; overlay layers 5.19, tmpfs 6.3.
///
/// # Errors
/// [`Error::Call`]: EINVAL for a file system that cannot be idmapped, or a user namespace without
/// maps; EPERM without CAP_SYS_ADMIN over the file system, or for a mount idmapped already.
pub fn idmap_mount(
    mount: BorrowedFd<'_>,
    path: &Path,
    recursive: bool,
    userns: BorrowedFd<'_>,
) -> Result<(), Error> {
    sys::mount_idmap(mount, recursive, userns).map_err(|errno| Error::Call {
        call: format!(
            "mount_setattr(<{}>, \"\", AT_EMPTY_PATH{}, {{attr_set=MOUNT_ATTR_IDMAP, attr_clr=0, \
             propagation=0, userns_fd={}}}, 32)",
            path.display(),
            if recursive { "|AT_RECURSIVE" } else { "" },
            userns.as_raw_fd()
        ),
        errno,
        hint: match errno {
            Errno::INVAL => Some(
                "this file system cannot be idmapped: overlay, proc and network file systems never, \
                 tmpfs from Linux 6.3; change the owner of the files instead, or use another directory",
            ),
            Errno::PERM => Some(
                "idmapping needs CAP_SYS_ADMIN where the file system was mounted, and works once per mount",
            ),
            _ => None,
        },
    })
}

/// Changes flags or propagation of a detached mount. `path` is what `mount` stands for.
///
/// The kernel locks flags only when a mount is copied into the mount namespace of a less privileged user
/// namespace (mount_namespaces(7)), not when it is moved there: who has CAP_SYS_ADMIN in the container
/// can clear what is set here.
///
/// # Errors
/// [`Error::Call`]: EPERM for a locked flag.
pub fn change_mount(
    mount: BorrowedFd<'_>,
    path: &Path,
    recursive: bool,
    change: &Change,
) -> Result<(), Error> {
    sys::mount_setattr(mount, recursive, change).map_err(|errno| Error::Call {
        call: crate::describe::mount_setattr(&format!("<{}>", path.display()), recursive, change),
        errno,
        hint: None,
    })
}
