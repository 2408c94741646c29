//! The process that unpacks a layer: this program, executed anew with nothing but what it needs.
//!
//! ```text
//! engine                                    the same executable, argv[0] = "ctr-layer"
//! clone3(user, mount, net, ipc, pid, uts) ▶ waits
//! write the id maps, GO ──────────────────▶ socket on 0 to 2; execve("/proc/self/exe")
//! the order, the blob ────────────────────▶ pivot into the layer; the layers below read-only;
//!                                           capabilities, limits, seccomp; then the first byte is read
//!                       ◀────────────────── verdict
//! ```
//!
//! So hostile bytes meet no privilege over the host, no path that leads out of the layer, no network and some forty
//! system calls. It dies with us (PR_SET_PDEATHSIG).

use std::ffi::CString;
use std::fs::File;
use std::io::{IoSliceMut, Seek as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use confine::caps::{CapSet, Capabilities, Capability};
use confine::seccomp::{Action, Arch, Profile, Rule, compile};
use confine::{Confinement, Resource, Rlimit};
use image::Store;
use image::layer::{self, Call, Options, OverlayAttrs, Owners, Unpack, Unpacked, VERDICT, Verdict};
use ns::{Child, Namespaces, Running, Steps};
use rootfs::{Change, MountAttrs, Propagation, Source, TreeBuilder};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, Mode, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, send, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

use super::{Error, Gone, ids, limits, open_directory};
use crate::observe;
use crate::plan::{Ids, Writer};
use crate::start::write_ids;
use crate::stdio::Stdio;
use crate::steps::Phase;

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

/// A thread that was joined may be seen a moment longer, and `ns` clones only in a process of one thread.
const THREADS_END: Duration = Duration::from_secs(1);

/// 128 paths fit.
const MAX_ORDER: usize = 128 << 10;

/// What to do, as JSON in one message, with one descriptor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Task<O> {
    /// The descriptor is the blob; a verdict comes back.
    Unpack(O),
    /// The descriptor takes a [`Gone`], or why there is none.
    Prune {
        store: PathBuf,
        older_than: Duration,
    },
}

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
    pub(super) fn unpack(
        &mut self,
        order: &Order,
        blob: BorrowedFd<'_>,
        tell: &mut dyn FnMut(),
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

    /// Whether files of layers can belong to ids that only a user namespace has a right to.
    pub(super) fn has_foreign_ids(&self) -> bool {
        self.ids.writer == Writer::Newuidmap
    }

    /// Prunes a store as root of the user namespace that its layers were unpacked in.
    pub(super) fn prune(&self, store: &Path, older_than: Duration) -> Result<Gone, Error> {
        let (ours, theirs) = sockets()?;
        let running = self.start(&theirs, Namespaces::NEWUSER)?;
        drop(theirs);
        let result = memfd_create("prune", MemfdFlags::CLOEXEC)
            .map_err(|errno| failed("memfd_create", errno))?;
        let store = store.to_owned();
        give::<Order>(&ours, &Task::Prune { store, older_than }, result.as_fd())?;
        ns::pidfd::wait(running.pidfd.as_fd()).map_err(|errno| failed("waitid", errno))?;
        let mut file = File::from(result);
        let said: Result<Gone, String> = file
            .rewind()
            .map_err(serde_json::Error::io)
            .and_then(|()| serde_json::from_reader(&mut file))
            .map_err(|error| failed("read what was pruned", error))?;
        said.map_err(|why| failed("prune", std::io::Error::other(why)))
    }

    fn start(&self, socket: &OwnedFd, namespaces: Namespaces) -> Result<Running, Error> {
        let child = Child {
            namespaces,
            workload: vec![&Stdio],
            ..Child::new(&self.program)
        };
        let begun = Instant::now();
        let spawned = loop {
            match ns::spawn(&child) {
                Err(ns::Error::Threads) if begun.elapsed() < THREADS_END => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                spawned => break spawned.map_err(|error| failed("clone3", error))?,
            }
        };
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

fn failed(call: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
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

/// What the process says; `None` when it ended without a word, or said something else.
fn verdict(socket: &OwnedFd, tell: &mut dyn FnMut()) -> Result<Option<Verdict>, Errno> {
    loop {
        let mut ready = [PollFd::new(socket, PollFlags::IN)];
        match poll(&mut ready, Some(&TICK)) {
            Ok(0) | Err(Errno::INTR) => tell(),
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

/// That process, from its first instruction. The status it ends with says nothing: its verdict does.
#[must_use]
pub fn main() -> u8 {
    // 0 is what the engine put there; anything else fails to read as an order.
    let socket = rustix::stdio::stdin();
    let done = match take(socket) {
        Ok((Task::Unpack(order), blob)) => work(&order, &blob, socket),
        Ok((Task::Prune { store, older_than }, result)) => {
            return prune(&store, older_than, result);
        }
        Err(errno) => Err(layer::Error::Input { errno }),
    };
    let Err(said) = done else { return 0 };
    let said = Verdict::of(&Err(said));
    u8::from(send(socket, &said.0, SendFlags::NOSIGNAL).is_err())
}

fn prune(store: &Path, older_than: Duration, result: OwnedFd) -> u8 {
    let pruned = Store::open(store).and_then(|store| store.prune(older_than));
    let said = pruned.map(Gone::from).map_err(|error| chain(&error));
    u8::from(serde_json::to_writer(File::from(result), &said).is_err())
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let words: Vec<String> = causes.map(ToString::to_string).collect();
    words.join(": ")
}

fn work(order: &Order, blob: &OwnedFd, socket: BorrowedFd<'_>) -> Result<(), layer::Error> {
    let lowers = order
        .lowers
        .iter()
        .map(|path| read_only(path))
        .collect::<Result<Vec<_>, _>>();
    let failed = |call| move |errno| layer::Error::Sandbox { call, errno };
    let lowers = lowers.map_err(failed(Call::Below))?;
    let root = enter(&order.root).map_err(failed(Call::Enter))?;
    let limits = limits(order.compressed);
    confine(limits.bytes).map_err(failed(Call::Confine))?;
    let options = Options {
        owners: match order.caller_owns {
            true => Owners::Caller,
            false => Owners::Keep,
        },
        overlay: OverlayAttrs::User,
        lowers: lowers.iter().map(AsFd::as_fd).collect(),
    };
    let unpack = Unpack {
        root: root.as_fd(),
        // Checked by who gave the order.
        compression: image::layer_compression(&order.media_type).ok(),
        limits: &limits,
        options: &options,
    };
    // What it could not say shows by its silence.
    let _ = layer::child(&unpack, blob.as_fd(), socket);
    Ok(())
}

fn take(socket: BorrowedFd<'_>) -> Result<(Task<Order>, OwnedFd), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut text = vec![0; MAX_ORDER];
    let got = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut text)],
        &mut rights,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let blob = rights
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        })
        .ok_or(Errno::BADMSG)?;
    let order = serde_json::from_slice(&text[..got.bytes]).map_err(|_wrong| Errno::BADMSG)?;
    Ok((order, blob))
}

/// A layer below, which this process shall not be able to change.
fn read_only(path: &Path) -> Result<OwnedFd, Errno> {
    let attrs = MountAttrs::RDONLY | MountAttrs::NOSUID | MountAttrs::NODEV | MountAttrs::NOEXEC;
    let errno = |error: rootfs::Error| error.errno().unwrap_or(Errno::INVAL);
    // Recursive, since what lies below a mount of the caller's is locked to it.
    let mount = rootfs::clone_mount(path, true).map_err(errno)?;
    rootfs::change_mount(mount.as_fd(), path, true, &Change::set(attrs)).map_err(errno)?;
    // What a clone gives is O_PATH.
    rustix::fs::openat(
        &mount,
        ".",
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// The layer's directory becomes `/`.
fn enter(layer: &Path) -> Result<OwnedFd, Errno> {
    let source = CString::new(layer.as_os_str().as_bytes()).map_err(|_nul| Errno::INVAL)?;
    let mut tree = TreeBuilder::new(Propagation::Private);
    let attrs = MountAttrs::NOSUID | MountAttrs::NODEV | MountAttrs::NOEXEC;
    let built = (|| {
        tree.scratch_over(None, c"/proc")?;
        tree.root_bind(&Source::Path(source), true)?;
        tree.root_change(Change::set(attrs), true)?;
        tree.pivot()
    })();
    built.map_err(|error| error.errno().unwrap_or(Errno::INVAL))?;
    here(&Phase::Tree(&tree.build()))?;
    let root = open_directory("/".as_ref())?;
    // As the root of an image that says nothing about it.
    rustix::fs::fchmod(&root, Mode::from_raw_mode(0o755))?;
    Ok(root)
}

/// What is needed for a layer, and no more.
fn confine(largest: u64) -> Result<(), Errno> {
    let mut needed = CapSet::EMPTY;
    for name in [
        "CHOWN",
        "FOWNER",
        "FSETID",
        "DAC_OVERRIDE",
        "SETFCAP",
        "MKNOD",
    ] {
        let capability = Capability::from_name(name).map_err(|_unknown| Errno::INVAL)?;
        needed = needed.union(capability.into());
    }
    let mut profile = Profile::new(Action::KillProcess);
    for call in layer::SYSCALLS {
        profile
            .add(call, Rule::always(Action::Allow))
            .map_err(|_unknown| Errno::NOSYS)?;
    }
    let filter = compile(&profile, Arch::NATIVE).map_err(|_too_long| Errno::INVAL)?;
    let mut builder = Confinement::builder()
        .capabilities(Capabilities::for_user(needed, 0))
        .no_new_privs(true)
        .seccomp(filter);
    for (name, most) in [
        ("fsize", largest),
        ("nofile", 1024),
        ("as", 1 << 30),
        ("core", 0),
    ] {
        let resource = Resource::from_name(name).map_err(|_unknown| Errno::INVAL)?;
        let most = lowered(resource, most);
        builder = builder.rlimit(Rlimit {
            resource,
            soft: most,
            hard: most,
        });
    }
    let confinement = builder
        .build()
        .map_err(|error| error.errno().unwrap_or(Errno::INVAL))?;
    here(&Phase::Confine(&confinement))
}

/// A limit that is lower already stays: raising it is a privilege.
fn lowered(resource: Resource, most: u64) -> Option<u64> {
    let there = confine::getrlimit(resource)
        .ok()
        .and_then(|limit| limit.hard);
    Some(there.map_or(most, |there| there.min(most)))
}

/// Does steps in this very process.
#[allow(
    unsafe_code,
    reason = "the steps' promise is about a process of one thread, which this is"
)]
fn here(steps: &Phase<'_>) -> Result<(), Errno> {
    for step in 0..steps.len() {
        // SAFETY: each step once, in order, in a process of one thread that is ours to change; no
        // descriptor is passed.
        unsafe { steps.apply(step, &[]) }?;
    }
    Ok(())
}
