//! What an ordinary user can have tested: user and network namespaces of one's own.
//!
//! Each test runs again in a process of its own (`unshare(CLONE_NEWUSER)` is `EINVAL` in a process
//! with several threads, and libtest has several): the namespaces are made between fork and exec.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use netns::{Error, Loopback};
use rustix::io::Errno;
use rustix::thread::UnshareFlags;

/// Set in the process that runs a test inside its namespaces.
const INSIDE: &str = "NETNS_TEST_INSIDE";

/// Runs `body` in new `namespaces`, as the root of a new user namespace: this very test once more,
/// with [`INSIDE`] set.
fn in_namespaces(name: &str, namespaces: UnshareFlags, body: fn()) {
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

fn reach(address: SocketAddr) -> std::io::Result<()> {
    let listener = TcpListener::bind(address)?;
    TcpStream::connect(listener.local_addr()?).map(drop)
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .expect("/proc/self/fd")
        .count()
}

#[test]
fn a_new_namespace_reaches_127_0_0_1_and_1_only_after_bring_up() {
    in_namespaces(
        "a_new_namespace_reaches_127_0_0_1_and_1_only_after_bring_up",
        UnshareFlags::NEWNET,
        || {
            let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
            let had_v6 = std::path::Path::new("/proc/net/if_inet6").exists();

            let before = reach(v4).expect_err("lo is down in a new namespace");
            let errno = before.raw_os_error().expect("errno");
            assert!(
                [Errno::ADDRNOTAVAIL, Errno::NETUNREACH]
                    .map(Errno::raw_os_error)
                    .contains(&errno),
                "{before}"
            );

            netns::bring_up().expect("bring_up");
            reach(v4).expect("127.0.0.1");
            if had_v6 {
                reach(v6).expect("::1");
            }
        },
    );
}

#[test]
fn bring_up_twice_is_fine_and_leaves_no_descriptor_open() {
    in_namespaces(
        "bring_up_twice_is_fine_and_leaves_no_descriptor_open",
        UnshareFlags::NEWNET,
        || {
            let before = open_files();
            netns::bring_up().expect("first");
            netns::bring_up().expect("second");
            assert_eq!(open_files(), before);
        },
    );
}

#[test]
#[expect(unsafe_code, reason = "runs the steps one by one")]
fn the_socket_of_the_steps_is_open_between_first_and_last_only() {
    in_namespaces(
        "the_socket_of_the_steps_is_open_between_first_and_last_only",
        UnshareFlags::NEWNET,
        || {
            let lo = Loopback::new();
            let before = open_files();
            for (step, open) in [(0, before + 1), (1, before + 1), (2, before)] {
                // SAFETY: nobody else closes files here.
                unsafe { lo.apply(step, &[]) }.expect("step");
                assert_eq!(open_files(), open, "after {}", lo.describe(step));
            }
        },
    );
}

#[test]
fn a_namespace_owned_by_another_user_namespace_is_eperm_and_the_hint_says_whose() {
    in_namespaces(
        "a_namespace_owned_by_another_user_namespace_is_eperm_and_the_hint_says_whose",
        // No network namespace of its own: this one belongs to the user namespace outside.
        UnshareFlags::empty(),
        || {
            let before = open_files();
            let error = netns::bring_up().expect_err("not ours to change");
            assert_eq!(error.errno(), Some(Errno::PERM));
            assert!(
                matches!(error, Error::Loopback { step: 1, .. }),
                "{error:?}"
            );
            assert!(error.to_string().contains("SIOCSIFFLAGS"), "{error}");
            assert!(
                error
                    .hint()
                    .expect("hint")
                    .contains("owns the network namespace")
            );
            assert_eq!(
                open_files(),
                before,
                "the socket is closed after a failure, too"
            );
        },
    );
}
