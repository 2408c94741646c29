//! System call filters, [`seccomp(2)`]: a model of what is allowed, and a compiler from it to classic BPF.
//!
//! A [`Profile`] speaks of system calls by name, for any architecture; [`compile`] makes the filter for one
//! [`Arch`]. Calls of another architecture's ABI (32-bit, x32) are refused as a whole: their numbers mean
//! other calls. The kernel runs a filter once for each system call number when it is loaded (its action
//! cache), and later for those numbers whose answer depends on arguments; so the filter is a balanced
//! tree over the numbers and not a list.
//!
//! [`seccomp(2)`]: https://man7.org/linux/man-pages/man2/seccomp.2.html

mod arch;
mod compile;
mod default;
pub mod docker;
mod emit;
mod profile;
mod program;
mod tables;

pub use arch::Arch;
pub use compile::compile;
pub use profile::{Action, Comparison, Condition, Flags, Profile, Rule};
pub use program::{Instruction, Program, SyscallData};

pub(crate) use arch::is_known;
