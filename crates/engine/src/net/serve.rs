//! What a supervisor does for its container's network while that runs: it answers the container's
//! name queries, and writes the firewall anew when somebody has flushed it.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use netns::{Event, Limits, Server, Sockets, Zone};

use super::define::Networks;
use super::guard::Guard;
use super::heal;

/// The port of DNS.
pub(crate) const DNS_PORT: u16 = 53;

/// A container's network, looked after.
pub(crate) struct Service {
    names: Server,
    guard: Option<Guard>,
    roots: Roots,
}

/// Where the engine keeps its things.
#[derive(Debug, Clone)]
pub(crate) struct Roots {
    pub(crate) run: PathBuf,
    pub(crate) networks: Networks,
}

impl Service {
    /// Answer on `sockets`.
    pub(crate) fn new(
        sockets: Sockets,
        zone: Zone,
        upstreams: Vec<SocketAddr>,
        roots: Roots,
    ) -> Result<Self, netns::Error> {
        let report = |event: Event| tracing::debug!(%event, "names");
        let names = Server::new(
            sockets,
            vec![zone],
            upstreams,
            Limits::default(),
            Box::new(report),
        )?;
        // Without it the network works all the same.
        let guard = Guard::later(&roots.run)
            .inspect_err(|error| unguarded(error))
            .ok();
        Ok(Self {
            names,
            guard,
            roots,
        })
    }

    /// What to wait for.
    pub(crate) fn interest(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [
            Some(self.names.as_fd()),
            self.guard.as_ref().map(AsFd::as_fd),
        ]
    }

    /// Its watch on the firewall, to be closed when there is time.
    pub(crate) fn into_watch(self) -> Option<OwnedFd> {
        self.guard.and_then(Guard::into_watch)
    }

    /// There are queries, or somebody changed the firewall, or nobody watches it.
    pub(crate) fn turn(&mut self) {
        if let Err(error) = self.names.turn() {
            tracing::warn!(%error, "names");
        }
        let Some(guard) = &mut self.guard else { return };
        match guard.turn(&self.roots.run) {
            Ok(false) => {}
            Ok(true) => {
                if let Err(error) = heal::heal_if_changed(&self.roots) {
                    tracing::warn!(%error, "the firewall could not be mended");
                }
            }
            Err(error) => {
                unguarded(&error);
                self.guard = None;
            }
        }
    }
}

fn unguarded(error: &dyn std::error::Error) {
    tracing::warn!(%error, "a flushed firewall will not be noticed");
}
