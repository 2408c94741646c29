//! The process that unpacks a layer, or reads layers as one tree: this program, executed anew with nothing but what it needs.
//!
//! ```text
//! engine                                    the same executable, argv[0] = "ctr-layer"
//! clone3(user, mount, net, ipc, pid, uts) ▶ waits
//! write the id maps, GO ──────────────────▶ socket on 0 to 2; execve("/proc/self/exe")
//! the order, the blob or a pipe ──────────▶ pivot into the layer; the layers below read-only;
//!                                           capabilities, limits, seccomp; then the first byte is read
//!                       ◀────────────────── verdict
//! ```
//!
//! So hostile bytes meet no privilege over the host, no path that leads out of the layer, no network and some forty
//! system calls. It dies with us (PR_SET_PDEATHSIG).

mod inside;

use std::ffi::CString;
use std::fs::File;
use std::io::Seek as _;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use image::Staging;
use image::layer::{self, Unpacked, VERDICT, Verdict};
use ns::{Child, Namespaces, Running};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

use super::{Error, Gone, Prune, ids};
use crate::observe;
use crate::plan::{Ids, Writer};
use crate::start::write_ids;
use crate::stdio::Stdio;

pub(crate) use inside::lowered;
pub use inside::main;

/// What `argv[0]` is in that process.
pub const NAME: &str = "ctr-layer";

/// The namespaces that are a layer's process's own.
const ALONE: Namespaces = Namespaces::NEWUSER
    .union(Namespaces::NEWNS)
    .union(Namespaces::NEWNET)
    .union(Namespaces::NEWIPC)
    .union(Namespaces::NEWUTS)
    .union(Namespaces::NEWPID);

/// How often it is told how far the process has come.
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// 128 paths fit.
const MAX_ORDER: usize = 128 << 10;

/// What to do, as JSON in one message, with one descriptor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Task<O> {
    /// The descriptor is the blob, or a pipe that it comes through; a verdict comes back.
    Unpack(O),
    /// The descriptor takes an archive of all layers as one tree; a [`Report`] comes back.
    Export { layers: Vec<PathBuf> },
    /// The descriptor takes a [`Gone`], or why there is none.
    Prune { store: PathBuf, prune: Prune },
    /// The descriptor is the directory of a layer that was begun, and keeps it in use until it is gone.
    Discard { store: PathBuf, staged: PathBuf },
}

/// What a task without a verdict says: why it failed.
type Report = Result<(), String>;

/// A layer to be unpacked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    /// The empty directory that becomes the layer.
    pub(super) root: PathBuf,
    /// The layers below, the nearest first.
    pub(super) lowers: Vec<PathBuf>,
    /// How it is compressed.
    pub(super) media_type: String,
    /// Bytes of the blob.
    pub(super) compressed: u64,
    /// Every file is the caller's: there is no other id.
    pub(super) caller_owns: bool,
}

/// Starts the processes, one for each layer.
#[derive(Debug)]
pub(super) struct Sandbox {
    ids: Ids,
    program: ns::Program,
}

impl Sandbox {
    pub(super) fn new() -> Result<Self, Error> {
        let name = CString::new(NAME).unwrap_or_default();
        Ok(Self {
            ids: ids::of(&observe::caller()),
            program: ns::Program::new(vec![c"/proc/self/exe".into()], vec![name], Vec::new()),
        })
    }

    pub(super) fn has_one_id(&self) -> bool {
        ids::is_one(&self.ids)
    }

    /// The outer error: there was no process to unpack in.
    /// `tell` is called ten times a second, and answers whether to go on: else there is no verdict.
    pub(super) fn unpack(
        &self,
        order: &Order,
        blob: BorrowedFd<'_>,
        tell: &mut dyn FnMut() -> bool,
    ) -> Result<Result<Unpacked, layer::Error>, Error> {
        let (ours, theirs) = sockets()?;
        let running = self.start(&theirs, ALONE)?;
        drop(theirs);
        give(&ours, &Task::Unpack(order), blob)?;
        let verdict = verdict(&ours, tell).map_err(|errno| failed("recv", errno))?;
        // Whatever it still does, it is over.
        let _ = ns::pidfd::send_signal(running.pidfd.as_fd(), libc::SIGKILL);
        ns::pidfd::wait(running.pidfd.as_fd()).map_err(|errno| failed("waitid", errno))?;
        Ok(verdict.map_or(Err(layer::Error::NoVerdict), |verdict| verdict.read()))
    }

    /// Writes layers, topmost first, as the one tree that they are.
    pub(super) fn export(&self, layers: Vec<PathBuf>, out: BorrowedFd<'_>) -> Result<(), Error> {
        let (ours, theirs) = sockets()?;
        let running = self.start(&theirs, ALONE)?;
        drop(theirs);
        give::<Order>(&ours, &Task::Export { layers }, out)?;
        ns::pidfd::wait(running.pidfd.as_fd()).map_err(|errno| failed("waitid", errno))?;
        let mut said = vec![0; MAX_ORDER];
        let (_, length) = rustix::net::recv(&ours, &mut said, RecvFlags::DONTWAIT)
            .map_err(|errno| failed("recv", errno))?;
        let said: Report = serde_json::from_slice(&said[..length])
            .map_err(|error| failed("read how it went", error))?;
        let what = "write the archive";
        said.map_err(|why| Error::Task { what, why })
    }

    /// Whether files of layers can belong to ids that only a user namespace has a right to.
    pub(super) fn has_foreign_ids(&self) -> bool {
        self.ids.writer == Writer::Newuidmap
    }

    /// Prunes a store as root of the user namespace that its layers were unpacked in.
    pub(super) fn prune(&self, store: &Path, prune: &Prune) -> Result<Gone, Error> {
        let (ours, theirs) = sockets()?;
        let running = self.start(&theirs, Namespaces::NEWUSER)?;
        drop(theirs);
        let result = memfd_create("prune", MemfdFlags::CLOEXEC)
            .map_err(|errno| failed("memfd_create", errno))?;
        let (store, prune) = (store.to_owned(), prune.clone());
        give::<Order>(&ours, &Task::Prune { store, prune }, result.as_fd())?;
        ns::pidfd::wait(running.pidfd.as_fd()).map_err(|errno| failed("waitid", errno))?;
        let mut file = File::from(result);
        let said: Result<Gone, String> = file
            .rewind()
            .map_err(serde_json::Error::io)
            .and_then(|()| serde_json::from_reader(&mut file))
            .map_err(|error| failed("read what was pruned", error))?;
        let what = "prune";
        said.map_err(|why| Error::Task { what, why })
    }

    /// Removes a layer that was begun, as root of the user namespace that it was unpacked in.
    pub(super) fn discard(&self, store: &Path, staging: &Staging<'_>) -> Result<(), Error> {
        let (ours, theirs) = sockets()?;
        let running = self.start(&theirs, Namespaces::NEWUSER)?;
        drop(theirs);
        let (store, staged) = (store.to_owned(), staging.path());
        give::<Order>(&ours, &Task::Discard { store, staged }, staging.as_fd())?;
        let ended = ns::pidfd::wait(running.pidfd.as_fd());
        ended.map(drop).map_err(|errno| failed("waitid", errno))
    }

    fn start(&self, socket: &OwnedFd, namespaces: Namespaces) -> Result<Running, Error> {
        let child = Child {
            namespaces,
            workload: vec![&Stdio],
            // Those that download.
            beside_threads: true,
            ..Child::new(&self.program)
        };
        let spawned = ns::spawn(&child).map_err(|error| failed("clone3", error))?;
        write_ids(Some(spawned.pid()), &self.ids).map_err(|cause| {
            failed(
                "write the id maps",
                std::io::Error::other(cause.to_string()),
            )
        })?;
        // A message that it says on 1 or 2 is no verdict.
        spawned
            .go(&[socket.as_fd(); 3])
            .map_err(|error| failed("execve(\"/proc/self/exe\")", error))
    }
}

pub(super) fn failed(
    call: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    Error::Start {
        call,
        source: Box::new(source),
    }
}

fn sockets() -> Result<(OwnedFd, OwnedFd), Error> {
    let flags = SocketFlags::CLOEXEC;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .map_err(|errno| failed("socketpair(AF_UNIX, SOCK_SEQPACKET)", errno))
}

fn give<O: Serialize>(socket: &OwnedFd, task: &Task<O>, with: BorrowedFd<'_>) -> Result<(), Error> {
    let task = serde_json::to_vec(task).map_err(|error| failed("write the order", error))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let with = [with];
    rights.push(SendAncillaryMessage::ScmRights(&with));
    let task = [std::io::IoSlice::new(&task)];
    sendmsg(socket, &task, &mut rights, SendFlags::NOSIGNAL)
        .map(drop)
        .map_err(|errno| failed("sendmsg(SCM_RIGHTS)", errno))
}

/// What the process says; `None` when it ended without a word, said something else, or is not waited for.
fn verdict(socket: &OwnedFd, tell: &mut dyn FnMut() -> bool) -> Result<Option<Verdict>, Errno> {
    loop {
        let mut ready = [PollFd::new(socket, PollFlags::IN)];
        match poll(&mut ready, Some(&TICK)) {
            Ok(0) | Err(Errno::INTR) if tell() => {}
            Ok(0) | Err(Errno::INTR) => return Ok(None),
            Ok(_) => break,
            Err(errno) => return Err(errno),
        }
    }
    let mut said = [0; VERDICT];
    match rustix::net::recv(socket, &mut said, RecvFlags::TRUNC) {
        Ok((_, VERDICT)) => Ok(Some(Verdict(said))),
        Ok(_) | Err(Errno::CONNRESET) => Ok(None),
        Err(errno) => Err(errno),
    }
}
