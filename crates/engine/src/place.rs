//! Where in the cgroup2 hierarchy this caller's containers can be put.

use std::path::{Path, PathBuf};

use cgroup::{Controller, Controllers, Group, Hierarchy};

use crate::host::{Caller, Cgroup, Level, Place};

/// The directory below which all containers' groups lie.
const PARENT: &str = "ctr";

/// Look. Nothing is made.
pub(crate) fn observe(caller: &Caller) -> Cgroup {
    let hierarchy = match Hierarchy::find() {
        Ok(hierarchy) => hierarchy,
        Err(error) => return unavailable(&error),
    };
    let top = if caller.uid == 0 && caller.privileged {
        Ok(hierarchy.mount_point().to_owned())
    } else {
        cgroup::delegation::find(&hierarchy)
    };
    match top.and_then(|top| place(&hierarchy, &top)) {
        Ok(place) => Cgroup::Place(place),
        Err(error) => unavailable(&error),
    }
}

fn unavailable(error: &cgroup::Error) -> Cgroup {
    let help = error.hint().unwrap_or("`ctr info` shows what this machine has");
    Cgroup::Unavailable { because: crate::cause::chain(error), help: help.into() }
}

fn place(hierarchy: &Hierarchy, top: &Path) -> Result<Place, cgroup::Error> {
    let group = Group::open(top)?;
    let available =
        if top == hierarchy.mount_point() { hierarchy.controllers() } else { group.controllers()? };
    let parent = top.join(PARENT);
    let (exists, enabled) = match Group::open(&parent) {
        Ok(group) => (true, group.enabled()?),
        Err(_not_there) => (false, Controllers::default()),
    };
    // What `ctr` enables its parent enables too: then there is nothing to read there.
    let above = if exists && enabled.contains_all(available) { enabled } else { group.enabled()? };
    let levels = vec![
        Level { dir: top.into(), exists: true, enabled: above },
        Level { dir: parent, exists, enabled },
    ];
    let holders = [Controller::Memory, Controller::Cpu, Controller::Cpuset, Controller::Io, Controller::Pids]
        .into_iter()
        .filter(|controller| !available.contains(*controller))
        .map(|controller| (controller, holder(hierarchy, top, controller)))
        .collect();
    let mount_point: PathBuf = hierarchy.mount_point().into();
    Ok(Place { mount_point, levels, available, holders })
}

fn holder(hierarchy: &Hierarchy, top: &Path, controller: Controller) -> String {
    hierarchy
        .holder_for(top, controller)
        .map_or_else(|error| error.to_string(), |holder| holder.to_string())
}
