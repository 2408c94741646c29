//! Files between a running container and its host, as tar streams.
//!
//! The container's side is worked on by a process with the ids of its root, see [`crate::inside`], which finds
//! every path with the container's root as its root (`RESOLVE_IN_ROOT`). So a link in there leads nowhere else, however
//! often it is changed meanwhile. What comes out is read here as something a stranger wrote, see `place`.

mod land;
mod pack;
mod place;

use std::ffi::OsStr;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::container::Container;
use crate::inside;
use land::{Ask, land};
use pack::{Source, pack};
use place::place;

/// Why a copy ends early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("{call}({path})")]
    Call {
        /// Its name.
        call: &'static str,
        /// On what.
        path: String,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// It breaks a rule.
    #[error("{path}: {why}")]
    Refused {
        /// What.
        path: String,
        /// The rule.
        why: &'static str,
    },
    /// The stream is no good archive.
    #[error("the tar stream")]
    Stream(#[source] image::layer::Error),
    /// The stream cannot be written or read.
    #[error("cannot pass the stream on")]
    Io(#[source] io::Error),
    /// The container's side.
    #[error(transparent)]
    Inside(#[from] inside::Error),
}

impl Error {
    fn call(call: &'static str, path: &[u8], errno: Errno) -> Self {
        let path = shown(path);
        Self::Call { call, path, errno }
    }

    fn stream(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A path, with what a terminal would act on escaped.
fn shown(path: &[u8]) -> String {
    let path = if path.is_empty() { b"." } else { path };
    format!("{:?}", OsStr::from_bytes(path))
}

/// How it is copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Owners stay, as the container sees them; without it the files are the container's root's, or the caller's.
    pub owners: bool,
    /// A link that the source's name leads to is followed.
    pub follow: bool,
}

/// What the process in the container's namespaces does.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    /// A path into the stream; its name there is `.`, or its own.
    Out {
        path: Vec<u8>,
        named: bool,
        options: Options,
    },
    /// The stream to a path. `source` is what was copied; without it the stream has its names itself.
    In {
        path: Vec<u8>,
        source: Option<Vec<u8>>,
        options: Options,
    },
}

impl Job {
    /// Does it below the container's root; gives the number of what was left out.
    pub(crate) fn run(&self, root: BorrowedFd<'_>, pipe: std::fs::File) -> Result<u64, Error> {
        let open = |path: &[u8], flags: OFlags| {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let flags = flags | OFlags::CLOEXEC;
            // openat2 answers EAGAIN when `..` met a rename; somebody may rename for ever.
            let mut done = Err(Errno::AGAIN);
            for _ in 0..64 {
                done = openat2(root, path, flags, Mode::empty(), resolve);
                if !matches!(done, Err(Errno::AGAIN)) {
                    break;
                }
            }
            done
        };
        match self {
            Self::Out {
                path,
                named,
                options,
            } => {
                let source = source(&open, path, *named, *options)?;
                pack(&source, BufWriter::with_capacity(64 << 10, pipe))
            }
            Self::In {
                path,
                source,
                options,
            } => {
                let ask = Ask {
                    path,
                    source: source.as_deref(),
                    owners: options.owners || source.is_none(),
                    mode: 0o7777,
                };
                place(&land(&open, ask)?, BufReader::with_capacity(64 << 10, pipe))
            }
        }
    }
}

/// How a path is opened: on the host, or in the container.
type Open<'a> = &'a dyn Fn(&[u8], OFlags) -> Result<OwnedFd, Errno>;

fn open_here(path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty())
}

/// What a path stands for, and what it is called in the stream.
fn source(open: Open<'_>, path: &[u8], named: bool, options: Options) -> Result<Source, Error> {
    let mut flags = OFlags::PATH;
    // A slash at the end asks for what is behind a link, as everywhere.
    flags.set(OFlags::NOFOLLOW, !options.follow);
    let top = open(path, flags).map_err(|errno| Error::call("openat2", path, errno))?;
    let prefix = match land::last(path) {
        Some(name) if named => name.to_vec(),
        _ => b".".to_vec(),
    };
    Ok(Source { top, prefix })
}

/// Copies a path of the container's to one of the host's. Gives the number of sockets and device nodes that were left
/// out.
///
/// # Errors
/// [`Error`].
pub fn to_host(
    container: &Container,
    path: &[u8],
    to: &Path,
    options: Options,
) -> Result<u64, Error> {
    let to = to.as_os_str().as_bytes();
    let ask = Ask {
        path: to,
        source: Some(path),
        owners: options.owners,
        // What a stranger wrote does not become a program with its new owner's rights.
        mode: if options.owners { 0o7777 } else { 0o1777 },
    };
    let there = land(&open_here, ask)?;
    let mut work = out(container, path, false, options)?;
    let placed = place(&there, BufReader::with_capacity(64 << 10, &mut work.pipe));
    ended(work, placed.map(drop))
}

/// Copies a path of the container's to a stream, in which it has its own name.
///
/// # Errors
/// [`Error`].
pub fn to_stream(
    container: &Container,
    path: &[u8],
    to: &mut dyn Write,
    options: Options,
) -> Result<u64, Error> {
    let mut work = out(container, path, true, options)?;
    let copied = io::copy(&mut work.pipe, to).and_then(|_| to.flush());
    ended(work, copied.map_err(Error::Io))
}

fn out(
    container: &Container,
    path: &[u8],
    named: bool,
    options: Options,
) -> Result<inside::Work, Error> {
    let path = path.to_vec();
    let job = Job::Out {
        path,
        named,
        options,
    };
    Ok(inside::copy(container, job)?)
}

/// Copies a path of the host's into the container.
///
/// # Errors
/// [`Error`].
pub fn from_host(
    container: &Container,
    from: &Path,
    path: &[u8],
    options: Options,
) -> Result<u64, Error> {
    let from = from.as_os_str().as_bytes();
    let source = source(&open_here, from, false, options)?;
    let job = Job::In {
        path: path.to_vec(),
        source: Some(from.to_vec()),
        options,
    };
    let work = inside::copy(container, job)?;
    let packed = pack(&source, BufWriter::with_capacity(64 << 10, &work.pipe));
    let skipped = packed.as_ref().map_or(0, |skipped| *skipped);
    Ok(skipped + ended(work, packed.map(drop))?)
}

/// Unpacks a stream in a directory of the container's, with the owners that it names.
///
/// # Errors
/// [`Error`].
pub fn from_stream(
    container: &Container,
    from: &mut dyn Read,
    path: &[u8],
    options: Options,
) -> Result<u64, Error> {
    let job = Job::In {
        path: path.to_vec(),
        source: None,
        options,
    };
    let mut work = inside::copy(container, job)?;
    let copied = io::copy(from, &mut work.pipe).and_then(|_| work.pipe.flush());
    ended(work, copied.map_err(Error::Io))
}

/// What the other side says is the cause, unless it only saw the end of the stream that we have broken off.
fn ended(work: inside::Work, ours: Result<(), Error>) -> Result<u64, Error> {
    let broken =
        matches!(&ours, Err(Error::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe);
    match (ours, work.end()) {
        (Ok(()), theirs) => Ok(theirs?),
        (Err(Error::Stream(image::layer::Error::End { .. })), Err(theirs)) => Err(theirs.into()),
        (Err(_), Err(theirs)) if broken => Err(theirs.into()),
        (Err(ours), _) => Err(ours),
    }
}
