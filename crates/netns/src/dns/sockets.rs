//! The sockets that a server listens on.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::Error;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;

/// A UDP and a TCP socket with the same address, of one network namespace for ever.
#[derive(Debug)]
pub struct Sockets {
    pub(crate) udp: UdpSocket,
    pub(crate) tcp: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Sockets {
    /// Makes them in the network namespace of the calling thread. Port 0 is one that is free for
    /// both.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`]: `EADDRNOTAVAIL` while `lo` is down, `EADDRINUSE`, `EACCES` for a port below
    /// 1024 without `CAP_NET_BIND_SERVICE` in the user namespace that owns the network namespace.
    pub fn bind(address: SocketAddr) -> Result<Self, Error> {
        let failed = |call| {
            move |source| Error::Listen {
                call,
                address,
                source,
            }
        };
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = |kind| rustix::net::socket_with(family, kind, flags, None);

        let tcp = socket(SocketType::STREAM).map_err(failed("socket(SOCK_STREAM)"))?;
        // Connections of an earlier server may linger.
        rustix::net::sockopt::set_socket_reuseaddr(&tcp, true)
            .map_err(failed("setsockopt(SO_REUSEADDR)"))?;
        rustix::net::bind(&tcp, &address).map_err(failed("bind(SOCK_STREAM)"))?;
        let bound = rustix::net::getsockname(&tcp)
            .and_then(SocketAddr::try_from)
            .map_err(failed("getsockname"))?;
        let udp = socket(SocketType::DGRAM).map_err(failed("socket(SOCK_DGRAM)"))?;
        rustix::net::bind(&udp, &bound).map_err(failed("bind(SOCK_DGRAM)"))?;
        rustix::net::listen(&tcp, BACKLOG).map_err(failed("listen"))?;
        Ok(Self {
            udp: udp.into(),
            tcp: tcp.into(),
            address: bound,
        })
    }

    /// Makes them in another network namespace, given by a descriptor of `/proc/PID/ns/net`, see
    /// [`within`](crate::within).
    ///
    /// # Errors
    ///
    /// As [`Sockets::bind`] and [`within`](crate::within).
    pub fn bind_in(netns: BorrowedFd<'_>, address: SocketAddr) -> Result<Self, Error> {
        crate::within(netns, || Self::bind(address))?
    }

    /// Takes sockets that somebody else made, bound to one address, the second of them listening.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`] with what `getsockname` or `fcntl` say.
    pub fn from_parts(udp: OwnedFd, tcp: OwnedFd) -> Result<Self, Error> {
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let failed = |call, source| Error::Listen {
            call,
            address: unknown,
            source,
        };
        for socket in [&udp, &tcp] {
            rustix::io::ioctl_fionbio(socket, true).map_err(|errno| failed("FIONBIO", errno))?;
        }
        let address = rustix::net::getsockname(&udp)
            .and_then(SocketAddr::try_from)
            .map_err(|errno| failed("getsockname", errno))?;
        Ok(Self {
            udp: udp.into(),
            tcp: tcp.into(),
            address,
        })
    }

    /// Where they listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Which network namespace they are of; `None` on kernels that do not tell (before 5.14).
    pub(crate) fn netns(&self) -> Option<u64> {
        crate::sys::netns_cookie(self.udp.as_fd()).ok()
    }
}

/// Which network namespace the calling thread is in.
pub(crate) fn own_netns() -> Option<u64> {
    let flags = SocketFlags::CLOEXEC;
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None).ok()?;
    crate::sys::netns_cookie(socket.as_fd()).ok()
}
