//! Joins this network namespace with that of a process by a veth pair, and shows what came of it.
//!
//! ```text
//! # unshare --net sleep 1000 &
//! # unshare --net cargo run -p netns --example join -- $! 10.90.0.1 10.90.0.2
//! ```
//!
//! The two addresses are in a network of 24 bits (IPv4) or 64 (IPv6).

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::process::ExitCode;

use netns::Error;
use netns::route::{
    Address, Kind, Link, LinkName, Netns, NewLink, Peer, Prefix, Request, SetLink, Socket,
};

#[expect(clippy::print_stderr, reason = "a program says what is wrong")]
fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [pid, near, far] = args.as_slice() else {
        eprintln!("usage: join PID ADDRESS-HERE ADDRESS-THERE");
        return ExitCode::FAILURE;
    };
    let (Ok(near), Ok(far)) = (near.parse(), far.parse()) else {
        eprintln!("join: not an address: {near} or {far}");
        return ExitCode::FAILURE;
    };
    let netns = match File::open(format!("/proc/{pid}/ns/net")) {
        Ok(netns) => netns,
        Err(error) => {
            eprintln!("join: /proc/{pid}/ns/net: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = join(&netns, near, far) {
        eprintln!("join: {error}: {:?}", error.errno());
        if let Some(hint) = error.hint() {
            eprintln!("hint: {hint}");
        }
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn address(link: &LinkName, address: IpAddr) -> Result<Request, Error> {
    let length = if address.is_ipv4() { 24 } else { 64 };
    Ok(Request::AddAddress(Address {
        link: link.clone().into(),
        prefix: Prefix::new(address, length)?,
        nodad: true,
    }))
}

#[expect(clippy::print_stdout, reason = "what the program is for")]
fn join(netns: &File, near: IpAddr, far: IpAddr) -> Result<(), Error> {
    let (here, there) = (LinkName::new("join0")?, LinkName::new("eth0")?);
    let mut near_end = Socket::open()?;
    let mut far_end = Socket::open_in(netns.as_fd())?;
    let pair = NewLink {
        up: true,
        ..NewLink::new(
            here.clone(),
            Kind::Veth(Peer {
                netns: Some(Netns::Fd(netns.as_raw_fd())),
                ..Peer::new(there.clone())
            }),
        )
    };
    let ours = [Request::AddLink(pair), address(&here, near)?];
    let theirs = [
        address(&there, far)?,
        Request::SetLink(SetLink::up(there.clone())),
    ];
    for request in ours.iter().chain(&theirs) {
        println!("{}", request.describe());
    }
    near_end.apply(&ours)?;
    far_end.apply(&theirs)?;
    for (socket, name) in [(&mut near_end, here), (&mut far_end, there)] {
        println!("{:#?}", socket.interface(&Link::Name(name))?);
    }
    Ok(())
}
