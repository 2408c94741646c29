//! Where in the cgroup2 hierarchy this caller's containers can be put.

use std::path::{Path, PathBuf};

use cgroup::delegation::{self, Answer};
use cgroup::{Controller, Controllers, Group, Hierarchy};
use rustix::fs::statfs;

use crate::host::{Caller, Cgroup, Level, Place};

const INFO: &str = "`ctr info` shows what this machine has";

/// The directory below which all containers' groups lie.
const PARENT: &str = "ctr";

/// Where distributions mount cgroup2: unified, and beside version 1.
const USUAL: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// Look. Nothing is made.
///
/// `needed`: the controllers of the limits that were asked for. `quick`: nobody asks who holds the
/// others. Then root's hierarchy is found by two statfs(2) rather than by reading every mount.
pub(crate) fn observe(caller: &Caller, needed: Controllers, quick: bool) -> Cgroup {
    let root = caller.uid == 0 && caller.privileged;
    if quick
        && root
        && let Some(place) = usual_place()
    {
        return Cgroup::Place(place);
    }
    let hierarchy = match Hierarchy::find() {
        Ok(hierarchy) => hierarchy,
        Err(error) => return unavailable(&error),
    };
    let found = if root {
        let top = hierarchy.mount_point().to_owned();
        place(&hierarchy, &top, hierarchy.controllers())
    } else {
        match delegation::find(&hierarchy, needed) {
            Ok(Answer::Place(delegated)) => place(&hierarchy, &delegated.dir, delegated.available),
            Ok(Answer::NotNeeded(refusal) | Answer::Refused(refusal)) => {
                let help = refusal.way_out().into();
                return Cgroup::Unavailable {
                    because: refusal.to_string(),
                    help,
                };
            }
            Ok(_) => {
                return Cgroup::Unavailable {
                    because: "no answer".into(),
                    help: INFO.into(),
                };
            }
            Err(error) => Err(error),
        }
    };
    match found {
        Ok(place) => Cgroup::Place(place),
        Err(error) => unavailable(&error),
    }
}

fn usual_place() -> Option<Place> {
    let top = USUAL
        .into_iter()
        .map(Path::new)
        .find(|dir| statfs(*dir).is_ok_and(|fs| fs.f_type == libc::CGROUP2_SUPER_MAGIC))?;
    let group = Group::open(top).ok()?;
    let available = group.controllers().ok()?;
    let levels = levels(&group, top, available).ok()?;
    Some(Place {
        mount_point: top.into(),
        levels,
        available,
        holders: Vec::new(),
    })
}

fn unavailable(error: &cgroup::Error) -> Cgroup {
    let help = error.hint().unwrap_or(INFO);
    Cgroup::Unavailable {
        because: crate::cause::chain(error),
        help: help.into(),
    }
}

fn place(
    hierarchy: &Hierarchy,
    top: &Path,
    available: Controllers,
) -> Result<Place, cgroup::Error> {
    let group = Group::open(top)?;
    let levels = levels(&group, top, available)?;
    let holders = [
        Controller::Memory,
        Controller::Cpu,
        Controller::Cpuset,
        Controller::Io,
        Controller::Pids,
    ]
    .into_iter()
    .filter(|controller| !available.contains(*controller))
    .map(|controller| (controller, holder(hierarchy, top, controller)))
    .collect();
    let mount_point: PathBuf = hierarchy.mount_point().into();
    Ok(Place {
        mount_point,
        levels,
        available,
        holders,
    })
}

/// The mount point (or what is delegated) and the parent of all containers in it.
fn levels(group: &Group, top: &Path, available: Controllers) -> Result<Vec<Level>, cgroup::Error> {
    let parent = top.join(PARENT);
    let (exists, enabled) = match Group::open(&parent) {
        Ok(group) => (true, group.enabled()?),
        Err(_not_there) => (false, Controllers::default()),
    };
    // What `ctr` enables its parent enables too: then there is nothing to read there.
    let above = if exists && enabled.contains_all(available) {
        enabled
    } else {
        group.enabled()?
    };
    Ok(vec![
        Level {
            dir: top.into(),
            exists: true,
            enabled: above,
        },
        Level {
            dir: parent,
            exists,
            enabled,
        },
    ])
}

fn holder(hierarchy: &Hierarchy, top: &Path, controller: Controller) -> String {
    hierarchy
        .holder_for(top, controller)
        .map_or_else(|error| error.to_string(), |holder| holder.to_string())
}
