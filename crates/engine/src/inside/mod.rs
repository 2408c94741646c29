//! Work in the tree of a running container: this program, executed anew with the ids of the container's root.
//!
//! ```text
//! engine                                    the same executable, argv[0] = "ctr-inside"
//! clone3 ─────────────────────────────────▶ waits
//! GO ─────────────────────────────────────▶ socket on 0 to 2; execve("/proc/self/exe")
//! the order, the container's root,          enters the container's user namespace, makes a mount namespace in it,
//! a pipe, the image's layers ─────────────▶ gives up what it does not need; only then it looks at the tree
//!               ◀──────────────────── pipe  what was asked for
//!               ◀────────────────── socket  how it went
//! ```
//!
//! So owners are what the container sees, files of subordinate ids can be read by an ordinary user, and what is found
//! in there meets no privilege over the host. It is in neither the pid nor the mount namespace of the container, which
//! therefore cannot see it. It dies with us (PR_SET_PDEATHSIG).

mod channel;
mod child;

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use ns::{Child, Running};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};

pub use child::main;

use crate::container::{Container, Inside};
use crate::copy::Job;
use crate::layers::Layers;
use crate::stdio::Stdio;

/// What `argv[0]` is in that process.
pub const NAME: &str = "ctr-inside";

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The process could not be had.
    #[error("cannot start a process to look into the container: {call}")]
    Start {
        /// What failed.
        call: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The process ended without a word.
    #[error("the process that looked into the container was killed")]
    Killed,
    /// It says why.
    #[error("{0}")]
    Said(String),
}

/// What to do, as JSON in one message.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    /// Whether a user namespace is among the descriptors.
    enters: bool,
    /// Who it becomes there.
    uid: u32,
    gid: u32,
    setgroups: bool,
    task: Task,
}

/// The descriptors are the container's root, the pipe, the user namespace if there is one, and the layers that are
/// mounts.
#[derive(Debug, Serialize, Deserialize)]
enum Task {
    /// Every difference into the pipe: a letter, the path, a NUL.
    List { lowers: Vec<Lower> },
    /// The layer into the pipe.
    Layer { lowers: Vec<Lower> },
    /// Files to or from the pipe.
    Copy(Job),
}

/// One of an image's layers.
#[derive(Debug, Serialize, Deserialize)]
enum Lower {
    /// Where it lies.
    Path(PathBuf),
    /// A mount, by its place among the layers that are mounts.
    Mount(usize),
}

/// What the process says at its end.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    /// All is done; so many sockets and device nodes were left out.
    Done { skipped: u64 },
    /// Why not.
    Failed(String),
}

/// A process at work.
pub(crate) struct Work {
    running: Running,
    socket: OwnedFd,
    /// Our end.
    pub(crate) pipe: File,
}

impl Work {
    /// It ends, after the pipe was read or written to its end.
    pub(crate) fn end(self) -> Result<u64, Error> {
        drop(self.pipe);
        let said = channel::hear(&self.socket).map_err(|errno| failed("recv", errno))?;
        // Whatever it still does, it is over.
        let _ = ns::pidfd::send_signal(self.running.pidfd.as_fd(), libc::SIGKILL);
        ns::pidfd::wait(self.running.pidfd.as_fd()).map_err(|errno| failed("waitid", errno))?;
        match said {
            Some(Said::Done { skipped }) => Ok(skipped),
            Some(Said::Failed(why)) => Err(Error::Said(why)),
            None => Err(Error::Killed),
        }
    }
}

/// Begins to list how the container differs from the layers.
pub(crate) fn list(container: &Container, layers: &Layers) -> Result<Work, crate::changes::Error> {
    let (lowers, mounts) = lowers(container, layers)?;
    Ok(start(container, Task::List { lowers }, &mounts)?)
}

/// Begins to write how the container differs from the layers.
pub(crate) fn layer(container: &Container, layers: &Layers) -> Result<Work, crate::changes::Error> {
    let (lowers, mounts) = lowers(container, layers)?;
    Ok(start(container, Task::Layer { lowers }, &mounts)?)
}

/// Begins to copy.
pub(crate) fn copy(container: &Container, job: Job) -> Result<Work, Error> {
    start(container, Task::Copy(job), &[])
}

/// The layers as they were made ready for the container's own mount: by root of the host, clones that are mapped to
/// its ids.
fn lowers(
    container: &Container,
    layers: &Layers,
) -> Result<(Vec<Lower>, Vec<OwnedFd>), crate::changes::Error> {
    let directories = layers.directories()?;
    let maps = container
        .user()
        .filter(|_| rustix::process::geteuid().is_root());
    let Some(Inside { namespace, .. }) = maps else {
        let lowers = directories.into_iter().map(Lower::Path).collect();
        return Ok((lowers, Vec::new()));
    };
    let mapped = |path: &PathBuf| mapped(path, namespace.as_fd());
    let mounts = directories
        .iter()
        .map(mapped)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(((0..mounts.len()).map(Lower::Mount).collect(), mounts))
}

fn mapped(path: &Path, namespace: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    let mount = rootfs::clone_mount(path, false).map_err(|error| failed("open_tree", error))?;
    rootfs::idmap_mount(mount.as_fd(), path, false, namespace)
        .map_err(|error| failed("mount_setattr", error))?;
    Ok(mount)
}

fn start(container: &Container, task: Task, mounts: &[OwnedFd]) -> Result<Work, Error> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed("pipe2", errno))?;
    let (ours, theirs) = match task {
        Task::Copy(Job::In { .. }) => (write, read),
        _ => (read, write),
    };
    let (socket, far) = channel::pair().map_err(|errno| failed("socketpair", errno))?;
    let name = CString::new(NAME).unwrap_or_default();
    let program = ns::Program::new(vec![c"/proc/self/exe".into()], vec![name], Vec::new());
    let child = Child {
        workload: vec![&Stdio],
        ..Child::new(&program)
    };
    let spawned = ns::spawn(&child).map_err(|error| failed("clone3", error))?;
    let running = spawned
        .go(&[far.as_fd(); 3])
        .map_err(|error| failed("execve(\"/proc/self/exe\")", error))?;
    drop(far);
    let user = container.user();
    let order = Order {
        enters: user.is_some(),
        uid: user.map_or(0, |user| user.uid),
        gid: user.map_or(0, |user| user.gid),
        setgroups: user.is_none_or(|user| user.setgroups),
        task,
    };
    let mut descriptors = vec![container.root(), theirs.as_fd()];
    descriptors.extend(user.map(|user| user.namespace.as_fd()));
    descriptors.extend(mounts.iter().map(AsFd::as_fd));
    channel::give(&socket, &order, &descriptors).map_err(|errno| failed("sendmsg", errno))?;
    Ok(Work {
        running,
        socket,
        pipe: File::from(ours),
    })
}

fn failed(
    call: impl Into<String>,
    source: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    Error::Start {
        call: call.into(),
        source: Box::new(source),
    }
}

/// An error in one line, which the other side shows.
fn said(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| {
        error.source()
    });
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// A call that failed, in the same words.
fn call(call: &str, errno: Errno) -> String {
    format!("{call}: {errno}")
}
