//! One step: one system call that changes something, with all its arguments but descriptors.
//!
//! Descriptors made on the way live in [`Registers`]; a step names them. A step's look-ups (openat2,
//! fstat) and the close of a descriptor nobody needs again belong to the step that needs them.

use std::cell::Cell;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::attrs::{Change, MountAttrs, Propagation};

/// A named place for a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reg {
    /// The tmpfs that is never seen in the container.
    Scratch,
    /// The container's root.
    Root,
    /// Our procfs.
    Proc,
    /// Our /dev.
    Dev,
    /// Directory on scratch for what is shown read-only, reached through scratch, so writable.
    StoreDir,
    /// The same directory through a read-only mount; what is cloned from it is read-only.
    Store,
    /// fsopen's context. Gone with fsmount.
    Context,
    /// The mount being made. Gone once attached.
    Mount,
    /// Where the mount goes. Gone once something is attached there.
    Target,
}

const REGISTERS: usize = Reg::Target as usize + 1;

impl Reg {
    /// Closed by the step that attaches it: the fixed registers are needed until exec.
    pub(crate) fn is_temporary(self) -> bool {
        matches!(self, Self::Context | Self::Mount | Self::Target)
    }
}

/// The descriptors of a running tree. Empty in the parent; the child has its own copy.
#[derive(Default)]
pub(crate) struct Registers([Cell<Option<OwnedFd>>; REGISTERS]);

impl Registers {
    /// Runs `f` with the descriptor; EBADF when there is none.
    pub(crate) fn with<T>(
        &self,
        reg: Reg,
        f: impl FnOnce(BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let cell = &self.0[reg as usize];
        let fd = cell.take().ok_or(Errno::BADF)?;
        let result = f(fd.as_fd());
        cell.set(Some(fd));
        result
    }

    /// Moves the descriptor out.
    pub(crate) fn take(&self, reg: Reg) -> Result<OwnedFd, Errno> {
        self.0[reg as usize].take().ok_or(Errno::BADF)
    }

    /// Puts a descriptor in and closes the one that was there.
    pub(crate) fn set(&self, reg: Reg, fd: OwnedFd) {
        self.0[reg as usize].set(Some(fd));
    }
}

/// What a mount target must be, and becomes when it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory; symbolic links to it stay in the root.
    Directory,
    /// A real directory right there: no component is a symbolic link.
    RealDirectory,
    /// Anything but a directory.
    File,
    /// Whatever the mount in [`Reg::Mount`] is.
    LikeMount,
}

/// Where move_mount(2) puts a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum To {
    /// On top of the process's own root: seen by nobody who starts from `/`.
    OverSlash,
    /// A directory of the host.
    Host(CString),
    /// [`Reg::Target`].
    Target,
    /// A name in a directory of a file system we made ourselves.
    In(Reg, CString),
}

/// What [`Step::Cover`] lays over a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cover {
    /// The store's empty directory or empty file, whichever fits.
    Mask,
    /// A directory of this name on scratch.
    Scratch(CString),
    /// The path itself, read-only, with all that is mounted below.
    ReadOnly {
        /// Whether anything can be mounted below.
        recursive: bool,
    },
}

/// One step. Names are the system calls'.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Umask(u32),
    MountPropagation(Propagation),
    Setgroups,
    Setresgid(u32),
    Setresuid(u32),
    Fsopen(CString),
    FsconfigString {
        key: CString,
        value: CString,
    },
    FsconfigFlag(CString),
    FsconfigCreate,
    Fsmount {
        attrs: MountAttrs,
        into: Reg,
    },
    /// open_tree(AT_FDCWD, path, …): a path of the host, before pivot_root.
    OpenTree {
        path: CString,
        recursive: bool,
        into: Reg,
    },
    /// As [`Step::OpenTree`], and what came is a device node, of this number if one is given.
    OpenDevice {
        path: CString,
        rdev: Option<(u32, u32)>,
    },
    /// open_tree(dir, name, …) of a directory we made.
    CloneOwn {
        dir: Reg,
        name: CString,
        into: Reg,
    },
    /// A descriptor from the parent.
    Passed {
        index: usize,
        into: Reg,
    },
    /// The process's own root directory: a container that is entered.
    OpenSlash,
    MountSetattr {
        reg: Reg,
        recursive: bool,
        change: Change,
    },
    /// Finds or makes the mount point.
    Target {
        path: CString,
        kind: Kind,
    },
    MoveMount {
        from: Reg,
        to: To,
    },
    Mkdirat {
        dir: Reg,
        name: CString,
        mode: u32,
    },
    /// A directory of the container's, if there is nothing of that name.
    Directory {
        parent: CString,
        name: CString,
        mode: u32,
    },
    /// An empty regular file.
    Mknodat {
        dir: Reg,
        name: CString,
        mode: u32,
    },
    Symlinkat {
        target: CString,
        dir: Reg,
        name: CString,
    },
    /// Opens a directory we made.
    OpenDirectory {
        dir: Reg,
        name: CString,
        into: Reg,
    },
    /// Makes a file and writes it whole.
    WriteFile {
        dir: Reg,
        name: CString,
        bytes: Box<[u8]>,
    },
    /// Writes a kernel parameter through our own procfs.
    WriteSysctl {
        path: CString,
        value: Box<[u8]>,
    },
    /// Lays something over a path, if the path exists.
    Cover {
        path: CString,
        with: Cover,
    },
    Fchdir(Reg),
    PivotRoot,
    DetachOldRoot,
    ChdirSlash,
    /// Enters the working directory, made first if missing and wanted.
    Workdir {
        path: CString,
        create: bool,
    },
}
