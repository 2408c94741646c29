//! nf_tables by netlink ([`nft(8)`] describes what it is; no `nft` is run).
//!
//! Tables, chains, sets and rules are data; a [`Batch`] of [`Change`]s is data, and is taken by the
//! kernel as a whole or not at all:
//!
//! ```
//! use netns::nft::{Batch, Change, Family, Table};
//!
//! let table = Table { family: Family::Inet, name: "ctr".into() };
//! let batch = Batch { changes: vec![Change::AddTable(table)] };
//! assert_eq!(batch.to_string(), "add table inet ctr\n");
//! ```
//!
//! ```no_run
//! # use netns::nft::{Batch, Socket};
//! # fn f(batch: &Batch) -> Result<(), netns::Error> {
//! Socket::open()?.commit(batch)?;
//! # Ok(()) }
//! ```
//!
//! Needs `CAP_NET_ADMIN` in the user namespace that owns the network namespace, and Linux 5.6
//! (ranges in keys of several fields). What is here is what [`firewall`](crate::firewall) writes and
//! what it must read of the tables of others, not all of nf_tables.
//!
//! [`nft(8)`]: https://manpages.debian.org/bookworm/nftables/nft.8.en.html

mod attr;
mod batch;
mod decode;
mod encode;
mod expr;
mod hint;
mod object;
mod ruleset;
mod set;
mod socket;
mod sys;
mod text;
mod uapi;
mod watch;

pub use batch::{Batch, Change};
pub use expr::{Expr, Operator, Register, Source};
pub use object::{Base, Chain, Family, Hook, Rule, Table, Verdict};
pub use ruleset::{Filled, Ruleset};
pub use set::{Element, Kind, Set, Value, Yield, Yields};
pub use socket::Socket;
pub use watch::{Seen, Watch};

pub(crate) use hint::netlink as netlink_hint;
pub(crate) use text::refuses;
