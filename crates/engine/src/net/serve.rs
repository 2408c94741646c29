//! What a supervisor does for its container's network while that runs: it answers the container's
//! name queries, and writes the firewall anew when somebody has flushed it.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use netns::nft::{Seen, Watch};
use netns::{Event, Limits, Server, Sockets, Zone};

use super::define::Networks;
use super::heal;

/// The port of DNS.
pub(crate) const DNS_PORT: u16 = 53;

/// A container's network, looked after.
pub(crate) struct Service {
    names: Server,
    watch: Option<Watch>,
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
        let watch = Watch::open()
            .inspect_err(|error| tracing::warn!(%error, "a flushed firewall will not be noticed"))
            .ok();
        Ok(Self {
            names,
            watch,
            roots,
        })
    }

    /// What to wait for.
    pub(crate) fn interest(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [
            Some(self.names.as_fd()),
            self.watch.as_ref().map(AsFd::as_fd),
        ]
    }

    /// Its watch on the firewall, to be closed when there is time.
    pub(crate) fn into_watch(self) -> Option<OwnedFd> {
        self.watch.map(OwnedFd::from)
    }

    /// There are queries, or somebody changed the firewall.
    pub(crate) fn turn(&mut self) {
        if let Err(error) = self.names.turn() {
            tracing::warn!(%error, "names");
        }
        let Some(watch) = &mut self.watch else { return };
        let ours = match watch.take() {
            Ok(Seen::Nothing) => false,
            Ok(Seen::Changed(tables)) => {
                let name = super::facts::table_name(&self.roots.run);
                tables.iter().any(|table| table.name == name)
            }
            Ok(Seen::Overrun) => true,
            Err(error) => {
                tracing::warn!(%error, "a flushed firewall will not be noticed");
                self.watch = None;
                return;
            }
        };
        if ours && let Err(error) = heal::heal_if_changed(&self.roots) {
            tracing::warn!(%error, "the firewall could not be mended");
        }
    }
}
