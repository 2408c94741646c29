//! What judges the whole: `ctr` from outside, in a machine that may be spoilt.
//!
//! Each test runs in [`case`], which takes the inventory of the machine before and compares it
//! afterwards: whatever a test is about, nothing may be left behind. The programs are in `$CTR_BIN`,
//! the Debian root file system in `$CTR_TEST_DEBIAN`, a disk to write on at `$CTR_TEST_SCRATCH`.
//! A thing that is not there fails the test that needs it; nothing is skipped.

mod case;
mod outcome;
mod registry;
mod roots;
mod space;
mod strace;
mod terminal;
mod world;

pub use case::{Case, Who, case};
pub use outcome::{Outcome, Started, patience};
pub use registry::{Library, REGISTRY};
pub use roots::{debian, images, services};
pub use space::{Server, Space, wait_for};
pub use strace::{Call, strace};
pub use terminal::Terminal;
pub use world::{CABLE_MTU, World};
