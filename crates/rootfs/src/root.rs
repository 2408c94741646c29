//! Reading files of a container's root from outside, as passwd(5) look-ups need it.
//!
//! The tree may be hostile: links stay inside the root, and what is read is a regular file of bounded
//! size, opened without blocking.

use std::ffi::CString;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::resolve;

/// A directory that is some container's `/`.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// Opens a directory of the host. Links in `path` itself are followed: it is the caller's own.
    ///
    /// # Errors
    /// [`Error::Call`]: ENOENT, ENOTDIR, EACCES.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd =
            rustix::fs::openat(CWD, &c_path(path)?, flags, Mode::empty()).map_err(|errno| {
                Error::Call {
                    call: format!(
                        "openat(AT_FDCWD, {path:?}, O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY)"
                    ),
                    errno,
                    hint: None,
                }
            })?;
        Ok(Self {
            fd,
            path: path.to_path_buf(),
        })
    }

    /// A directory already open, such as a detached mount or `/proc/PID/root`; `path` names it in
    /// messages.
    pub fn from_fd(fd: OwnedFd, path: &Path) -> Self {
        Self {
            fd,
            path: path.to_path_buf(),
        }
    }

    /// Opens something below, `/` being the root, links included. `O_CLOEXEC`, `O_NOCTTY` and
    /// `O_NONBLOCK` are added: a FIFO in an image must not hold anybody.
    ///
    /// # Errors
    /// [`Error::Call`]: ENOENT; ELOOP for links in a circle and magic links; EACCES.
    pub fn open_file(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Error> {
        let more = if flags.contains(OFlags::PATH) {
            OFlags::empty()
        } else {
            OFlags::NONBLOCK | OFlags::NOCTTY
        };
        resolve::open(
            self.fd.as_fd(),
            &c_path(path)?,
            flags | more,
            ResolveFlags::empty(),
        )
        .map_err(|errno| Error::Call {
            call: format!(
                "openat2(<{}>, {path:?}, {{resolve=RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS}})",
                self.path.display()
            ),
            errno,
            hint: (errno == Errno::LOOP)
                .then_some("links go in a circle, or through /proc/PID/fd or its like"),
        })
    }

    /// Reads a regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`open_file`](Self::open_file); [`Error::NotRegular`]; [`Error::TooLarge`], found out
    /// without reading more than `limit` bytes.
    pub fn read_bounded(&self, path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
        // By O_PATH first: opening a device for reading may already do something.
        let found = self.open_file(path, OFlags::PATH)?;
        let kind =
            resolve::file_type(found.as_fd()).map_err(|errno| self.call("fstat", path, errno))?;
        if kind != FileType::RegularFile {
            return Err(Error::NotRegular {
                path: path.to_path_buf(),
            });
        }
        let file = std::fs::File::from(self.open_file(path, OFlags::RDONLY)?);
        // It may be another one by now.
        let stat = rustix::fs::fstat(&file).map_err(|errno| self.call("fstat", path, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::NotRegular {
                path: path.to_path_buf(),
            });
        }
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                self.call("read", path, errno)
            })?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
            return Err(Error::TooLarge {
                path: path.to_path_buf(),
                limit,
            });
        }
        Ok(bytes)
    }

    fn call(&self, name: &str, path: &Path, errno: Errno) -> Error {
        let path = self.path.join(path.strip_prefix("/").unwrap_or(path));
        Error::Call {
            call: format!("{name}(<{}>)", path.display()),
            errno,
            hint: None,
        }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn c_path(path: &Path) -> Result<CString, Error> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_nul| Error::Nul {
        what: "path",
        text: path.display().to_string(),
    })
}
