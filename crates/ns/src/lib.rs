//! Linux namespaces: clone3, setns, id maps, pidfds and the parent/child protocol.

mod child;
mod error;
mod flags;
mod hints;
mod idmap;
mod inodes;
mod mapping;
mod message;
mod namespace;
mod own;
pub mod pidfd;
mod program;
mod running;
mod spawn;
mod stat;
mod status;
mod steps;
pub mod subid;
mod sys;
mod timens;
mod userns;

pub use error::{Error, Result};
pub use flags::Namespaces;
pub use idmap::{IdMap, IdMaps};
pub use inodes::{NamespaceId, NamespaceIds};
pub use mapping::{Helpers, Setgroups, write_maps, write_maps_with};
pub use namespace::{Namespace, setns, unshare};
pub use program::Program;
pub use running::{Held, Running, Spawned};
pub use rustix::io::Errno;
pub use rustix::process::Pid;
pub use spawn::{Child, Init, Tty, spawn};
pub use status::WaitStatus;
pub use steps::Steps;
pub use timens::{ClockOffset, TimeOffsets};
pub use userns::new_user_namespace;
