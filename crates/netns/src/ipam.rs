//! Addresses: which subnets a network gets, and which container which address of them.

mod choose;
mod lease;
mod subnet;

pub(crate) use choose::fill_random;
pub use choose::{GlobalId, Pool, choose_v4, choose_v6};
pub use lease::{Lease, Leases, mac_of};
pub use subnet::{Reserved, SubnetProblem, Subnets};
