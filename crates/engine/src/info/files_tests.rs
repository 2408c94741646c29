//! What the files of `/proc` and `/sys` say, from texts of several machines.

use super::*;

const PROC: &str = "22 27 0:21 / /proc rw,relatime - proc proc rw\n";
const SYS: &str = "23 27 0:22 / /sys rw,relatime shared:7 - sysfs sysfs rw\n";

fn over_proc(mounts: &str) -> Vec<PathBuf> {
    covers(mounts, "proc", "/proc", EMPTY_IN_PROC)
}

#[test]
fn a_procfs_is_covered_by_what_is_mounted_in_it() {
    let check = |more: &str, expected: &[&str]| {
        let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
        assert_eq!(over_proc(&format!("{PROC}{more}")), expected, "{more}");
    };
    check("", &[]);
    check(
        "40 22 0:9 / /proc/kcore rw - tmpfs tmpfs rw\n",
        &["/proc/kcore"],
    );
    check(
        "40 22 0:21 /sys /proc/sys ro - proc proc rw\n",
        &["/proc/sys"],
    );
    // Made to be mounted on.
    check(
        "40 22 0:9 / /proc/sys/fs/binfmt_misc rw - binfmt_misc b rw\n",
        &[],
    );
    // In another mount.
    check("40 27 0:9 / /procession rw - tmpfs tmpfs rw\n", &[]);
}

#[test]
fn one_procfs_that_is_not_covered_is_enough() {
    let covered = format!("{PROC}40 22 0:9 / /proc/kcore rw - tmpfs tmpfs rw\n");
    let second = format!("{covered}41 27 0:21 / /mnt/proc rw - proc proc rw\n");
    assert!(over_proc(&second).is_empty());
    // A part of one does not count.
    let part = format!("{covered}41 27 0:21 /sys /mnt/sys rw - proc proc rw\n");
    assert_eq!(over_proc(&part), [PathBuf::from("/proc/kcore")]);
}

#[test]
fn cgroups_and_the_like_do_not_cover_a_sysfs() {
    let mounts = format!(
        "{SYS}31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
         32 23 0:29 / /sys/kernel/security rw - securityfs securityfs rw\n"
    );
    let over = |mounts: &str| covers(mounts, "sysfs", "/sys", EMPTY_IN_SYS);
    assert!(over(&mounts).is_empty());
    let masked = format!("{mounts}33 23 0:30 / /sys/firmware ro - tmpfs tmpfs ro\n");
    assert_eq!(over(&masked), [PathBuf::from("/sys/firmware")]);
}

#[test]
fn releases_have_two_numbers_that_count() {
    for (release, expected) in [
        ("6.12.5-amd64", (6, 12)),
        ("6.1.0-28-cloud-amd64", (6, 1)),
        ("7.0-rc3", (7, 0)),
        ("", (0, 0)),
        ("next", (0, 0)),
    ] {
        assert_eq!(version(release), expected, "{release}");
    }
}

#[test]
fn a_module_is_found_by_its_file_name() {
    let index = "kernel/fs/overlayfs/overlay.ko.xz:\nkernel/a/other.ko: kernel/fs/nested.ko\n";
    for (name, expected) in [("overlay", true), ("over", false), ("nested", false)] {
        assert_eq!(has_module(index, name), expected, "{name}");
    }
    assert!(has_module("kernel/fs/overlayfs/overlay.ko\n", "overlay"));
}

#[test]
fn files_below_another_root_are_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let put = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("not the root")).expect("mkdir");
        std::fs::write(path, text).expect("write");
    };
    assert_eq!(Files::read(dir.path(), 1000), Files::default());
    put("proc/sys/kernel/osrelease", "6.12.5-amd64\n");
    put("proc/self/ns/user", "");
    put("proc/self/ns/net", "");
    put("proc/self/mountinfo", PROC);
    put(
        "proc/self/status",
        "Name:\tctr\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n",
    );
    put("proc/filesystems", "nodev\tproc\n\text4\n");
    put("proc/pressure/memory", "");
    put("proc/sys/user/max_user_namespaces", "1234\n");
    put("proc/sys/kernel/unprivileged_userns_clone", "0\n");
    put("proc/sys/kernel/seccomp/actions_avail", "errno allow\n");
    put(
        "lib/modules/6.12.5-amd64/modules.dep",
        "kernel/fs/overlayfs/overlay.ko:\n",
    );
    put("sys/kernel/security/lsm", "capability,landlock,apparmor\n");
    put("sys/module/apparmor/parameters/enabled", "Y\n");
    put("etc/passwd", "alice:x:1000:1000::/home/alice:/bin/sh\n");
    put("etc/subuid", "bob:100000:65536\nalice:165536:65536\n");
    put("etc/subgid", "1000:165536:1000\n");
    let range = |owner: &str, first, count| SubId {
        owner: owner.into(),
        first,
        count,
    };
    let expected = Files {
        release: "6.12.5-amd64".into(),
        namespaces: vec!["net".into(), "user".into()],
        overlay: false,
        overlay_module: true,
        max_user_namespaces: Some(1234),
        userns_clone: Some(0),
        apparmor_userns: None,
        seccomp_actions: Some("errno allow\n".into()),
        pressure: vec!["memory".into()],
        lsms: Lsms::parse(Some("capability,landlock,apparmor"), Some("Y"), None),
        subuids: vec![
            range("bob", 100_000, 65_536),
            range("alice", 165_536, 65_536),
        ],
        subuid: Some(range("alice", 165_536, 65_536)),
        subgid: Some(range("1000", 165_536, 1000)),
        no_new_privs: true,
        filtered: true,
        ..Files::default()
    };
    assert_eq!(Files::read(dir.path(), 1000), expected);
}
