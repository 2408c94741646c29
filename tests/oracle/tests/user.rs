//! Every kind of leak is provoked, and must be seen.
//!
//! Each test starts itself again in namespaces of its own, where nothing else happens: with a user
//! namespace, so no privilege is needed.

#![allow(
    unsafe_code,
    reason = "System V objects and message queues have no safe wrappers"
)]

use std::fs::{self, File};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use oracle::{Difference, Oracle, Places};

const INSIDE: &str = "ORACLE_TEST_INSIDE";

/// Runs `test` as PID 1 of new namespaces, in a process of its own.
fn isolated(name: &str, test: impl FnOnce(&Path)) {
    if let Some(dir) = std::env::var_os(INSIDE) {
        return test(Path::new(&dir));
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let output = Command::new("unshare")
        .args(["-U", "-r", "-m", "-p", "-n", "-i", "-f", "--mount-proc"])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, dir.path())
        .stdin(Stdio::null())
        .output()
        .expect("unshare(1)");
    let text = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&text)
    );
}

fn sleeper() -> Child {
    Command::new("sleep")
        .arg("1000")
        .stdin(Stdio::null())
        .spawn()
        .expect("sleep(1)")
}

fn end(mut child: Child) {
    child.kill().expect("kill");
    child.wait().expect("wait");
}

/// `leak` leaves something behind; `what` must be in the line that says so, and nothing else may be
/// there; after `repair` all is well again.
fn leak<T>(
    dir: &Path,
    kind: &str,
    what: &str,
    leak: impl FnOnce(&Path) -> T,
    repair: impl FnOnce(T),
) {
    let oracle = Oracle::start(Places::only(dir));
    oracle.finish(Duration::ZERO).expect("nothing happened yet");
    let left = leak(dir);
    let found = oracle.difference();
    let expected = |(found, line): &(&'static str, String)| *found == kind && line.contains(what);
    assert!(
        found.left_behind.iter().any(expected),
        "no {kind} with {what:?} in:\n{found}"
    );
    repair(left);
    oracle.finish(Duration::from_secs(5)).expect("repaired");
}

#[test]
fn a_process_left_behind_is_seen() {
    isolated("a_process_left_behind_is_seen", |dir| {
        leak(dir, "process", "sleep", |_| sleeper(), end);
    });
}

#[test]
fn a_zombie_is_seen() {
    isolated("a_zombie_is_seen", |dir| {
        let kill = |_: &Path| {
            let mut child = sleeper();
            child.kill().expect("kill");
            // It takes a moment to die; not to be waited for, or it would be no zombie.
            std::thread::sleep(Duration::from_millis(200));
            child
        };
        leak(dir, "process", "(zombie)", kill, |mut child| {
            child.wait().expect("wait");
        });
    });
}

#[test]
fn a_mount_is_seen() {
    isolated("a_mount_is_seen", |dir| {
        let mount = |dir: &Path| {
            let at = dir.join("mnt");
            fs::create_dir(&at).expect("mkdir");
            run("mount", &["-t", "tmpfs", "left-mount", path(&at)]);
            at
        };
        leak(dir, "mount", "left-mount", mount, |at| {
            run("umount", &[path(&at)]);
            fs::remove_dir(at).expect("rmdir");
        });
    });
}

#[test]
fn a_mount_in_the_namespace_of_another_process_is_seen() {
    isolated(
        "a_mount_in_the_namespace_of_another_process_is_seen",
        |dir| {
            let script = "mount -t tmpfs hidden-mount /mnt && exec sleep 1000";
            let start = |_: &Path| {
                let child = Command::new("unshare")
                    .args(["-m", "sh", "-c", script])
                    .spawn()
                    .expect("unshare");
                std::thread::sleep(Duration::from_millis(500));
                child
            };
            leak(dir, "mount", "hidden-mount", start, end);
        },
    );
}

#[test]
fn a_namespace_held_only_by_a_descriptor_is_seen() {
    isolated("a_namespace_held_only_by_a_descriptor_is_seen", |dir| {
        let hold = |_: &Path| {
            let child = Command::new("unshare")
                .args(["-u", "sleep", "1000"])
                .spawn()
                .expect("unshare");
            std::thread::sleep(Duration::from_millis(300));
            let held = File::open(format!("/proc/{}/ns/uts", child.id())).expect("open");
            end(child);
            held
        };
        leak(dir, "namespace", "uts:[", hold, drop);
    });
}

#[test]
fn an_interface_that_is_up_is_seen() {
    isolated("an_interface_that_is_up_is_seen", |dir| {
        let up = |_: &Path| run("ip", &["link", "set", "lo", "up"]);
        leak(dir, "network", "127.0.0.1", up, |()| {
            run("ip", &["addr", "del", "127.0.0.1/8", "dev", "lo"]);
            run("ip", &["link", "set", "lo", "down"]);
        });
    });
}

#[test]
fn an_abstract_socket_is_seen() {
    isolated("an_abstract_socket_is_seen", |dir| {
        let bind = |_: &Path| {
            let address = SocketAddr::from_abstract_name("left-socket").expect("a name");
            UnixListener::bind_addr(&address).expect("bind")
        };
        leak(dir, "network", "@left-socket", bind, drop);
    });
}

#[test]
fn files_and_changed_modes_are_seen() {
    isolated("files_and_changed_modes_are_seen", |dir| {
        let make = |dir: &Path| {
            fs::create_dir(dir.join("sub")).expect("mkdir");
            fs::write(dir.join("sub/left-file"), "x").expect("write");
        };
        leak(dir, "file", "sub/left-file", make, |()| {
            fs::remove_dir_all(dir.join("sub")).expect("remove")
        });
    });
}

#[test]
fn a_deleted_file_that_is_open_is_seen() {
    isolated("a_deleted_file_that_is_open_is_seen", |dir| {
        let open = |dir: &Path| {
            let file = File::create(dir.join("ghost")).expect("create");
            fs::remove_file(dir.join("ghost")).expect("unlink");
            file
        };
        leak(dir, "deleted but open", "ghost (deleted)", open, drop);
    });
}

#[test]
fn a_descriptor_of_a_process_that_stays_is_seen() {
    isolated("a_descriptor_of_a_process_that_stays_is_seen", |dir| {
        leak(
            dir,
            "descriptor",
            "/dev/null",
            |_| File::open("/dev/null").expect("open"),
            drop,
        );
    });
}

#[test]
fn a_lock_is_seen() {
    isolated("a_lock_is_seen", |dir| {
        let lock = |dir: &Path| {
            let file = File::create(dir.join("locked")).expect("create");
            file.lock().expect("flock");
            file
        };
        leak(dir, "lock", "FLOCK", lock, |file| {
            drop(file);
            fs::remove_file(dir.join("locked")).expect("unlink");
        });
    });
}

#[test]
fn shared_memory_is_seen() {
    isolated("shared_memory_is_seen", |dir| {
        // SAFETY: makes a kernel object; nothing is mapped.
        let make = |_: &Path| unsafe { libc::shmget(0x1234, 4096, libc::IPC_CREAT | 0o600) };
        leak(dir, "ipc", "shm key 4660", make, |id| {
            // SAFETY: removes the object made above; this command takes no buffer.
            let answer = unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
            assert_eq!(answer, 0);
        });
    });
}

#[test]
fn what_was_there_and_is_gone_is_a_difference_too() {
    isolated("what_was_there_and_is_gone_is_a_difference_too", |dir| {
        let child = sleeper();
        let oracle = Oracle::start(Places::only(dir));
        end(child);
        let Difference { gone, left_behind } = oracle.difference();
        assert!(left_behind.is_empty(), "{left_behind:?}");
        assert!(
            gone.iter()
                .any(|(kind, line)| *kind == "process" && line.contains("sleep")),
            "{gone:?}"
        );
    });
}

#[test]
fn what_ends_in_time_is_no_leak() {
    isolated("what_ends_in_time_is_no_leak", |dir| {
        let oracle = Oracle::start(Places::only(dir));
        let mut child = Command::new("sleep").arg("0.3").spawn().expect("sleep");
        let waiter = std::thread::spawn(move || child.wait());
        oracle.finish(Duration::from_secs(10)).expect("it ended");
        waiter.join().expect("no panic").expect("wait");
    });
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program)
        .args(arguments)
        .status()
        .expect(program);
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
