//! Real files of several hosts.

use super::*;
use proptest::prelude::*;

const HYBRID: &str = include_str!("fixtures/mountinfo-hybrid-6.18");
const HYBRID_OWN: &str = "9:name=systemd:/\n8:pids:/\n7:blkio:/\n6:freezer:/\n5:devices:/\n\
    4:memory:/process_api/1\n3:cpuset:/\n2:cpuacct:/\n1:cpu:/\n0::/\n";
const UNIFIED: &str = include_str!("fixtures/mountinfo-unified");
const BARE: &str = include_str!("fixtures/mountinfo-vm-6.12");
const V1_ONLY: &str = include_str!("fixtures/mountinfo-v1");

fn parse(mountinfo: &str, own: &str) -> Hierarchy {
    Hierarchy::parse(mountinfo, own).expect("a cgroup2 mount")
}

#[test]
fn on_a_hybrid_host_the_bare_cgroup2_mount_is_found_and_v1_holds_the_controllers() {
    let hierarchy = parse(HYBRID, HYBRID_OWN);
    assert_eq!(hierarchy.kind(), Kind::Hybrid);
    assert_eq!(hierarchy.mount_point(), Path::new("/sys/fs/cgroup/unified"));
    assert_eq!(
        hierarchy.own_cgroup().as_deref(),
        Some(Path::new("/sys/fs/cgroup/unified"))
    );
    for (controller, mount) in [
        (Controller::Memory, "/sys/fs/cgroup/memory"),
        // Another name in version 1.
        (Controller::Io, "/sys/fs/cgroup/blkio"),
        (Controller::Cpu, "/sys/fs/cgroup/cpu"),
    ] {
        assert_eq!(
            hierarchy.holder(controller),
            Holder::V1Mount(mount.into()),
            "{controller}"
        );
    }
    let error = hierarchy
        .require(Controller::Memory.into())
        .expect_err("v1 has it");
    assert_eq!(
        error.to_string(),
        "controller `memory` is not in \"/sys/fs/cgroup/unified/cgroup.controllers\": \
         cgroup v1 holds it, mounted on \"/sys/fs/cgroup/memory\""
    );
    assert!(
        error
            .hint()
            .expect("hint")
            .contains("unified_cgroup_hierarchy")
    );
}

#[test]
fn a_v1_hierarchy_that_is_mounted_elsewhere_still_holds_its_controller() {
    let hierarchy = parse(UNIFIED, "4:memory:/a\n0::/user.slice/user-1000.slice\n");
    assert_eq!(hierarchy.holder(Controller::Memory), Holder::V1Hidden);
}

#[test]
fn on_a_unified_host_our_own_group_lies_below_the_mount() {
    let own = "0::/user.slice/user-1000.slice/session-3.scope\n";
    let hierarchy = parse(UNIFIED, own);
    assert_eq!(hierarchy.kind(), Kind::Unified);
    assert_eq!(
        hierarchy.own_cgroup().as_deref(),
        Some(Path::new(
            "/sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope"
        ))
    );
    assert!(hierarchy.has_option("nsdelegate"));
    assert!(!hierarchy.has_option("favordynmods") && !hierarchy.is_read_only());
}

#[test]
fn of_a_machine_without_systemd_the_root_group_may_be_our_own() {
    let hierarchy = parse(BARE, "0::/\n");
    assert_eq!(hierarchy.kind(), Kind::Unified);
    assert_eq!(
        hierarchy.own_cgroup().as_deref(),
        Some(Path::new("/sys/fs/cgroup"))
    );
}

#[test]
fn above_the_root_of_a_cgroup_namespace_nothing_is_in_it_when_the_mount_says_nsdelegate() {
    let line = |options: &str| format!("30 24 0:27 /../.. /m rw - cgroup2 cgroup2 rw,{options}\n");
    let delegated = parse(&line("nsdelegate"), "0::/\n");
    for (dir, inside) in [
        ("/m", false),
        ("/m/a", false),
        ("/m/a/b", true),
        ("/m/a/b/c", true),
    ] {
        assert_eq!(delegated.is_in_namespace(Path::new(dir)), inside, "{dir}");
    }
    assert!(parse(&line("favordynmods"), "0::/\n").is_in_namespace(Path::new("/m")));
}

#[test]
fn a_host_with_v1_only_is_an_error_that_says_what_v1_holds() {
    let error = Hierarchy::parse(
        V1_ONLY,
        "5:cpu,cpuacct:/\n3:memory:/x\n1:name=systemd:/init.scope\n",
    )
    .expect_err("no cgroup2");
    assert_eq!(
        error.to_string(),
        "no cgroup2 file system is mounted; cgroup v1 holds cpu, cpuacct, memory"
    );
    assert!(error.hint().is_some());
}

#[test]
fn of_two_mounts_the_writable_one_that_shows_our_own_group_is_taken() {
    let line = |root: &str, at: &str, mode: &str| {
        format!("30 24 0:27 {root} {at} {mode},nosuid - cgroup2 cgroup2 rw\n")
    };
    for (mountinfo, expected) in [
        (line("/other", "/a", "rw") + &line("/", "/b", "rw"), "/b"),
        (line("/", "/a", "ro") + &line("/", "/b", "rw"), "/b"),
        (line("/", "/a", "rw") + &line("/", "/b", "rw"), "/a"),
        (line("/other", "/a", "rw") + &line("/", "/b", "ro"), "/b"),
    ] {
        let hierarchy = parse(&mountinfo, "0::/mine\n");
        assert_eq!(hierarchy.mount_point(), Path::new(expected), "{mountinfo}");
    }
}

#[test]
fn own_groups_are_placed_below_any_mount_root_of_a_cgroup_namespace() {
    for (root, own, expected) in [
        ("/", "/a/b", Own::At("a/b".into())),
        ("/", "/", Own::At("".into())),
        ("/a", "/a/b", Own::At("b".into())),
        ("/a", "/ab", Own::Elsewhere),
        // A process outside the namespace, whose path goes up as far as the mount's root does.
        ("/../..", "/../../x/y", Own::At("x/y".into())),
        // The names of the two levels in between are not shown.
        (
            "/../..",
            "/",
            Own::Hidden {
                levels: 2,
                rest: "".into(),
            },
        ),
        (
            "/../..",
            "/../z",
            Own::Hidden {
                levels: 1,
                rest: "z".into(),
            },
        ),
        // A mount of a sibling.
        ("/../s", "/", Own::Elsewhere),
        ("/../s", "/../s/t", Own::At("t".into())),
        // Further up than the mount.
        ("/..", "/../../x", Own::Elsewhere),
        ("/", "/../x", Own::Elsewhere),
    ] {
        assert_eq!(
            relative_to(Path::new(root), Path::new(own)),
            expected,
            "{root} {own}"
        );
    }
}

#[test]
fn a_group_whose_name_is_hidden_is_found_by_the_process_in_it() {
    let dir = tempfile::tempdir().expect("tempdir");
    let pid = std::process::id();
    for (group, procs) in [
        ("a/x", "1\n".to_owned()),
        ("b/x", format!("1\n{pid}\n")),
        ("b/y", String::new()),
    ] {
        let group = dir.path().join(group);
        fs::create_dir_all(&group).expect("mkdir");
        fs::write(group.join("cgroup.procs"), procs).expect("write");
    }
    let find = |levels, rest: &str, mut budget: usize| {
        search(
            dir.path(),
            levels,
            Path::new(rest),
            &pid.to_string(),
            &mut budget,
        )
    };
    assert_eq!(find(1, "x", 100), Some(dir.path().join("b/x")));
    assert_eq!(find(2, "", 100), Some(dir.path().join("b/x")));
    assert_eq!(find(1, "y", 100), None);
    assert_eq!(find(2, "", 1), None, "the search is bounded");
}

#[test]
fn a_deleted_own_group_is_none() {
    let hierarchy = parse(UNIFIED, "0::/gone (deleted)\n");
    assert_eq!(hierarchy.own_cgroup(), None);
}

proptest! {
    #[test]
    fn any_pair_of_files_is_read_without_panic(
        mountinfo in proptest::collection::vec(any::<u8>(), 0..300),
        own in "([0-9]:|/|\\.\\.|memory|name=|\n|\\PC){0,60}",
    ) {
        let _ = Hierarchy::parse(&mountinfo, &own);
        let _ = Hierarchy::parse(HYBRID, &own).map(|h| h.own_cgroup());
    }

    #[test]
    fn any_two_paths_are_compared_without_panic(root in "(/|\\.\\.|[a-c]){0,12}", own in "(/|\\.\\.|[a-c]){0,12}") {
        if let Own::At(below) = relative_to(Path::new(&root), Path::new(&own)) {
            prop_assert!(!below.is_absolute());
        }
    }
}
