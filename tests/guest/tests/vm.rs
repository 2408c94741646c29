//! What every other privileged test may rely on in the VM.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("read {path:?}: {error}"))
}

fn as_user(program: &str) -> Command {
    let mut command = Command::new(program);
    command.uid(1000).gid(1000);
    command
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_test_has_a_cgroup_of_its_own_with_all_controllers() {
    let own = read("/proc/self/cgroup");
    let group = own
        .trim()
        .strip_prefix("0::/")
        .expect("a unified hierarchy");
    assert!(group.starts_with("test-"), "{own:?}");
    let group = format!("/sys/fs/cgroup/{group}");
    let members = read(&format!("{group}/cgroup.procs"));
    assert_eq!(members.trim(), std::process::id().to_string());
    let controllers = read(&format!("{group}/cgroup.controllers"));
    for controller in ["cpu", "cpuset", "io", "memory", "pids"] {
        assert!(
            controllers.split_whitespace().any(|c| c == controller),
            "{controllers:?}"
        );
    }
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_root_is_a_tmpfs_that_is_not_the_initial_rootfs() {
    let mounts = read("/proc/self/mountinfo");
    let root = mounts
        .lines()
        .find(|line| line.split(' ').nth(4) == Some("/"));
    let root = root.expect("mountinfo lists the root");
    assert!(root.contains(" - tmpfs "), "{root:?}");
    assert!(!root.contains("shared:"), "{root:?}");
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_test_has_namespaces_of_its_own_and_a_loopback_that_is_up() {
    for name in ["mnt", "net"] {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("readlink");
        assert_ne!(of("self"), of("1"), "{name}");
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind to the loopback");
    let address = listener.local_addr().expect("getsockname");
    std::net::TcpStream::connect(address).expect("connect over the loopback");
    let interfaces: Vec<_> = fs::read_dir("/sys/class/net")
        .expect("read /sys/class/net")
        .map(|entry| entry.expect("read /sys/class/net").file_name())
        .collect();
    assert_eq!(interfaces, ["lo"], "sysfs shows this network namespace");
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_ordinary_user_has_subordinate_ids_and_the_programs_to_map_them() {
    assert!(read("/etc/passwd").contains("user:x:1000:1000:"));
    for (file, program) in [("/etc/subuid", "newuidmap"), ("/etc/subgid", "newgidmap")] {
        assert_eq!(read(file), "user:100000:65536\n");
        let mut child = as_user("/bin/busybox")
            .args(["unshare", "-U", "sleep", "60"])
            .spawn()
            .expect("start a process in a user namespace");
        let pid = child.id().to_string();
        let initial = fs::read_link("/proc/self/ns/user").expect("readlink");
        while fs::read_link(format!("/proc/{pid}/ns/user")).expect("readlink") == initial {
            std::thread::yield_now();
        }
        let map = [&pid, "0", "100000", "65536"];
        let output = as_user(program)
            .args(map)
            .output()
            .expect("start the mapper");
        child
            .kill()
            .expect("kill the process in the user namespace");
        child.wait().expect("wait for it");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{program}: {}: {said}",
            output.status
        );
    }
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_scratch_disk_is_an_empty_ext4_that_can_be_written() {
    let scratch = std::env::var("CTR_TEST_SCRATCH").expect("the VM announces its scratch disk");
    let names: Vec<_> = fs::read_dir(&scratch)
        .expect("read the scratch disk")
        .map(|entry| entry.expect("read the scratch disk").file_name())
        .collect();
    assert_eq!(names, ["lost+found"]);
    fs::write(format!("{scratch}/left-behind"), "removed after the test").expect("write");
    assert!(
        read("/proc/self/mountinfo")
            .lines()
            .any(|line| { line.split(' ').nth(4) == Some(&scratch) && line.contains(" - ext4 ") })
    );
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn busybox_applets_are_found_in_bin() {
    for applet in ["sh", "ip", "mount", "sleep", "true", "nc", "httpd", "wget"] {
        assert!(
            fs::exists(format!("/bin/{applet}")).expect("stat"),
            "{applet}"
        );
    }
}
