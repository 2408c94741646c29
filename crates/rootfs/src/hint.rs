//! What an errno means where its own text would send the reader the wrong way.
//!
//! Keyed on the step and the errno.

use rustix::io::Errno;

use crate::step::{Cover, Kind, Reg, Step};
use crate::tree::Tree;

impl Tree {
    /// What to look at when step `step` failed with `errno`; `None` where the errno says it.
    pub fn hint(&self, step: usize, errno: Errno) -> Option<&'static str> {
        match self.steps.get(step)? {
            Step::Setgroups | Step::Setresgid(_) | Step::Setresuid(_) => id_hint(errno),
            Step::Fsopen(_) if errno == Errno::NODEV => {
                Some("this kernel has no such file system, or its module is not loaded")
            }
            Step::Fsopen(_)
            | Step::FsconfigString { .. }
            | Step::FsconfigCreate
            | Step::Fsmount { .. } => create_hint(&self.context_at(step), errno),
            Step::OpenTree { .. } => source_hint(errno),
            Step::OpenDevice { .. } if errno == Errno::NODEV => {
                Some("what lies at this path on the host is not the device it should be")
            }
            Step::OpenDevice { .. } => source_hint(errno),
            Step::MountSetattr {
                reg: Reg::Mount | Reg::Root,
                ..
            } if errno == Errno::PERM => Some(
                "a flag of a mount that belongs to a more privileged user namespace cannot be cleared",
            ),
            Step::Target {
                kind: Kind::RealDirectory,
                ..
            } => real_directory_hint(errno),
            Step::Target { .. } | Step::Directory { .. } => target_hint(errno),
            Step::Cover {
                with: Cover::ReadOnly { recursive: false },
                ..
            } if errno == Errno::INVAL => {
                Some("something of a more privileged user namespace is mounted below this path")
            }
            Step::WriteSysctl { .. } => sysctl_hint(errno),
            Step::PivotRoot if errno == Errno::INVAL => Some(
                "pivot_root(2) cannot leave an initramfs: the host's own / must be another mount",
            ),
            Step::ChdirSlash if errno == Errno::XDEV => Some(
                "the host's own / has another mount over it, which would stay reachable as /..",
            ),
            Step::Workdir { .. } => workdir_hint(errno),
            _ => None,
        }
    }

    fn context_at(&self, step: usize) -> Vec<u8> {
        let opened = self.steps[..=step]
            .iter()
            .rev()
            .find_map(|step| match step {
                Step::Fsopen(name) => Some(name.to_bytes().to_vec()),
                _ => None,
            });
        opened.unwrap_or_default()
    }
}

fn id_hint(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::INVAL => Some("this id is not in the user namespace's uid_map or gid_map"),
        Errno::PERM => Some("setgroups is denied in this user namespace, or it has no id map yet"),
        _ => None,
    }
}

fn create_hint(file_system: &[u8], errno: Errno) -> Option<&'static str> {
    match (file_system, errno) {
        (b"overlay", Errno::LOOP) => Some(
            "two layers overlap: one is, or lies inside, another one, the upper or the work directory",
        ),
        (b"overlay", Errno::INVAL) => Some(
            "a layer's file system cannot serve here: an upper directory needs extended attributes and \
             d_type, upper and work need one common file system, and an ordinary user cannot lay an \
             overlay over a directory that has mounts below it, such as /",
        ),
        (b"overlay", Errno::STALE) => {
            Some("the upper directory was used with other lower layers before")
        }
        (b"overlay", Errno::BUSY) => Some("another overlay uses this upper or work directory"),
        (b"overlay", Errno::NOENT) => Some("the upper directory has no upper/ or work/ in it"),
        (b"proc", Errno::PERM) => Some(
            "a user namespace may mount proc only where a /proc without anything mounted over parts of \
             it is visible; in another container it is not",
        ),
        (b"sysfs", Errno::PERM) => Some(
            "sysfs needs a network namespace owned by this user namespace, and a /sys without anything \
             mounted over parts of it",
        ),
        (b"mqueue", Errno::PERM) => {
            Some("mqueue needs an ipc namespace owned by this user namespace")
        }
        (b"cgroup2", Errno::PERM) => {
            Some("cgroup2 needs a cgroup namespace owned by this user namespace")
        }
        (b"devpts", Errno::INVAL) => {
            Some("an id in the options is not mapped in this user namespace")
        }
        _ => None,
    }
}

fn source_hint(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::INVAL => Some(
            "something is mounted below this path that belongs to a more privileged user namespace: \
             bind it recursively",
        ),
        _ => None,
    }
}

fn real_directory_hint(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::LOOP => {
            Some("this path of the root file system is a symbolic link; it must be a directory")
        }
        Errno::NOTDIR => Some("this path of the root file system is not a directory"),
        other => target_hint(other),
    }
}

fn target_hint(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::LOOP => Some(
            "links in the root file system go in a circle, or through /proc/PID/fd or its like",
        ),
        Errno::NOTDIR => Some("the mount is a directory and this path, or a part of it, is a file"),
        Errno::ISDIR => Some("the mount is a file and this path is a directory"),
        Errno::ROFS => {
            Some("the mount point is missing in a root file system that cannot be written")
        }
        Errno::ACCESS => Some(
            "the mount point is missing, and the directory it belongs in is owned by an id outside the \
             container's id map",
        ),
        Errno::OVERFLOW => Some(
            "the file system does not know the container's root id: it needs an idmapped mount",
        ),
        Errno::AGAIN => Some("somebody renames directories of the root file system all the time"),
        _ => None,
    }
}

fn sysctl_hint(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::NOENT => Some(
            "this kernel has no such parameter, or not in this namespace: Linux 6.1 has net.core only in \
             network namespaces that belong to the host's user namespace",
        ),
        Errno::ACCESS | Errno::PERM => {
            Some("this parameter does not belong to a namespace of the container")
        }
        Errno::INVAL => Some("the kernel does not take this value"),
        _ => None,
    }
}

fn workdir_hint(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::LOOP => {
            Some("links go in a circle, or through /proc/PID/fd or its like, which lead out")
        }
        Errno::XDEV => Some("this directory lies outside the container's root"),
        Errno::ACCESS => Some("a directory on the way is closed to the container's root id"),
        _ => None,
    }
}
