//! Upstream servers that do what a test wants.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::client::read_message;

/// What came in: the message and where it came from.
pub(crate) type Seen = Arc<Mutex<Vec<(Vec<u8>, SocketAddr)>>>;
/// Query to reply, for UDP (false) and TCP (true); `None` is silence.
pub(crate) type Behaviour = fn(&[u8], bool) -> Option<Vec<u8>>;

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Seen,
}

impl Upstream {
    /// Starts one; its threads end with the test's process.
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let address = tcp.local_addr().expect("address");
        let udp = UdpSocket::bind(address).expect("bind");
        let seen = Seen::default();
        let by_udp = seen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
                let query = buffer[..length].to_vec();
                let reply = behaviour(&query, false);
                by_udp.lock().expect("lock").push((query, peer));
                if let Some(reply) = reply {
                    let _ = udp.send_to(&reply, peer);
                }
            }
        });
        let by_tcp = seen.clone();
        std::thread::spawn(move || {
            while let Ok((mut stream, peer)) = tcp.accept() {
                let query = read_message(&mut stream);
                let reply = behaviour(&query, true);
                by_tcp.lock().expect("lock").push((query, peer));
                if let Some(reply) = reply {
                    let length = u16::try_from(reply.len()).expect("short");
                    let _ = stream.write_all(&length.to_be_bytes());
                    // In two pieces, as networks like to.
                    let (a, b) = reply.split_at(reply.len() / 2);
                    let _ = stream.write_all(a);
                    std::thread::sleep(Duration::from_millis(5));
                    let _ = stream.write_all(b);
                }
            }
        });
        Self { address, seen }
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().expect("lock").len()
    }
}

/// An address on which nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    socket.local_addr().expect("address")
}

/// The query as a reply with this code and one address.
pub(crate) fn reply(query: &[u8], code: u8, address: [u8; 4]) -> Vec<u8> {
    let mut reply = query.to_vec();
    reply[2] |= 0x80;
    reply[3] = 0x80 | code;
    // What comes after the question is not repeated.
    let end = 12 + reply[12..].iter().position(|&b| b == 0).expect("a name") + 5;
    reply.truncate(end);
    reply[6..12].copy_from_slice(&[0; 6]);
    if code == 0 {
        reply[7] = 1;
        reply.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        reply.extend(address);
    }
    reply
}

pub(crate) fn good(query: &[u8], _tcp: bool) -> Option<Vec<u8>> {
    Some(reply(query, 0, [192, 0, 2, 1]))
}

pub(crate) fn silent(_query: &[u8], _tcp: bool) -> Option<Vec<u8>> {
    None
}

pub(crate) fn broken(query: &[u8], _tcp: bool) -> Option<Vec<u8>> {
    Some(reply(query, 2, [0; 4]))
}

/// Answers of 3,000 bytes: truncated over UDP.
pub(crate) fn large(query: &[u8], tcp: bool) -> Option<Vec<u8>> {
    let mut reply = reply(query, 0, [192, 0, 2, 2]);
    if tcp {
        reply.resize(3000, 0);
    } else {
        let question = reply.len() - 16;
        reply.truncate(question);
        reply[7] = 0;
        reply[2] |= 0x02;
    }
    Some(reply)
}

/// Sends 700 bytes even to those who did not ask for more than 512.
pub(crate) fn careless(query: &[u8], _tcp: bool) -> Option<Vec<u8>> {
    let mut reply = reply(query, 0, [192, 0, 2, 3]);
    reply.resize(700, 0);
    Some(reply)
}

/// Forgeries first: another id, another question, a query; then the answer.
pub(crate) fn slow(query: &[u8], _tcp: bool) -> Option<Vec<u8>> {
    std::thread::sleep(Duration::from_millis(150));
    good(query, false)
}
