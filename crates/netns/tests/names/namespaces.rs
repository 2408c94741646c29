//! Namespaces for these tests.

use rustix::thread::UnshareFlags;

use crate::common;

/// Runs `body` as the root of new user, network and mount namespaces.
pub(crate) fn in_namespaces(name: &str, body: fn()) {
    common::in_namespaces(name, UnshareFlags::NEWNET | UnshareFlags::NEWNS, body);
}

/// Moves the calling thread into a new network namespace with its `lo` up.
pub(crate) fn enter_new_network() {
    // SAFETY: CLONE_FILES is not among the flags.
    #[expect(unsafe_code, reason = "a network namespace for this thread")]
    unsafe {
        rustix::thread::unshare_unsafe(UnshareFlags::NEWNET).expect("unshare");
    }
    netns::bring_up().expect("lo");
}
