//! From a [`Spec`](spec::Spec) to a plan, from the plan to a running container, and to the report of its end.

mod cause;
pub mod changes;
pub mod container;
pub mod copy;
pub mod doctor;
mod error;
pub mod host;
pub mod info;
pub mod inside;
pub mod kmsg;
pub mod layers;
pub mod net;
pub mod observe;
mod place;
pub mod plan;
pub mod report;
mod run;
pub mod signals;
pub mod spec;
mod start;
pub mod state;
mod stdio;
mod steps;
mod supervise;
mod tree;
mod tty;
mod usage;
pub mod users;

pub use error::{Diagnostic, Error, ExecFailure, Failure, Fault, StateError, errno_name};
pub use host::Host;
pub use run::{Options, explain, run};
