//! Queries that wait for an upstream server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::TryFailure;
use super::wire;

mod link;

use link::{Heard, Link};

/// Codes that another server may not give.
const TRY_ANOTHER: [u8; 3] = [wire::SERVFAIL, wire::NOTIMP, wire::REFUSED];

/// Bounds of a server: whatever its container sends, it holds no more than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Questions that wait for upstream servers at the same time. Each has a socket for each try,
    /// of which there are up to six.
    pub in_flight: usize,
    /// Clients that wait for them: equal questions are asked once.
    pub waiting: usize,
    /// TCP connections of clients; the one idle for longest makes room for another.
    pub connections: usize,
    /// How long a client waits until it gets `SERVFAIL`. Less than the five seconds after which
    /// resolvers ask again.
    pub patience: Duration,
    /// How long a TCP connection may be idle.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 64,
            waiting: 256,
            connections: 16,
            patience: Duration::from_millis(4500),
            idle: Duration::from_secs(10),
        }
    }
}

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    Udp { peer: SocketAddr, limit: u16 },
    Tcp { connection: u64 },
}

/// A client and the id of its query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiter {
    pub(crate) client: Client,
    pub(crate) id: [u8; 2],
}

/// The end of an exchange.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) waiters: Vec<Waiter>,
    /// The query, its id zero.
    pub(crate) query: Vec<u8>,
    /// What to say, whatever its id; or who was asked in vain.
    pub(crate) outcome: Result<Vec<u8>, Vec<(SocketAddr, TryFailure)>>,
}

/// What became of a query.
#[derive(Debug)]
pub(crate) enum Submitted {
    /// It waits.
    Waiting,
    /// There is no room.
    Refused,
    /// Nobody could even be asked.
    Done(Done),
}

/// All queries that wait.
#[derive(Debug)]
pub(crate) struct Forwarder {
    upstreams: Vec<SocketAddr>,
    /// Index of the one that answered last: one dead server costs one client a delay, not all.
    preferred: usize,
    limits: Limits,
    exchanges: BTreeMap<u64, Exchange>,
    waiting: usize,
}

/// One question on its way.
#[derive(Debug)]
struct Exchange {
    /// As the client sent it, its id zero: equal ones are the same question.
    query: Vec<u8>,
    over_tcp: bool,
    waiters: Vec<Waiter>,
    /// Index of the server that was asked first.
    first: usize,
    /// How many tries were begun.
    tries: usize,
    /// Those that may still answer. A late answer to an early try is as good as any.
    links: Vec<Link>,
    failures: Vec<(SocketAddr, TryFailure)>,
    /// A reply that says no, for want of a better one.
    refusal: Option<Vec<u8>>,
    deadline: Instant,
}

impl Exchange {
    /// Once is enough: with one server, all tries may fail in the same way.
    fn note(&mut self, server: SocketAddr, why: TryFailure) {
        if !self.failures.contains(&(server, why)) {
            self.failures.push((server, why));
        }
    }
}

impl Forwarder {
    pub(crate) fn new(upstreams: Vec<SocketAddr>, limits: Limits) -> Self {
        Self {
            upstreams,
            preferred: 0,
            limits,
            exchanges: BTreeMap::new(),
            waiting: 0,
        }
    }

    /// How many clients wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How often somebody is asked: everybody once, and nobody's one lost datagram is fatal.
    fn tries(&self) -> usize {
        match self.upstreams.len() {
            0 => 0,
            n @ 1..=2 => (2 * n).max(3),
            n => n.min(6),
        }
    }

    /// Asks upstream on behalf of a client. `token` is what `epoll` will say about the answer, unless
    /// somebody waits for the same already.
    pub(crate) fn submit(
        &mut self,
        epoll: BorrowedFd<'_>,
        token: u64,
        query: &[u8],
        client: Client,
    ) -> Submitted {
        let waiter = Waiter {
            client,
            id: wire::id(query),
        };
        let mut query = query.to_vec();
        wire::set_id(&mut query, [0; 2]);
        let over_tcp = matches!(client, Client::Tcp { .. });
        if self.waiting >= self.limits.waiting {
            return Submitted::Refused;
        }
        // This also ends a loop: a query that comes back to us by way of an upstream server that
        // asks us is the same question, and is not asked again.
        let same = self
            .exchanges
            .values_mut()
            .find(|other| other.over_tcp == over_tcp && other.query == query);
        if let Some(same) = same {
            same.waiters.push(waiter);
            self.waiting += 1;
            return Submitted::Waiting;
        }
        if self.exchanges.len() >= self.limits.in_flight {
            return Submitted::Refused;
        }
        let exchange = Exchange {
            query,
            over_tcp,
            waiters: vec![waiter],
            first: self.preferred,
            tries: 0,
            links: Vec::new(),
            failures: Vec::new(),
            refusal: None,
            deadline: Instant::now(),
        };
        self.exchanges.insert(token, exchange);
        self.waiting += 1;
        match self.next_try(epoll, token) {
            Some(done) => Submitted::Done(done),
            None => Submitted::Waiting,
        }
    }

    /// Asks the next server, until one can be asked; the end of the exchange when none is left.
    fn next_try(&mut self, epoll: BorrowedFd<'_>, token: u64) -> Option<Done> {
        let (tries, patience) = (self.tries(), self.limits.patience);
        let exchange = self.exchanges.get_mut(&token)?;
        while exchange.tries < tries {
            let server = self.upstreams[(exchange.first + exchange.tries) % self.upstreams.len()];
            exchange.tries += 1;
            match Link::open(epoll, token, server, &exchange.query, exchange.over_tcp) {
                Ok(link) => {
                    exchange.links.push(link);
                    let share = u32::try_from(tries).unwrap_or(1);
                    exchange.deadline = Instant::now() + patience / share;
                    return None;
                }
                Err(why) => exchange.note(server, why),
            }
        }
        if !exchange.links.is_empty() && exchange.deadline > Instant::now() {
            return None;
        }
        self.finish(token, None)
    }

    /// Something happened to the sockets of an exchange.
    pub(crate) fn ready(
        &mut self,
        epoll: BorrowedFd<'_>,
        token: u64,
        scratch: &mut [u8],
    ) -> Option<Done> {
        let exchange = self.exchanges.get_mut(&token)?;
        let mut failed = false;
        let mut n = 0;
        while n < exchange.links.len() {
            let link = &mut exchange.links[n];
            match link.hear(epoll, token, &exchange.query, scratch) {
                Heard::Nothing => n += 1,
                Heard::Reply { code, message } if !TRY_ANOTHER.contains(&code) => {
                    let server = link.server;
                    self.preferred = self
                        .upstreams
                        .iter()
                        .position(|other| *other == server)
                        .unwrap_or(0);
                    return self.finish(token, Some(message));
                }
                Heard::Reply { code, message } => {
                    let server = exchange.links.swap_remove(n).server;
                    exchange.note(server, TryFailure::Code(code));
                    exchange.refusal = Some(message);
                    failed = true;
                }
                Heard::Failed(why) => {
                    let server = exchange.links.swap_remove(n).server;
                    exchange.note(server, why);
                    failed = true;
                }
            }
        }
        if !failed {
            return None;
        }
        let untried = exchange.tries < self.upstreams.len();
        if untried {
            return self.next_try(epoll, token);
        }
        // Somebody who was asked before may still answer.
        if exchange.links.is_empty() {
            return self.finish(token, None);
        }
        None
    }

    /// The time is up for some: the next server, or the end.
    pub(crate) fn expire(&mut self, epoll: BorrowedFd<'_>, now: Instant) -> Vec<Done> {
        let due: Vec<u64> = self
            .exchanges
            .iter()
            .filter(|(_, exchange)| exchange.deadline <= now)
            .map(|(&token, _)| token)
            .collect();
        due.into_iter()
            .filter_map(|token| self.next_try(epoll, token))
            .collect()
    }

    /// When [`Forwarder::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.exchanges
            .values()
            .map(|exchange| exchange.deadline)
            .min()
    }

    fn finish(&mut self, token: u64, reply: Option<Vec<u8>>) -> Option<Done> {
        let mut exchange = self.exchanges.remove(&token)?;
        self.waiting -= exchange.waiters.len();
        let outcome = match reply.or(exchange.refusal.take()) {
            Some(reply) => Ok(reply),
            None => {
                for link in std::mem::take(&mut exchange.links) {
                    exchange.note(link.server, TryFailure::Timeout);
                }
                Err(exchange.failures)
            }
        };
        Some(Done {
            waiters: exchange.waiters,
            query: exchange.query,
            outcome,
        })
    }
}
