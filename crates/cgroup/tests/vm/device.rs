//! Device access, asked of real nodes.

use std::fs::{File, OpenOptions};

use cgroup::device::{Access, DeviceRule, DeviceType, Program};
use cgroup::{Controllers, Group};
use rustix::io::Errno;

use crate::common::{Playground, try_in};

fn char_device(major: u32, minor: u32, access: Access) -> DeviceRule {
    DeviceRule {
        device_type: Some(DeviceType::Char),
        major: Some(major),
        minor: Some(minor),
        access,
    }
}

/// What a process in the group gets when it opens a node.
fn open_in(group: &Group, path: &'static str, write: bool) -> Result<(), Option<i32>> {
    let result = try_in(group, move || {
        let mut options = OpenOptions::new();
        options.read(!write).write(write);
        options.open(path).map(drop)
    });
    match result {
        Ok(status) => {
            assert!(status.success());
            Ok(())
        }
        Err(error) => Err(error.raw_os_error()),
    }
}

const REFUSED: Result<(), Option<i32>> = Err(Some(libc::EPERM));

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn an_allow_list_allows_what_is_on_it_and_refuses_the_rest() {
    let group = Playground::with_controllers("device", Controllers::EMPTY);
    assert_eq!(open_in(&group.0, "/dev/zero", true), Ok(()), "before");
    let program = Program::allow_list(&[
        char_device(1, 3, Access::ALL),
        char_device(1, 5, Access::READ),
    ])
    .expect("load");
    program.attach(group.0.dir()).expect("attach");
    assert_eq!(group.0.device_programs().expect("query").len(), 1);

    assert_eq!(open_in(&group.0, "/dev/null", true), Ok(()));
    assert_eq!(open_in(&group.0, "/dev/zero", false), Ok(()));
    assert_eq!(open_in(&group.0, "/dev/zero", true), REFUSED);
    assert_eq!(open_in(&group.0, "/dev/full", false), REFUSED);
    // Not our own group.
    File::open("/dev/full").expect("outside");

    // It stays when the descriptor is closed, and goes when it is taken away.
    let id = group.0.device_programs().expect("query")[0];
    let next = Program::allow_list(&[char_device(1, 7, Access::READ_WRITE)]).expect("load");
    next.replace(&program, group.0.dir()).expect("replace");
    let ids = group.0.device_programs().expect("query");
    assert!(ids.len() == 1 && ids[0] != id, "{ids:?}");
    assert_eq!(open_in(&group.0, "/dev/full", true), Ok(()));
    let error = program
        .detach(group.0.dir())
        .expect_err("not attached any more");
    assert_eq!(error.errno(), Some(Errno::NOENT));
    next.detach(group.0.dir()).expect("detach");
    assert_eq!(group.0.device_programs().expect("query"), []);
    assert_eq!(open_in(&group.0, "/dev/zero", true), Ok(()), "after");
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_child_group_is_bound_by_its_parent_s_list_as_well_and_mknod_is_asked_for() {
    let group = Playground::with_controllers("device-tree", Controllers::EMPTY);
    let child = Group::create(group.0.dir(), "child").expect("child");
    let null = char_device(1, 3, Access::READ_WRITE);
    Program::allow_list(&[null])
        .expect("load")
        .attach(group.0.dir())
        .expect("attach");
    let all = DeviceRule {
        device_type: None,
        major: None,
        minor: None,
        access: Access::ALL,
    };
    Program::allow_list(&[all])
        .expect("load")
        .attach(child.dir())
        .expect("attach");
    assert_eq!(open_in(&child, "/dev/null", true), Ok(()));
    assert_eq!(open_in(&child, "/dev/zero", false), REFUSED);

    let made = try_in(&child, || {
        let device = rustix::fs::makedev(1, 3);
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let node = rustix::fs::FileType::CharacterDevice;
        rustix::fs::mknodat(rustix::fs::CWD, "/tmp/null", node, mode, device)?;
        Ok(())
    });
    assert_eq!(made.expect_err("mknod").raw_os_error(), Some(libc::EPERM));
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_longest_list_loads_and_a_directory_that_is_no_group_is_ebadf() {
    let rules: Vec<_> = (0..cgroup::device::MAX_RULES as u32)
        .map(|minor| char_device(200, minor, Access::READ))
        .collect();
    let program = Program::allow_list(&rules).expect("load");
    let error = program
        .attach(File::open("/").expect("open"))
        .expect_err("no group");
    assert_eq!(error.errno(), Some(Errno::BADF), "{error}");
    assert!(error.hint().expect("hint").contains("not that of a cgroup"));
}
