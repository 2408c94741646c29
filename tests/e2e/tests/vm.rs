//! `ctr run` end to end, as root and as ordinary users. See the head of the crate.

#[path = "../../../crates/image/tests/common/tarball.rs"]
mod tarball;

mod vm {
    mod changes;
    mod confinement;
    mod crash;
    mod debian;
    mod exec;
    mod faults;
    mod files;
    mod hostile;
    mod hostile_image;
    mod image;
    mod limits;
    mod network;
    mod signals;
    mod start;
    mod stdio;
    mod trace;
    mod tty;
}
