//! The process that works in a container's tree, from its first instruction.

use std::ffi::CString;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use confine::caps::{CapSet, Capabilities, Capability};
use confine::{Confinement, Resource, Rlimit};
use image::layer::{self, Changes, Difference, Limits};
use ns::Namespaces;
use rootfs::{Overlay, Propagation, Source, TreeBuilder, Upper};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::{Lower, Order, Said, Task, call, channel, said};
use crate::layers::sandbox::lowered;
use crate::steps::{Phase, here};

/// Memory it may have, whatever it meets.
const MEMORY: u64 = 1 << 30;

/// What reading everything needs.
const READS: [&str; 2] = ["DAC_OVERRIDE", "DAC_READ_SEARCH"];

/// Ends with 0 when its word was heard. What it did is in that word.
#[must_use]
pub fn main() -> u8 {
    // 0 is what the engine put there; anything else fails to read as an order.
    let socket = rustix::stdio::stdin();
    let done = match channel::take(socket) {
        Ok((order, descriptors)) => work(order, descriptors),
        Err(errno) => Err(call("recvmsg", errno)),
    };
    let word = match done {
        Ok(skipped) => Said::Done { skipped },
        Err(why) => Said::Failed(why),
    };
    u8::from(channel::say(socket, &word).is_err())
}

/// What came with the order.
struct Given {
    root: OwnedFd,
    pipe: File,
    mounts: Vec<OwnedFd>,
}

fn work(order: Order, descriptors: Vec<OwnedFd>) -> Result<u64, String> {
    let mut descriptors = descriptors.into_iter();
    let mut next = || {
        descriptors
            .next()
            .ok_or_else(|| call("recvmsg", Errno::BADMSG))
    };
    let (root, pipe) = (next()?, File::from(next()?));
    let user = order.enters.then(&mut next).transpose()?;
    if let Some(user) = &user {
        ns::setns(user.as_fd(), Namespaces::NEWUSER)
            .map_err(|errno| call("setns(CLONE_NEWUSER)", errno))?;
    }
    ns::unshare(Namespaces::NEWNS).map_err(|errno| call("unshare(CLONE_NEWNS)", errno))?;
    let given = Given {
        root,
        pipe,
        mounts: descriptors.collect(),
    };
    match &order.task {
        Task::List { lowers } => list(&order, lowers, given),
        Task::Layer { lowers } => write(&order, lowers, given),
        Task::Copy(job) => {
            become_root(&order)?;
            confine(&["DAC_OVERRIDE", "CHOWN", "FOWNER", "FSETID", "MKNOD"])?;
            let done = job.run(given.root.as_fd(), given.pipe);
            done.map_err(|error| said(&error))
        }
    }
}

fn list(order: &Order, lowers: &[Lower], given: Given) -> Result<u64, String> {
    let before = image(order, lowers, &given.mounts)?;
    confine(&READS)?;
    let mut out = BufWriter::new(given.pipe);
    let mut told = |how, path: &[u8]| {
        out.write_all(&[letter(how)])?;
        out.write_all(path)?;
        out.write_all(&[0])
    };
    let changes = Changes::Overlays {
        before: before.as_fd(),
        after: given.root.as_fd(),
    };
    let written = layer::differences(changes, &Limits::default(), &mut told);
    let written = written.map_err(|error| said(&error))?;
    out.flush().map_err(|error| format!("write: {error}"))?;
    Ok(written.skipped)
}

/// As docker shows it.
fn letter(how: Difference) -> u8 {
    match how {
        Difference::Added => b'A',
        Difference::Changed => b'C',
        Difference::Deleted => b'D',
    }
}

fn write(order: &Order, lowers: &[Lower], given: Given) -> Result<u64, String> {
    let before = image(order, lowers, &given.mounts)?;
    confine(&READS)?;
    let changes = Changes::Overlays {
        before: before.as_fd(),
        after: given.root.as_fd(),
    };
    let out = BufWriter::with_capacity(64 << 10, given.pipe);
    let written = layer::diff(changes, out, &Limits::default());
    Ok(written.map_err(|error| said(&error))?.skipped)
}

/// The image as the container's root was at its start: the same layers under the same kind of overlay. It becomes `/`
/// here, and nothing of the host's tree is left.
fn image(order: &Order, lowers: &[Lower], mounts: &[OwnedFd]) -> Result<OwnedFd, String> {
    let source = |lower: &Lower| match lower {
        Lower::Mount(at) => Ok(Source::Passed(*at)),
        Lower::Path(path) => CString::new(path.as_os_str().as_bytes()).map(Source::Path),
    };
    let lowers = lowers.iter().map(source).collect::<Result<Vec<_>, _>>();
    let overlay = Overlay {
        lowers: lowers.map_err(|nul| nul.to_string())?,
        upper: Upper::Ephemeral,
        userxattr: true,
    };
    let mut tree = TreeBuilder::new(Propagation::Private);
    let built = (|| {
        if order.enters {
            tree.ids(order.uid, order.gid, order.setgroups)?;
        }
        tree.scratch_over(None, c"/proc")?;
        tree.root_overlay(&overlay)?;
        tree.pivot()
    })();
    built.map_err(|error| error.to_string())?;
    let tree = tree.build();
    let passed: Vec<BorrowedFd<'_>> = mounts.iter().map(AsFd::as_fd).collect();
    here(&Phase::Tree(&tree), &passed)
        .map_err(|errno| call("an overlay of the image's layers", errno))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(rustix::fs::CWD, "/", flags, Mode::empty()).map_err(|errno| call("openat(\"/\")", errno))
}

/// Without another root: what is done is done below the container's.
fn become_root(order: &Order) -> Result<(), String> {
    let mut tree = TreeBuilder::new(Propagation::Private);
    if order.enters {
        let built = tree.ids(order.uid, order.gid, order.setgroups);
        built.map_err(|error| error.to_string())?;
    }
    let tree = tree.build();
    here(&Phase::Tree(&tree), &[]).map_err(|errno| call("setresuid", errno))
}

/// These capabilities over the container's files, and no more.
fn confine(names: &[&str]) -> Result<(), String> {
    let mut needed = CapSet::EMPTY;
    for name in names {
        let capability = Capability::from_name(name).map_err(|error| error.to_string())?;
        needed = needed.union(capability.into());
    }
    let mut builder = Confinement::builder()
        .capabilities(Capabilities::for_user(needed, 0))
        .no_new_privs(true);
    for (name, most) in [("nofile", 1024), ("as", MEMORY), ("core", 0)] {
        let resource = Resource::from_name(name).map_err(|error| error.to_string())?;
        let most = lowered(resource, most);
        builder = builder.rlimit(Rlimit {
            resource,
            soft: most,
            hard: most,
        });
    }
    let confinement = builder.build().map_err(|error| error.to_string())?;
    here(&Phase::Confine(&confinement), &[]).map_err(|errno| call("capset", errno))?;
    // Other ids have cleared what was set before execve, prctl(2). Who died in between has closed the socket.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|errno| call("prctl(PR_SET_PDEATHSIG)", errno))
}
