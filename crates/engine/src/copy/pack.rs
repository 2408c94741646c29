//! A file or a directory with all in it becomes a tar stream.
//!
//! It is walked by descriptor below the directory it lies in, and no link is followed on the way. What is opened is
//! looked at first (`O_PATH`), so that no pipe waits for its other end and no device hears of it. File systems of the
//! kernel's own (/proc, /sys) are left out below the top: they hold no files to be copied.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use image::layer::{Entry, Kind, Tarball};
use rustix::fs::{
    CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, fstatfs, openat, openat2,
    readlinkat,
};
use rustix::io::Errno;

use super::Error;

/// Components of a path below the one that is copied.
const MAX_DEPTH: usize = 1024;

/// procfs, sysfs, cgroup2, devpts, mqueue, securityfs, debugfs, tracefs, bpf: statfs(2).
const KERNEL: [i64; 9] = [
    0x9fa0,
    0x6265_6572,
    0x6367_7270,
    0x1cd1,
    0x1980_0202,
    0x7363_6673,
    0x6462_6720,
    0x7472_6163,
    0xcafe_4a11,
];

/// What is to be packed.
pub(super) struct Source {
    /// Itself, `O_PATH`.
    pub(super) top: OwnedFd,
    /// What its path in the stream begins with.
    pub(super) prefix: Vec<u8>,
}

/// Writes the stream; gives the number of sockets and device nodes that were left out.
pub(super) fn pack(source: &Source, out: impl Write) -> Result<u64, Error> {
    let mut pack = Pack {
        source,
        out: Tarball::new(out),
        linked: HashMap::new(),
        skipped: 0,
        levels: Vec::new(),
    };
    let top = rustix::io::fcntl_dupfd_cloexec(&source.top, 0)
        .map_err(|errno| Error::call("fcntl", b"", errno))?;
    pack.one(b"", top)?;
    while let Some((parent, names)) = pack.levels.last_mut() {
        let Some(name) = names.next() else {
            pack.levels.pop();
            continue;
        };
        let path = join(parent, &name);
        let dir = pack.dir(&path[..path.len() - name.len()])?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&dir, &name[..], flags, Mode::empty()) {
            Ok(fd) => pack.one(&path, fd)?,
            // Somebody removed it since its directory was read.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::call("openat", &path, errno)),
        }
    }
    pack.out.end().map_err(Error::stream)?;
    Ok(pack.skipped)
}

struct Pack<'a, W: Write> {
    source: &'a Source,
    out: Tarball<W>,
    /// Files with several names: the first in the stream.
    linked: HashMap<(u64, u64), Vec<u8>>,
    skipped: u64,
    /// Directories on the way to where the walk is, and what is still to be looked at in each.
    levels: Vec<(Vec<u8>, std::vec::IntoIter<Vec<u8>>)>,
}

impl<W: Write> Pack<'_, W> {
    /// A directory below the top, which no link leads to.
    fn dir(&self, path: &[u8]) -> Result<OwnedFd, Error> {
        let name = if path.is_empty() { b"." } else { path };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(&self.source.top, name, flags, Mode::empty(), resolve)
            .map_err(|errno| Error::call("openat2", path, errno))
    }

    /// One entry; what is in a directory comes afterwards.
    fn one(&mut self, path: &[u8], fd: OwnedFd) -> Result<(), Error> {
        let stat = fstat(&fd).map_err(|errno| Error::call("fstat", path, errno))?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Fifo,
            _ => {
                self.skipped += 1;
                return Ok(());
            }
        };
        if of_the_kernel(fd.as_fd(), path)? {
            return match path {
                b"" => Err(Error::Refused {
                    path: "the source".to_owned(),
                    why: "it is on a file system of the kernel's own, which holds no files to be copied",
                }),
                _ => Ok(()),
            };
        }
        let mut entry = entry(kind, &stat, self.named(path));
        match kind {
            Kind::Directory => {
                let names = self.names(path)?;
                entry.path.push(b'/');
                self.write(&entry)?;
                if self.levels.len() == MAX_DEPTH {
                    return Err(Error::call("openat2", path, Errno::NAMETOOLONG));
                }
                self.levels.push((path.to_vec(), names.into_iter()));
                return Ok(());
            }
            Kind::Symlink => {
                let target = readlinkat(&fd, c"", Vec::new());
                entry.link = target
                    .map_err(|errno| Error::call("readlinkat", path, errno))?
                    .into_bytes();
            }
            _ => {}
        }
        if stat.st_nlink > 1 {
            let identity = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.linked.get(&identity) {
                entry.link.clone_from(first);
                entry.kind = Kind::HardLink;
                entry.size = 0;
                return self.write(&entry);
            }
            self.linked.insert(identity, entry.path.clone());
        }
        self.write(&entry)?;
        match kind {
            Kind::File => self.contents(path, fd.as_fd(), entry.size),
            _ => Ok(()),
        }
    }

    /// The path in the stream.
    fn named(&self, path: &[u8]) -> Vec<u8> {
        match path {
            b"" => self.source.prefix.clone(),
            path => join(&self.source.prefix, path),
        }
    }

    fn names(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let failed = |errno| Error::call("getdents64", path, errno);
        let mut names = Vec::new();
        for entry in Dir::read_from(self.dir(path)?).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => names.push(name.to_vec()),
            }
        }
        names.sort();
        Ok(names)
    }

    fn write(&mut self, entry: &Entry) -> Result<(), Error> {
        self.out.entry(entry).map_err(Error::stream)
    }

    /// As many bytes as were said to come: a file that grows meanwhile is cut.
    fn contents(&mut self, path: &[u8], fd: BorrowedFd<'_>, size: u64) -> Result<(), Error> {
        // The very file that was looked at, whatever has its name by now.
        let again = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(CWD, again, flags, Mode::empty())
            .map_err(|errno| Error::call("openat", path, errno))?;
        let mut buffer = vec![0; 128 << 10];
        let mut at = 0;
        while at < size {
            let wanted = usize::try_from(size - at)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let count =
                rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut buffer[..wanted]))
                    .map_err(|errno| Error::call("read", path, errno))?;
            if count == 0 {
                return Err(Error::Refused {
                    path: super::shown(path),
                    why: "it became shorter while it was copied",
                });
            }
            self.out.data(&buffer[..count]).map_err(Error::stream)?;
            at += count as u64;
        }
        self.out.pad(size).map_err(Error::stream)
    }
}

fn of_the_kernel(fd: BorrowedFd<'_>, path: &[u8]) -> Result<bool, Error> {
    let seen = fstatfs(fd).map_err(|errno| Error::call("fstatfs", path, errno))?;
    Ok(KERNEL.contains(&seen.f_type))
}

fn entry(kind: Kind, stat: &Stat, path: Vec<u8>) -> Entry {
    let mut entry = Entry::new(kind, path);
    entry.mode = stat.st_mode & 0o7777;
    (entry.uid, entry.gid) = (stat.st_uid, stat.st_gid);
    entry.mtime = (
        stat.st_mtime,
        u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
    );
    if kind == Kind::File {
        entry.size = u64::try_from(stat.st_size).unwrap_or(0);
    }
    entry
}

pub(super) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    match parent {
        b"" => name.to_vec(),
        parent => [parent, b"/", name].concat(),
    }
}
