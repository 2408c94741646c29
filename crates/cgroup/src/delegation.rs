//! In which group an ordinary user may make groups and start processes in them.
//!
//! Three things must come together (see the kernel's [cgroup-v2] document, "Delegation" and "No
//! Internal Process Constraint"):
//!
//! 1. write permission on the directory, to make a group in it;
//! 2. write permission on the `cgroup.procs` of the nearest common ancestor of our own group and the
//!    new one: `CLONE_INTO_CGROUP` asks for the same as a move does ("delegation containment"). So the
//!    directory can only be our own group or an ancestor of it, never a subtree beside us, even when it
//!    is our own;
//! 3. for limits, the directory must enable the controllers, and to enable them it must hold no
//!    process. Our own group holds at least us.
//!
//! systemd delegates `user@UID.service`; what is started by the user's manager lies below it. A login
//! shell (`session-N.scope`) does not.
//!
//! [cgroup-v2]: https://docs.kernel.org/admin-guide/cgroup-v2.html

use std::fmt;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, accessat};

use crate::{Controllers, Error, Group, Hierarchy, Holder};

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Groups can be made here.
    Place(Place),
    /// There is no such directory, but none is needed: no limits were asked for. The process can
    /// run in our own group; there is nothing then to freeze or kill it by.
    NotNeeded(Refusal),
    /// There is no such directory.
    Refused(Refusal),
}

/// A group in which groups can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The directory.
    pub dir: PathBuf,
    /// What it offers and can enable.
    pub available: Controllers,
    /// What it enables already.
    pub enabled: Controllers,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Our own group.
    pub own: Option<PathBuf>,
    /// The reason.
    pub reason: Reason,
}

/// Why not, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Our own group is not below the mount.
    OwnGroupHidden,
    /// The mount is read-only.
    ReadOnly(PathBuf),
    /// No permission to write this, in our own group or the parent.
    NotWritable(PathBuf),
    /// A subtree is delegated to this user, but we are not in it.
    OutsideDelegated(PathBuf),
    /// The group is ours, but holds processes, and nothing above it is ours.
    HoldsProcesses(PathBuf, Controllers),
    /// The best place does not offer these.
    NotOffered(PathBuf, Controllers, Holder),
}

impl Refusal {
    /// What to do about it.
    pub fn way_out(&self) -> &'static str {
        match &self.reason {
            Reason::OwnGroupHidden => {
                "mount cgroup2 so that it shows this process' own group: it lies outside the mount \
                 or the cgroup namespace"
            }
            Reason::ReadOnly(_) => "remount cgroup2 read-write (a container needs it delegated)",
            Reason::NotWritable(_) | Reason::OutsideDelegated(_) => {
                "start it through the user's service manager: systemd-run --user --scope -p \
                 Delegate=yes COMMAND; without systemd, root can make a group, start the shell in it \
                 and give the directory, cgroup.procs and cgroup.subtree_control of its parent to the user"
            }
            Reason::HoldsProcesses(..) => {
                "limits need a parent group without processes: start it through systemd-run --user \
                 --scope, so that the group above (app.slice) is the user's as well"
            }
            Reason::NotOffered(_, _, holder) => match holder {
                Holder::V1Mount(_) | Holder::V1Hidden => crate::hints::HELD_BY_V1,
                Holder::NotEnabledIn(_) => crate::hints::NOT_ENABLED,
                Holder::AboveTheMount(_) => crate::hints::ABOVE_THE_MOUNT,
                Holder::Nobody => crate::hints::NOT_IN_KERNEL,
            },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::OwnGroupHidden => f.write_str("our own cgroup is not below the cgroup2 mount"),
            Reason::ReadOnly(mount) => write!(f, "{mount:?} is mounted read-only"),
            Reason::NotWritable(path) => write!(f, "{path:?} may not be written by this user"),
            Reason::OutsideDelegated(path) => write!(
                f,
                "{path:?} is delegated to this user, but this process is outside of it, in {:?}",
                self.own.as_deref().unwrap_or(Path::new("?"))
            ),
            Reason::HoldsProcesses(path, controllers) => write!(
                f,
                "{path:?} holds processes (this one), so it cannot enable {controllers} for a child"
            ),
            Reason::NotOffered(path, controllers, holder) => {
                write!(f, "{path:?} does not offer {controllers}: {holder}")
            }
        }
    }
}

/// What was seen of one group on the way from our own up to the mount point.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Level {
    dir: PathBuf,
    /// A group can be made in it.
    writable: bool,
    /// `cgroup.procs` is writable.
    procs_writable: bool,
    /// `cgroup.subtree_control` is writable.
    control_writable: bool,
    /// It holds processes and is not the one root, so it cannot enable controllers.
    occupied: bool,
    controllers: Controllers,
    enabled: Controllers,
}

/// Looks for the place nearest to our own group that gives groups the `needed` controllers.
///
/// # Errors
///
/// [`Error::Read`] and the like; that there is no such place is an [`Answer`].
pub fn find(hierarchy: &Hierarchy, needed: Controllers) -> Result<Answer, Error> {
    let refuse = |own: Option<PathBuf>, reason| {
        let refusal = Refusal { own, reason };
        Ok(if needed.is_empty() {
            Answer::NotNeeded(refusal)
        } else {
            Answer::Refused(refusal)
        })
    };
    let Some(own) = hierarchy.own_cgroup() else {
        return refuse(None, Reason::OwnGroupHidden);
    };
    if hierarchy.is_read_only() {
        let mount = hierarchy.mount_point().to_owned();
        return refuse(Some(own), Reason::ReadOnly(mount));
    }
    let mut levels = Vec::new();
    for dir in own.ancestors() {
        if !hierarchy.is_in_namespace(dir) {
            break;
        }
        levels.push(observe(dir)?);
        if dir == hierarchy.mount_point() {
            break;
        }
    }
    if levels.is_empty() {
        return refuse(Some(own), Reason::OwnGroupHidden);
    }
    match choose(&levels, needed) {
        Ok(place) => Ok(Answer::Place(place)),
        Err(Choice::NotOffered(dir, missing)) => {
            let holder = match missing.iter().next() {
                Some(controller) => hierarchy.holder_for(&dir, controller)?,
                None => Holder::Nobody,
            };
            refuse(Some(own), Reason::NotOffered(dir, missing, holder))
        }
        Err(Choice::HoldsProcesses(dir)) => refuse(Some(own), Reason::HoldsProcesses(dir, needed)),
        Err(Choice::NotWritable(path)) => {
            let reason = match systemd_delegated(hierarchy.mount_point()) {
                Some(delegated) if !own.starts_with(&delegated) => {
                    Reason::OutsideDelegated(delegated)
                }
                _ => Reason::NotWritable(path),
            };
            refuse(Some(own), reason)
        }
    }
}

fn observe(dir: &Path) -> Result<Level, Error> {
    let group = Group::open(dir)?;
    let may = |file: &str, access| accessat(group.dir(), file, access, AtFlags::EACCESS).is_ok();
    let root = !group.has_file("cgroup.type")?;
    Ok(Level {
        writable: may(".", Access::WRITE_OK | Access::EXEC_OK),
        procs_writable: may("cgroup.procs", Access::WRITE_OK),
        control_writable: may("cgroup.subtree_control", Access::WRITE_OK),
        occupied: !root && holds_processes(&group)?,
        controllers: group.controllers()?,
        enabled: group.enabled()?,
        dir: dir.to_owned(),
    })
}

fn holds_processes(group: &Group) -> Result<bool, Error> {
    // A threaded group does not list its processes (EOPNOTSUPP), and has some.
    Ok(group
        .if_there("cgroup.procs")?
        .is_none_or(|text| !text.is_empty()))
}

/// Why none of the levels will do.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    NotWritable(PathBuf),
    HoldsProcesses(PathBuf),
    NotOffered(PathBuf, Controllers),
}

/// `levels`: our own group first, each followed by its parent.
fn choose(levels: &[Level], needed: Controllers) -> Result<Place, Choice> {
    let mut best = None;
    for level in levels {
        let refusal = if !level.procs_writable {
            // It would be the common ancestor for everything further up as well as for itself,
            // unless that is writable again: the root's may be while a parent's is not.
            Choice::NotWritable(level.dir.join("cgroup.procs"))
        } else if !level.writable {
            Choice::NotWritable(level.dir.clone())
        } else {
            match enabling(level, needed) {
                Ok(place) => return Ok(place),
                Err(refusal) => refusal,
            }
        };
        // The first that is ours but lacks something says more than one that is not ours.
        let better = match (&best, &refusal) {
            (None, _) => true,
            (Some(Choice::NotWritable(_)), other) => !matches!(other, Choice::NotWritable(_)),
            (Some(Choice::HoldsProcesses(_)), other) => matches!(other, Choice::NotOffered(..)),
            (Some(Choice::NotOffered(..)), _) => false,
        };
        if better {
            best = Some(refusal);
        }
    }
    // The caller gives at least our own group.
    Err(best.unwrap_or_else(|| Choice::NotWritable(PathBuf::new())))
}

fn enabling(level: &Level, needed: Controllers) -> Result<Place, Choice> {
    let can_enable = level.control_writable && !level.occupied;
    let available = if can_enable {
        level.controllers
    } else {
        level.enabled
    };
    if available.contains_all(needed) {
        return Ok(Place {
            dir: level.dir.clone(),
            available,
            enabled: level.enabled,
        });
    }
    if level.occupied && level.controllers.contains_all(needed) {
        return Err(Choice::HoldsProcesses(level.dir.clone()));
    }
    if !level.control_writable && level.controllers.contains_all(needed) {
        return Err(Choice::NotWritable(
            level.dir.join("cgroup.subtree_control"),
        ));
    }
    Err(Choice::NotOffered(
        level.dir.clone(),
        needed.without(level.controllers),
    ))
}

/// The subtree that systemd gives to this user, if it is there and writable.
fn systemd_delegated(mount_point: &Path) -> Option<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let dir = mount_point
        .join("user.slice")
        .join(format!("user-{uid}.slice"))
        .join(format!("user@{uid}.service"));
    let group = Group::open(&dir).ok()?;
    accessat(
        group.dir().as_fd(),
        "cgroup.procs",
        Access::WRITE_OK,
        AtFlags::EACCESS,
    )
    .ok()
    .map(|()| dir)
}

#[cfg(test)]
#[path = "delegation_tests.rs"]
mod tests;
