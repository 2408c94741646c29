//! What the machine outside and PID 1 inside the test VM say to each other.
//!
//! [`Config`] goes in: a text file in the initramfs that names modules, disks, suites and limits.
//! [`Event`]s come out: one line each, over a virtio-serial port, apart from the kernel's console.
//! Both are plain lines of tab-separated words, so that a hung or half-written run can still be read.

mod config;
mod protocol;

pub use config::{Config, Disk, Suite};
pub use protocol::{Event, Outcome};
