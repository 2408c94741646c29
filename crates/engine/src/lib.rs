//! From a [`Spec`](spec::Spec) to a plan, from the plan to a running container, and to the report of its end.

pub mod doctor;
pub mod kmsg;
pub mod report;
pub mod signals;
pub mod spec;
pub mod users;
