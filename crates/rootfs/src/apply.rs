//! The child's side: one short match from a step to its system call.
//!
//! Runs between clone and exec, in the container's namespaces, with all capabilities over them.
//! Allowed here: system calls through rustix (raw, no libc state, no allocation for `&CStr`) and
//! [`sys`](crate::sys), arithmetic on the stack, closing descriptors. Not allowed: allocation, locks,
//! formatting, dropping anything that owns memory.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};
use rustix::process::{Gid, Uid};

use crate::attrs::{Change, MountAttrs, Propagation};
use crate::resolve;
use crate::step::{Cover, Kind, Reg, Registers, Step, To};
use crate::sys;

/// Names in the store, see [`Reg::Store`].
pub(crate) const EMPTY_DIRECTORY: &CStr = c"dir";
/// As [`EMPTY_DIRECTORY`].
pub(crate) const EMPTY_FILE: &CStr = c"file";

type Done = Result<(), Errno>;

impl Step {
    /// Does it. `passed` has nothing to do with any step but [`Step::Passed`], which the caller does.
    pub(crate) fn run(&self, regs: &Registers) -> Done {
        match self {
            Self::Umask(mode) => {
                rustix::process::umask(Mode::from_raw_mode(*mode));
                Ok(())
            }
            Self::MountPropagation(propagation) => change_propagation(*propagation),
            Self::Setgroups => rustix::thread::set_thread_groups(&[]),
            Self::Setresgid(id) => {
                let id = Gid::from_raw(*id);
                rustix::thread::set_thread_res_gid(id, id, id)
            }
            Self::Setresuid(id) => {
                let id = Uid::from_raw(*id);
                rustix::thread::set_thread_res_uid(id, id, id)
            }
            Self::Fchdir(reg) => regs.with(*reg, |fd| rustix::process::fchdir(fd)),
            Self::PivotRoot => rustix::process::pivot_root(c".", c"."),
            Self::DetachOldRoot => rustix::mount::unmount(c".", UnmountFlags::DETACH),
            Self::ChdirSlash => {
                rustix::process::chdir(c"/")?;
                regs.with(Reg::Root, check_alone)
            }
            Self::Passed { .. } => Err(Errno::INVAL),
            _ => self.run_on_mount(regs),
        }
    }

    fn run_on_mount(&self, regs: &Registers) -> Done {
        match self {
            Self::Fsopen(name) => {
                let fd = rustix::mount::fsopen(name.as_c_str(), FsOpenFlags::FSOPEN_CLOEXEC)?;
                regs.set(Reg::Context, fd);
                Ok(())
            }
            Self::FsconfigString { key, value } => regs.with(Reg::Context, |fs| {
                rustix::mount::fsconfig_set_string(fs, key.as_c_str(), value.as_c_str())
            }),
            Self::FsconfigFlag(key) => regs.with(Reg::Context, |fs| {
                rustix::mount::fsconfig_set_flag(fs, key.as_c_str())
            }),
            Self::FsconfigCreate => {
                regs.with(Reg::Context, |fs| rustix::mount::fsconfig_create(fs))
            }
            Self::Fsmount { attrs, into } => {
                let fs = regs.take(Reg::Context)?;
                let attrs = MountAttrFlags::from_bits_retain(attrs.bits());
                let flags = FsMountFlags::FSMOUNT_CLOEXEC;
                regs.set(*into, rustix::mount::fsmount(&fs, flags, attrs)?);
                Ok(())
            }
            Self::OpenTree {
                path,
                recursive,
                into,
            } => {
                regs.set(*into, clone_tree(CWD, path, *recursive)?);
                Ok(())
            }
            Self::OpenDevice { path, rdev } => {
                let fd = clone_tree(CWD, path, false)?;
                check_device(fd.as_fd(), *rdev)?;
                regs.set(Reg::Mount, fd);
                Ok(())
            }
            Self::CloneOwn { dir, name, into } => {
                let fd = regs.with(*dir, |dir| clone_tree(dir, name, false))?;
                regs.set(*into, fd);
                Ok(())
            }
            Self::MountSetattr {
                reg,
                recursive,
                change,
            } => regs.with(*reg, |fd| sys::mount_setattr(fd, *recursive, change)),
            Self::Target { path, kind } => {
                regs.set(Reg::Target, target(regs, path, *kind)?);
                Ok(())
            }
            Self::MoveMount { from, to } => move_mount(regs, *from, to),
            Self::Cover { path, with } => cover(regs, path, with),
            _ => self.run_on_files(regs),
        }
    }

    fn run_on_files(&self, regs: &Registers) -> Done {
        match self {
            Self::OpenSlash => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                regs.set(
                    Reg::Root,
                    rustix::fs::openat(CWD, c"/", flags, Mode::empty())?,
                );
                Ok(())
            }
            Self::Mkdirat { dir, name, mode } => regs.with(*dir, |dir| {
                rustix::fs::mkdirat(dir, name.as_c_str(), Mode::from_raw_mode(*mode))
            }),
            Self::Directory { parent, name, mode } => regs.with(Reg::Root, |root| {
                let parent = resolve::ensure(root, parent, true)?;
                match rustix::fs::mkdirat(&parent, name.as_c_str(), Mode::from_raw_mode(*mode)) {
                    Err(Errno::EXIST) => Ok(()),
                    result => result,
                }
            }),
            Self::Mknodat { dir, name, mode } => regs.with(*dir, |dir| {
                let mode = Mode::from_raw_mode(*mode);
                rustix::fs::mknodat(dir, name.as_c_str(), FileType::RegularFile, mode, 0)
            }),
            Self::Symlinkat { target, dir, name } => regs.with(*dir, |dir| {
                rustix::fs::symlinkat(target.as_c_str(), dir, name.as_c_str())
            }),
            Self::OpenDirectory { dir, name, into } => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = regs.with(*dir, |dir| {
                    rustix::fs::openat(dir, name.as_c_str(), flags, Mode::empty())
                })?;
                regs.set(*into, fd);
                Ok(())
            }
            Self::WriteFile { dir, name, bytes } => {
                let flags = OFlags::WRONLY
                    | OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC;
                let fd = regs.with(*dir, |dir| {
                    let mode = Mode::from_raw_mode(0o644);
                    rustix::fs::openat(dir, name.as_c_str(), flags, mode)
                })?;
                write_all(fd.as_fd(), bytes)
            }
            Self::WriteSysctl { path, value } => write_sysctl(regs, path, value),
            Self::Workdir { path, create } => workdir(regs, path, *create),
            // Every other variant has its arm above.
            _ => Err(Errno::INVAL),
        }
    }
}

fn change_propagation(propagation: Propagation) -> Done {
    let kind = match propagation {
        Propagation::Private => MountPropagationFlags::PRIVATE,
        Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
        Propagation::Shared => MountPropagationFlags::SHARED,
        Propagation::Unbindable => MountPropagationFlags::UNBINDABLE,
    };
    rustix::mount::mount_change(c"/", kind | MountPropagationFlags::REC)
}

/// XDEV while something lies on the new root: `/..` would lead into it. So it is where the host's `/`
/// had a mount over it that a look-up of `/` never met.
fn check_alone(root: BorrowedFd<'_>) -> Done {
    let mount = |fd: BorrowedFd<'_>, path: &CStr, flags: AtFlags| {
        rustix::fs::statx(fd, path, flags, StatxFlags::MNT_ID).map(|found| found.stx_mnt_id)
    };
    let new = mount(root, c"", AtFlags::EMPTY_PATH)?;
    let above = mount(CWD, c"/..", AtFlags::empty())?;
    if new == above {
        Ok(())
    } else {
        Err(Errno::XDEV)
    }
}

fn clone_tree(dir: BorrowedFd<'_>, path: &CStr, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    if path.is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    rustix::mount::open_tree(dir, path, flags)
}

/// ENODEV unless `fd` is a device node, and the one with this number if one is given.
fn check_device(fd: BorrowedFd<'_>, rdev: Option<(u32, u32)>) -> Done {
    let stat = rustix::fs::fstat(fd)?;
    let number = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice | FileType::BlockDevice
            if rdev.is_none_or(|wanted| wanted == number) =>
        {
            Ok(())
        }
        _ => Err(Errno::NODEV),
    }
}

fn target(regs: &Registers, path: &CStr, kind: Kind) -> Result<OwnedFd, Errno> {
    let directory = match kind {
        Kind::RealDirectory => return regs.with(Reg::Root, |root| real_directory(root, path)),
        Kind::Directory => true,
        Kind::File => false,
        Kind::LikeMount => regs.with(Reg::Mount, resolve::file_type)? == FileType::Directory,
    };
    let fd = regs.with(Reg::Root, |root| resolve::ensure(root, path, directory))?;
    check_directory(fd.as_fd(), directory)?;
    Ok(fd)
}

/// The kernel says EINVAL to a directory on a file and the other way round, which says little.
fn check_directory(fd: BorrowedFd<'_>, wanted: bool) -> Done {
    match (resolve::file_type(fd)? == FileType::Directory, wanted) {
        (false, true) => Err(Errno::NOTDIR),
        (true, false) => Err(Errno::ISDIR),
        _ => Ok(()),
    }
}

fn real_directory(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let look = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        resolve::open(root, path, flags, ResolveFlags::NO_SYMLINKS)
    };
    match look() {
        Err(Errno::NOENT) => {
            resolve::ensure(root, path, true)?;
            look()
        }
        other => other,
    }
}

fn move_mount(regs: &Registers, from: Reg, to: &To) -> Done {
    let attach = |mount: BorrowedFd<'_>| match to {
        To::OverSlash => attach_at(mount, CWD, c"/"),
        To::Host(path) => attach_at(mount, CWD, path),
        To::Target => {
            let target = regs.take(Reg::Target)?;
            attach_at(mount, target.as_fd(), c"")
        }
        To::In(dir, name) => regs.with(*dir, |dir| attach_at(mount, dir, name)),
    };
    if from.is_temporary() {
        let mount = regs.take(from)?;
        attach(mount.as_fd())
    } else {
        regs.with(from, attach)
    }
}

fn attach_at(mount: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &CStr) -> Done {
    let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    if name.is_empty() {
        flags |= MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    }
    rustix::mount::move_mount(mount, c"", dir, name, flags)
}

fn cover(regs: &Registers, path: &CStr, with: &Cover) -> Done {
    let found = regs.with(Reg::Root, |root| {
        resolve::open(root, path, OFlags::PATH, ResolveFlags::empty())
    });
    let target = match found {
        // Nothing there: nothing to cover.
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        found => found?,
    };
    let mount = match with {
        Cover::Mask => {
            let directory = resolve::file_type(target.as_fd())? == FileType::Directory;
            let name = if directory {
                EMPTY_DIRECTORY
            } else {
                EMPTY_FILE
            };
            regs.with(Reg::Store, |store| clone_tree(store, name, false))?
        }
        Cover::Scratch(name) => {
            check_directory(target.as_fd(), true)?;
            regs.with(Reg::Scratch, |scratch| clone_tree(scratch, name, false))?
        }
        Cover::ReadOnly { recursive } => {
            let mount = clone_tree(target.as_fd(), c"", *recursive)?;
            sys::mount_setattr(mount.as_fd(), *recursive, &Change::set(MountAttrs::RDONLY))?;
            mount
        }
    };
    attach_at(mount.as_fd(), target.as_fd(), c"")
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Done {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The descriptor of our own procfs is the start, and NO_XDEV the guarantee that what is written is a
/// file of that very mount.
fn write_sysctl(regs: &Registers, path: &CStr, value: &[u8]) -> Done {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let fd = regs.with(Reg::Proc, |proc| {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat2(proc, path, flags, Mode::empty(), resolve)
    })?;
    // One write: a sysctl takes its value whole or not at all.
    match rustix::io::write(fd, value) {
        Ok(n) if n == value.len() => Ok(()),
        Ok(_short) => Err(Errno::IO),
        Err(errno) => Err(errno),
    }
}

fn workdir(regs: &Registers, path: &CStr, create: bool) -> Done {
    let fd = regs.with(Reg::Root, |root| {
        if create {
            resolve::ensure(root, path, true)
        } else {
            resolve::open(root, path, OFlags::PATH, ResolveFlags::empty())
        }
    })?;
    check_directory(fd.as_fd(), true)?;
    rustix::process::fchdir(fd)?;
    // A directory outside the root would show here, however we came by it (CVE-2024-21626).
    if sys::cwd_is_reachable()? {
        Ok(())
    } else {
        Err(Errno::XDEV)
    }
}
