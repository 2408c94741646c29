//! A network with names, and a server for one of its containers.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use netns::{
    Error, Event, Holder, Limits, Name, Publication, Record, Server, Sockets, Subnets, Zone,
};
use tempfile::TempDir;

pub(crate) const ALIVE: &dyn Fn(&Holder) -> bool = &|_| true;

pub(crate) struct World {
    directory: TempDir,
}

impl World {
    /// A network on which `web` (alias `www`) is 10.1.2.3 and fd00::3.
    pub(crate) fn new() -> Self {
        let world = Self {
            directory: tempfile::tempdir().expect("tempdir"),
        };
        world.publish("web", 3, &["www"]).expect("web");
        world
    }

    pub(crate) fn subnets() -> Subnets {
        let nets = ["10.1.0.0/16", "fd00::/64"].map(|net| net.parse().expect(net));
        Subnets::new(&nets).expect("subnets")
    }

    pub(crate) fn zone(&self) -> Zone {
        Zone::open(&self.directory.path().join("names"), Self::subnets()).expect("zone")
    }

    pub(crate) fn record(name: &str, number: u16) -> Record {
        let [high, low] = number.to_be_bytes();
        Record {
            name: Name::new(name).expect(name),
            v4: [10, 1, high + 2, low].into(),
            v6: Some([0xfd00, 0, 0, 0, 0, 0, 0, number].into()),
        }
    }

    pub(crate) fn publish(
        &self,
        name: &str,
        number: u16,
        aliases: &[&str],
    ) -> Result<Publication, Error> {
        let holder = Holder::new(name, "1").expect("holder");
        let aliases: Vec<_> = aliases.iter().map(|a| Name::new(a).expect(a)).collect();
        self.zone()
            .publish(&holder, &Self::record(name, number), &aliases, ALIVE)
    }

    /// A server on a free port of 127.0.0.1.
    pub(crate) fn serve(&self, upstreams: Vec<SocketAddr>, limits: Limits) -> Running {
        let sockets = Sockets::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("bind");
        self.serve_on(sockets, upstreams, limits)
    }

    pub(crate) fn serve_on(
        &self,
        sockets: Sockets,
        upstreams: Vec<SocketAddr>,
        limits: Limits,
    ) -> Running {
        let (sender, events) = channel();
        let report = move |event| drop(sender.send(event));
        let zones = vec![self.zone()];
        let server =
            Server::new(sockets, zones, upstreams, limits, Box::new(report)).expect("server");
        let address = server.address();
        let (stop, other_end) = rustix::pipe::pipe().expect("pipe");
        let thread = std::thread::Builder::new()
            .name("dns".to_owned())
            // What it needs is bounded, so it may as well be little.
            .stack_size(64 << 10)
            .spawn(move || server.serve(stop.as_fd()))
            .expect("thread");
        Running {
            address,
            events,
            stop: Some(other_end),
            thread: Some(thread),
        }
    }
}

/// A server in a thread; it ends when this is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) events: Receiver<Event>,
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Running {
    pub(crate) fn next_event(&self) -> String {
        let event = self.events.recv_timeout(Duration::from_secs(5));
        event.expect("an event").to_string()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join().expect("the server does not panic");
            ended.expect("the server does not fail");
        }
    }
}
