//! What that process does.

use std::ffi::CString;
use std::fs::File;
use std::io::{BufWriter, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use confine::caps::{CapSet, Capabilities, Capability};
use confine::seccomp::{Action, Arch, Profile, Rule, compile};
use confine::{Confinement, Resource, Rlimit};
use image::Store;
use image::layer::{self, Call, Changes, Limits, Options, OverlayAttrs, Owners, Unpack, Verdict};
use rootfs::{Change, MountAttrs, Overlay, Propagation, Source, TreeBuilder, Upper};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send};

use super::super::{limits, open_directory};
use super::{MAX_ORDER, Order, Report, Task};
use crate::steps::{Phase, here};

/// That process, from its first instruction. The status it ends with says nothing: its verdict does.
#[must_use]
pub fn main() -> u8 {
    // 0 is what the engine put there; anything else fails to read as an order.
    let socket = rustix::stdio::stdin();
    let done = match take(socket) {
        Ok((Task::Unpack(order), blob)) => work(&order, &blob, socket),
        Ok((Task::Export { layers }, out)) => {
            let said: Report = export(&layers, out).map_err(|error| chain(&*error));
            let said = serde_json::to_vec(&said).unwrap_or_default();
            return u8::from(send(socket, &said, SendFlags::NOSIGNAL).is_err());
        }
        Ok((Task::Prune { store, prune }, result)) => {
            let said = Store::open(&store).and_then(|store| prune.carry_out(&store));
            let said = said.map_err(|error| chain(&error));
            return u8::from(serde_json::to_writer(File::from(result), &said).is_err());
        }
        Ok((Task::Discard { store, staged }, _in_use)) => {
            let gone = Store::open(&store).and_then(|store| store.discard_staged(&staged));
            return u8::from(gone.is_err());
        }
        Err(errno) => Err(layer::Error::Input { errno }),
    };
    let Err(said) = done else { return 0 };
    let said = Verdict::of(&Err(said));
    u8::from(send(socket, &said.0, SendFlags::NOSIGNAL).is_err())
}

/// The layers are stacked by the kernel, so what is written is what a container would see.
fn export(layers: &[PathBuf], out: OwnedFd) -> Result<(), Box<dyn std::error::Error>> {
    let source = |path: &PathBuf| Ok(Source::Path(CString::new(path.as_os_str().as_bytes())?));
    let lowers: Result<_, std::ffi::NulError> = layers.iter().map(source).collect();
    let mut tree = TreeBuilder::new(Propagation::Private);
    tree.scratch_over(None, c"/proc")?;
    tree.root_overlay(&Overlay {
        lowers: lowers?,
        upper: Upper::Ephemeral,
        userxattr: true,
    })?;
    tree.pivot()?;
    here(&Phase::Tree(&tree.build()), &[])?;
    let root = open_directory("/".as_ref())?;
    let all = Changes::Upper {
        upper: root.as_fd(),
        overlay: OverlayAttrs::User,
    };
    let mut out = BufWriter::with_capacity(256 << 10, File::from(out));
    layer::diff(all, &mut out, &Limits::default())?;
    Ok(out.flush()?)
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
    here(&Phase::Tree(&tree.build()), &[])?;
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
    here(&Phase::Confine(&confinement), &[])
}

/// A limit that is lower already stays: raising it is a privilege.
pub(crate) fn lowered(resource: Resource, most: u64) -> Option<u64> {
    let there = confine::getrlimit(resource)
        .ok()
        .and_then(|limit| limit.hard);
    Some(there.map_or(most, |there| there.min(most)))
}
