//! The socket that requests and queries go through.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::io::Errno;
use rustix::net::netdevice;

use super::answer::{self, NLMSG_ERROR};
use super::encode::encode;
use super::hint;
use super::request::Request;
use super::types::{Link, LinkName};
use crate::{Error, enter};

/// How many requests go into one message: their answers must fit into the socket's receive buffer
/// (208 KiB by default), where each takes up to 1.3 KiB.
const BATCH: usize = 64;
/// The largest datagram of the kernel's dumps, `NLMSG_GOODSIZE` and its likes, is smaller.
const RECEIVE: usize = 64 * 1024;

/// A netlink socket of one network namespace, where it stays whatever its owner enters.
#[derive(Debug)]
pub struct Socket {
    socket: netlink_sys::Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// In the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::RouteSocket`]: no descriptor is free, or a seccomp filter refuses `AF_NETLINK`.
    ///
    /// # Kernel
    ///
    /// [`socket(2)`], `NETLINK_EXT_ACK` and `NETLINK_CAP_ACK` of [`netlink(7)`].
    ///
    /// [`socket(2)`]: https://man7.org/linux/man-pages/man2/socket.2.html
    /// [`netlink(7)`]: https://man7.org/linux/man-pages/man7/netlink.7.html
    pub fn open() -> Result<Self, Error> {
        let failed = |call| {
            move |error: io::Error| Error::RouteSocket {
                call,
                source: errno(&error),
            }
        };
        let socket = netlink_sys::Socket::new(NETLINK_ROUTE).map_err(failed(
            "socket(AF_NETLINK, SOCK_DGRAM|SOCK_CLOEXEC, NETLINK_ROUTE)",
        ))?;
        for (call, set) in [
            (
                "setsockopt(SOL_NETLINK, NETLINK_EXT_ACK)",
                netlink_sys::Socket::set_ext_ack as fn(&netlink_sys::Socket, bool) -> _,
            ),
            (
                "setsockopt(SOL_NETLINK, NETLINK_CAP_ACK)",
                netlink_sys::Socket::set_cap_ack,
            ),
        ] {
            set(&socket, true).map_err(failed(call))?;
        }
        Ok(Self {
            socket,
            sequence: 0,
            buffer: Vec::with_capacity(RECEIVE),
        })
    }

    /// In another network namespace, given by a descriptor (`/proc/PID/ns/net`, or a pidfd). A thread
    /// of its own enters it, opens the socket and ends; nothing else in the process moves.
    ///
    /// # Errors
    ///
    /// As [`Socket::open`], and [`Error::Enter`]: `EPERM` without `CAP_SYS_ADMIN` in the user
    /// namespace that owns the network namespace *and* in the caller's own, `EINVAL` for a descriptor
    /// of something else.
    ///
    /// # Kernel
    ///
    /// [`setns(2)`]; a pidfd since 5.8.
    ///
    /// [`setns(2)`]: https://man7.org/linux/man-pages/man2/setns.2.html
    pub fn open_in(netns: BorrowedFd<'_>) -> Result<Self, Error> {
        enter::within(netns, Self::open)?
    }

    /// Applies the requests in order, as one message with one answer each.
    ///
    /// More than one message is sent for more than 64 requests, and where a request names an
    /// interface that an earlier one of the list makes or renames, and its number is needed: give
    /// [`NewLink::index`](super::NewLink::index), or put up with one more call.
    ///
    /// **The kernel carries out what follows a failed request in the same message.** The error says
    /// which ones it accepted ([`Error::applied`]); to go back, apply their [`Request::undo`] in
    /// reverse.
    ///
    /// # Errors
    ///
    /// [`Error::Request`] for the first one that failed, with what the kernel says about it.
    ///
    /// # Kernel
    ///
    /// [`sendto(2)`], and a `recvfrom` per request. A request is carried out within the call that
    /// sends it; there is nothing to wait for.
    ///
    /// [`sendto(2)`]: https://man7.org/linux/man-pages/man2/send.2.html
    pub fn apply(&mut self, requests: &[Request]) -> Result<(), Error> {
        let mut applied = Vec::new();
        let mut next = 0;
        while next < requests.len() {
            let first = self.reserve(BATCH as u32);
            let (bytes, end, broken) = self.batch(requests, next, first);
            let answers = self.send_batch(&bytes, first, end - next);
            let mut failed = broken.map(|errno| Failed::unsent(end, errno));
            for (index, answer) in (next..end).zip(answers).rev() {
                match answer {
                    Ok(()) => applied.push(index),
                    Err(found) => failed = Some(Failed { index, ..found }),
                }
            }
            applied.sort_unstable();
            if let Some(failed) = failed {
                return Err(failed.error(&requests[failed.index], applied));
            }
            next = end;
        }
        Ok(())
    }

    /// Puts requests from `start` into one message, up to the returned one, which needs another
    /// message, or failed before it could be sent.
    fn batch(
        &self,
        requests: &[Request],
        start: usize,
        first: u32,
    ) -> (Vec<u8>, usize, Option<Errno>) {
        let mut bytes = Vec::new();
        let mut names_change = false;
        for (at, request) in requests.iter().enumerate().skip(start).take(BATCH) {
            let sequence = first.wrapping_add((at - start) as u32);
            let mut must_wait = false;
            let fd = self.socket.as_fd();
            let mut index = |link: &Link| match link {
                Link::Name(_) if names_change => {
                    must_wait = true;
                    Err(Errno::AGAIN)
                }
                link => index_of(fd, link),
            };
            let encoded = encode(request, sequence, &mut index, &mut bytes);
            match encoded {
                Ok(()) => names_change |= request.changes_name(),
                Err(_) if must_wait => return (bytes, at, None),
                Err(errno) => return (bytes, at, Some(errno)),
            }
        }
        (bytes, requests.len().min(start + BATCH), None)
    }

    /// Sends `count` requests, numbered from `first`, and returns what became of each.
    fn send_batch(&mut self, bytes: &[u8], first: u32, count: usize) -> Vec<Result<(), Failed>> {
        if count == 0 {
            return Vec::new();
        }
        if let Err(error) = self.socket.send(bytes, 0) {
            let failed = Failed::unsent(0, errno(&error));
            return (0..count).map(|_| Err(failed.clone())).collect();
        }
        let mut answers: Vec<Option<Result<(), Failed>>> = vec![None; count];
        let mut lost = Errno::BADMSG;
        while answers.iter().any(Option::is_none) {
            if let Err(errno) = self.receive() {
                lost = errno;
                break;
            }
            for message in answer::messages(&self.buffer) {
                let place = message.sequence.wrapping_sub(first) as usize;
                if message.kind != NLMSG_ERROR {
                    continue;
                }
                if let (Some(slot), Some(found)) =
                    (answers.get_mut(place), answer::answer(&message))
                {
                    *slot = Some(match found.errno {
                        None => Ok(()),
                        Some(errno) => Err(Failed {
                            index: 0,
                            errno,
                            text: found.text,
                        }),
                    });
                }
            }
        }
        let lost = Failed::unsent(0, lost);
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|| Err(lost.clone())))
            .collect()
    }

    /// Sends one request and hands every message of the answer to `take`, until the last.
    pub(super) fn ask(
        &mut self,
        request: &[u8],
        sequence: u32,
        mut take: impl FnMut(&answer::Message<'_>) -> Result<Next, Errno>,
    ) -> Result<(), Errno> {
        self.socket
            .send(request, 0)
            .map_err(|error| errno(&error))?;
        loop {
            self.receive()?;
            for message in answer::messages(&self.buffer) {
                if message.sequence == sequence && take(&message)? == Next::Last {
                    return Ok(());
                }
            }
        }
    }

    /// Numbers for requests, never used before: late answers must not pass for others.
    pub(super) fn reserve(&mut self, count: u32) -> u32 {
        let first = self.sequence;
        self.sequence = first.wrapping_add(count);
        first
    }

    /// Receives one datagram of the kernel's into the buffer.
    fn receive(&mut self) -> Result<(), Errno> {
        loop {
            self.buffer.clear();
            // The kernel has answered before send(2) returned, or does so in this very call: waiting
            // could only mean waiting for ever.
            let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
            let received = self.socket.recv_from(&mut self.buffer, flags);
            match received {
                // Any process with CAP_NET_ADMIN can send to this socket; the kernel is port 0.
                Ok((_, from)) if from.port_number() != 0 => {}
                Ok((length, _)) if length > self.buffer.len() => return Err(Errno::MSGSIZE),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(errno(&error)),
            }
        }
    }

    /// The number of the interface called `name`, as [`if_nametoindex(3)`].
    ///
    /// # Errors
    ///
    /// [`Error::Query`] with `ENODEV`.
    ///
    /// [`if_nametoindex(3)`]: https://man7.org/linux/man-pages/man3/if_nametoindex.3.html
    pub fn index_of(&self, name: &LinkName) -> Result<u32, Error> {
        netdevice::name_to_index(self.socket.as_fd(), name.as_str()).map_err(|source| {
            Error::Query {
                query: format!("ioctl(SIOCGIFINDEX, {{ifr_name={name}}})"),
                source,
            }
        })
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether more of an answer is to come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    More,
    Last,
}

/// A request that the kernel did not carry out, or that did not reach it.
#[derive(Debug, Clone)]
struct Failed {
    index: usize,
    errno: Errno,
    text: Option<String>,
}

impl Failed {
    fn unsent(index: usize, errno: Errno) -> Self {
        Self {
            index,
            errno,
            text: None,
        }
    }

    fn error(&self, request: &Request, applied: Vec<usize>) -> Error {
        Error::Request {
            index: self.index,
            request: request.describe(),
            kernel: self.text.clone(),
            applied,
            hint: hint::request(request, self.errno),
            source: self.errno,
        }
    }
}

/// Numbers beyond the kernel's `int` would be taken for something else.
fn index_of(fd: BorrowedFd<'_>, link: &Link) -> Result<u32, Errno> {
    match link {
        Link::Index(index) if (1..=i32::MAX as u32).contains(index) => Ok(*index),
        Link::Index(_) => Err(Errno::NODEV),
        Link::Name(name) => netdevice::name_to_index(fd, name.as_str()),
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
