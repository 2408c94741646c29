//! Where the files of an image layout go: into a directory, or into an archive.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

use super::refuse;
use crate::error::{Error, call, errno};
use crate::layer::{Entry, Kind, tarball};

const DIRECTORY: Mode = Mode::from_raw_mode(0o755);
const FILE: Mode = Mode::from_raw_mode(0o644);

/// Takes files in the order of their names. Nothing of the time, the user or the umask gets into an archive.
pub(super) trait Sink {
    fn directory(&mut self, name: &str) -> Result<(), Error>;
    /// The next file, of which [`data`](Self::data) brings so many bytes.
    fn begin(&mut self, name: &str, size: u64) -> Result<(), Error>;
    fn data(&mut self, bytes: &[u8]) -> Result<(), Error>;
    fn end(&mut self) -> Result<(), Error>;
}

/// An archive being written.
pub(super) struct Tarball<'a> {
    out: &'a mut dyn Write,
    /// Bytes of the file before.
    size: u64,
}

impl<'a> Tarball<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, size: 0 }
    }

    fn entry(&mut self, name: &str, kind: Kind, mode: u32, size: u64) -> Result<(), Error> {
        let entry = Entry {
            path: name.as_bytes().to_vec(),
            link: Vec::new(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            xattrs: Vec::new(),
            size,
            sparse: None,
        };
        let before = std::mem::replace(&mut self.size, size);
        let written = tarball::pad(&mut self.out, before)
            .and_then(|()| tarball::header(&mut self.out, &entry));
        written.map_err(|error| failed(&error))
    }
}

fn failed(error: &std::io::Error) -> Error {
    call(errno(error), || "write(the archive)".to_owned())
}

impl Sink for Tarball<'_> {
    fn directory(&mut self, name: &str) -> Result<(), Error> {
        self.entry(&format!("{name}/"), Kind::Directory, 0o755, 0)
    }

    fn begin(&mut self, name: &str, size: u64) -> Result<(), Error> {
        self.entry(name, Kind::File, 0o644, size)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(|error| failed(&error))
    }

    fn end(&mut self) -> Result<(), Error> {
        let written = tarball::pad(&mut self.out, self.size)
            .and_then(|()| tarball::end(&mut self.out))
            .and_then(|()| self.out.flush());
        written.map_err(|error| failed(&error))
    }
}

/// A directory being filled.
pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
    /// What is being written, and where it is.
    file: Option<(File, PathBuf)>,
}

impl Folder {
    /// Makes the directory, or takes one that is empty.
    pub(super) fn new(path: &Path) -> Result<Self, Error> {
        match mkdirat(CWD, path, DIRECTORY) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(call(errno, || format!("mkdirat({path:?}, 0755)"))),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty())
            .map_err(|errno| call(errno, || format!("openat({path:?}, O_DIRECTORY)")))?;
        let failed = |errno| call(errno, || format!("getdents64({path:?})"));
        for entry in Dir::read_from(&fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                let name = entry.file_name().to_string_lossy();
                let why = format!("is in {path:?} already, which must be empty");
                return Err(refuse(&name, why));
            }
        }
        Ok(Self {
            fd,
            path: path.to_owned(),
            file: None,
        })
    }
}

impl Sink for Folder {
    fn directory(&mut self, name: &str) -> Result<(), Error> {
        mkdirat(&self.fd, name, DIRECTORY).map_err(|errno| {
            call(errno, || {
                format!("mkdirat({:?}, 0755)", self.path.join(name))
            })
        })
    }

    fn begin(&mut self, name: &str, _size: u64) -> Result<(), Error> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = self.path.join(name);
        let fd = openat(&self.fd, name, flags, FILE)
            .map_err(|errno| call(errno, || format!("openat({path:?}, O_CREAT|O_EXCL)")))?;
        self.file = Some((File::from(fd), path));
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some((file, path)) = &mut self.file else {
            return Ok(());
        };
        file.write_all(bytes)
            .map_err(|error| call(errno(&error), || format!("write({path:?})")))
    }

    fn end(&mut self) -> Result<(), Error> {
        self.file = None;
        Ok(())
    }
}
