//! What an ordinary user can have tested: user and network namespaces of one's own.
//!
//! Each test runs again in a process of its own (`unshare(CLONE_NEWUSER)` is `EINVAL` in a process
//! with several threads, and libtest has several): the namespaces are made between fork and exec.
//! What needs several network namespaces makes them inside.

#[path = "user/addresses.rs"]
mod addresses;
mod common;
#[path = "user/configure.rs"]
mod configure;
#[path = "user/errors.rs"]
mod errors;
#[path = "user/inside.rs"]
mod inside;
#[path = "user/links.rs"]
mod links;
#[path = "user/loopback.rs"]
mod loopback;
#[path = "user/sysctl.rs"]
mod sysctl;
#[path = "user/traffic.rs"]
mod traffic;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends the process when something allocates or frees while it must not.
struct Trap;

static ARMED: AtomicBool = AtomicBool::new(false);

#[expect(unsafe_code, reason = "ends the process without a destructor")]
fn spring() {
    if ARMED.load(Ordering::Relaxed) {
        // SAFETY: ends the process.
        unsafe { libc::_exit(99) }
    }
}

// SAFETY: every call is handed on to the system's allocator unchanged.
#[expect(unsafe_code, reason = "an allocator that traps")]
unsafe impl GlobalAlloc for Trap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        spring();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        spring();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static TRAP: Trap = Trap;
