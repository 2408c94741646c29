//! As root, and as the user 1000 who is given a subtree: the same test again, in a process of its own.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use cgroup::delegation::{Answer, Reason, find};
use cgroup::{Bytes, Controllers, Group, Hierarchy, Limit, Limits};
use rustix::io::Errno;
use rustix::thread::UnshareFlags;

use crate::common::{Playground, clone_into, command_in, reap};

const INSIDE: &str = "CGROUP_TEST_INSIDE";
const USER: u32 = 1000;

fn memory() -> Controllers {
    Controllers::parse("memory")
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_may_use_the_root_group() {
    let hierarchy = Hierarchy::find().expect("find");
    match find(&hierarchy, memory()).expect("answer") {
        Answer::Place(place) => {
            assert_eq!(place.dir, Path::new("/sys/fs/cgroup"));
            assert!(place.available.contains_all(memory()));
        }
        other => panic!("{other:?}"),
    }
}

/// Runs this test once more in `group`, as the user.
fn again_as_user(name: &str, group: &Group) {
    let exe = std::env::current_exe().expect("exe");
    let status = command_in(group, exe.to_str().expect("a path"), || Ok(()))
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(INSIDE, "1")
        .gid(USER)
        .uid(USER)
        .status()
        .expect("run");
    assert!(status.success(), "{name} inside: {status}");
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn in_a_cgroup_namespace_our_own_group_is_found_and_nothing_above_it_is_offered() {
    let before = Hierarchy::find().expect("find").own_cgroup().expect("own");
    // SAFETY: CLONE_FILES is not asked for.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP) }.expect("unshare");
    let text = std::fs::read_to_string("/proc/thread-self/cgroup").expect("cgroup");
    assert_eq!(text, "0::/\n", "the name is hidden");
    let hierarchy = Hierarchy::find_in(Path::new("/proc/thread-self")).expect("find");
    assert_eq!(hierarchy.own_cgroup(), Some(before.clone()));

    match find(&hierarchy, memory()).expect("answer") {
        // The root group would do, but lies outside the namespace (nsdelegate).
        Answer::Refused(refusal) => {
            assert_eq!(
                refusal.reason,
                Reason::HoldsProcesses(before.clone(), memory())
            );
        }
        other => panic!("{other:?}"),
    }
    let Answer::Place(place) = find(&hierarchy, Controllers::EMPTY).expect("answer") else {
        panic!("no place");
    };
    assert_eq!(place.dir, before);
    let outside = Group::create(hierarchy.root().expect("root").dir(), "outside").expect("create");
    assert_eq!(clone_into(&outside), Err(Errno::NOENT), "why");
    outside.remove().expect("remove");
}

fn give(path: PathBuf) {
    std::os::unix::fs::chown(&path, Some(USER), Some(USER)).expect("chown");
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_user_in_a_delegated_subtree_makes_groups_with_limits_and_starts_processes_in_them() {
    let name = "delegation::a_user_in_a_delegated_subtree_makes_groups_with_limits_and_starts_processes_in_them";
    if std::env::var_os(INSIDE).is_none() {
        let service = Playground::with_controllers("user@1000", Controllers::parse("memory pids"));
        let shell = Group::create(service.0.dir(), "shell").expect("shell");
        for file in [
            "",
            "cgroup.procs",
            "cgroup.threads",
            "cgroup.subtree_control",
        ] {
            give(service.0.path().join(file));
        }
        return again_as_user(name, &shell);
    }
    let hierarchy = Hierarchy::find().expect("find");
    let own = hierarchy.own_cgroup().expect("own");
    let Answer::Place(place) = find(&hierarchy, memory()).expect("answer") else {
        panic!("no place");
    };
    assert_eq!(Some(place.dir.as_path()), own.parent());
    let limits = Limits {
        memory_max: Some(Limit::Value(Bytes(8 << 20))),
        ..Limits::default()
    };
    let parent = Group::open(&place.dir).expect("open");
    let subtree = parent
        .subtree("ctr", limits.controllers())
        .expect("subtree");
    let group = Group::create(subtree.dir(), "web").expect("create");
    group.write(&limits.writes()[0]).expect("limit");
    let pid = clone_into(&group).expect("CLONE_INTO_CGROUP");
    group.remove_tree().expect("remove");
    assert_eq!(reap(pid), libc::SIGKILL);
    subtree.remove().expect("remove");

    let io = Controllers::parse("io");
    match find(&hierarchy, io).expect("answer") {
        Answer::Refused(refusal) => {
            assert!(
                matches!(refusal.reason, Reason::NotOffered(..)),
                "{refusal:?}"
            );
            assert!(
                refusal.way_out().contains("subtree_control"),
                "{}",
                refusal.way_out()
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_user_in_a_group_of_root_is_told_what_to_do_and_may_run_without_limits() {
    let name =
        "delegation::a_user_in_a_group_of_root_is_told_what_to_do_and_may_run_without_limits";
    if std::env::var_os(INSIDE).is_none() {
        let session = Playground::with_controllers("session", memory());
        return again_as_user(name, &session.0);
    }
    let hierarchy = Hierarchy::find().expect("find");
    let own = hierarchy.own_cgroup().expect("own");
    match find(&hierarchy, memory()).expect("answer") {
        Answer::Refused(refusal) => {
            assert_eq!(
                refusal.reason,
                Reason::NotWritable(own.join("cgroup.procs"))
            );
            assert!(
                refusal.way_out().contains("systemd-run"),
                "{}",
                refusal.way_out()
            );
        }
        other => panic!("{other:?}"),
    }
    let none = find(&hierarchy, Controllers::EMPTY).expect("answer");
    assert!(matches!(none, Answer::NotNeeded(_)), "{none:?}");
    let error = Group::create(Group::open(&own).expect("open").dir(), "x").expect_err("not ours");
    assert_eq!(error.errno(), Some(Errno::ACCESS));
    assert!(error.hint().expect("hint").contains("delegated"));
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_user_alone_in_a_group_of_his_own_cannot_have_limits() {
    let name = "delegation::a_user_alone_in_a_group_of_his_own_cannot_have_limits";
    if std::env::var_os(INSIDE).is_none() {
        let scope = Playground::with_controllers("scope", memory());
        for file in [
            "",
            "cgroup.procs",
            "cgroup.threads",
            "cgroup.subtree_control",
        ] {
            give(scope.0.path().join(file));
        }
        return again_as_user(name, &scope.0);
    }
    let hierarchy = Hierarchy::find().expect("find");
    let own = hierarchy.own_cgroup().expect("own");
    match find(&hierarchy, memory()).expect("answer") {
        Answer::Refused(refusal) => {
            assert_eq!(
                refusal.reason,
                Reason::HoldsProcesses(own.clone(), memory())
            );
        }
        other => panic!("{other:?}"),
    }
    let Answer::Place(place) = find(&hierarchy, Controllers::EMPTY).expect("answer") else {
        panic!("no place without limits");
    };
    assert_eq!(place.dir, own);
    let group = Group::create(Group::open(&own).expect("open").dir(), "bare").expect("create");
    let pid = clone_into(&group).expect("CLONE_INTO_CGROUP");
    group.remove_tree().expect("remove");
    assert_eq!(reap(pid), libc::SIGKILL);
}
