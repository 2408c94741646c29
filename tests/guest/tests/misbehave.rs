//! Tests that do what tests should not, so that `cargo xtask test-vm --self-test` can see that each is
//! reported as what it is. They run in alphabetical order.

use std::process::{Command, Stdio};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
#[ignore = "vm: fails on purpose; cargo xtask test-vm --self-test"]
fn a_fails() {
    panic!("as it should");
}

#[test]
#[ignore = "vm: hangs on purpose; cargo xtask test-vm --self-test"]
fn b_hangs() {
    std::thread::sleep(HOUR);
}

#[test]
#[ignore = "vm: dies on purpose; cargo xtask test-vm --self-test"]
fn c_dies() {
    std::process::abort();
}

#[test]
#[ignore = "vm: leaves things behind on purpose; cargo xtask test-vm --self-test"]
fn d_passes_and_leaves_a_process_a_cgroup_and_files_behind() {
    for directory in ["/sys/fs/cgroup/left", "/sys/fs/cgroup/left/deeper"] {
        std::fs::create_dir(directory).expect("mkdir");
    }
    for file in ["/scratch/left", "/tmp/left", "/run/left", "/var/lib/left"] {
        std::fs::write(file, "left").expect("write");
    }
    // A shell in the background, so that its sleep becomes an orphan in a group of its own.
    let script = "(echo 0 > /sys/fs/cgroup/left/deeper/cgroup.procs; exec sleep 3600) &";
    let status = Command::new("/bin/sh")
        .args(["-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .expect("start a shell");
    assert!(status.success(), "{status}");
}

#[test]
#[ignore = "vm: looks for what the test before left behind; cargo xtask test-vm --self-test"]
fn e_finds_nothing_left() {
    for path in [
        "/sys/fs/cgroup/left",
        "/scratch/left",
        "/tmp/left",
        "/run/left",
        "/var/lib/left",
    ] {
        assert!(!std::fs::exists(path).expect("stat"), "{path}");
    }
    for entry in std::fs::read_dir("/proc").expect("read /proc") {
        let path = entry.expect("read /proc").path();
        let command = std::fs::read_to_string(path.join("cmdline")).unwrap_or_default();
        assert!(!command.contains("sleep"), "{path:?}: {command:?}");
    }
}
