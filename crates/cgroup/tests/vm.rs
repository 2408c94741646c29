//! What needs root and the controllers: run in a virtual machine, one process per test.

#![allow(
    unsafe_code,
    reason = "processes are started in a group, and clone3 has no wrapper"
)]

mod common;
#[path = "vm/delegation.rs"]
mod delegation;
#[path = "vm/device.rs"]
mod device;
#[path = "vm/limits.rs"]
mod limits;
#[path = "vm/remove.rs"]
mod remove;
#[path = "vm/watch.rs"]
mod watch;
