//! What can go wrong.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use crate::hints;
use crate::{Controller, Controllers};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No cgroup2 file system is mounted, or none that can be reached.
    #[error("no cgroup2 file system is mounted{}", NoCgroup2(v1_controllers))]
    NoCgroup2 {
        /// What version 1 holds, in its own names.
        v1_controllers: Vec<String>,
    },
    /// A group does not offer a controller that a limit needs.
    #[error("controller `{controller}` is not in {:?}: {holder}", group.join("cgroup.controllers"))]
    ControllerMissing {
        /// Which.
        controller: Controller,
        /// The group that does not offer it.
        group: PathBuf,
        /// Who has it.
        holder: Holder,
    },
    /// A group that holds processes cannot enable controllers for its children.
    #[error(
        "cannot enable {controllers} for the children of {path:?}: it holds processes itself{}",
        Pids(pids)
    )]
    HoldsProcesses {
        /// The group.
        path: PathBuf,
        /// What was to be enabled.
        controllers: Controllers,
        /// Some of its processes; 0 is one outside the reader's pid namespace.
        pids: Vec<u32>,
    },
    /// A group could not be opened.
    #[error("open({path:?}, O_RDONLY|O_DIRECTORY)")]
    Open {
        /// The group.
        path: PathBuf,
        /// What the kernel said.
        source: Errno,
    },
    /// A group could not be made.
    #[error("mkdir({path:?}, 0755)")]
    Create {
        /// The group.
        path: PathBuf,
        /// What the kernel said.
        source: Errno,
    },
    /// Not a name for a group.
    #[error("{name:?} cannot be the name of a group")]
    Name {
        /// What was given.
        name: String,
    },
    /// A group could not be removed.
    #[error("rmdir({path:?})")]
    Remove {
        /// The group.
        path: PathBuf,
        /// What the kernel said.
        source: Errno,
    },
    /// A group still holds processes after it was killed and waited for.
    #[error(
        "{path:?} still holds processes {waited:?} after it was killed{}",
        Stragglers(processes)
    )]
    StillPopulated {
        /// The group.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
        /// Some of them.
        processes: Vec<Straggler>,
    },
    /// A file of a group could not be read.
    #[error("read({path:?})")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: Errno,
    },
    /// A file is longer than anything the kernel writes there.
    #[error("{path:?} is longer than {limit} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// How much is read at most.
        limit: usize,
    },
    /// A file of a group could not be written.
    #[error("write({path:?}, {value:?})")]
    Write {
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// What the kernel said.
        source: Errno,
    },
    /// A file does not hold what its documentation says.
    #[error("{file}: cannot make sense of {line:?}")]
    Parse {
        /// Its name.
        file: String,
        /// The line, cut to 200 characters.
        line: String,
    },
    /// A limit is out of the range that the kernel takes.
    #[error("{file} = {value:?}: must be {allowed}")]
    OutOfRange {
        /// The file it would be written to.
        file: String,
        /// As it would be written.
        value: String,
        /// What the kernel takes.
        allowed: &'static str,
    },
    /// The kernel took a value and does something else.
    #[error("{path:?} reads {reads:?} after {wrote:?} was written")]
    NotInEffect {
        /// The file that says so.
        path: PathBuf,
        /// What was asked.
        wrote: String,
        /// What is in effect.
        reads: String,
    },
    /// A path that should be a block device could not be looked at.
    #[error("stat({path:?})")]
    Stat {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: Errno,
    },
    /// Not a block device.
    #[error("{path:?} is not a block device")]
    NotABlockDevice {
        /// The path.
        path: PathBuf,
    },
    /// A partition; limits are those of the whole disk.
    #[error("{path:?} is a partition{}", WholeDisk(disk))]
    Partition {
        /// The path.
        path: PathBuf,
        /// The disk it is on, by its kernel name.
        disk: Option<String>,
    },
    /// A state was not reached in time.
    #[error("{path:?} does not say {wanted:?} after {waited:?}")]
    Timeout {
        /// The file that was watched.
        path: PathBuf,
        /// The line waited for.
        wanted: &'static str,
        /// How long.
        waited: Duration,
    },
    /// Waiting failed.
    #[error("poll({path:?}, POLLPRI)")]
    Poll {
        /// The file that was watched.
        path: PathBuf,
        /// What the kernel said.
        source: Errno,
    },
    /// An inotify call failed.
    #[error("{call}({path:?})")]
    Inotify {
        /// Which call.
        call: &'static str,
        /// The file that was to be watched.
        path: PathBuf,
        /// What the kernel said.
        source: Errno,
    },
    /// A bpf(2) call failed.
    #[error("bpf({command}, BPF_PROG_TYPE_CGROUP_DEVICE){}", At(path))]
    Bpf {
        /// `BPF_PROG_LOAD` and the like.
        command: &'static str,
        /// The group, where there is one.
        path: Option<PathBuf>,
        /// What the kernel said.
        source: Errno,
    },
    /// More device rules than fit into a program.
    #[error("{count} device rules: at most {limit} are possible")]
    TooManyDeviceRules {
        /// How many were given.
        count: usize,
        /// How many are possible.
        limit: usize,
    },
}

impl Error {
    /// What the kernel said, if it was the kernel.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Open { source, .. }
            | Self::Create { source, .. }
            | Self::Remove { source, .. }
            | Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::Stat { source, .. }
            | Self::Poll { source, .. }
            | Self::Inotify { source, .. }
            | Self::Bpf { source, .. } => Some(*source),
            _ => None,
        }
    }

    /// What to do about it, where the message alone misleads.
    pub fn hint(&self) -> Option<&'static str> {
        let file = |path: &Path| {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default()
        };
        match self {
            Self::NoCgroup2 { .. } => Some(hints::NO_CGROUP2),
            Self::ControllerMissing { holder, .. } => Some(holder.hint()),
            Self::HoldsProcesses { .. } => Some(hints::HOLDS_PROCESSES),
            Self::Create { source, .. } => hints::create(*source),
            Self::Remove { source, .. } => hints::remove(*source),
            Self::StillPopulated { .. } => Some(hints::STILL_POPULATED),
            Self::Write { path, source, .. } => hints::write(&file(path), *source),
            Self::Read { path, source } => hints::read(&file(path), *source),
            Self::NotInEffect { path, .. } => hints::not_in_effect(&file(path)),
            Self::Partition { .. } => Some(hints::PARTITION),
            Self::Timeout { wanted, .. } => hints::timeout(wanted),
            Self::Bpf {
                command, source, ..
            } => hints::bpf(command, *source),
            _ => None,
        }
    }
}

/// Who has a controller that a group does not offer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// Version 1, mounted here.
    V1Mount(PathBuf),
    /// Version 1, mounted where this process does not see it.
    V1Hidden,
    /// The group is not the root, and this ancestor does not enable the controller in its
    /// `cgroup.subtree_control`.
    NotEnabledIn(PathBuf),
    /// The mount point is not the root, and what lies above it enables nothing.
    AboveTheMount(PathBuf),
    /// The kernel does not have it.
    Nobody,
}

impl Holder {
    fn hint(&self) -> &'static str {
        match self {
            Self::V1Mount(_) | Self::V1Hidden => hints::HELD_BY_V1,
            Self::NotEnabledIn(_) => hints::NOT_ENABLED,
            Self::AboveTheMount(_) => hints::ABOVE_THE_MOUNT,
            Self::Nobody => hints::NOT_IN_KERNEL,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V1Mount(path) => write!(f, "cgroup v1 holds it, mounted on {path:?}"),
            Self::V1Hidden => f.write_str("a cgroup v1 hierarchy holds it"),
            Self::NotEnabledIn(path) => {
                write!(
                    f,
                    "{:?} does not enable it",
                    path.join("cgroup.subtree_control")
                )
            }
            Self::AboveTheMount(path) => write!(
                f,
                "the parent of the group mounted on {path:?} does not enable it"
            ),
            Self::Nobody => f.write_str("the kernel does not have it"),
        }
    }
}

/// A process that would not die.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Straggler {
    /// Its id; 0 is one outside the reader's pid namespace.
    pub pid: u32,
    /// Its state in [`proc_pid_stat(5)`]: `D` is uninterruptible sleep.
    ///
    /// [`proc_pid_stat(5)`]: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    pub state: Option<char>,
}

struct NoCgroup2<'a>(&'a [String]);

impl fmt::Display for NoCgroup2<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, "; cgroup v1 holds {}", self.0.join(", "))
    }
}

struct Pids<'a>(&'a [u32]);

impl fmt::Display for Pids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, pid) in self.0.iter().enumerate() {
            write!(f, "{}{pid}", if i == 0 { ": " } else { ", " })?;
        }
        Ok(())
    }
}

struct Stragglers<'a>(&'a [Straggler]);

impl fmt::Display for Stragglers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, process) in self.0.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { ": " } else { ", " }, process.pid)?;
            match process.state {
                Some('D') => f.write_str(" in uninterruptible sleep")?,
                Some(state) => write!(f, " in state {state}")?,
                None => {}
            }
        }
        Ok(())
    }
}

struct WholeDisk<'a>(&'a Option<String>);

impl fmt::Display for WholeDisk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(disk) => write!(f, " of {disk}"),
            None => Ok(()),
        }
    }
}

struct At<'a>(&'a Option<PathBuf>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => write!(f, " on {path:?}"),
            None => Ok(()),
        }
    }
}
