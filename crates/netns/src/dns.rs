//! Name resolution for the containers of a network, without a daemon.
//!
//! # Who answers
//!
//! Each container's own supervisor answers that container, and nobody else. Its two sockets ([`Sockets`])
//! are made *inside the container's network namespace*, on [`RESOLVER`], and are used from outside: a
//! socket stays in the namespace it was made in. The server's upstream sockets belong to the
//! namespace of the thread that runs it, the host's.
//!
//! - There is nothing to take over. A supervisor lives exactly as long as its container, and what it
//!   knows it reads from files, so no query is lost when any other supervisor comes or goes. Servers that
//!   share the gateway's address by `SO_REUSEPORT` lose what is queued in the socket of one that
//!   dies; the client notices after five seconds. One that holds the socket until another takes over
//!   is a daemon by turns.
//! - No firewall of the host is in between: a query never leaves the container's loopback. To a server
//!   on the gateway it would be input of the host, which ufw and firewalld drop by default.
//! - Port 53 of the host is not used: a `dnsmasq` on the host's `0.0.0.0:53` is in nobody's way.
//! - A container can ask only about its own networks, and floods only its own server.
//!
//! The address is 127.0.0.11, which is what configurations made for Docker's networks name
//! (`resolver 127.0.0.11` in nginx), rather than 127.0.0.53, which systemd-resolved in a container
//! takes. What it costs: a program in the container cannot bind `0.0.0.0:53`. A container that serves
//! DNS itself gets its sockets on another port ([`Sockets::bind`] takes any, 0 included), and four
//! stateless nftables rules in the output hook of its namespace, before connection tracking: to
//! 127.0.0.11, port 53 becomes that port; from 127.0.0.11, that port becomes 53 (UDP and TCP).
//!
//! # What is answered
//!
//! Names and aliases of the zones ([`Zone`]), with and without [`SUFFIX`]: A, AAAA, and nothing
//! (NODATA) for other types; PTR for addresses of the networks. Authoritative, with a TTL of one second:
//! asking again costs less than being wrong. Names below the suffix and addresses of the networks
//! are never asked upstream. Everything else is, byte for byte as the client sent it (case, EDNS), over
//! the transport it used: a truncated answer goes back as it is, the client asks again over TCP, and
//! so does the server.
//!
//! The suffix is `ctr.internal`: `internal` is reserved for private use by ICANN (2024), so it never
//! means anything else. It is the first entry of the `search` line, which makes `web` mean the
//! container even where the host's own search domain has a wildcard, without `ndots:0`, which would
//! send every short name of the host's domains to the root first.

mod events;
mod forward;
mod framed;
mod resolver;
mod server;
mod sockets;
mod wire;
mod zone;

use std::net::Ipv4Addr;

pub use events::{Event, TryFailure};
pub use forward::Limits;
pub use resolver::{Resolver, Verdict};
pub use server::Server;
pub use sockets::Sockets;
pub use zone::{Publication, Record, Zone};

/// Where a container finds its server: on its own loopback.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// The domain of all containers; the first of the `search` line.
pub const SUFFIX: &str = "ctr.internal";
