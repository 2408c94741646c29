//! Giving controllers to the children of a group: `cgroup.subtree_control`.
//!
//! The kernel's rule of no internal processes: a group other than the root either holds processes
//! or enables controllers. The threaded ones (cpu, cpuset, pids) it would let a group with processes
//! enable, but that turns the group into a threaded domain and its children into groups that no
//! process can be started in; so here the rule is kept for all.

use std::path::Path;

use rustix::io::Errno;

use crate::hierarchy::Hierarchy;
use crate::limits::Write;
use crate::{Controllers, Error, Group, Holder};

/// How many process ids an error shows.
const SHOWN: usize = 8;

/// The one write that enables what is `needed` and not yet `enabled`; `None` when that is nothing.
/// Whether the group offers it is for the caller to know: see [`Hierarchy::require`].
pub fn enabling(enabled: Controllers, needed: Controllers) -> Option<Write> {
    let missing = needed.without(enabled);
    if missing.is_empty() {
        return None;
    }
    let names: Vec<String> = missing.iter().map(|c| format!("+{c}")).collect();
    Some(Write::new("cgroup.subtree_control", names.join(" ")))
}

impl Group {
    /// Enables controllers for the children of this group: nothing is written when they are.
    ///
    /// # Errors
    ///
    /// [`Error::HoldsProcesses`] when the group is not the root and holds processes;
    /// [`Error::Write`]: `ENOENT` when the group does not have a controller itself.
    pub fn enable(&self, needed: Controllers) -> Result<(), Error> {
        let Some(write) = enabling(self.enabled()?, needed) else {
            return Ok(());
        };
        self.check_no_processes(needed)?;
        match self.write(&write) {
            // One that was started between the check and the write.
            Err(Error::Write {
                source: Errno::BUSY,
                ..
            }) => {
                self.check_no_processes(needed)?;
                self.write(&write)
            }
            other => other,
        }
    }

    fn check_no_processes(&self, controllers: Controllers) -> Result<(), Error> {
        let mut pids = self.procs()?;
        if pids.is_empty() || !self.has_file("cgroup.type")? {
            return Ok(());
        }
        pids.truncate(SHOWN);
        Err(Error::HoldsProcesses {
            path: self.path(),
            controllers,
            pids,
        })
    }

    /// Makes a child group, or opens it when it is there.
    ///
    /// # Errors
    ///
    /// As [`Group::create`] but for `EEXIST`.
    pub fn create_or_open(&self, name: &str) -> Result<Self, Error> {
        match Self::create(self.dir(), name) {
            Err(Error::Create {
                source: Errno::EXIST,
                ..
            }) => Self::open_in(self.dir(), name),
            other => other,
        }
    }

    /// A child group whose own children have `needed`: made and enabled as far as it is not so
    /// yet. When all is in place that is one directory opened and one file read.
    ///
    /// # Errors
    ///
    /// As [`Group::create`] and [`Group::enable`].
    pub fn subtree(&self, name: &str, needed: Controllers) -> Result<Self, Error> {
        match Self::open_in(self.dir(), name) {
            // What a group enables its parent enables: nothing to look at there.
            Ok(group) if group.enabled()?.contains_all(needed) => return Ok(group),
            Ok(_)
            | Err(Error::Open {
                source: Errno::NOENT,
                ..
            }) => {}
            Err(error) => return Err(error),
        }
        self.enable(needed)?;
        let group = self.create_or_open(name)?;
        group.enable(needed)?;
        Ok(group)
    }
}

impl Hierarchy {
    /// The group `name` below the mount point, whose children have `needed`; see
    /// [`Group::subtree`].
    ///
    /// # Errors
    ///
    /// [`Error::ControllerMissing`] with who holds the controller; else as [`Group::subtree`].
    pub fn subtree(&self, name: &str, needed: Controllers) -> Result<Group, Error> {
        self.require(needed)?;
        self.root()?.subtree(name, needed)
    }

    /// Why the group `dir` does not offer `controller`: the topmost group from the mount point down
    /// to its parent that does not enable it, or who holds it when the mount point does not offer
    /// it either.
    ///
    /// # Errors
    ///
    /// As [`Group::read`], of the groups in between.
    pub fn holder_for(&self, dir: &Path, controller: crate::Controller) -> Result<Holder, Error> {
        if !self.controllers().contains(controller) {
            return Ok(self.holder(controller));
        }
        let below = dir
            .strip_prefix(self.mount_point())
            .unwrap_or(Path::new(""));
        let mut at = self.mount_point().to_owned();
        for part in below.components() {
            if !Group::open(&at)?.enabled()?.contains(controller) {
                return Ok(Holder::NotEnabledIn(at));
            }
            at.push(part);
        }
        Ok(Holder::NotEnabledIn(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_and_not_yet_enabled_is_written_at_once() {
        let enabled = Controllers::parse("memory");
        let write = enabling(enabled, Controllers::parse("pids memory cpu")).expect("a write");
        assert_eq!(write.to_string(), "cgroup.subtree_control = +cpu +pids");
        assert_eq!(write.controller, None);
        assert_eq!(enabling(enabled, enabled), None);
        assert_eq!(enabling(enabled, Controllers::EMPTY), None);
    }
}
