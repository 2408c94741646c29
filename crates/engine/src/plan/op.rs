//! The supervisor's own operations, before and after the clone.

use std::path::{Path, PathBuf};

use crate::net::NetOp;
use crate::plan::ids::{Ids, Writer};
use crate::spec::IdMap;

/// One thing the supervisor does to start a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Claim the range of host ids.
    ClaimIds {
        /// The directory of the locked files.
        dir: PathBuf,
        /// Which range.
        slot: u32,
    },
    /// Publish the state directory of the container.
    PublishState {
        /// Where.
        dir: PathBuf,
    },
    /// Make a directory of the cgroup hierarchy, shared by all containers.
    MakeParentGroup {
        /// Where.
        dir: PathBuf,
    },
    /// Let children of a group have controllers.
    EnableControllers {
        /// The group.
        dir: PathBuf,
        /// `+memory +pids`
        write: cgroup::Write,
    },
    /// Make the container's cgroup.
    MakeGroup {
        /// Where.
        dir: PathBuf,
    },
    /// Write a limit.
    WriteLimit {
        /// The container's cgroup.
        dir: PathBuf,
        /// File and value.
        write: cgroup::Write,
    },
    /// Let only some devices be opened.
    DeviceFilter {
        /// The container's cgroup.
        dir: PathBuf,
        /// Which.
        allowed: Vec<cgroup::device::DeviceRule>,
    },
    /// Clone a mount of the host, detached; its descriptor is passed to the child at `slot`.
    CloneMount {
        /// Index among the descriptors sent with GO.
        slot: usize,
        /// What is cloned.
        path: PathBuf,
        /// With the mounts below.
        recursive: bool,
    },
    /// Make a user namespace whose only use is to idmap mounts with it.
    HoldUserNamespace {
        /// Its index, for [`Op::IdmapMount`].
        holder: usize,
        /// Its maps.
        ids: Ids,
    },
    /// Write the maps of the container's user namespace.
    WriteIds(Ids),
    /// Map the ids of a cloned mount.
    IdmapMount {
        /// Which of the cloned mounts.
        slot: usize,
        /// What was cloned, for messages.
        path: PathBuf,
        /// By which user namespace.
        by: By,
        /// With the mounts below.
        recursive: bool,
    },
    /// Something of the container's network.
    Net(NetOp),
    /// Set a resource limit of the child.
    Prlimit(confine::Rlimit),
    /// Set the child's `oom_score_adj`.
    OomScoreAdj(i32),
    /// Let the child go on, and send it the cloned mounts.
    Go {
        /// How many.
        mounts: usize,
    },
    /// Let the child execute, which would wait for that when all else is done.
    Release,
}

/// The user namespace that maps a mount's ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The container's own.
    Container,
    /// One made for it.
    Holder(usize),
}

impl Op {
    /// The system calls it makes that change something, as strace spells them.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        match self {
            Self::PublishState { dir } => publish_state(dir),
            Self::MakeParentGroup { dir } => vec![format!("{} or EEXIST", make_group(dir))],
            Self::MakeGroup { dir } => vec![make_group(dir)],
            Self::EnableControllers { dir, write: w } | Self::WriteLimit { dir, write: w } => {
                vec![write(&dir.join(w.file), &w.value)]
            }
            Self::DeviceFilter { dir, allowed } => {
                let rules: Vec<String> = allowed.iter().map(ToString::to_string).collect();
                vec![
                    format!(
                        "bpf(BPF_PROG_LOAD, {{prog_type=BPF_PROG_TYPE_CGROUP_DEVICE, /* allow {} */}})",
                        rules.join(", ")
                    ),
                    format!(
                        "bpf(BPF_PROG_ATTACH, {{target_fd=<{}>, BPF_CGROUP_DEVICE}})",
                        dir.display()
                    ),
                ]
            }
            Self::ClaimIds { dir, slot } => vec![format!(
                "openat(<{}>, \"{slot}\", O_RDWR|O_CREAT|O_NOFOLLOW|O_CLOEXEC, 0600)",
                dir.display()
            )],
            Self::CloneMount {
                path, recursive, ..
            } => {
                let recursive = if *recursive { "|AT_RECURSIVE" } else { "" };
                vec![format!(
                    "open_tree(AT_FDCWD, {path:?}, OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC{recursive})"
                )]
            }
            Self::HoldUserNamespace { ids, .. } => {
                let mut calls =
                    vec!["clone3({flags=CLONE_NEWUSER|CLONE_PIDFD, exit_signal=SIGCHLD})".into()];
                calls.extend(write_ids(ids));
                calls
            }
            Self::WriteIds(ids) => write_ids(ids),
            Self::IdmapMount {
                path,
                recursive,
                by,
                ..
            } => {
                let recursive = if *recursive { "|AT_RECURSIVE" } else { "" };
                let userns = match by {
                    By::Container => "the container's user namespace",
                    By::Holder(_) => "a user namespace made for it",
                };
                vec![format!(
                    "mount_setattr(<clone of {}>, \"\", AT_EMPTY_PATH{recursive}, {{attr_set=MOUNT_ATTR_IDMAP, userns_fd=<{userns}>}})",
                    path.display()
                )]
            }
            Self::Net(op) => op.calls(),
            Self::Prlimit(limit) => {
                vec![format!("prlimit64(PID, {}, {limit}, NULL)", limit.resource)]
            }
            Self::OomScoreAdj(value) => vec![write(
                Path::new("/proc/PID/oom_score_adj"),
                &value.to_string(),
            )],
            Self::Release | Self::Go { mounts: 0 } => vec!["sendmsg(child, GO)".into()],
            Self::Go { mounts } => {
                vec![format!("sendmsg(child, GO, SCM_RIGHTS, [{mounts} mounts])")]
            }
        }
    }

    /// What it is for.
    #[must_use]
    pub fn purpose(&self) -> &'static str {
        match self {
            Self::ClaimIds { .. } => "ids that no other container has",
            Self::PublishState { .. } => "a record of what could outlive a crash, and its lock",
            Self::MakeParentGroup { .. } | Self::EnableControllers { .. } => {
                "once a boot: a place for the cgroups of all containers"
            }
            Self::MakeGroup { .. } | Self::WriteLimit { .. } | Self::DeviceFilter { .. } => {
                "the cgroup and its limits"
            }
            Self::CloneMount { .. } => "what the container is to see, as detached mounts",
            Self::HoldUserNamespace { .. } => "a user namespace to map owners with",
            Self::Net(op) => op.purpose(),
            Self::WriteIds(_) => "which ids it has on the host",
            Self::IdmapMount { .. } => "files look as if owned by the container's ids",
            Self::Prlimit(_) | Self::OomScoreAdj(_) => "limits only the supervisor may set",
            Self::Go { .. } => "go",
            Self::Release => "its network is there: go on and execute",
        }
    }

    /// What takes it back.
    #[must_use]
    pub fn undo(&self) -> Option<String> {
        match self {
            Self::ClaimIds { dir, slot } => {
                Some(format!("unlinkat(<{}>, \"{slot}\", 0)", dir.display()))
            }
            Self::PublishState { dir } => Some(format!("unlink and rmdir({dir:?})")),
            Self::MakeGroup { dir } => Some(format!("rmdir({dir:?})")),
            Self::Net(op) => op.undo(),
            Self::CloneMount { .. } => {
                Some("close: a detached mount dies with its descriptor".into())
            }
            Self::HoldUserNamespace { .. } => Some("close: it dies with its descriptor".into()),
            _ => None,
        }
    }
}

fn publish_state(dir: &Path) -> Vec<String> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let run = dir.parent().unwrap_or(dir).display();
    vec![
        format!("mkdirat(<{run}>, \".new.PID.{name}\", 0700)"),
        format!(
            "openat(<{run}/.new.PID.{name}>, \"state.json\", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0600)"
        ),
        format!("write(<{run}/.new.PID.{name}/state.json>, …)"),
        format!("renameat2(<{run}>, \".new.PID.{name}\", <{run}>, {name:?}, RENAME_NOREPLACE)"),
    ]
}

fn make_group(dir: &Path) -> String {
    let parent = dir.parent().unwrap_or(dir).display();
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    format!("mkdirat(<{parent}>, {name:?}, 0755)")
}

fn write(path: &Path, value: &str) -> String {
    format!("write(<{}>, {value:?})", path.display())
}

fn write_ids(ids: &Ids) -> Vec<String> {
    let text = |maps: &[IdMap], separator: &str| {
        let lines: Vec<String> = maps
            .iter()
            .map(|map| format!("{} {} {}", map.inside, map.outside, map.count))
            .collect();
        lines.join(separator)
    };
    let map = |file: &str, maps: &[IdMap]| {
        write(
            Path::new(&format!("/proc/PID/{file}")),
            &format!("{}\n", text(maps, "\n")),
        )
    };
    match ids.writer {
        Writer::Direct => vec![map("uid_map", &ids.uids), map("gid_map", &ids.gids)],
        Writer::DirectOwnId => vec![
            write(Path::new("/proc/PID/setgroups"), "deny"),
            map("uid_map", &ids.uids),
            map("gid_map", &ids.gids),
        ],
        Writer::Newuidmap => vec![
            format!(
                "execve(\"newuidmap\", [PID, {}])",
                text(&ids.uids, ", ").replace(' ', ", ")
            ),
            format!(
                "execve(\"newgidmap\", [PID, {}])",
                text(&ids.gids, ", ").replace(' ', ", ")
            ),
        ],
    }
}
