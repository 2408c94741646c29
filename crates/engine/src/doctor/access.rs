//! What execve checks before it reads a file: is it one, may the user execute it, may anybody here.

use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat, StatVfsMountFlags};

use super::Diagnosis;
use super::inspect::Inspector;
use crate::spec::Origin;
use crate::tree::Found;

const S_IXUSR: u32 = 0o100;
const S_IXGRP: u32 = 0o010;
const S_IXOTH: u32 = 0o001;
const ANY_X: u32 = S_IXUSR | S_IXGRP | S_IXOTH;

impl Inspector<'_> {
    /// What execve checks before it reads the file.
    pub(super) fn permissions(&self, path: &Path, found: &Found) -> Option<Diagnosis> {
        let path = path.to_owned();
        let who = self
            .who
            .map(|who| format!("{}:{}", who.uid, who.gid))
            .unwrap_or_default();
        if let Some((at, stat)) = found
            .through
            .iter()
            .find(|(_, stat)| !self.may_execute(stat))
        {
            let (at, mode, owner) = (at.clone(), stat.st_mode & 0o7777, owner(stat));
            return Some(Diagnosis::Unsearchable {
                path,
                at,
                mode,
                owner,
                who,
            });
        }
        let kind = match found.kind() {
            FileType::RegularFile => None,
            FileType::Directory => Some("directory"),
            FileType::Fifo => Some("fifo"),
            FileType::Socket => Some("socket"),
            FileType::CharacterDevice | FileType::BlockDevice => Some("device"),
            _ => Some("file of an unknown kind"),
        };
        if let Some(kind) = kind {
            return Some(Diagnosis::NotAFile { path, kind });
        }
        let mode = found.stat.st_mode & 0o7777;
        if mode & ANY_X == 0 {
            return Some(Diagnosis::NotExecutable { path, mode });
        }
        if !self.may_execute(&found.stat) {
            return Some(Diagnosis::NotExecutableBy {
                path,
                mode,
                owner: owner(&found.stat),
                who,
            });
        }
        self.noexec(found).map(|(mount, origin)| Diagnosis::NoExec {
            path,
            mount,
            origin,
        })
    }

    /// The `x` bit that counts for the user; ACLs are not looked at.
    fn may_execute(&self, stat: &Stat) -> bool {
        let Some(who) = self.who else { return true };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if who.overrides && (is_directory || stat.st_mode & ANY_X != 0) {
            return true;
        }
        let bit = if who.uid == stat.st_uid {
            S_IXUSR
        } else if who.gid == stat.st_gid || who.groups.contains(&stat.st_gid) {
            S_IXGRP
        } else {
            S_IXOTH
        };
        stat.st_mode & bit != 0
    }

    /// The mount that forbids to execute `found`: the innermost of the list, or, where the root is
    /// seen through the container's own mounts, what the kernel says.
    fn noexec(&self, found: &Found) -> Option<(Option<PathBuf>, Origin)> {
        let innermost = self
            .mounts
            .iter()
            .filter(|mount| found.real.starts_with(&mount.at))
            // Of two at one place the later lies on top.
            .max_by_key(|mount| mount.at.components().count());
        if let Some(mount) = innermost.filter(|mount| mount.noexec) {
            return Some((Some(mount.at.clone()), mount.origin));
        }
        let flags = rustix::fs::fstatvfs(&found.fd).ok()?.f_flag;
        flags
            .contains(StatVfsMountFlags::NOEXEC)
            .then_some((None, Origin::Default))
    }
}

fn owner(stat: &Stat) -> String {
    format!("{}:{}", stat.st_uid, stat.st_gid)
}
