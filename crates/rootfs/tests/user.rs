//! Trees built by real children, each root of a user namespace that any user can make.

#![allow(unsafe_code, reason = "an allocator that traps, and raw system calls")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests build trees on the host and look at them from inside by path"
)]

#[path = "common/container.rs"]
mod container;
#[path = "user/covers.rs"]
mod covers;
#[path = "user/hostile.rs"]
mod hostile;
#[path = "user/kernel.rs"]
mod kernel;
#[path = "user/roots.rs"]
mod roots;
#[path = "user/workdir.rs"]
mod workdir;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends the process when something allocates or frees while it must not.
struct Trap;

static ARMED: AtomicBool = AtomicBool::new(false);

fn spring() {
    if ARMED.load(Ordering::Relaxed) {
        // SAFETY: ends the process.
        unsafe { libc::_exit(99) }
    }
}

// SAFETY: every call is handed on to the system's allocator unchanged.
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
