//! The server of one container: one `epoll` set, no thread and no timer of its own while nobody asks.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::forward::{Client, Done, Forwarder, Limits, Submitted};
use super::framed::{Framed, Input};
use super::wire;
use super::{Event, Resolver, Sockets, Verdict, Zone, sockets};
use crate::Error;

const UDP: u64 = 0;
const TCP: u64 = 1;
const TIMER: u64 = 2;
const STOP: u64 = 3;
/// Tokens from here on are given once each: a stale event finds nobody.
const FIRST: u64 = 16;
/// Datagrams and connections taken in one go, before others have their turn.
const BATCH: usize = 64;
/// Longest query that is taken. Real ones have less than 300 bytes.
const MAX_QUERY: usize = 2048;
/// Longest datagram.
const SCRATCH: usize = 65536;

/// Answers a container's queries.
///
/// It has one descriptor that is readable when there is something to do ([`AsFd`]): a supervisor puts it
/// into its own loop and calls [`Server::turn`]. Or a thread runs [`Server::serve`]. Nothing wakes
/// up while nobody asks.
pub struct Server {
    epoll: OwnedFd,
    timer: OwnedFd,
    armed: Option<Instant>,
    /// Given up to turn a client away when there are no descriptors left: a connection that is not
    /// accepted would keep the listening socket readable, and this server awake.
    spare: Option<OwnedFd>,
    sockets: Sockets,
    resolver: Resolver,
    forwarder: Forwarder,
    connections: BTreeMap<u64, Connection>,
    limits: Limits,
    next_token: u64,
    scratch: Vec<u8>,
    reply: Vec<u8>,
    report: Box<dyn FnMut(Event) + Send>,
}

/// A client's TCP connection; one query at a time.
struct Connection {
    stream: TcpStream,
    framed: Framed,
    deadline: Instant,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.sockets.address)
            .field("resolver", &self.resolver)
            .field("forwarder", &self.forwarder)
            .finish_non_exhaustive()
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Server {
    /// `zones` are those of the container's networks. `upstreams` are asked for everything else, from
    /// the network namespace of the calling thread; without any, everything else is `REFUSED`.
    /// `report` hears what a client sees as `SERVFAIL`; as often as the container likes, so it bounds
    /// what it writes.
    ///
    /// An upstream address that the server itself listens on is left out, if it means the same
    /// namespace.
    ///
    /// # Errors
    ///
    /// [`Error::Serve`]: no descriptors left.
    pub fn new(
        sockets: Sockets,
        zones: Vec<Zone>,
        mut upstreams: Vec<SocketAddr>,
        limits: Limits,
        mut report: Box<dyn FnMut(Event) + Send>,
    ) -> Result<Self, Error> {
        let failed = |call| move |source| Error::Serve { call, source };
        let forwards = !upstreams.is_empty();
        let address = sockets.address;
        if upstreams.contains(&address) && sockets.netns() == sockets::own_netns() {
            upstreams.retain(|upstream| *upstream != address);
            report(Event::OwnAddress { address });
        }
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(failed("epoll_create1"))?;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )
        .map_err(failed("timerfd_create"))?;
        let add = |fd: BorrowedFd<'_>, token| {
            epoll::add(&epoll, fd, EventData::new_u64(token), EventFlags::IN)
                .map_err(failed("epoll_ctl"))
        };
        add(sockets.udp.as_fd(), UDP)?;
        add(sockets.tcp.as_fd(), TCP)?;
        add(timer.as_fd(), TIMER)?;
        Ok(Self {
            resolver: Resolver::new(zones, forwards),
            forwarder: Forwarder::new(upstreams, limits),
            connections: BTreeMap::new(),
            limits,
            next_token: FIRST,
            scratch: vec![0; SCRATCH],
            reply: Vec::new(),
            armed: None,
            spare: timer.try_clone().ok(),
            epoll,
            timer,
            sockets,
            report,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.sockets.address
    }

    /// Runs until `stop` is readable or hung up.
    ///
    /// # Errors
    ///
    /// [`Error::Serve`] when `epoll` fails, which it does not.
    pub fn serve(mut self, stop: BorrowedFd<'_>) -> Result<(), Error> {
        epoll::add(&self.epoll, stop, EventData::new_u64(STOP), EventFlags::IN).map_err(
            |source| Error::Serve {
                call: "epoll_ctl",
                source,
            },
        )?;
        while self.round(None)? {}
        Ok(())
    }

    /// Does what there is to do, without waiting.
    ///
    /// # Errors
    ///
    /// [`Error::Serve`] when `epoll` or the timer fail, which they do not.
    pub fn turn(&mut self) -> Result<(), Error> {
        self.round(Some(&Timespec::default())).map(drop)
    }

    /// Whether to go on.
    fn round(&mut self, wait: Option<&Timespec>) -> Result<bool, Error> {
        let failed = |call| move |source| Error::Serve { call, source };
        let mut events = [const { std::mem::MaybeUninit::uninit() }; 32];
        let events = match epoll::wait(&self.epoll, &mut events, wait) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(true),
            Err(errno) => return Err(failed("epoll_wait")(errno)),
        };
        let mut go_on = true;
        for event in events {
            let (flags, data) = (event.flags, event.data);
            match data.u64() {
                UDP => self.datagrams(),
                TCP => self.accept(),
                TIMER => self.expire(),
                STOP => go_on = false,
                token if self.connections.contains_key(&token) => self.connection(token, flags),
                token => {
                    let epoll = self.epoll.as_fd();
                    if let Some(done) = self.forwarder.ready(epoll, token, &mut self.scratch) {
                        self.deliver(done);
                    }
                }
            }
        }
        self.arm().map_err(failed("timerfd_settime"))?;
        Ok(go_on)
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    fn datagrams(&mut self) {
        for _ in 0..BATCH {
            // Errors are those of the client's socket, reported to the next call: none of ours.
            let (length, peer) = match self.sockets.udp.recv_from(&mut self.scratch) {
                Ok(got) => got,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => continue,
            };
            let query = self.scratch[..length.min(MAX_QUERY)].to_vec();
            let client = |limit| Client::Udp { peer, limit };
            if self.query(&query, client) {
                self.send(peer);
            }
        }
    }

    /// Answers into `self.reply` (true), or leaves that for later (false).
    fn query(&mut self, query: &[u8], client: impl Fn(u16) -> Client) -> bool {
        let limit = match self.resolver.answer(query, &mut self.reply) {
            Ok(Verdict::Answered) => return true,
            Ok(Verdict::Ignored) => return false,
            Ok(Verdict::Forward { udp_limit }) => udp_limit,
            Err(error) => {
                (self.report)(Event::Zone { error });
                return true;
            }
        };
        let token = self.token();
        let epoll = self.epoll.as_fd();
        match self.forwarder.submit(epoll, token, query, client(limit)) {
            Submitted::Waiting => false,
            Submitted::Refused => {
                let name = name_of(query);
                let waiting = self.forwarder.waiting();
                (self.report)(Event::Overloaded { name, waiting });
                servfail(query, &mut self.reply);
                true
            }
            Submitted::Done(done) => {
                self.deliver(done);
                false
            }
        }
    }

    fn send(&self, peer: SocketAddr) {
        // A client that is gone, or does not read, misses nothing that it waits for.
        let _ = self.sockets.udp.send_to(&self.reply, peer);
    }

    /// Tells everybody who waited.
    fn deliver(&mut self, done: Done) {
        let reply = match done.outcome {
            Ok(reply) => reply,
            Err(tries) => {
                let name = name_of(&done.query);
                (self.report)(Event::Unanswered { name, tries });
                let mut reply = Vec::new();
                servfail(&done.query, &mut reply);
                reply
            }
        };
        for waiter in done.waiters {
            self.reply.clear();
            self.reply.extend_from_slice(&reply);
            wire::set_id(&mut self.reply, waiter.id);
            match waiter.client {
                Client::Udp { peer, limit } => {
                    if self.reply.len() > limit.into() {
                        wire::truncate(&mut self.reply);
                    }
                    self.send(peer);
                }
                Client::Tcp { connection } => self.respond(connection),
            }
        }
    }

    fn accept(&mut self) {
        for _ in 0..BATCH {
            let stream = match self.sockets.tcp.accept() {
                Ok((stream, _)) => stream,
                Err(error) if out_of_descriptors(&error) => {
                    self.spare = None;
                    drop(self.sockets.tcp.accept());
                    self.spare = self.timer.try_clone().ok();
                    continue;
                }
                Err(_) => return,
            };
            if self.connections.len() >= self.limits.connections {
                let oldest = self.connections.iter().min_by_key(|(_, c)| c.deadline);
                if let Some(oldest) = oldest.map(|(&token, _)| token) {
                    self.connections.remove(&oldest);
                }
            }
            let token = self.token();
            let data = EventData::new_u64(token);
            let ready = stream.set_nonblocking(true).is_ok()
                && epoll::add(&self.epoll, &stream, data, EventFlags::IN).is_ok();
            if ready {
                let connection = Connection {
                    stream,
                    framed: Framed::default(),
                    deadline: Instant::now() + self.limits.idle,
                };
                self.connections.insert(token, connection);
            }
        }
    }

    fn connection(&mut self, token: u64, flags: EventFlags) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        if flags.intersects(EventFlags::OUT) {
            return self.flush(token);
        }
        let input = if flags.intersects(EventFlags::IN) {
            connection.framed.fill(&connection.stream, MAX_QUERY)
        } else {
            // Hung up or failed while its query waits for an answer.
            Ok(Input::End)
        };
        match input {
            Ok(Input::Pending) => {}
            Ok(Input::Message(query)) => {
                connection.deadline = Instant::now() + self.limits.idle;
                // One query at a time: what comes next stays in the kernel until this is answered.
                self.listen_for(token, EventFlags::empty());
                if self.query(&query, |_| Client::Tcp { connection: token }) {
                    self.respond(token);
                }
            }
            Ok(Input::End) | Err(_) => drop(self.connections.remove(&token)),
        }
    }

    /// Sends `self.reply` to a client that is still there.
    fn respond(&mut self, token: u64) {
        if let Some(connection) = self.connections.get_mut(&token) {
            connection.framed.push(&self.reply);
            self.flush(token);
        }
    }

    fn flush(&mut self, token: u64) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        match connection.framed.flush(&connection.stream) {
            Ok(true) => self.listen_for(token, EventFlags::IN),
            Ok(false) => self.listen_for(token, EventFlags::OUT),
            Err(_) => drop(self.connections.remove(&token)),
        }
    }

    fn listen_for(&mut self, token: u64, events: EventFlags) {
        if let Some(connection) = self.connections.get(&token) {
            let data = EventData::new_u64(token);
            if epoll::modify(&self.epoll, &connection.stream, data, events).is_err() {
                self.connections.remove(&token);
            }
        }
    }

    fn expire(&mut self) {
        // Readable until it is read, which says how often it fired: once, or another event of this
        // round has set it anew.
        let _ = rustix::io::read(&self.timer, &mut [0u8; 8]);
        self.armed = None;
        let now = Instant::now();
        for done in self.forwarder.expire(self.epoll.as_fd(), now) {
            self.deliver(done);
        }
        self.connections.retain(|_, c| c.deadline > now);
    }

    /// Sets the timer to what comes first, or switches it off.
    fn arm(&mut self) -> Result<(), Errno> {
        let connections = self.connections.values().map(|c| c.deadline).min();
        let first = [self.forwarder.deadline(), connections]
            .into_iter()
            .flatten()
            .min();
        if first == self.armed {
            return Ok(());
        }
        let mut value = Timespec::default();
        if let Some(first) = first {
            // Zero would switch it off.
            let left = first.saturating_duration_since(Instant::now());
            value.tv_sec = left.as_secs().cast_signed();
            value.tv_nsec = i64::from(left.subsec_nanos()).max(1);
        }
        let spec = Itimerspec {
            it_interval: Timespec::default(),
            it_value: value,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec)?;
        self.armed = first;
        Ok(())
    }
}

fn out_of_descriptors(error: &std::io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}

fn name_of(query: &[u8]) -> String {
    wire::Question::of(query).map_or_else(String::new, |question| question.display())
}

fn servfail(query: &[u8], out: &mut Vec<u8>) {
    match wire::Query::parse(query) {
        Ok(query) => wire::Reply::new(&query, wire::SERVFAIL, out).finish(),
        Err(_) => wire::refuse(query, wire::SERVFAIL, out),
    }
}
