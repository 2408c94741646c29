//! posix_spawn(3), wait4(2), clock_gettime(2).

#![allow(
    unsafe_code,
    reason = "no safe wrapper reports a child's resource usage, wait4(2)"
)]

use std::ffi::{CString, c_char};
use std::io;
use std::mem::zeroed;
use std::ptr;

/// One run of a program.
pub(crate) struct Lap {
    /// From before the spawn to after the wait.
    pub(crate) nanoseconds: u64,
    /// `ru_maxrss`: the most it, or any child it waited for, had in memory.
    pub(crate) peak_kib: i64,
    /// wait(2)'s.
    pub(crate) status: i32,
}

/// Run `argv` with an empty environment but PATH, stdin and stdout on /dev/null.
///
/// # Errors
/// What posix_spawn(3) or wait4(2) answer.
pub(crate) fn lap(argv: &[CString]) -> io::Result<Lap> {
    let mut pointers: Vec<*mut c_char> = argv.iter().map(|word| word.as_ptr().cast_mut()).collect();
    pointers.push(ptr::null_mut());
    let mut environment = [
        c"PATH=/usr/sbin:/usr/bin:/sbin:/bin".as_ptr().cast_mut(),
        ptr::null_mut(),
    ];
    let actions = Actions::new()?;
    let mut pid = 0;
    let mut status = 0;
    // SAFETY: `rusage` is plain integers.
    let mut usage: libc::rusage = unsafe { zeroed() };
    let start = now();
    // SAFETY: argv and the environment are NULL-terminated arrays of NUL-terminated strings that live
    // until after the call, which only reads them; `actions` was initialised.
    let error = unsafe {
        libc::posix_spawn(
            &mut pid,
            pointers[0],
            &actions.0,
            ptr::null(),
            pointers.as_mut_ptr(),
            environment.as_mut_ptr(),
        )
    };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    // SAFETY: both pointers are to locals of the types that the call fills in.
    let waited = unsafe { libc::wait4(pid, &mut status, 0, &mut usage) };
    let nanoseconds = now() - start;
    if waited != pid {
        return Err(io::Error::last_os_error());
    }
    Ok(Lap {
        nanoseconds,
        peak_kib: usage.ru_maxrss,
        status,
    })
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> io::Result<Self> {
        let null = c"/dev/null".as_ptr();
        // SAFETY: `init` makes the zeroed object valid before the others use it; they copy the path.
        unsafe {
            let mut actions = Self(zeroed());
            let mut error = libc::posix_spawn_file_actions_init(&mut actions.0);
            for (fd, flags) in [(0, libc::O_RDONLY), (1, libc::O_WRONLY)] {
                if error == 0 {
                    error =
                        libc::posix_spawn_file_actions_addopen(&mut actions.0, fd, null, flags, 0);
                }
            }
            if error == 0 {
                Ok(actions)
            } else {
                Err(io::Error::from_raw_os_error(error))
            }
        }
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: it was initialised by `new` and is destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(&mut self.0) };
    }
}

fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
