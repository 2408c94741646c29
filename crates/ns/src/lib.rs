//! Linux namespaces: start a process in new ones, enter those of others, keep and compare them.
//!
//! The middle of it is [`spawn`]: `clone3(2)` with any of the eight kinds of namespace, a pidfd and a
//! cgroup to be born in, and a protocol between parent and child:
//!
//! ```text
//! parent                                  child
//! clone3 ───────────────────────────────▶ waits
//! id maps, network, limits                resets signals, leaves the terminal
//! GO, with descriptors ─────────────────▶ setup[0..], then init or the program:
//!                                         workload[0..], closes what is open
//! READY, end    = it executes   ◀──────── execve; close-on-exec ends the socket
//! end alone     = it was killed ◀────────
//! 12 bytes      = a call failed ◀──────── which, and the errno
//! ```
//!
//! What the child does is prepared by the parent as lists of [`Steps`] and executed by number; it
//! allocates nothing and sends back numbers, for which the parent has the words. Either side notices
//! the other's death. A built-in [`Init`] can be PID 1.
//!
//! ```no_run
//! use std::os::fd::AsFd;
//! use ns::{Child, IdMaps, Init, Namespaces, Program, Setgroups, pidfd, spawn, write_maps};
//!
//! let program = Program::new(vec![c"/bin/id".into()], vec![c"id".into()], vec![]);
//! let child = Child {
//!     namespaces: Namespaces::NEWUSER | Namespaces::NEWPID,
//!     init: Some(Init::default()),
//!     ..Child::new(&program)
//! };
//! let spawned = spawn(&child)?;
//! write_maps(spawned.pid(), &IdMaps::own((0, 0), (1000, 1000)), Setgroups::Deny)?;
//! let running = spawned.go(&[])?;
//! // How the program ended; without the init's word, how the init did.
//! let reported = running.read_exit();
//! let status = pidfd::wait(running.pidfd.as_fd());
//! # Ok::<(), ns::Error>(())
//! ```
//!
//! # Kernel
//!
//! Linux 5.11, for `close_range(2)` with `CLOSE_RANGE_CLOEXEC`; tested on 6.1, 6.12 and 6.18. An
//! ordinary user needs `NEWUSER` among the namespaces and a host that allows it; root needs
//! CAP_SYS_ADMIN. The calling process must have one thread, or be told that its leader may start a child
//! beside others ([`Child::beside_threads`]), since the death signal that ties the child to it follows a thread.
//!
//! # What it does not do
//!
//! Mounts, network devices, cgroup limits and confinement: these are steps, or work between
//! [`spawn`] and [`Spawned::go`], of whoever uses it.

mod child;
mod error;
mod flags;
mod hints;
mod idmap;
mod inodes;
mod linger;
mod mapping;
mod message;
mod namespace;
mod own;
pub mod pidfd;
mod program;
mod running;
mod spawn;
mod stat;
mod status;
mod steps;
pub mod subid;
mod sys;
mod timens;
mod userns;

pub use error::{Error, Result};
pub use flags::Namespaces;
pub use idmap::{IdMap, IdMaps};
pub use inodes::{NamespaceId, NamespaceIds};
pub use linger::linger;
pub use mapping::{Helpers, Setgroups, write_maps, write_maps_with};
pub use namespace::{Namespace, setns, unshare};
pub use program::Program;
pub use running::{Going, Held, Running, Spawned};
pub use rustix::io::Errno;
pub use rustix::process::Pid;
pub use spawn::{Child, Init, Tty, spawn};
pub use status::WaitStatus;
pub use steps::Steps;
pub use timens::{ClockOffset, TimeOffsets};
pub use userns::new_user_namespace;
