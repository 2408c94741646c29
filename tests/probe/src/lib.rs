//! What a program in a container can see and do, and what it should be.
//!
//! The program `probe` looks at everything it inherited and everything it can reach, and prints a
//! [`Report`]. [`check`] holds a report against two tables that are committed beside this crate:
//! `expected/` is what `ctr` gives by default, and must be met exactly; `docker/` is what Docker gives
//! by default, and must never be exceeded.

pub mod check;
mod report;

pub use report::{Answer, Caps, Credentials, Init, Mount, Report, Terminal};
