//! Network namespaces, and sockets in them.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use netns::route::{LinkName, Socket};
use rustix::thread::UnshareFlags;

use crate::outcome::{Started, patience};

/// So long a connection is tried that is expected to come to nothing: one that succeeds takes some
/// milliseconds, in the VM too, and a second after the first packet the next one is sent.
const IN_VAIN: Duration = Duration::from_millis(1500);

/// A network namespace: the pretend host's, that of another host, a container's.
pub struct Space {
    namespace: OwnedFd,
}

impl Space {
    /// That of the calling thread.
    ///
    /// # Panics
    /// Without a /proc.
    #[must_use]
    pub fn here() -> Self {
        Self::open("/proc/thread-self/ns/net")
    }

    /// That of a container.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn of(container: &Started) -> Self {
        Self::open(&format!("/proc/{}/ns/net", container.init()))
    }

    /// A new one, with `lo` up. It lives as long as this value.
    ///
    /// # Panics
    /// Without CAP_SYS_ADMIN.
    #[must_use]
    pub fn new() -> Self {
        let make = || {
            // SAFETY: CLONE_NEWNET concerns the calling thread alone, which ends right afterwards.
            #[expect(unsafe_code, reason = "one thread, one network namespace")]
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.expect("unshare");
            netns::bring_up().expect("lo up");
            Self::here()
        };
        thread::spawn(make).join().expect("no panic")
    }

    fn open(path: &str) -> Self {
        let file = File::open(path).unwrap_or_else(|e| panic!("open {path}: {e}"));
        Self {
            namespace: file.into(),
        }
    }

    /// Its descriptor, for requests that name a namespace.
    #[must_use]
    pub fn fd(&self) -> &OwnedFd {
        &self.namespace
    }

    /// Does something in it.
    ///
    /// # Panics
    /// When `what` does.
    pub fn run<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        netns::within(self.namespace.as_fd(), what).expect("enter a network namespace")
    }

    /// Rtnetlink in it.
    ///
    /// # Panics
    /// When it cannot be had.
    #[must_use]
    pub fn route(&self) -> Socket {
        Socket::open_in(self.namespace.as_fd()).expect("rtnetlink")
    }

    /// The addresses of an interface, but for link-local ones: IPv4 first.
    ///
    /// # Panics
    /// When there is no such interface.
    #[must_use]
    pub fn addresses(&self, link: &str) -> Vec<IpAddr> {
        let mut route = self.route();
        let name = LinkName::new(link).expect("a name");
        let link = route.interface(&name.into()).expect(link);
        let all = route.addresses().expect("addresses");
        let here = all.iter().filter(|address| address.index == link.index);
        let mut found: Vec<IpAddr> = here.map(|address| address.prefix.address()).collect();
        found.retain(
            |address| !matches!(address, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80),
        );
        found.sort();
        found
    }

    /// A TCP server at `ADDRESS:PORT`.
    ///
    /// # Panics
    /// When the port is taken.
    #[must_use]
    pub fn serve(&self, at: &str) -> Server {
        self.run(|| {
            let listener = TcpListener::bind(at).unwrap_or_else(|e| panic!("listen at {at}: {e}"));
            listener.set_nonblocking(true).expect("O_NONBLOCK");
            Server(listener)
        })
    }

    /// A UDP socket at `ADDRESS:PORT`, whose reads end after a while.
    ///
    /// # Panics
    /// When the port is taken.
    #[must_use]
    pub fn udp(&self, at: &str) -> UdpSocket {
        self.run(|| {
            let socket = UdpSocket::bind(at).unwrap_or_else(|e| panic!("bind {at}: {e}"));
            socket
                .set_read_timeout(Some(patience(5)))
                .expect("a time limit");
            socket
        })
    }

    /// Connects to `ADDRESS:PORT`.
    ///
    /// # Errors
    /// What connect(2) says; [`ErrorKind::TimedOut`].
    ///
    /// # Panics
    /// When `to` is no address.
    pub fn dial(&self, to: &str, limit: Duration) -> io::Result<TcpStream> {
        let to: SocketAddr = to.parse().unwrap_or_else(|e| panic!("{to}: {e}"));
        self.run(|| TcpStream::connect_timeout(&to, limit))
    }

    /// Connects to `to`, where `server` must be, and talks with it. Returns whom the server sees.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn reaches(&self, to: &str, server: &Server) -> IpAddr {
        let mut stream = match self.dial(to, patience(5)) {
            Ok(stream) => stream,
            Err(error) => panic!("dial {to}: {error}"),
        };
        // Before it is accepted: a relay in between may wait for a word (pasta of Debian 12 does).
        stream.write_all(b"ping").expect("write");
        let (mut other, from) = server.accept(to);
        hears(&mut other, b"ping");
        other.write_all(b"pong").expect("write");
        hears(&mut stream, b"pong");
        from.ip().to_canonical()
    }

    /// Tries to connect to `to`, whose server is `server`: nothing may come of it.
    ///
    /// # Panics
    /// When something does.
    #[track_caller]
    pub fn cannot_reach(&self, to: &str, server: &Server) -> ErrorKind {
        let dialled = self.dial(to, IN_VAIN);
        let heard = server.heard();
        assert!(heard.is_none(), "{to}: the server was reached by {heard:?}");
        match dialled {
            Ok(_) => panic!("{to}: somebody answers"),
            Err(error) => error.kind(),
        }
    }

    /// Sends a datagram to `to`, where `server` must be, and gets its answer. Returns whom the server
    /// sees.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn asks(&self, to: &str, server: &UdpSocket) -> IpAddr {
        let to: SocketAddr = to.parse().unwrap_or_else(|e| panic!("{to}: {e}"));
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let client = self.udp(any);
        self.run(|| client.connect(to)).expect("connect");
        client.send(b"ping").expect("send");
        let mut heard = [0; 16];
        let (_, from) = server.recv_from(&mut heard).expect("the question");
        server.send_to(b"pong", from).expect("answer");
        let length = client.recv(&mut heard).expect("the answer");
        assert_eq!(&heard[..length], b"pong");
        from.ip().to_canonical()
    }
}

impl Default for Space {
    fn default() -> Self {
        Self::new()
    }
}

/// A TCP server that answers when it is told to.
pub struct Server(TcpListener);

impl Server {
    /// Whoever has connected.
    fn heard(&self) -> Option<(TcpStream, SocketAddr)> {
        match self.0.accept() {
            Ok((stream, from)) => {
                stream.set_nonblocking(false).expect("blocking");
                Some((stream, from))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("accept: {error}"),
        }
    }

    #[track_caller]
    fn accept(&self, to: &str) -> (TcpStream, SocketAddr) {
        let deadline = Instant::now() + patience(5);
        loop {
            if let Some(heard) = self.heard() {
                return heard;
            }
            assert!(
                Instant::now() < deadline,
                "{to}: somebody answers, but not the server"
            );
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[track_caller]
fn hears(stream: &mut TcpStream, expected: &[u8; 4]) {
    let limit = Some(patience(5));
    stream.set_read_timeout(limit).expect("a limit");
    let mut heard = [0; 4];
    stream.read_exact(&mut heard).expect("read");
    assert_eq!(&heard, expected);
}

/// Waits until `what` gives something.
///
/// # Panics
/// When it does not come in time.
#[track_caller]
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience(10);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not in time");
        thread::sleep(Duration::from_millis(5));
    }
}
