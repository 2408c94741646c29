//! What a machine has before and after, so that nothing can be left behind unseen.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! let oracle = oracle::Oracle::start(oracle::Places::machine());
//! // … start and end containers …
//! oracle.finish(Duration::from_secs(5)).expect("nothing is left behind");
//! ```
//!
//! An [`Inventory`] is sorted lines of text, by kind: processes, cgroups, mounts of every mount
//! namespace, network interfaces, addresses, routes and rules, namespaces, IPC objects, keys, files in
//! the places where state and temporary files live, files that are deleted but open, descriptors, locks,
//! BPF programs, loop devices. Any difference is a leak, or something lost; there is no list of
//! exceptions. What is only on its way out (a process between its end and its reaping, a network
//! namespace whose veth the kernel removes in the background) gets a bounded time to be gone.
//!
//! Needs root to see everything of everybody, and a machine where nothing else happens: a VM, or a pid
//! namespace with a /proc of its own.
//!
//! Not looked at: memory of dead cgroups (`nr_dying_descendants` counts those whose page cache nobody has
//! reclaimed yet, which is no leak), slab caches, the kernel's log.

mod diff;
mod places;
mod sys;
mod take;

pub use diff::{Difference, Oracle};
pub use places::Places;
pub use take::Inventory;
