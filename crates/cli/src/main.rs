//! The `ctr` command.
//!
//! `main` is C's, not Rust's: what the Rust runtime does before it takes a twentieth of a start, most
//! of it reading `/proc/self/maps` for a message about stack overflows. What matters of it is done here.

#![no_main]
#![allow(unsafe_code, reason = "C's main, and the disposition of a signal")]

use std::ffi::{c_char, c_int};
use std::fs::File;
use std::mem::forget;

/// C's `main`. The arguments are taken from `std::env`, which glibc fills before.
#[unsafe(no_mangle)]
extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    // A process of the engine's for one task, see there.
    match std::env::args_os().next() {
        Some(name) if name == engine::layers::sandbox::NAME => {
            return engine::layers::sandbox::main().into();
        }
        Some(name) if name == engine::inside::NAME => return engine::inside::main().into(),
        _ => {}
    }
    if !standard_streams() {
        return cli::exit::ENGINE.into();
    }
    // SAFETY: no other thread runs yet. A reader of our output that goes away is an error of write(2).
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    cli::args::main(std::env::args_os()).into()
}

/// Descriptors 0, 1 and 2 that the caller left closed become /dev/null: or the next file opened would
/// be taken for one of them.
fn standard_streams() -> bool {
    (0..3).all(|stream| {
        // SAFETY: takes integers; a descriptor that is not open is EBADF.
        let open = unsafe { libc::fcntl(stream, libc::F_GETFD) } != -1;
        // The lowest free number: the ones below are open.
        open || File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map(forget)
            .is_ok()
    })
}
