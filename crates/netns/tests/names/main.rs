//! Leases and names with several threads and processes, and a DNS server with real clients and made
//! upstream servers. What needs a network namespace makes its own; everything else uses free ports of
//! 127.0.0.1.

mod client;
#[path = "../common/mod.rs"]
mod common;
mod forwarding;
mod leases;
mod namespaces;
mod serving;
mod speed;
mod upstream;
mod world;
