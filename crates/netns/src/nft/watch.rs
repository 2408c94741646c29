//! Being told that somebody changed the ruleset.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::attr::Messages;
use super::{decode, socket, sys, uapi};
use crate::Error;
use crate::nft::Table;

/// A descriptor that becomes readable when tables, chains, rules or sets are made or removed, by
/// anybody. For a poll loop.
///
/// What only concerns the elements of sets does not wake it: every container that starts or stops
/// anywhere on the host changes some, and the start of one must not cost a wake-up of all the
/// others. A filter in the kernel keeps these messages away.
///
/// # Kernel
///
/// The multicast group `NFNLGRP_NFTABLES`, with a classic BPF filter on the socket
/// (`SO_ATTACH_FILTER`).
#[derive(Debug)]
pub struct Watch {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

/// What a [`Watch`] saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    Nothing,
    /// Something of these tables, each once.
    Changed(Vec<Table>),
    /// More than the socket could hold.
    Overrun,
}

impl Watch {
    /// Begins to watch the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::Netlink`]; `EPERM` without `CAP_NET_ADMIN`.
    pub fn open() -> Result<Self, Error> {
        let fd = socket::open()?;
        let mut program = filter();
        let attached = sys::attach_filter(fd.as_fd(), &mut program);
        socket::failed("setsockopt(SOL_SOCKET, SO_ATTACH_FILTER)", attached)?;
        let option = libc::NETLINK_ADD_MEMBERSHIP;
        let joined = sys::set_netlink_option(fd.as_fd(), option, libc::NFNLGRP_NFTABLES);
        let call = "setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)";
        socket::failed(call, joined)?;
        Ok(Self {
            fd,
            buffer: vec![0; 64 * 1024],
        })
    }

    /// Takes everything that is there, without waiting.
    ///
    /// A program may ask only about its own tables, and leave the rest to their owners.
    ///
    /// # Errors
    ///
    /// [`Error::Netlink`].
    pub fn take(&mut self) -> Result<Seen, Error> {
        let mut tables = Vec::new();
        let mut overrun = false;
        loop {
            match recv(&self.fd, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, length)) => {
                    let length = length.min(self.buffer.len());
                    let messages = Messages(&self.buffer[..length]);
                    for message in messages.filter(|message| !is_of_elements(message.kind)) {
                        // The table's name is attribute 1 of every object.
                        const { assert!(uapi::TABLE_NAME == uapi::RULE_TABLE) };
                        tables.extend(decode::table(&message));
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => overrun = true,
                Err(Errno::AGAIN) => break,
                Err(source) => {
                    return Err(Error::Netlink {
                        call: "recvfrom(<nfnetlink>)".into(),
                        source,
                    });
                }
            }
        }
        if overrun {
            return Ok(Seen::Overrun);
        }
        tables.sort();
        tables.dedup();
        Ok(if tables.is_empty() {
            Seen::Nothing
        } else {
            Seen::Changed(tables)
        })
    }
}

impl From<Watch> for OwnedFd {
    fn from(watch: Watch) -> Self {
        watch.fd
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether a message is about elements of sets, or only says that there is a new generation: the filter
/// lets some of these pass.
fn is_of_elements(kind: u16) -> bool {
    let elements = [
        libc::NFT_MSG_NEWSETELEM,
        libc::NFT_MSG_DELSETELEM,
        libc::NFT_MSG_NEWGEN,
    ];
    kind >> 8 == libc::NFNL_SUBSYS_NFTABLES as u16
        && elements.contains(&libc::c_int::from(kind & 0xff))
}

/// How many messages of a datagram the filter looks at. With more it lets the datagram pass; the
/// kernel puts those of one batch together.
const DEPTH: usize = 16;

/// Drops a datagram of which every message is about elements of sets, or only says that there is a
/// new generation.
///
/// Classic BPF has no loops that go back, so the look at one message is written [`DEPTH`] times.
/// It loads in network byte order; the headers are in the machine's, so bytes are put together here.
fn filter() -> Vec<libc::sock_filter> {
    let op = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let jump = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_K | code) as u16,
        jt,
        jf,
        k,
    };
    let load = |k: usize| op(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, k as u32);
    let (high, low) = if cfg!(target_endian = "little") {
        (5, 4)
    } else {
        (4, 5)
    };
    let length_at: [usize; 2] = if cfg!(target_endian = "little") {
        [1, 0]
    } else {
        [2, 3]
    };
    let mut program = vec![op(libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM, 0)];
    for _ in 0..DEPTH {
        program.extend([
            // X is where the message begins: is it the end?
            op(libc::BPF_MISC | libc::BPF_TXA, 0),
            op(libc::BPF_ST, 0),
            op(libc::BPF_LD | libc::BPF_W | libc::BPF_LEN, 0),
            op(libc::BPF_ALU | libc::BPF_SUB | libc::BPF_X, 0),
            jump(libc::BPF_JGT, 0, 1, 0),
            op(libc::BPF_RET, 0),
            // Another subsystem cannot be in this group: its messages pass.
            load(high),
            jump(libc::BPF_JEQ, libc::NFNL_SUBSYS_NFTABLES as u32, 1, 0),
            op(libc::BPF_RET, u32::MAX),
            load(low),
            jump(libc::BPF_JEQ, libc::NFT_MSG_NEWSETELEM as u32, 3, 0),
            jump(libc::BPF_JEQ, libc::NFT_MSG_DELSETELEM as u32, 2, 0),
            jump(libc::BPF_JEQ, libc::NFT_MSG_NEWGEN as u32, 1, 0),
            op(libc::BPF_RET, u32::MAX),
            // X += the length, rounded up to four.
            load(length_at[0]),
            op(libc::BPF_ALU | libc::BPF_LSH | libc::BPF_K, 8),
            op(libc::BPF_ST, 1),
            load(length_at[1]),
            op(libc::BPF_LDX | libc::BPF_W | libc::BPF_MEM, 1),
            op(libc::BPF_ALU | libc::BPF_ADD | libc::BPF_X, 3),
            op(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0xfffc),
            op(libc::BPF_LDX | libc::BPF_W | libc::BPF_MEM, 0),
            op(libc::BPF_ALU | libc::BPF_ADD | libc::BPF_X, 0),
            op(libc::BPF_MISC | libc::BPF_TAX, 0),
        ]);
    }
    program.push(op(libc::BPF_RET, u32::MAX));
    program
}
