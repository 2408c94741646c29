//! A namespace by descriptor: kept alive without a process or a mount, looked at, entered,
//! [`ioctl_nsfs(2)`], [`setns(2)`].
//!
//! Since Linux 4.11 (relations 4.9, kinds and owners 4.11). Opening those of another process needs
//! the right to trace it (PTRACE_MODE_READ_FSCREDS); entering needs CAP_SYS_ADMIN in the user
//! namespace that owns the target and, but for user namespaces, in the caller's own.
//!
//! [`ioctl_nsfs(2)`]: https://man7.org/linux/man-pages/man2/ioctl_nsfs.2.html
//! [`setns(2)`]: https://man7.org/linux/man-pages/man2/setns.2.html

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Error, Result};
use crate::flags::Namespaces;
use crate::inodes::NamespaceId;
use crate::sys::{self, Relation};

/// A namespace of one kind, alive as long as this is. Close-on-exec.
#[derive(Debug)]
pub struct Namespace {
    fd: OwnedFd,
    kind: Namespaces,
}

impl Namespace {
    /// That of the process `pid`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a set that is not one kind; [`Error::Namespace`] with ENOENT (no such
    /// process, or a kernel without this kind), EACCES (no right to trace it).
    pub fn of(pid: Pid, kind: Namespaces) -> Result<Self> {
        Self::open(&pid.as_raw_nonzero().to_string(), kind)
    }

    /// That of the calling thread's process.
    ///
    /// # Errors
    ///
    /// As [`Namespace::of`].
    pub fn of_self(kind: Namespaces) -> Result<Self> {
        Self::open("self", kind)
    }

    fn open(process: &str, kind: Namespaces) -> Result<Self> {
        let name = kind
            .proc_name()
            .ok_or(Error::Invalid("exactly one kind of namespace is needed"))?;
        let path = PathBuf::from(format!("/proc/{process}/ns/{name}"));
        match rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, kind }),
            Err(errno) => Err(Error::Namespace {
                call: "openat",
                path,
                errno,
            }),
        }
    }

    /// A descriptor from elsewhere, asked what it is.
    ///
    /// # Errors
    ///
    /// [`Error::Namespace`] with ENOTTY: not a namespace.
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        let bits = sys::ns_kind(fd.as_raw_fd())
            .map_err(|errno| failed("ioctl(NS_GET_NSTYPE)", fd.as_raw_fd(), errno))?;
        Ok(Self {
            fd,
            kind: Namespaces::from_bits_truncate(bits as u32),
        })
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Namespaces {
        self.kind
    }

    /// What tells it from every other one that is alive.
    ///
    /// # Errors
    ///
    /// [`Error::Namespace`]: fstat(2) failed.
    pub fn id(&self) -> Result<NamespaceId> {
        let stat = rustix::fs::fstat(&self.fd);
        let stat = stat.map_err(|errno| failed("fstat", self.fd.as_raw_fd(), errno))?;
        Ok(NamespaceId::from_stat(&stat))
    }

    /// The user namespace that owns it: capabilities over it are those held there.
    ///
    /// # Errors
    ///
    /// [`Error::Namespace`] with EPERM: it is not the caller's or below.
    pub fn owner(&self) -> Result<Self> {
        self.related("ioctl(NS_GET_USERNS)", Relation::Owner, Namespaces::NEWUSER)
    }

    /// The one it was made in, for pid and user namespaces.
    ///
    /// # Errors
    ///
    /// [`Error::Namespace`] with EINVAL (another kind), EPERM (it is not the caller's or below).
    pub fn parent(&self) -> Result<Self> {
        self.related("ioctl(NS_GET_PARENT)", Relation::Parent, self.kind)
    }

    /// Who made a user namespace, in the caller's ids.
    ///
    /// # Errors
    ///
    /// [`Error::Namespace`] with EINVAL: another kind.
    pub fn owner_uid(&self) -> Result<u32> {
        sys::ns_owner_uid(self.fd.as_raw_fd())
            .map_err(|errno| failed("ioctl(NS_GET_OWNER_UID)", self.fd.as_raw_fd(), errno))
    }

    fn related(&self, call: &'static str, to: Relation, kind: Namespaces) -> Result<Self> {
        match sys::ns_related(self.fd.as_raw_fd(), to) {
            Ok(fd) => Ok(Self { fd, kind }),
            Err(errno) => Err(failed(call, self.fd.as_raw_fd(), errno)),
        }
    }

    /// Move the calling thread into it, see [`setns`].
    ///
    /// # Errors
    ///
    /// As [`setns`].
    pub fn enter(&self) -> Result<(), Errno> {
        setns(self.fd.as_fd(), self.kind)
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Namespace> for OwnedFd {
    fn from(namespace: Namespace) -> Self {
        namespace.fd
    }
}

fn failed(call: &'static str, fd: RawFd, errno: Errno) -> Error {
    Error::Namespace {
        call,
        path: format!("/proc/self/fd/{fd}").into(),
        errno,
    }
}

/// Move the calling thread into namespaces: those of a process, given a pidfd and a set of kinds
/// (Linux 5.8, all or none), or one given by its own descriptor.
///
/// A pid namespace takes only children made afterwards.
///
/// # Kernel
///
/// [`setns(2)`](https://man7.org/linux/man-pages/man2/setns.2.html)
///
/// # Errors
///
/// EINVAL: another kind, the caller's own user namespace, or a thread that shares its process with
/// others (user, time) or its root directory (mnt). EPERM: no CAP_SYS_ADMIN over the target. ESRCH:
/// the process has ended.
pub fn setns(fd: BorrowedFd<'_>, kinds: Namespaces) -> Result<(), Errno> {
    sys::setns(fd.as_raw_fd(), kinds.bits())
}

/// Give the calling thread new namespaces. New pid and time namespaces take only children made
/// afterwards.
///
/// # Kernel
///
/// [`unshare(2)`](https://man7.org/linux/man-pages/man2/unshare.2.html)
///
/// # Errors
///
/// EINVAL: a user namespace in a process of several threads. EPERM: no CAP_SYS_ADMIN. ENOSPC: a
/// limit on namespaces is reached.
pub fn unshare(kinds: Namespaces) -> Result<(), Errno> {
    sys::unshare(kinds.bits())
}
