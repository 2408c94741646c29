//! Freezing, killing, removing.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use cgroup::{CgroupEvents, Controllers, Error, Group, Limit, Limits};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::common::{PATIENCE, Playground, clone_into, reap, refused, sh};

fn bare(name: &str) -> Playground {
    Playground::with_controllers(name, Controllers::EMPTY)
}

/// utime and stime, in ticks.
fn cpu_time(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("stat").1.split(' ').collect();
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_process_is_born_in_the_group_whose_directory_it_is_given() {
    let group = bare("born");
    let pid = clone_into(&group.0).expect("clone3");
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
    assert_eq!(own, "0::/cgroup-test/born\n");
    assert_eq!(group.0.procs().expect("procs"), [pid.cast_unsigned()]);
    refused(
        &group.0.remove().expect_err("busy"),
        Errno::BUSY,
        "holds processes",
    );
    group.0.kill().expect("kill");
    group.0.wait_empty(PATIENCE).expect("empty");
    group.0.remove().expect("a zombie does not count");
    assert_eq!(reap(pid), libc::SIGKILL);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_frozen_group_gets_no_cpu_time_until_it_is_thawed() {
    let group = bare("freeze");
    let busy = sh(&group.0, "while :; do :; done");
    group.0.freeze(PATIENCE).expect("freeze");
    assert!(group.0.get::<CgroupEvents>().expect("events").frozen);
    let before = cpu_time(busy.id());
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(cpu_time(busy.id()), before);
    group.0.thaw(PATIENCE).expect("thaw");
    crate::common::eventually("runs again", || cpu_time(busy.id()) > before);
    finish(&group, vec![busy]);
}

fn finish(group: &Playground, children: Vec<std::process::Child>) {
    group.0.remove_tree().expect("remove_tree");
    assert!(
        !group.0.path().exists(),
        "{:?} is still there",
        group.0.path()
    );
    for mut child in children {
        assert_eq!(child.wait().expect("wait").signal(), Some(libc::SIGKILL));
    }
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn thawing_below_a_frozen_ancestor_is_given_up_in_time() {
    let group = bare("outer");
    let inner = Group::create(group.0.dir(), "inner").expect("inner");
    let sleeper = sh(&inner, "exec sleep 1000");
    group.0.freeze(PATIENCE).expect("freeze");
    let error = inner
        .thaw(Duration::from_millis(200))
        .expect_err("the ancestor is frozen");
    assert!(
        matches!(
            error,
            Error::Timeout {
                wanted: "frozen 0",
                ..
            }
        ),
        "{error:?}"
    );
    finish(&group, vec![sleeper]);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_tree_of_running_and_frozen_groups_is_removed_at_once() {
    let group = bare("tree");
    let mut children = vec![sh(&group.0, "exec sleep 1000")];
    for branch in ["a", "b"] {
        let mut at = Group::create(group.0.dir(), branch).expect(branch);
        for name in ["1", "2", "3"] {
            children.push(sh(&at, "exec sleep 1000"));
            children.push(sh(&at, "while :; do :; done"));
            at = Group::create(at.dir(), name).expect(name);
        }
        children.push(sh(&at, "exec sleep 1000"));
        if branch == "b" {
            Group::open_in(group.0.dir(), "b")
                .expect("b")
                .freeze(PATIENCE)
                .expect("freeze");
        }
    }
    finish(&group, children);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_fork_bomb_does_not_escape_removal() {
    let limits = Limits {
        // Far more than is waited for: a shell that cannot fork any more ends by itself.
        pids_max: Some(Limit::Value(600)),
        ..Limits::default()
    };
    let group = Playground::new("bomb", &limits);
    let bomb = sh(&group.0, "while :; do sleep 1000 & done 2>/dev/null");
    crate::common::eventually("many processes", || {
        group.0.procs().expect("procs").len() > 40
    });
    finish(&group, vec![bomb]);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_tree_deeper_than_the_limit_of_descriptors_is_removed() {
    let group = bare("deep");
    let mut at = Group::create(group.0.dir(), "0").expect("0");
    for _ in 0..100 {
        at = Group::create(at.dir(), "x").expect("x");
    }
    for i in 0..100 {
        Group::create(group.0.dir(), format!("sibling-{i}")).expect("sibling");
    }
    drop(at);
    let few = Rlimit {
        current: Some(24),
        maximum: Some(24),
    };
    setrlimit(Resource::Nofile, few).expect("setrlimit");
    let start = Instant::now();
    finish(&group, Vec::new());
    assert!(start.elapsed() < PATIENCE);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn an_empty_group_is_removed_by_name_of_its_own_directory_only() {
    let group = bare("own");
    let old = Group::open(&group.0.path()).expect("open");
    group.0.remove().expect("remove");
    // Nothing of the old group can be asked any more.
    let error = old.read("cgroup.procs").expect_err("gone");
    assert!(
        matches!(error.errno(), Some(Errno::NODEV | Errno::NOENT)),
        "{error}: {:?}",
        error.errno()
    );
    old.remove_tree().expect("gone is fine");
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_root_group_has_no_cgroup_kill_and_the_hint_says_so() {
    let root = cgroup::Hierarchy::find()
        .expect("find")
        .root()
        .expect("root");
    refused(
        &root.kill().expect_err("the root"),
        Errno::NOENT,
        "root group has none",
    );
}
