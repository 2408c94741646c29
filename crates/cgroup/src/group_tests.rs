//! A directory in the place of a group: what is asked of the kernel is the same.

use super::*;
use crate::{CgroupEvents, PidsEvents};

fn fake() -> (tempfile::TempDir, Group) {
    let dir = tempfile::tempdir().expect("tempdir");
    let group = Group::open(dir.path()).expect("open");
    (dir, group)
}

#[test]
fn names_that_leave_the_parent_or_belong_to_files_are_refused_before_any_call() {
    let (_dir, group) = fake();
    let long = "x".repeat(256);
    for name in [
        "",
        ".",
        "..",
        "a/b",
        "/",
        "a\nb",
        "a\0b",
        "memory.max",
        "cgroup.procs",
        "io.x",
        &long,
    ] {
        let error = Group::create(group.dir(), name).expect_err(name);
        assert!(matches!(error, Error::Name { .. }), "{name:?}: {error:?}");
        let error = Group::open_in(group.dir(), name).expect_err(name);
        assert!(matches!(error, Error::Name { .. }), "{name:?}: {error:?}");
    }
}

#[test]
fn a_group_is_made_once_and_removed_through_its_own_directory() {
    let (dir, parent) = fake();
    let group = Group::create(parent.dir(), "web.1").expect("create");
    assert_eq!(group.path(), dir.path().join("web.1"));
    assert_eq!(group.name(), "web.1");
    let again = Group::create(parent.dir(), "web.1").expect_err("twice");
    assert_eq!(again.errno(), Some(Errno::EXIST));
    assert!(again.to_string().contains("web.1"), "{again}");
    assert_eq!(parent.children().expect("children"), ["web.1"]);

    group.remove().expect("remove");
    assert!(!dir.path().join("web.1").exists());
    group.remove().expect("one that is gone is fine");
    group.remove_tree().expect("the same");
}

#[test]
fn a_missing_file_is_enoent_with_path_value_and_the_controller_as_hint() {
    let (dir, group) = fake();
    let write = Write::new("memory.max", 4096);
    let error = group.write(&write).expect_err("no such file");
    assert_eq!(error.errno(), Some(Errno::NOENT));
    let path = dir.path().join("memory.max");
    assert_eq!(error.to_string(), format!("write({path:?}, \"4096\")"));
    assert!(error.hint().expect("hint").contains("subtree_control"));
    assert!(!path.exists(), "a write never makes a file");
}

#[test]
fn a_value_is_written_whole_and_read_back() {
    let (dir, group) = fake();
    std::fs::write(dir.path().join("pids.max"), "").expect("file");
    group.write_file("pids.max", "17").expect("write");
    assert_eq!(group.read("pids.max").expect("read"), "17");
    assert_eq!(
        group.limit("pids.max").expect("limit"),
        Some(crate::Limit::Value(17u64))
    );
    assert_eq!(group.get_if_there::<PidsEvents>().expect("none"), None);
    let error = group.get::<CgroupEvents>().expect_err("no file");
    assert_eq!(error.errno(), Some(Errno::NOENT));
}

#[test]
fn symbolic_links_are_not_followed() {
    let (dir, group) = fake();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("pids.max")).expect("symlink");
    let write = group.write_file("pids.max", "1").expect_err("a link");
    assert_eq!(write.errno(), Some(Errno::LOOP));
    let read = group.read("pids.max").expect_err("a link");
    assert_eq!(read.errno(), Some(Errno::LOOP));
}

#[test]
fn a_file_longer_than_a_buffer_is_read_whole_and_pids_are_numbers() {
    let (dir, group) = fake();
    let text: String = (1..5000).map(|pid| format!("{pid}\n")).collect();
    std::fs::write(dir.path().join("cgroup.procs"), &text).expect("file");
    let procs = group.procs().expect("procs");
    assert_eq!((procs.len(), procs[4998]), (4999, 4999));
    std::fs::write(dir.path().join("cgroup.procs"), "1\nx\n").expect("file");
    assert!(matches!(group.procs(), Err(Error::Parse { .. })));
}

#[test]
fn controllers_are_enabled_by_one_write_and_not_in_a_group_with_processes() {
    let (dir, group) = fake();
    let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("file");
    file("cgroup.subtree_control", "memory\n");
    file("cgroup.procs", "");
    file("cgroup.type", "domain\n");
    let needed = Controllers::parse("memory pids cpu");
    group.enable(needed).expect("enable");
    assert_eq!(
        group.read("cgroup.subtree_control").expect("read"),
        "+cpu +pids"
    );

    file("cgroup.subtree_control", "memory\n");
    file("cgroup.procs", "12\n34\n");
    group
        .enable(Controller::Memory.into())
        .expect("enabled already");
    let error = group.enable(needed).expect_err("holds processes");
    assert!(
        error.to_string().ends_with("processes itself: 12, 34"),
        "{error}"
    );
    assert!(
        error
            .hint()
            .expect("hint")
            .contains("no internal processes")
    );

    // The root is exempt.
    std::fs::remove_file(dir.path().join("cgroup.type")).expect("remove");
    group.enable(needed).expect("the root");
}

#[test]
fn the_path_of_a_removed_group_is_still_known() {
    let (dir, parent) = fake();
    let group = Group::create(parent.dir(), "x").expect("create");
    std::fs::remove_dir(dir.path().join("x")).expect("rmdir");
    assert_eq!(group.path(), dir.path().join("x"));
}
