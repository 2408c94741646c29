//! The conversation with the kernel: one batch, or one listing.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with, sockopt,
};

use super::attr::{Attrs, HEADER, Message, Messages, Writer, u32_at};
use super::batch::{Encoded, Part};
use super::uapi::{ELEM_LIST_ELEMENTS, GEN_ID, NLMSGERR_MSG, NLMSGERR_OFFSET};
use super::{Batch, Change, hint, sys};
use crate::Error;

/// More than any answer: the kernel fills at most 32 KiB of one, an error repeats no request.
const ANSWER: usize = 64 * 1024;

/// A netlink socket for nf_tables, in the network namespace of the thread that opened it.
///
/// # Kernel
///
/// `NETLINK_NETFILTER` ([`netlink(7)`]); a batch is what lies between `NFNL_MSG_BATCH_BEGIN` and
/// `NFNL_MSG_BATCH_END`. Needs `CAP_NET_ADMIN` in the user namespace that owns the network namespace.
///
/// [`netlink(7)`]: https://man7.org/linux/man-pages/man7/netlink.7.html
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// What is asked for: the message, how it is called, and of which family (0: all).
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub(super) name: &'static str,
    pub(super) kind: libc::c_int,
    pub(super) family: u8,
    pub(super) flags: libc::c_int,
}

/// What the kernel said about one message.
#[derive(Debug)]
struct Complaint {
    sequence: u32,
    errno: Errno,
    said: Option<String>,
    /// Where in the message the attribute is that it is about.
    offset: Option<usize>,
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.fd
    }
}

impl Socket {
    /// Opens one.
    ///
    /// Closing one takes until the kernel has freed what was deleted before, by whomever: an RCU grace
    /// period, 8 ms and more (`nft_rcv_nl_event`). So use one for everything, and close it last.
    ///
    /// # Errors
    ///
    /// [`Error::Netlink`]; `EPROTONOSUPPORT` from a kernel without nfnetlink.
    pub fn open() -> Result<Self, Error> {
        let fd = open()?;
        // Without it an error repeats the whole request, and a batch is long.
        let cap = sys::set_netlink_option(fd.as_fd(), libc::NETLINK_CAP_ACK, 1);
        failed("setsockopt(SOL_NETLINK, NETLINK_CAP_ACK)", cap)?;
        let ext = sys::set_netlink_option(fd.as_fd(), libc::NETLINK_EXT_ACK, 1);
        failed("setsockopt(SOL_NETLINK, NETLINK_EXT_ACK)", ext)?;
        Ok(Self {
            fd,
            sequence: 1,
            buffer: vec![0; ANSWER],
        })
    }

    /// Executes a batch: all of it at one instant, or nothing of it.
    ///
    /// # Errors
    ///
    /// [`Error::Change`] names the change that the kernel refused, with what it said about it;
    /// [`Error::Netlink`] if there is no talking to it.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        match self.transact(batch)?.into_iter().next() {
            None => Ok(()),
            Some((complaint, _)) => Err(complaint),
        }
    }

    /// Executes a batch that takes things away, where those that are gone already are no error.
    ///
    /// Whatever the kernel does not find is left out, and the rest is tried again: `n` missing
    /// things cost one more round, not `n`, since the kernel complains about all of them at once.
    /// What a [`Change::DeleteElements`] lists goes or stays together.
    ///
    /// # Errors
    ///
    /// As [`Socket::commit`], except `ENOENT` for something to be deleted.
    pub fn commit_removal(&mut self, batch: &Batch) -> Result<(), Error> {
        let mut batch = batch.clone();
        loop {
            let mut missing = Vec::new();
            for (error, change) in self.transact(&batch)? {
                let deletes = change.filter(|change| {
                    let change = &batch.changes[*change];
                    matches!(
                        change,
                        Change::DeleteElements { .. } | Change::DeleteTable(_)
                    )
                });
                match deletes {
                    Some(change) if error.errno() == Some(Errno::NOENT) => missing.push(change),
                    _ => return Err(error),
                }
            }
            if missing.is_empty() {
                return Ok(());
            }
            let mut at = 0;
            batch.changes.retain(|_| {
                at += 1;
                !missing.contains(&(at - 1))
            });
        }
    }

    /// The number of the ruleset's generation: each batch of anybody adds one.
    ///
    /// # Errors
    ///
    /// [`Error::Netlink`], [`Error::Listing`].
    pub fn generation(&mut self) -> Result<u32, Error> {
        let question = Question {
            name: "NFT_MSG_GETGEN",
            kind: libc::NFT_MSG_GETGEN,
            family: 0,
            flags: 0,
        };
        let mut number = None;
        self.ask(
            question,
            |_| {},
            |message| {
                number = number.or(message.attrs().be32(GEN_ID));
            },
        )?;
        number.ok_or(Error::Netlink {
            call: question.name.into(),
            source: Errno::BADMSG,
        })
    }

    /// Whether a table is there.
    ///
    /// # Errors
    ///
    /// [`Error::Netlink`], [`Error::Listing`].
    pub fn has_table(&mut self, table: &super::Table) -> Result<bool, Error> {
        let question = Question {
            name: "NFT_MSG_GETTABLE",
            kind: libc::NFT_MSG_GETTABLE,
            family: table.family.number(),
            flags: libc::NLM_F_DUMP,
        };
        let mut found = false;
        self.ask(
            question,
            |_| {},
            |message| found |= super::decode::table(message).as_ref() == Some(table),
        )?;
        Ok(found)
    }

    /// One error for each complaint, with the index of the change it is about.
    fn transact(&mut self, batch: &Batch) -> Result<Vec<(Error, Option<usize>)>, Error> {
        if batch.changes.is_empty() {
            return Ok(Vec::new());
        }
        let begin = self.sequence;
        let encoded = batch.encode(begin);
        self.sequence = begin.wrapping_add(encoded.messages.len() as u32 + 2);
        self.send(&encoded.bytes)?;
        let last = begin + encoded.messages.len() as u32;
        let complaints = self.complaints(begin, last)?;
        Ok(complaints
            .into_iter()
            .map(|complaint| blame(batch, &encoded, begin, complaint))
            .collect())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let call = || format!("sendto(<nfnetlink>, {} bytes)", bytes.len());
        // A batch is one datagram, and has to fit into the socket's buffer.
        let room = sockopt::socket_send_buffer_size(&self.fd);
        if room.is_ok_and(|room| room < bytes.len() + 4096) {
            let wanted = bytes.len() + 4096;
            // Beyond `net.core.wmem_max` only with CAP_NET_ADMIN; what is refused shows as EMSGSIZE.
            if sockopt::set_socket_send_buffer_size_force(&self.fd, wanted).is_err() {
                let set = sockopt::set_socket_send_buffer_size(&self.fd, wanted);
                failed("setsockopt(SOL_SOCKET, SO_SNDBUF)", set)?;
            }
        }
        loop {
            match send(&self.fd, bytes, SendFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(source) => {
                    return Err(Error::Netlink {
                        call: call(),
                        source,
                    });
                }
            }
        }
    }

    /// Reads until the answer to the last message, which comes after all others. What belongs to an
    /// earlier batch is skipped.
    fn complaints(&mut self, begin: u32, last: u32) -> Result<Vec<Complaint>, Error> {
        let mut found = Vec::new();
        loop {
            let length = match self.receive() {
                // More complaints than the socket holds: those that came first are as good.
                Err(Error::Netlink {
                    source: Errno::NOBUFS,
                    ..
                }) if !found.is_empty() => {
                    return Ok(found);
                }
                length => length?,
            };
            for message in Messages(&self.buffer[..length]) {
                if !(begin..=last).contains(&message.sequence) {
                    continue;
                }
                let complaint = complaint(&message);
                let done = match &complaint {
                    // Nothing was looked at: no privilege, no subsystem.
                    Some(c) if c.sequence == begin && c.errno == Errno::PERM => true,
                    Some(c) if c.sequence == begin && c.errno == Errno::OPNOTSUPP => true,
                    _ => message.sequence == last,
                };
                found.extend(complaint);
                if done {
                    return Ok(found);
                }
            }
        }
    }

    /// A question, and each message of its answer. False: a change overtook the listing, and what it
    /// told does not fit together.
    pub(super) fn ask(
        &mut self,
        question: Question,
        body: impl FnOnce(&mut Writer),
        mut each: impl FnMut(&Message<'_>),
    ) -> Result<bool, Error> {
        let Question {
            name,
            kind,
            family,
            flags,
        } = question;
        let call = || name.to_owned();
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let mut w = Writer::default();
        let kind = (libc::NFNL_SUBSYS_NFTABLES << 8 | kind) as u16;
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags) as u16;
        w.message(kind, flags, sequence, [family, 0, 0, 0], body);
        self.send(&w.bytes)?;
        let mut torn = false;
        loop {
            let length = self.receive()?;
            for message in Messages(&self.buffer[..length]) {
                if message.sequence != sequence {
                    continue;
                }
                torn |= libc::c_int::from(message.flags) & libc::NLM_F_DUMP_INTR != 0;
                match libc::c_int::from(message.kind) {
                    libc::NLMSG_DONE => return Ok(!torn),
                    libc::NLMSG_ERROR => {
                        return match complaint(&message) {
                            None => Ok(!torn),
                            Some(c) => Err(Error::Netlink {
                                call: call(),
                                source: c.errno,
                            }),
                        };
                    }
                    _ => each(&message),
                }
            }
        }
    }

    fn receive(&mut self) -> Result<usize, Error> {
        loop {
            match recv(&self.fd, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((_, length)) => return Ok(length.min(self.buffer.len())),
                Err(Errno::INTR) => {}
                Err(source) => {
                    return Err(Error::Netlink {
                        call: "recvfrom(<nfnetlink>)".into(),
                        source,
                    });
                }
            }
        }
    }
}

/// A bound socket: the kernel answers to its number, and multicasts to its groups.
pub(super) fn open() -> Result<OwnedFd, Error> {
    let call = "socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_NETFILTER)";
    let fd = failed(
        call,
        socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(NETFILTER),
        ),
    )?;
    failed(
        "bind(<nfnetlink>)",
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, 0)),
    )?;
    Ok(fd)
}

pub(super) fn failed<T>(call: &str, result: Result<T, Errno>) -> Result<T, Error> {
    result.map_err(|source| Error::Netlink {
        call: call.to_owned(),
        source,
    })
}

/// None: the message only says that all is well.
fn complaint(message: &Message<'_>) -> Option<Complaint> {
    if libc::c_int::from(message.kind) != libc::NLMSG_ERROR {
        return None;
    }
    let code = u32_at(message.body, 0)?.cast_signed();
    if code == 0 {
        return None;
    }
    // Behind the code there is the header of the request, and not more: NETLINK_CAP_ACK.
    let told = libc::c_int::from(message.flags) & libc::NLM_F_ACK_TLVS != 0;
    let attrs = Attrs(
        message
            .body
            .get(4 + HEADER..)
            .filter(|_| told)
            .unwrap_or_default(),
    );
    Some(Complaint {
        sequence: message.sequence,
        errno: Errno::from_raw_os_error(-code),
        said: attrs.string(NLMSGERR_MSG).filter(|said| !said.is_empty()),
        offset: attrs
            .get(NLMSGERR_OFFSET)
            .and_then(|bytes| u32_at(bytes, 0))
            .map(|offset| offset as usize),
    })
}

fn blame(
    batch: &Batch,
    encoded: &Encoded,
    begin: u32,
    complaint: Complaint,
) -> (Error, Option<usize>) {
    let at = complaint.sequence.checked_sub(begin + 1);
    let Some(part) = at.and_then(|at| encoded.messages.get(at as usize)) else {
        // About the batch as a whole.
        let call = "nf_tables batch".to_owned();
        return (
            Error::Netlink {
                call,
                source: complaint.errno,
            },
            None,
        );
    };
    let change = &batch.changes[part.change];
    let error = Error::Change {
        index: part.change,
        change: shown(change, part, &encoded.bytes, complaint.offset),
        said: complaint.said,
        hint: hint::change(change, complaint.errno),
        source: complaint.errno,
    };
    (error, Some(part.change))
}

/// The change in words; of many elements only the one that the kernel pointed at.
fn shown(change: &Change, part: &Part, bytes: &[u8], offset: Option<usize>) -> String {
    let mut change = change.clone();
    if let Change::AddElements { elements, .. } | Change::DeleteElements { elements, .. } =
        &mut change
    {
        let pointed = offset.and_then(|offset| element_at(&bytes[part.start..], offset));
        if let Some(element) = pointed.and_then(|at| elements.get(part.element + at)) {
            *elements = vec![element.clone()];
        }
    }
    change.to_string()
}

/// Which element of a message an offset, counted from the message's beginning, is in.
fn element_at(bytes: &[u8], offset: usize) -> Option<usize> {
    let message = Messages(bytes).next()?;
    let list = message.attrs().get(ELEM_LIST_ELEMENTS)?;
    // The list is a part of the message, so their distance is that of their ends.
    let end = HEADER + message.body.len();
    let start = end - list.len();
    let mut left = Attrs(list);
    let mut index = 0;
    while left.next().is_some() {
        let reached = start + (list.len() - left.0.len());
        if (start..reached).contains(&offset) {
            return Some(index);
        }
        index += 1;
    }
    None
}
