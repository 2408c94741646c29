//! Facts about cgroup2, from the same look-ups that a start makes.

use std::path::{Path, PathBuf};

use cgroup::delegation::{self, Answer};
use cgroup::{Controller, Controllers, Error, Group, Hierarchy, Kind};

use crate::host::Caller;

/// The controllers that limits of a manifest need.
const CONTROLLERS: [Controller; 5] = [
    Controller::Memory,
    Controller::Cpu,
    Controller::Cpuset,
    Controller::Io,
    Controller::Pids,
];

/// Groups looked at for the files that kernels have or lack.
const SAMPLE: usize = 16;

/// Why something cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// A clause.
    pub(super) because: String,
    /// What to do.
    pub(super) remedy: String,
}

/// The hierarchy, or why there is none.
pub(super) type Cgroups = Result<Found, Refused>;

/// A mounted cgroup2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) mount_point: PathBuf,
    /// Version 1 has some of the controllers.
    pub(super) hybrid: bool,
    /// Where this caller's groups are made.
    pub(super) place: Result<PathBuf, Refused>,
    /// Whether limits of these can be had there.
    pub(super) controllers: Vec<(Controller, Result<(), Refused>)>,
    /// A group was seen that has `cgroup.kill`.
    pub(super) kill: bool,
    /// A group was seen that has `memory.peak`.
    pub(super) peak: bool,
}

/// Look, as `/proc` below `root` has it.
pub(super) fn look(root: &Path, caller: &Caller) -> Cgroups {
    let hierarchy = Hierarchy::find_in(&root.join("proc/self")).map_err(|e| refused(&e))?;
    let root = caller.uid == 0 && caller.privileged;
    let place = match root {
        true => of_root(&hierarchy),
        false => of_user(&hierarchy, Controllers::EMPTY),
    };
    let check = |controller: Controller| {
        offered(&hierarchy, controller)?;
        match root {
            true => place.clone().map(drop),
            false => of_user(&hierarchy, controller.into()).map(drop),
        }
    };
    let controllers = CONTROLLERS.map(|c| (c, check(c))).to_vec();
    let groups = sample(&hierarchy);
    let seen = |file: &str| {
        groups
            .iter()
            .any(|group| group.has_file(file).unwrap_or(false))
    };
    Ok(Found {
        mount_point: hierarchy.mount_point().into(),
        hybrid: hierarchy.kind() == Kind::Hybrid,
        place,
        controllers,
        kill: seen("cgroup.kill"),
        peak: seen("memory.peak"),
    })
}

fn refused(error: &Error) -> Refused {
    Refused {
        because: crate::cause::chain(error),
        remedy: error.hint().unwrap_or("see mount(8) and cgroups(7)").into(),
    }
}

/// Whether the whole hierarchy has it.
fn offered(hierarchy: &Hierarchy, controller: Controller) -> Result<(), Refused> {
    hierarchy
        .require(controller.into())
        .map_err(|error| Refused {
            because: hierarchy.holder(controller).to_string(),
            ..refused(&error)
        })
}

fn of_root(hierarchy: &Hierarchy) -> Result<PathBuf, Refused> {
    let top = hierarchy.mount_point();
    if hierarchy.is_read_only() {
        return Err(Refused {
            because: format!("{top:?} is mounted read-only"),
            remedy: format!("mount -o remount,rw {}", top.display()),
        });
    }
    Ok(top.join("ctr"))
}

fn of_user(hierarchy: &Hierarchy, needed: Controllers) -> Result<PathBuf, Refused> {
    match delegation::find(hierarchy, needed) {
        Ok(Answer::Place(place)) => Ok(place.dir),
        Ok(Answer::NotNeeded(refusal) | Answer::Refused(refusal)) => Err(Refused {
            because: refusal.to_string(),
            remedy: refusal.way_out().into(),
        }),
        Ok(_) => Err(Refused {
            because: "the caller's group cannot be told".into(),
            remedy: "see cgroups(7)".into(),
        }),
        Err(error) => Err(refused(&error)),
    }
}

/// Our own group and some below the mount point: the root group has few files.
fn sample(hierarchy: &Hierarchy) -> Vec<Group> {
    let below = std::fs::read_dir(hierarchy.mount_point())
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .take(SAMPLE);
    let own = hierarchy.own_cgroup();
    own.into_iter()
        .chain(below)
        .filter_map(|dir| Group::open(&dir).ok())
        .collect()
}
