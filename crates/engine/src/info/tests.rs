//! Findings from invented machines.

use std::collections::BTreeSet;

use cgroup::Controller;
use confine::{Abi, Lsms};
use ns::subid::SubId;
use rustix::io::Errno;

use super::calls::{Program, StateDir};
use super::cgroups::{Found, Refused};
use super::trial::Trial;
use super::*;

/// A machine that has everything, and root on it.
fn full() -> Facts {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let helper = |name: &str| Program {
        path: Path::new("/usr/bin").join(name),
        raises: true,
    };
    Facts {
        files: Files {
            release: "6.18.2".into(),
            namespaces: words("cgroup ipc mnt net pid pid_for_children time user uts"),
            overlay: true,
            max_user_namespaces: Some(1000),
            seccomp_actions: Some("user_notif errno allow\n".into()),
            pressure: words("cpu io memory"),
            lsms: Lsms {
                apparmor: true,
                selinux: true,
                list: words("landlock apparmor selinux"),
            },
            ..Files::default()
        },
        calls: Calls {
            open_tree: Err(Errno::NOENT),
            mount_setattr: Ok(()),
            openat2: Ok(()),
            pidfd: Ok(()),
            kmsg: Ok(()),
            landlock: Abi::from_number(7),
            newuidmap: Some(helper("newuidmap")),
            newgidmap: Some(helper("newgidmap")),
            state: StateDir {
                path: "/run/ctr".into(),
                there: Some((0, 0o700)),
                writable: true,
            },
        },
        cgroups: Ok(Found {
            mount_point: "/sys/fs/cgroup".into(),
            hybrid: false,
            place: Ok("/sys/fs/cgroup/ctr".into()),
            controllers: vec![(Controller::Memory, Ok(())), (Controller::Pids, Ok(()))],
            kill: true,
            peak: true,
        }),
        trials: Trials {
            user_namespace: Trial::Works,
            proc: Trial::Works,
            sysfs: Trial::Works,
        },
        caller: Caller {
            uid: 0,
            gid: 0,
            privileged: true,
            may_raise_rlimits: true,
        },
    }
}

/// The same for an ordinary user with subordinate ids.
fn of_user() -> Facts {
    let mut facts = full();
    facts.caller = Caller {
        uid: 1000,
        gid: 1000,
        privileged: false,
        may_raise_rlimits: false,
    };
    let range = SubId {
        owner: "alice".into(),
        first: 100_000,
        count: 65_536,
    };
    facts.files.subuid = Some(range.clone());
    facts.files.subgid = Some(range);
    facts.calls.open_tree = Err(Errno::PERM);
    facts.calls.mount_setattr = Err(Errno::PERM);
    facts.calls.state.there = None;
    facts
}

/// How `name` stands after `change`: its state, and what its detail and its remedy must contain.
#[track_caller]
fn check(
    mut facts: Facts,
    change: impl FnOnce(&mut Facts),
    name: &str,
    state: State,
    (detail, remedy): (&str, &str),
) {
    change(&mut facts);
    let info = judge::judge(&facts);
    let found = info.findings.iter().find(|finding| finding.name == name);
    let found = found.expect("a finding of this name");
    assert_eq!(found.state, state, "{found:?}");
    assert!(found.detail.contains(detail), "{found:?}");
    let said = found.remedy.as_deref().unwrap_or_default();
    assert!(said.contains(remedy), "{found:?}");
    assert_eq!(said.is_empty(), state == State::Ok, "{found:?}");
}

fn refused(errno: Errno) -> Trial {
    Trial::Refused {
        call: "clone3(…)".into(),
        errno,
        hint: None,
    }
}

#[test]
fn a_machine_that_has_everything_has_no_remedies() {
    let info = judge::judge(&full());
    for finding in &info.findings {
        assert_eq!(
            (finding.state, &finding.remedy),
            (State::Ok, &None),
            "{finding:?}"
        );
    }
    let names: BTreeSet<_> = info.findings.iter().map(|finding| finding.name).collect();
    assert_eq!(names.len(), info.findings.len(), "names are unique");
}

#[test]
fn an_ordinary_user_lacks_rights_and_not_the_kernel() {
    let info = judge::judge(&of_user());
    let not_ok: Vec<_> = info
        .findings
        .iter()
        .filter(|f| f.state != State::Ok)
        .collect();
    let names: Vec<_> = not_ok.iter().map(|finding| finding.name).collect();
    assert_eq!(names, ["raising limits"], "{not_ok:?}");
}

#[test]
fn findings_of_a_topic_stand_together() {
    let mut topics: Vec<_> = judge::judge(&full())
        .findings
        .iter()
        .map(|f| f.topic)
        .collect();
    topics.dedup();
    assert_eq!(
        topics,
        [
            Topic::Kernel,
            Topic::Security,
            Topic::Caller,
            Topic::Cgroups
        ]
    );
}

#[test]
fn old_kernels_are_told_by_what_they_lack() {
    let on = |release: &'static str| move |facts: &mut Facts| facts.files.release = release.into();
    check(full(), on("6.1.0"), "version", State::Ok, ("6.1.0", ""));
    check(
        full(),
        on("5.15.0"),
        "version",
        State::Missing,
        ("5.15.0", "6.1"),
    );
    check(
        full(),
        on(""),
        "version",
        State::Missing,
        ("osrelease", "mount"),
    );
    check(
        full(),
        on("6.1.0"),
        "idmapped mounts",
        State::Limited,
        ("tmpfs", "6.3"),
    );
    check(
        full(),
        on("5.15.0"),
        "idmapped mounts",
        State::Missing,
        ("", "5.19"),
    );
    check(
        full(),
        on("5.10.0"),
        "close_range",
        State::Missing,
        ("", "5.11"),
    );
    check(
        full(),
        on("5.4.0"),
        "CLONE_INTO_CGROUP",
        State::Missing,
        ("", "5.7"),
    );
}

#[test]
fn enosys_is_a_kernel_or_a_filter_that_lacks_the_call() {
    let none = Err(Errno::NOSYS);
    let missing = State::Missing;
    let said = ("ENOSYS", "seccomp");
    check(full(), |f| f.calls.openat2 = none, "openat2", missing, said);
    check(
        full(),
        |f| f.calls.open_tree = none,
        "new mount API",
        missing,
        said,
    );
    check(
        of_user(),
        |f| f.calls.mount_setattr = none,
        "mount_setattr",
        missing,
        said,
    );
    check(
        full(),
        |f| f.calls.mount_setattr = Err(Errno::PERM),
        "mount_setattr",
        missing,
        ("EPERM", "filter"),
    );
    check(
        full(),
        |f| f.trials.user_namespace = refused(Errno::NOSYS),
        "clone3",
        missing,
        said,
    );
    // Refused for what was asked, so it is there.
    check(
        full(),
        |f| f.trials.user_namespace = refused(Errno::PERM),
        "clone3",
        State::Ok,
        ("", ""),
    );
}

#[test]
fn overlayfs_that_is_a_module_is_loaded_by_the_first_mount() {
    let gone = |f: &mut Facts| f.files.overlay = false;
    let module = |f: &mut Facts| {
        f.files.overlay = false;
        f.files.overlay_module = true;
    };
    check(
        full(),
        gone,
        "overlayfs",
        State::Missing,
        ("neither", "CONFIG_OVERLAY_FS"),
    );
    check(
        full(),
        module,
        "overlayfs",
        State::Limited,
        ("loads it", "modprobe overlay"),
    );
}

#[test]
fn missing_namespaces_are_named_with_their_config() {
    let without = |name: &'static str| {
        move |facts: &mut Facts| facts.files.namespaces.retain(|own| own != name)
    };
    check(
        full(),
        without("user"),
        "namespaces",
        State::Missing,
        ("no user", "CONFIG_USER_NS=y"),
    );
    check(
        full(),
        without("time"),
        "namespaces",
        State::Ok,
        ("user", ""),
    );
    check(
        full(),
        without("time"),
        "time namespace",
        State::Missing,
        ("time", "CONFIG_TIME_NS"),
    );
}

#[test]
fn a_covered_procfs_is_named_by_what_covers_it() {
    let covered = |facts: &mut Facts| {
        facts.trials.proc = refused(Errno::PERM);
        facts.files.over_proc = vec!["/proc/kcore".into()];
    };
    check(
        full(),
        covered,
        "procfs",
        State::Missing,
        (
            "EPERM (Operation not permitted), outer one covered by /proc/kcore",
            "masked",
        ),
    );
    let not_tried = |facts: &mut Facts| facts.trials.sysfs = Trial::NotTried("threads".into());
    check(
        full(),
        not_tried,
        "sysfs",
        State::Limited,
        ("not probed: threads", "user namespaces"),
    );
}

#[test]
fn the_sysctl_that_forbids_user_namespaces_is_named_to_whom_it_concerns() {
    const USER: &str = "user namespaces";
    const OTHERS: &str = "for ordinary users";
    let max = |facts: &mut Facts| facts.files.max_user_namespaces = Some(0);
    check(
        full(),
        max,
        USER,
        State::Missing,
        ("max_user_namespaces is 0", "sysctl -w user.max"),
    );
    check(
        full(),
        max,
        OTHERS,
        State::Missing,
        ("max_user_namespaces is 0", "sysctl -w user.max"),
    );
    let debian = |facts: &mut Facts| {
        facts.files.userns_clone = Some(0);
        if !facts.caller.privileged {
            facts.trials.user_namespace = refused(Errno::PERM);
        }
    };
    let said = (
        "unprivileged_userns_clone is 0",
        "sysctl -w kernel.unprivileged_userns_clone=1",
    );
    check(full(), debian, USER, State::Ok, ("made one", ""));
    check(full(), debian, OTHERS, State::Limited, said);
    check(of_user(), debian, USER, State::Missing, said);
    let ubuntu = |facts: &mut Facts| {
        facts.files.apparmor_userns = Some(1);
        facts.trials.proc = refused(Errno::PERM);
    };
    check(
        of_user(),
        ubuntu,
        USER,
        State::Limited,
        ("without capabilities", "userns,"),
    );
    let hidden = |facts: &mut Facts| facts.files.max_user_namespaces = None;
    check(
        full(),
        hidden,
        OTHERS,
        State::Limited,
        ("not known", "over /proc/sys"),
    );
    let unbuilt = |facts: &mut Facts| {
        facts.files.max_user_namespaces = None;
        facts.files.namespaces.clear();
    };
    check(
        full(),
        unbuilt,
        OTHERS,
        State::Missing,
        ("no sysctl", "CONFIG_USER_NS=y"),
    );
    // A profile allows this program.
    let allowed = |facts: &mut Facts| facts.files.apparmor_userns = Some(1);
    check(of_user(), allowed, USER, State::Ok, ("mounted in it", ""));
    let filtered = |facts: &mut Facts| facts.trials.user_namespace = refused(Errno::PERM);
    check(
        of_user(),
        filtered,
        USER,
        State::Missing,
        ("EPERM", "user_namespaces(7)"),
    );
}

#[test]
fn root_of_a_container_is_told_that_it_is_not_root() {
    let inside = |facts: &mut Facts| facts.caller.privileged = false;
    check(
        full(),
        inside,
        "rights",
        State::Limited,
        ("uid 0 without", "outside"),
    );
    let weak = |facts: &mut Facts| facts.caller.may_raise_rlimits = false;
    check(
        full(),
        weak,
        "raising limits",
        State::Limited,
        ("", "CAP_SYS_RESOURCE"),
    );
    let filtered = |facts: &mut Facts| facts.files.filtered = true;
    check(
        full(),
        filtered,
        "confinement",
        State::Limited,
        ("seccomp", "SystemCallFilter="),
    );
    let nnp = |facts: &mut Facts| facts.files.no_new_privs = true;
    check(
        full(),
        nnp,
        "confinement",
        State::Limited,
        ("newuidmap", "NoNewPrivileges="),
    );
}

#[test]
fn helpers_are_needed_by_ordinary_users_and_must_be_set_user_id() {
    let none = |facts: &mut Facts| facts.calls.newgidmap = None;
    check(
        full(),
        none,
        "newuidmap",
        State::Ok,
        ("root needs none", ""),
    );
    check(
        of_user(),
        none,
        "newuidmap",
        State::Missing,
        ("not installed", "uidmap"),
    );
    let weak = |facts: &mut Facts| facts.calls.newgidmap.as_mut().expect("there").raises = false;
    check(
        of_user(),
        weak,
        "newuidmap",
        State::Missing,
        ("newgidmap is not", "chmod u+s /usr/bin/newgidmap"),
    );
}

#[test]
fn ids_are_a_range_for_root_and_what_is_granted_for_others() {
    check(
        full(),
        |_| (),
        "ids",
        State::Ok,
        ("65536 each, from 1879048192", ""),
    );
    let range = |first, count| SubId {
        owner: "bob".into(),
        first,
        count,
    };
    for (first, count, state) in [
        (0x6fff_0000, 0x1_0000, State::Ok),
        (0x6fff_0000, 0x1_0001, State::Limited),
        (0x7000_0000, 1, State::Limited),
        (0x7ffd_ffff, 1, State::Limited),
        (0x7ffe_0000, 65_536, State::Ok),
        (4_000_000_000, 65_536, State::Ok),
    ] {
        let clash = |facts: &mut Facts| facts.files.subuids = vec![range(first, count)];
        let said = if state == State::Ok {
            ("", "")
        } else {
            ("bob", "/etc/subuid")
        };
        check(full(), clash, "ids", state, said);
    }
    check(
        of_user(),
        |_| (),
        "ids",
        State::Ok,
        ("own id, uids 65536 from 100000", ""),
    );
    check(
        of_user(),
        |f| f.files.subuid = None,
        "ids",
        State::Limited,
        ("/etc/subuid", "usermod"),
    );
    check(
        of_user(),
        |f| f.files.subgid = None,
        "ids",
        State::Limited,
        ("/etc/subgid", "usermod"),
    );
    check(
        of_user(),
        |f| f.files.subuid = Some(range(5, 10)),
        "ids",
        State::Limited,
        ("fewer", "usermod"),
    );
}

#[test]
fn a_state_directory_must_be_the_callers_own_and_private() {
    let is = |there, writable| {
        move |facts: &mut Facts| {
            facts.calls.state.there = there;
            facts.calls.state.writable = writable;
        }
    };
    const NAME: &str = "state directory";
    check(
        full(),
        is(None, true),
        NAME,
        State::Ok,
        ("made at the first start", ""),
    );
    check(
        full(),
        is(None, false),
        NAME,
        State::Missing,
        ("cannot be made", "--root"),
    );
    check(
        full(),
        is(Some((5, 0o700)), true),
        NAME,
        State::Missing,
        ("uid 5", "--root"),
    );
    check(
        full(),
        is(Some((0, 0o777)), true),
        NAME,
        State::Missing,
        ("0777", "chmod 0700 /run/ctr"),
    );
    check(
        full(),
        is(Some((0, 0o700)), false),
        NAME,
        State::Missing,
        ("written", "--root"),
    );
}

#[test]
fn confinement_that_is_missing_says_how_to_boot_with_it() {
    check(
        full(),
        |f| f.files.seccomp_actions = None,
        "seccomp",
        State::Missing,
        ("", "CONFIG_SECCOMP_FILTER"),
    );
    let old = |facts: &mut Facts| facts.files.seccomp_actions = Some("kill errno allow".into());
    check(
        full(),
        old,
        "seccomp user_notif",
        State::Missing,
        ("", "5.0"),
    );
    check(
        full(),
        |f| f.calls.landlock = Abi::from_number(2),
        "Landlock",
        State::Limited,
        ("ABI 2", "6.12"),
    );
    let off = |facts: &mut Facts| {
        facts.calls.landlock = Abi::NONE;
        facts.files.lsms = Lsms::parse(Some("capability,yama"), None, None);
    };
    check(
        full(),
        off,
        "Landlock",
        State::Missing,
        ("", "`lsm=yama,landlock`"),
    );
    check(
        full(),
        off,
        "AppArmor",
        State::Missing,
        ("not active", "`lsm=yama,apparmor`"),
    );
    check(
        full(),
        off,
        "SELinux",
        State::Missing,
        ("not active", "`lsm=yama,selinux`"),
    );
    check(
        full(),
        |f| f.calls.kmsg = Err(Errno::PERM),
        "/dev/kmsg",
        State::Missing,
        ("EPERM", "dmesg_restrict=0"),
    );
}

#[test]
fn who_holds_a_controller_is_said_where_it_is_missing() {
    let held = || Refused {
        because: "cgroup v1 holds it".into(),
        remedy: "boot otherwise".into(),
    };
    let hybrid = |facts: &mut Facts| {
        let found = facts.cgroups.as_mut().expect("there");
        found.hybrid = true;
        found.controllers[0].1 = Err(held());
        (found.peak, found.kill) = (false, false);
    };
    check(
        full(),
        hybrid,
        "cgroup2",
        State::Ok,
        ("/sys/fs/cgroup, beside version 1", ""),
    );
    check(
        full(),
        hybrid,
        "memory",
        State::Missing,
        ("v1 holds it", "boot otherwise"),
    );
    check(
        full(),
        hybrid,
        "memory.peak",
        State::Missing,
        ("memory controller", "boot otherwise"),
    );
    check(full(), hybrid, "cgroup.kill", State::Ok, ("by version", ""));
    check(full(), hybrid, "pids", State::Ok, ("", ""));
    let none = |facts: &mut Facts| facts.cgroups = Err(held());
    check(
        full(),
        none,
        "cgroup2",
        State::Missing,
        ("v1", "boot otherwise"),
    );
    let mine = |facts: &mut Facts| facts.cgroups.as_mut().expect("there").place = Err(held());
    check(
        full(),
        mine,
        "place",
        State::Limited,
        ("v1", "boot otherwise"),
    );
    check(
        full(),
        |f| f.files.pressure.clear(),
        "pressure",
        State::Missing,
        ("", "CONFIG_PSI"),
    );
}

#[test]
fn looking_leaves_mounts_and_the_state_directory_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options {
        state_root: dir.path().join("run"),
        data_root: dir.path().join("lib"),
    };
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let before = mounts();
    let info = info(&options);
    assert_eq!(mounts(), before);
    assert!(!options.state_root.exists());
    assert_eq!(
        info.kernel,
        std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .expect("it")
            .trim()
    );
}
