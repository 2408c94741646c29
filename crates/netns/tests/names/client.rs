//! A client that sees everything.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use simple_dns::rdata::{OPT, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn query(id: u16, name: &str, kind: TYPE) -> Vec<u8> {
    with_edns(id, name, kind, None)
}

pub(crate) fn with_edns(id: u16, name: &str, kind: TYPE, udp: Option<u16>) -> Vec<u8> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).expect(name);
    let class = QCLASS::CLASS(CLASS::IN);
    packet
        .questions
        .push(Question::new(name, QTYPE::TYPE(kind), class, false));
    *packet.opt_mut() = udp.map(|udp_packet_size| OPT {
        opt_codes: Vec::new(),
        udp_packet_size,
        version: 0,
    });
    packet.build_bytes_vec().expect("query")
}

/// A socket that hears one server.
pub(crate) fn socket(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    socket.connect(server).expect("connect");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    socket
}

pub(crate) fn ask(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let socket = socket(server);
    socket.send(query).expect("send");
    receive(&socket)
}

pub(crate) fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 65536];
    let length = socket.recv(&mut buffer).expect("an answer in time");
    buffer[..length].to_vec()
}

pub(crate) fn ask_tcp(server: SocketAddr, queries: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut stream = TcpStream::connect(server).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    for query in queries {
        let length = u16::try_from(query.len()).expect("short");
        stream.write_all(&length.to_be_bytes()).expect("length");
        stream.write_all(query).expect("query");
    }
    queries.iter().map(|_| read_message(&mut stream)).collect()
}

pub(crate) fn read_message(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("length");
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).expect("message");
    message
}

pub(crate) fn code(reply: &[u8]) -> RCODE {
    Packet::parse(reply).expect("reply").rcode()
}

pub(crate) fn answers(reply: &[u8]) -> Vec<String> {
    let packet = Packet::parse(reply).expect("reply");
    let word = |data: &RData<'_>| match data {
        RData::A(a) => Ipv4Addr::from(a.address).to_string(),
        RData::AAAA(a) => Ipv6Addr::from(a.address).to_string(),
        RData::PTR(name) => name.0.to_string(),
        other => format!("{other:?}"),
    };
    let answers = packet.answers.iter();
    answers.map(|answer| word(&answer.rdata)).collect()
}
