//! One order with its descriptors there, one word back: messages on a socket.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg,
    socketpair,
};

use super::{Order, Said};

/// 128 paths fit.
const MAX_ORDER: usize = 640 << 10;

/// An error with a name in it fits.
const MAX_SAID: usize = 16 << 10;

/// The layers that an overlay may have, and three more.
const MAX_DESCRIPTORS: usize = 131;

pub(super) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

pub(super) fn give(
    socket: &OwnedFd,
    order: &Order,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let order = serde_json::to_vec(order).map_err(|_path_is_no_text| Errno::ILSEQ)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    if !rights.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOBIG);
    }
    let order = [IoSlice::new(&order)];
    sendmsg(socket, &order, &mut rights, SendFlags::NOSIGNAL).map(drop)
}

pub(super) fn take(socket: BorrowedFd<'_>) -> Result<(Order, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut text = vec![0; MAX_ORDER];
    let mut into = [IoSliceMut::new(&mut text)];
    let got = recvmsg(socket, &mut into, &mut rights, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in rights.drain() {
        if let RecvAncillaryMessage::ScmRights(all) = message {
            descriptors.extend(all);
        }
    }
    let order = serde_json::from_slice(&text[..got.bytes]).map_err(|_wrong| Errno::BADMSG)?;
    Ok((order, descriptors))
}

pub(super) fn say(socket: BorrowedFd<'_>, said: &Said) -> Result<(), Errno> {
    let said = serde_json::to_vec(said).map_err(|_wrong| Errno::INVAL)?;
    send(socket, &said, SendFlags::NOSIGNAL).map(drop)
}

/// `None` when the process ended without a word.
pub(super) fn hear(socket: &OwnedFd) -> Result<Option<Said>, Errno> {
    let mut said = vec![0; MAX_SAID];
    match rustix::io::retry_on_intr(|| recv(socket, &mut said[..], RecvFlags::empty())) {
        Ok((count, _)) => Ok(serde_json::from_slice(&said[..count]).ok()),
        Err(Errno::CONNRESET) => Ok(None),
        Err(errno) => Err(errno),
    }
}
