//! Facts that only a system call gives. None of them changes anything.

use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use confine::Abi;
use rustix::fs::{Access, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::observe::find_program;

/// The answer of a call.
pub(super) type Answer = Result<(), Errno>;

/// The answers.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    /// open_tree(2) of a path that names nothing: ENOENT for who may, EPERM for who may not.
    pub(super) open_tree: Answer,
    /// mount_setattr(2) without a change.
    pub(super) mount_setattr: Answer,
    /// openat2(2) of `/` with RESOLVE_IN_ROOT.
    pub(super) openat2: Answer,
    /// pidfd_open(2) of the caller.
    pub(super) pidfd: Answer,
    /// open(2) of `/dev/kmsg` for reading.
    pub(super) kmsg: Answer,
    /// Landlock's ABI.
    pub(super) landlock: Abi,
    /// newuidmap(1).
    pub(super) newuidmap: Option<Program>,
    /// newgidmap(1).
    pub(super) newgidmap: Option<Program>,
    /// The state directory.
    pub(super) state: StateDir,
}

/// A program that has to run with more rights than the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    /// Set-user-ID root, or with file capabilities.
    pub(super) raises: bool,
}

/// Where state is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StateDir {
    pub(super) path: PathBuf,
    /// Owner and mode, when it is there.
    pub(super) there: Option<(u32, u32)>,
    /// It may be written, or made where it is not there.
    pub(super) writable: bool,
}

impl Calls {
    pub(super) fn make(state_root: &Path) -> Self {
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let log = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Self {
            open_tree: of_rootfs(rootfs::clone_mount(Path::new(""), false)),
            mount_setattr: rustix::fs::open(c"/", directory, Mode::empty()).and_then(|slash| {
                let nothing = rootfs::Change::default();
                of_rootfs(rootfs::change_mount(
                    slash.as_fd(),
                    Path::new("/"),
                    false,
                    &nothing,
                ))
            }),
            openat2: rustix::fs::openat2(
                CWD,
                c"/",
                directory,
                Mode::empty(),
                ResolveFlags::IN_ROOT,
            )
            .map(drop),
            pidfd: ns::pidfd::open(rustix::process::getpid()).map(drop),
            kmsg: rustix::fs::open(c"/dev/kmsg", log, Mode::empty()).map(drop),
            landlock: Abi::observe(),
            newuidmap: Program::find("newuidmap"),
            newgidmap: Program::find("newgidmap"),
            state: StateDir::look(state_root),
        }
    }
}

fn of_rootfs<T>(result: Result<T, rootfs::Error>) -> Answer {
    // Neither argument holds a NUL, so there is an errno.
    result
        .map(drop)
        .map_err(|error| error.errno().unwrap_or(Errno::INVAL))
}

impl Program {
    fn find(name: &str) -> Option<Self> {
        let path = find_program(name)?;
        let set_user_id = std::fs::metadata(&path)
            .is_ok_and(|file| file.uid() == 0 && file.permissions().mode() & 0o4000 != 0);
        let mut value = [0_u8; 64];
        let capable = rustix::fs::getxattr(&path, c"security.capability", &mut value).is_ok();
        Some(Self {
            path,
            raises: set_user_id || capable,
        })
    }
}

impl StateDir {
    pub(super) fn look(path: &Path) -> Self {
        let there = std::fs::symlink_metadata(path).ok();
        let nearest = path.ancestors().find(|dir| dir.exists());
        Self {
            path: path.into(),
            writable: nearest.is_some_and(|dir| {
                let access = Access::WRITE_OK | Access::EXEC_OK;
                dir.is_dir()
                    && rustix::fs::accessat(CWD, dir, access, rustix::fs::AtFlags::EACCESS).is_ok()
            }),
            there: there.map(|dir| (dir.uid(), dir.permissions().mode() & 0o7777)),
        }
    }
}
