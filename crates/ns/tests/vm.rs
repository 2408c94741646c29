//! What needs root: cgroups, maps of many ids, namespaces without a user namespace.

#![allow(unsafe_code, reason = "steps make raw system calls")]

mod common;
#[path = "vm/group.rs"]
mod group;
#[path = "vm/root.rs"]
mod root;
