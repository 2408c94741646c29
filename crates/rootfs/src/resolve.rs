//! Finding and making paths in a root that may be hostile, with [`openat2(2)`].
//!
//! Every look-up is `RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS` from the root's descriptor, so that a
//! symbolic link, wherever it points, stays inside. Creation is one component at a time: the parent
//! is opened in the root, then `mkdirat`/`mknodat` make one name in it, which never follows a link.
//! Another process that swaps components meanwhile can make a call fail or choose another place in
//! the root, never one outside.
//!
//! Nothing here allocates: it runs between clone and exec.
//!
//! [`openat2(2)`]: https://man7.org/linux/man-pages/man2/openat2.2.html

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// The kernel's own limit on links in one look-up (MAXSYMLINKS).
const MAX_LINKS: usize = 40;
/// openat2 answers EAGAIN when `..` met a rename; somebody who renames for ever must not hold us.
const MAX_RETRIES: usize = 64;
const PATH_MAX: usize = libc::PATH_MAX as usize;

/// openat2 in `root`. `path` may be absolute or relative; both mean the root.
pub(crate) fn open(
    root: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
    also: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | also;
    for _ in 0..MAX_RETRIES {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// The type of what a descriptor stands for.
pub(crate) fn file_type(fd: BorrowedFd<'_>) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode))
}

/// Opens `path` with O_PATH; what is missing of it is made, directories 0755 and, when `directory`
/// is false, a last component that is an empty file 0644. Dangling links are followed inside the
/// root, as an image's `/etc/resolv.conf -> ../run/…` needs it.
pub(crate) fn ensure(root: BorrowedFd<'_>, path: &CStr, directory: bool) -> Result<OwnedFd, Errno> {
    match open(root, path, OFlags::PATH, ResolveFlags::empty()) {
        Err(Errno::NOENT) => {
            make(root, path, directory)?;
            open(root, path, OFlags::PATH, ResolveFlags::empty())
        }
        other => other,
    }
}

/// Walks `path` and makes what is missing.
fn make(root: BorrowedFd<'_>, path: &CStr, directory: bool) -> Result<(), Errno> {
    let mut rest = Text::new();
    rest.prepend(path.to_bytes())?;
    let mut done = Text::new();
    let mut rounds = MAX_LINKS;
    while let Some(component) = rest.take_component() {
        match component.as_bytes() {
            b"." => continue,
            b".." => {
                done.pop();
                continue;
            }
            name => done.push(name)?,
        }
        let last = rest.is_finished();
        match open(
            root,
            done.as_c_str()?,
            OFlags::PATH | OFlags::NOFOLLOW,
            ResolveFlags::empty(),
        ) {
            Ok(fd) => match file_type(fd.as_fd())? {
                FileType::Symlink => {
                    rounds = rounds.checked_sub(1).ok_or(Errno::LOOP)?;
                    follow(fd.as_fd(), &mut done, &mut rest)?;
                }
                FileType::Directory => {}
                _ if last => {}
                _ => return Err(Errno::NOTDIR),
            },
            Err(Errno::NOENT) => {
                done.pop();
                let parent = open_directory(root, &done)?;
                match make_one(parent.as_fd(), &component, directory || !last) {
                    // Somebody else was faster, or it was a link a moment ago: look again.
                    Err(Errno::EXIST) => {
                        rounds = rounds.checked_sub(1).ok_or(Errno::EXIST)?;
                        rest.prepend(component.as_bytes())?;
                    }
                    result => {
                        result?;
                        done.push(component.as_bytes())?;
                    }
                }
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Replaces the link just pushed onto `done` by where it points.
fn follow(link: BorrowedFd<'_>, done: &mut Text, rest: &mut Text) -> Result<(), Errno> {
    let mut target = [0u8; PATH_MAX];
    let length = rustix::fs::readlinkat_raw(link, c"", target.as_mut_slice())?;
    // A length that fills the buffer may have been cut.
    let target = target
        .get(..length)
        .filter(|t| t.len() < PATH_MAX)
        .ok_or(Errno::NAMETOOLONG)?;
    if target.is_empty() {
        return Err(Errno::NOENT);
    }
    done.pop();
    if target[0] == b'/' {
        done.clear();
    }
    rest.prepend(target)
}

fn open_directory(root: BorrowedFd<'_>, path: &Text) -> Result<OwnedFd, Errno> {
    open(
        root,
        path.as_c_str()?,
        OFlags::PATH | OFlags::DIRECTORY,
        ResolveFlags::empty(),
    )
}

fn make_one(parent: BorrowedFd<'_>, name: &Text, directory: bool) -> Result<(), Errno> {
    let name = name.as_c_str()?;
    if directory {
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))
    } else {
        let mode = Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(parent, name, FileType::RegularFile, mode, 0)
    }
}

/// A path in a fixed buffer, always followed by a NUL.
struct Text {
    bytes: [u8; PATH_MAX],
    length: usize,
}

impl Text {
    fn new() -> Self {
        Self {
            bytes: [0; PATH_MAX],
            length: 0,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The path; `.` when nothing is left of it.
    fn as_c_str(&self) -> Result<&CStr, Errno> {
        if self.length == 0 {
            return Ok(c".");
        }
        CStr::from_bytes_with_nul(&self.bytes[..=self.length]).map_err(|_nul_inside| Errno::INVAL)
    }

    fn clear(&mut self) {
        self.length = 0;
        self.bytes[0] = 0;
    }

    /// Appends `/name`.
    fn push(&mut self, name: &[u8]) -> Result<(), Errno> {
        let separator = usize::from(self.length > 0);
        let end = self.length + separator + name.len();
        if end >= PATH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        if separator == 1 {
            self.bytes[self.length] = b'/';
        }
        self.bytes[self.length + separator..end].copy_from_slice(name);
        self.bytes[end] = 0;
        self.length = end;
        Ok(())
    }

    /// Removes the last component; nothing above the root.
    fn pop(&mut self) {
        let end = self
            .as_bytes()
            .iter()
            .rposition(|&b| b == b'/')
            .unwrap_or(0);
        self.length = end;
        self.bytes[end] = 0;
    }

    /// Puts `front/` before what is there.
    fn prepend(&mut self, front: &[u8]) -> Result<(), Errno> {
        let separator = usize::from(self.length > 0);
        let shift = front.len() + separator;
        if self.length + shift >= PATH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        self.bytes.copy_within(..self.length, shift);
        self.bytes[..front.len()].copy_from_slice(front);
        if separator == 1 {
            self.bytes[front.len()] = b'/';
        }
        self.length += shift;
        self.bytes[self.length] = 0;
        Ok(())
    }

    /// Cuts the first component off, slashes around it too.
    fn take_component(&mut self) -> Option<Self> {
        let start = self.as_bytes().iter().position(|&b| b != b'/')?;
        let tail = &self.bytes[start..self.length];
        let end = start + tail.iter().position(|&b| b == b'/').unwrap_or(tail.len());
        let mut component = Self::new();
        component.length = end - start;
        component.bytes[..end - start].copy_from_slice(&self.bytes[start..end]);
        self.bytes.copy_within(end..self.length, 0);
        self.length -= end;
        self.bytes[self.length] = 0;
        Some(component)
    }

    fn is_finished(&self) -> bool {
        self.as_bytes().iter().all(|&b| b == b'/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn components(path: &[u8]) -> Vec<Vec<u8>> {
        let mut text = Text::new();
        text.prepend(path).expect("short");
        std::iter::from_fn(|| text.take_component().map(|c| c.as_bytes().to_vec())).collect()
    }

    #[test]
    fn components_are_cut_at_any_number_of_slashes() {
        assert_eq!(components(b"//a///b/"), [b"a".to_vec(), b"b".to_vec()]);
        assert_eq!(components(b"a"), [b"a".to_vec()]);
        assert!(components(b"///").is_empty());
        assert!(components(b"").is_empty());
    }

    #[test]
    fn popping_stops_at_the_root() {
        let mut text = Text::new();
        text.pop();
        assert_eq!(text.as_c_str(), Ok(c"."));
        text.push(b"a").expect("short");
        text.push(b"b").expect("short");
        text.pop();
        assert_eq!(text.as_c_str(), Ok(c"a"));
        text.pop();
        assert_eq!(text.as_c_str(), Ok(c"."));
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused() {
        let mut text = Text::new();
        text.push(&[b'a'; PATH_MAX - 2]).expect("fits exactly");
        assert_eq!(text.push(b"b"), Err(Errno::NAMETOOLONG));
        assert_eq!(text.prepend(b"b"), Err(Errno::NAMETOOLONG));
    }
}
