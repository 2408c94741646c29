//! What a process may do: capabilities, seccomp, no_new_privs, resource limits, Landlock, LSM labels.
//!
//! A [`Confinement`] is a list of steps a process runs on itself between clone and exec, and prints
//! before that. Everything it needs is made beforehand, in the parent: the child only makes system
//! calls.
//!
//! ```no_run
//! use confine::seccomp::{Arch, Program};
//! use confine::{CapSet, Capabilities, Confinement};
//!
//! let program = Program::default_for(CapSet::DEFAULT, Arch::NATIVE);
//! let confinement = Confinement::builder()
//!     .capabilities(Capabilities::for_user(CapSet::DEFAULT, 0))
//!     .no_new_privs(true)
//!     .seccomp(program)
//!     .build()?;
//! for step in 0..confinement.len() {
//!     println!("{}", confinement.describe(step));
//!     // SAFETY: this process has one thread and gives these rights up for good.
//!     unsafe { confinement.apply(step) }?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Kernel
//!
//! Linux 6.1 or later, x86_64 or aarch64, with CONFIG_SECCOMP_FILTER. Landlock and the labels of AppArmor and
//! SELinux are used where they run; what cannot be enforced is reported ([`Landlock::unenforced`]) or an
//! error ([`Error::LsmInactive`]). Cutting the bounding set needs CAP_SETPCAP, changing ids CAP_SETUID and
//! CAP_SETGID in the process's user namespace; the rest needs nothing once no_new_privs is on.
//!
//! # What it does not do
//!
//! It never forks, makes no namespace and mounts nothing. It has no opinion on what else the container
//! gets: the filter is the inner wall, not the only one.

mod builder;
pub mod caps;
mod confinement;
mod describe;
mod error;
mod label;
mod landlock;
mod near;
mod rlimit;
mod sched;
pub mod seccomp;
mod sys;

pub use builder::{Builder, Ids};
pub use caps::{CapSet, Capabilities, Capability};
pub use confinement::{Confinement, Part};
pub use error::Error;
pub use label::{Label, Lsms};
pub use landlock::{Abi, Landlock, Scopes, Unenforced};
pub use rlimit::{Resource, Rlimit, getrlimit, prlimit};
pub use sched::{IoClass, IoPriority, OomScoreAdj, Personality, Policy, Scheduler};
