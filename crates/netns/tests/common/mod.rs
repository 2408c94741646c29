//! A test that runs once more in a process of its own, in namespaces made between fork and exec:
//! `unshare(CLONE_NEWUSER)` is `EINVAL` in a process with several threads, and libtest has several.

use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use rustix::io::Errno;
use rustix::thread::UnshareFlags;

/// Set in the process that runs a test inside its namespaces.
const INSIDE: &str = "NETNS_TEST_INSIDE";

/// Runs `body` in new `namespaces`, as the root of a new user namespace: this very test once more,
/// with [`INSIDE`] set.
pub(crate) fn in_namespaces(name: &str, namespaces: UnshareFlags, body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    match again(name, namespaces) {
        Ok(run) => {
            let said = String::from_utf8_lossy(&run.stdout);
            // A name that matches no test would succeed as well, having run nothing.
            assert!(
                run.status.success() && said.contains("1 passed"),
                "{name} inside: {said}"
            );
        }
        Err(error) => assert!(
            user_namespaces_are_off(&error),
            "{name}: cannot make the namespaces: {error}"
        ),
    }
}

fn again(name: &str, namespaces: UnshareFlags) -> std::io::Result<Output> {
    let uid_map = format!("0 {} 1\n", rustix::process::geteuid().as_raw());
    let gid_map = format!("0 {} 1\n", rustix::process::getegid().as_raw());
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1");
    let set_up = move || {
        // SAFETY: CLONE_FILES is not among the flags; a forked child has one thread.
        #[expect(unsafe_code, reason = "unshare in the forked child")]
        unsafe {
            rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | namespaces)?;
        }
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", &uid_map)?;
        std::fs::write("/proc/self/gid_map", &gid_map)
    };
    // SAFETY: glibc keeps its allocator usable in a forked child (fork(2) of a threaded process
    // locks and unlocks it), which is all that the closure needs besides syscalls.
    #[expect(unsafe_code, reason = "namespaces are made between fork and exec")]
    unsafe {
        command.pre_exec(set_up);
    }
    command.stderr(Stdio::inherit()).output()
}

/// Says so loudly: the machine cannot run the test, and a reader must see that it did not.
#[expect(clippy::print_stderr, reason = "a test that did not run must be seen")]
fn user_namespaces_are_off(error: &std::io::Error) -> bool {
    let off = matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::StorageFull
    ) || error.raw_os_error() == Some(Errno::NOSYS.raw_os_error());
    if off {
        eprintln!("NOT TESTED: user namespaces are off on this machine ({error})");
    }
    off
}
