//! The protocol in user namespaces: for an ordinary user, and for root.

mod common;
#[path = "user/init.rs"]
mod init;
#[path = "user/join.rs"]
mod join;
#[path = "user/linger.rs"]
mod linger;
#[path = "user/protocol.rs"]
mod protocol;
#[path = "user/surroundings.rs"]
mod surroundings;
#[path = "user/threads.rs"]
mod threads;

use ns::Namespaces;

/// The namespaces of a container, for anybody.
const CONTAINER: Namespaces = Namespaces::NEWUSER
    .union(Namespaces::NEWPID)
    .union(Namespaces::NEWNS)
    .union(Namespaces::NEWUTS)
    .union(Namespaces::NEWIPC)
    .union(Namespaces::NEWCGROUP);
