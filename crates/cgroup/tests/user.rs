//! What an ordinary user can have tested: looking at groups, and being told why not to make any.
//!
//! Nothing is changed. Run by root, each test runs once more as the user 65534.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use cgroup::delegation::{self, Answer};
use cgroup::psi::Resource;
use cgroup::{Controllers, Error, Group, Hierarchy, Limits};
use rustix::io::Errno;

/// Runs `body` as somebody who is not root.
fn as_user(name: &str, body: fn(&Hierarchy)) {
    if !rustix::process::geteuid().is_root() {
        match Hierarchy::find() {
            Ok(hierarchy) => body(&hierarchy),
            Err(error) => not_tested(&error),
        }
        return;
    }
    let run = Command::new(std::env::current_exe().expect("exe"))
        .args(["--exact", name, "--nocapture"])
        .current_dir("/")
        .gid(65_534)
        .uid(65_534)
        .stderr(Stdio::inherit())
        .output();
    let run = match run {
        Ok(run) => run,
        Err(error) => return not_tested(&error),
    };
    let said = String::from_utf8_lossy(&run.stdout);
    // A name that matches no test would succeed as well, having run nothing.
    assert!(
        run.status.success() && said.contains("1 passed"),
        "{name}: {said}"
    );
}

/// Says so loudly: the machine cannot run the test, and a reader must see that it did not.
#[expect(clippy::print_stderr, reason = "a test that did not run must be seen")]
fn not_tested(error: &dyn std::error::Error) {
    eprintln!("NOT TESTED: {error}");
}

#[test]
fn the_root_group_can_be_looked_at_by_anybody() {
    as_user("the_root_group_can_be_looked_at_by_anybody", |hierarchy| {
        let root = hierarchy.root().expect("root");
        assert_eq!(root.path(), hierarchy.mount_point());
        let stats = root.stats().expect("stats");
        if hierarchy.is_whole() {
            assert!(stats.memory.is_none() && stats.pids.is_none());
        }
        match root.pressure(Resource::Cpu) {
            Ok(psi) => assert!(psi.some.is_some()),
            Err(error) => assert!(
                matches!(error.errno(), Some(Errno::NOENT | Errno::OPNOTSUPP)),
                "{error}"
            ),
        }
        root.children().expect("children");
    });
}

#[test]
fn a_group_of_root_is_not_divided_or_limited_by_others() {
    as_user(
        "a_group_of_root_is_not_divided_or_limited_by_others",
        |hierarchy| {
            let root = hierarchy.root().expect("root");
            let error = Group::create(root.dir(), "not-ours").expect_err("not ours");
            assert!(
                matches!(error.errno(), Some(Errno::ACCESS | Errno::ROFS)),
                "{error}"
            );
            assert!(error.hint().is_some());
            let error = root
                .write_file("cgroup.subtree_control", "+pids")
                .expect_err("not ours");
            assert!(
                matches!(error.errno(), Some(Errno::ACCESS | Errno::ROFS)),
                "{error}"
            );
            let path = root.path().join("cgroup.subtree_control");
            assert_eq!(error.to_string(), format!("write({path:?}, \"+pids\")"));
        },
    );
}

#[test]
fn without_limits_a_missing_delegation_is_no_obstacle() {
    as_user(
        "without_limits_a_missing_delegation_is_no_obstacle",
        |hierarchy| {
            let answer = delegation::find(hierarchy, Controllers::EMPTY).expect("answer");
            match answer {
                Answer::Place(place) => assert!(place.dir.starts_with(hierarchy.mount_point())),
                Answer::NotNeeded(refusal) => assert!(!refusal.way_out().is_empty()),
                other => panic!("{other:?}"),
            }
        },
    );
}

#[test]
fn a_controller_that_the_machine_does_not_give_to_version_2_is_named_with_its_holder() {
    as_user(
        "a_controller_that_the_machine_does_not_give_to_version_2_is_named_with_its_holder",
        |hierarchy| {
            let limits = Limits {
                pids_max: Some(cgroup::Limit::Value(1)),
                ..Limits::default()
            };
            let needed = limits.controllers();
            match hierarchy.require(needed) {
                Ok(()) => assert!(hierarchy.controllers().contains_all(needed)),
                Err(Error::ControllerMissing {
                    controller, holder, ..
                }) => {
                    assert_eq!(controller, cgroup::Controller::Pids);
                    assert!(!holder.to_string().is_empty());
                }
                Err(other) => panic!("{other:?}"),
            }
        },
    );
}

#[test]
fn loading_a_device_program_is_refused_with_the_capabilities_it_takes() {
    as_user(
        "loading_a_device_program_is_refused_with_the_capabilities_it_takes",
        |_| {
            let error = cgroup::device::Program::allow_list(&[]).expect_err("no capabilities");
            assert!(
                matches!(error.errno(), Some(Errno::PERM | Errno::NOSYS)),
                "{error}"
            );
            assert!(error.hint().is_some());
        },
    );
}
