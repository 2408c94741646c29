//! One try: a query sent to one server from a socket of its own.

use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::dns::TryFailure;
use crate::dns::framed::{Framed, Input};
use crate::dns::wire;
use crate::ipam::fill_random;

/// The kernel gives each socket a port of its own at random when it is connected, and hands it nothing
/// but what comes from that server: who wants to forge an answer guesses 16 bits of port and 16 of id.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) server: SocketAddr,
    id: [u8; 2],
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Tcp {
        stream: TcpStream,
        framed: Framed,
        sent: bool,
    },
}

/// What a server said.
#[derive(Debug)]
pub(super) enum Heard {
    /// Nothing yet.
    Nothing,
    /// A reply to the query.
    Reply { code: u8, message: Vec<u8> },
    /// It will not say anything.
    Failed(TryFailure),
}

impl Link {
    /// Sends the query; its socket is closed, and thereby out of `epoll`, when the link is dropped.
    pub(super) fn open(
        epoll: BorrowedFd<'_>,
        token: u64,
        server: SocketAddr,
        query: &[u8],
        over_tcp: bool,
    ) -> Result<Self, TryFailure> {
        let failed = |call| move |errno| TryFailure::Call { call, errno };
        let mut id = [0; 2];
        fill_random(&mut id)
            .map_err(|error| failed("getrandom")(error.errno().unwrap_or(Errno::AGAIN)))?;
        let mut message = query.to_vec();
        wire::set_id(&mut message, id);

        let kind = match over_tcp {
            true => SocketType::STREAM,
            false => SocketType::DGRAM,
        };
        let socket = connect(server, kind).map_err(failed("connect"))?;
        let events = match over_tcp {
            true => EventFlags::IN | EventFlags::OUT,
            false => EventFlags::IN,
        };
        epoll::add(epoll, &socket, EventData::new_u64(token), events)
            .map_err(failed("epoll_ctl"))?;
        let socket = if over_tcp {
            let mut framed = Framed::default();
            framed.push(&message);
            Socket::Tcp {
                stream: socket.into(),
                framed,
                sent: false,
            }
        } else {
            let socket = UdpSocket::from(socket);
            socket
                .send(&message)
                .map_err(|error| failed("sendto")(errno_of(&error)))?;
            Socket::Udp(socket)
        };
        Ok(Self { server, id, socket })
    }

    /// Looks what came in. `scratch` has room for the longest datagram.
    pub(super) fn hear(
        &mut self,
        epoll: BorrowedFd<'_>,
        token: u64,
        query: &[u8],
        scratch: &mut [u8],
    ) -> Heard {
        let id = self.id;
        let reply = |message: &[u8]| wire::code_of_reply(message, query, id);
        match &mut self.socket {
            Socket::Udp(socket) => loop {
                match socket.recv(scratch) {
                    // Something else from that server is not an answer, and no reason to give up.
                    Ok(length) => {
                        if let Some(code) = reply(&scratch[..length]) {
                            let message = scratch[..length].to_vec();
                            return Heard::Reply { code, message };
                        }
                    }
                    Err(error) => return wait_or_fail("recvfrom", &error),
                }
            },
            Socket::Tcp {
                stream,
                framed,
                sent,
            } => {
                if !*sent {
                    match framed.flush(stream) {
                        Ok(false) => return Heard::Nothing,
                        Err(error) => return wait_or_fail("connect", &error),
                        Ok(true) => *sent = true,
                    }
                    let events = EventFlags::IN;
                    let data = EventData::new_u64(token);
                    if let Err(errno) = epoll::modify(epoll, &*stream, data, events) {
                        let call = "epoll_ctl";
                        return Heard::Failed(TryFailure::Call { call, errno });
                    }
                }
                match framed.fill(stream, u16::MAX.into()) {
                    Ok(Input::Pending) => Heard::Nothing,
                    Ok(Input::Message(message)) => match reply(&message) {
                        Some(code) => Heard::Reply { code, message },
                        None => Heard::Failed(TryFailure::Closed),
                    },
                    Ok(Input::End) => Heard::Failed(TryFailure::Closed),
                    Err(error) => wait_or_fail("read", &error),
                }
            }
        }
    }
}

fn connect(server: SocketAddr, kind: SocketType) -> Result<OwnedFd, Errno> {
    let family = match server {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, None)?;
    match rustix::net::connect(&socket, &server) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

/// `ENOTCONN` is what writing to a stream says that is still being connected.
fn wait_or_fail(call: &'static str, error: &Error) -> Heard {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::NotConnected => Heard::Nothing,
        _ => Heard::Failed(TryFailure::Call {
            call,
            errno: errno_of(error),
        }),
    }
}

fn errno_of(error: &Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
