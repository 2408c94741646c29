//! The choice among groups, from our own upwards.

use super::*;

fn level(dir: &str) -> Level {
    Level {
        dir: dir.into(),
        writable: false,
        procs_writable: false,
        control_writable: false,
        occupied: false,
        controllers: Controllers::parse("cpu memory pids"),
        enabled: Controllers::EMPTY,
    }
}

fn ours(dir: &str) -> Level {
    Level {
        writable: true,
        procs_writable: true,
        control_writable: true,
        ..level(dir)
    }
}

fn occupied(level: Level) -> Level {
    Level {
        occupied: true,
        ..level
    }
}

fn memory() -> Controllers {
    Controllers::parse("memory")
}

#[test]
fn below_the_user_s_manager_the_nearest_empty_ancestor_is_taken() {
    let levels = [
        occupied(ours("/m/user@1000.service/app.slice/run-1.scope")),
        Level {
            enabled: memory(),
            ..ours("/m/user@1000.service/app.slice")
        },
        ours("/m/user@1000.service"),
        level("/m"),
    ];
    let place = choose(&levels, memory()).expect("a place");
    assert_eq!(place.dir, Path::new("/m/user@1000.service/app.slice"));
    assert_eq!(place.enabled, memory());
    assert_eq!(place.available, Controllers::parse("cpu memory pids"));
}

#[test]
fn without_limits_our_own_group_will_do_although_it_holds_us() {
    let levels = [occupied(ours("/m/a")), level("/m")];
    let place = choose(&levels, Controllers::EMPTY).expect("a place");
    assert_eq!(place.dir, Path::new("/m/a"));
    assert!(place.available.is_empty());
}

#[test]
fn a_login_shell_is_not_in_a_group_that_is_ours() {
    let levels = [
        level("/m/user-1000.slice/session-3.scope"),
        level("/m/user-1000.slice"),
    ];
    assert_eq!(
        choose(&levels, memory()),
        Err(Choice::NotWritable(
            "/m/user-1000.slice/session-3.scope/cgroup.procs".into()
        ))
    );
}

#[test]
fn a_group_that_is_ours_but_holds_us_is_the_reason_when_nothing_above_is_ours() {
    let levels = [occupied(ours("/m/a")), level("/m")];
    assert_eq!(
        choose(&levels, memory()),
        Err(Choice::HoldsProcesses("/m/a".into()))
    );
}

#[test]
fn a_controller_that_the_best_place_does_not_offer_is_named() {
    let levels = [occupied(ours("/m/u/a")), ours("/m/u"), level("/m")];
    assert_eq!(
        choose(&levels, Controllers::parse("memory io")),
        Err(Choice::NotOffered(
            "/m/u/a".into(),
            Controllers::parse("io")
        ))
    );
}

#[test]
fn a_directory_without_its_cgroup_procs_or_subtree_control_is_not_enough() {
    let no_procs = Level {
        procs_writable: false,
        ..ours("/m/a")
    };
    assert_eq!(
        choose(&[no_procs], Controllers::EMPTY),
        Err(Choice::NotWritable("/m/a/cgroup.procs".into()))
    );
    let no_control = Level {
        control_writable: false,
        ..ours("/m/a")
    };
    assert_eq!(
        choose(std::slice::from_ref(&no_control), memory()),
        Err(Choice::NotWritable("/m/a/cgroup.subtree_control".into()))
    );
    let enabled = Level {
        enabled: memory(),
        ..no_control
    };
    assert!(choose(&[enabled], memory()).is_ok());
}

#[test]
fn each_reason_has_a_way_out() {
    for reason in [
        Reason::OwnGroupHidden,
        Reason::ReadOnly("/m".into()),
        Reason::NotWritable("/m".into()),
        Reason::OutsideDelegated("/m".into()),
        Reason::HoldsProcesses("/m".into(), memory()),
        Reason::NotOffered("/m".into(), memory(), Holder::NotEnabledIn("/m".into())),
    ] {
        let refusal = Refusal {
            own: Some("/m/a".into()),
            reason,
        };
        assert!(
            !refusal.way_out().is_empty() && !refusal.to_string().is_empty(),
            "{refusal:?}"
        );
    }
}
