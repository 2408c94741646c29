//! Control groups, version 2: groups, limits, statistics, events, pressure, freezing, killing, and
//! which devices may be opened.
//!
//! A [`Group`] is the open directory of one group; everything is done relative to it. A set of
//! [`Limits`] is turned into [`Write`]s first and written afterwards, so that a caller can show
//! what is going to be written:
//!
//! ```
//! use cgroup::{Bytes, Limit, Limits};
//!
//! let limits = Limits {
//!     memory_max: Some(Limit::Value(Bytes(64 << 20))),
//!     pids_max: Some(Limit::Value(100)),
//!     ..Limits::default()
//! };
//! limits.check()?;
//! let writes = limits.writes();
//! assert_eq!(writes[0].to_string(), "memory.max = 67108864");
//! assert_eq!(limits.controllers().to_string(), "memory pids");
//! # Ok::<(), cgroup::Error>(())
//! ```
//!
//! As root, a group below `ctr/` with these limits, and its removal with all that runs in it:
//!
//! ```no_run
//! use cgroup::{Group, Hierarchy, Limits};
//!
//! # let limits = Limits::default();
//! let hierarchy = Hierarchy::find()?;
//! let subtree = hierarchy.subtree("ctr", limits.controllers())?;
//! let group = Group::create(subtree.dir(), "web")?;
//! for write in limits.writes() {
//!     group.write(&write)?;
//! }
//! // `group.dir()` goes into `clone_args.cgroup`, with CLONE_INTO_CGROUP.
//! group.remove_tree()?;
//! # Ok::<(), cgroup::Error>(())
//! ```
//!
//! # Kernel
//!
//! [cgroup-v2] on Linux 6.1 and later; files that came later are named where they are used. Version
//! 1 is recognised and refused by name. Root may do everything here; an ordinary user what
//! [`delegation`] finds. The crate starts no process and moves none between groups: a process is
//! best born in its group, because moving one waits for an RCU grace period of several
//! milliseconds.
//!
//! [cgroup-v2]: https://docs.kernel.org/admin-guide/cgroup-v2.html

pub mod delegation;
pub mod device;
pub mod psi;
pub mod stat;

mod controller;
mod cpulist;
mod enable;
mod error;
mod events;
mod freeze;
mod group;
mod hierarchy;
mod hints;
mod io;
mod keyed;
mod limits;
mod mountinfo;
mod remove;
mod sys;
mod units;
mod watch;

pub use controller::{Controller, Controllers};
pub use cpulist::CpuList;
pub use enable::enabling;
pub use error::{Error, Holder, Straggler};
pub use events::{CgroupEvents, MemoryEvents, PidsEvents, SwapEvents};
pub use group::{Group, Reclaimed};
pub use hierarchy::{Hierarchy, Kind};
pub use io::{BlockDevice, IoMax, IoPrioClass};
pub use keyed::Parsed;
pub use limits::{CpuMax, HugePage, Limits, Partition, RdmaMax, Write};
pub use units::{Bytes, Limit, Micros, Percent};
pub use watch::{Inotify, Watch};
