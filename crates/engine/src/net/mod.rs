//! Networks of containers: bridges with addresses, names, published ports and a firewall.
//!
//! A network is a file below the data root, see [`Networks`]. What belongs to a running container is
//! claimed by its supervisor, as values of the `netns` crate: the plan prints them, a start executes
//! them, and the container's record keeps what a crash would leave behind.

pub(crate) mod begin;
mod claim;
mod define;
pub(crate) mod facts;
mod guard;
pub(crate) mod heal;
mod held;
pub mod manage;
mod member;
mod op;
mod order;
pub(crate) mod pasta;
pub(crate) mod peer;
pub(crate) mod ports;
pub(crate) mod serve;
mod socktab;
pub(crate) mod wiring;

pub(crate) use claim::{Claim, sweep};
pub use define::{Defined, NetworkError, Networks};
pub(crate) use held::{Held, LINGER, remove_rules_of_the_dead};
pub use member::Member;
pub use op::NetOp;
pub(crate) use order::Order;
