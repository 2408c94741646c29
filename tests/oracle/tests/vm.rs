//! The kinds of leak that need root.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use oracle::{Oracle, Places};

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn an_empty_cgroup_is_seen() {
    let oracle = Oracle::start(Places::machine());
    let places = Places::machine();
    let mount: &PathBuf = places.cgroups.first().expect("cgroup2 is mounted");
    let group = mount.join("left-group");
    fs::create_dir(&group).expect("mkdir");
    let found = oracle.difference();
    fs::remove_dir(&group).expect("rmdir");
    assert!(
        found
            .left_behind
            .iter()
            .any(|(kind, line)| *kind == "cgroup" && line.ends_with("/left-group")),
        "{found}"
    );
    oracle.finish(Duration::from_secs(5)).expect("removed");
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_quiet_machine_does_not_change() {
    let oracle = Oracle::start(Places::machine());
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(100));
        let found = oracle.difference();
        assert!(found.is_empty(), "{found}");
    }
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn state_of_every_user_is_looked_at() {
    let dir = PathBuf::from("/run/user/1000/ctr");
    fs::create_dir(&dir).expect("mkdir");
    let oracle = Oracle::start(Places::machine());
    fs::create_dir(dir.join("web")).expect("mkdir");
    let found = oracle.difference();
    fs::remove_dir_all(&dir).expect("remove");
    assert!(
        found.to_string().contains("/run/user/1000/ctr/web"),
        "{found}"
    );
}
