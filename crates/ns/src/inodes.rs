//! Which namespaces a process is in, by inode number, as `/proc/PID/ns/` has it.

use std::fmt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Error, Result};
use crate::flags::Namespaces;

/// What tells a namespace from every other one alive at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NamespaceId {
    /// Device number of nsfs.
    pub device: u64,
    /// Inode number there, as in `net:[4026531840]`.
    pub inode: u64,
}

impl NamespaceId {
    pub(crate) fn from_stat(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

/// The namespaces of a process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceIds {
    /// In the order of [`Namespaces`]. A kind the kernel lacks is missing.
    own: Vec<(Namespaces, NamespaceId)>,
    /// Where its next children will be; missing for a pid namespace that has no process yet.
    children: Vec<(Namespaces, NamespaceId)>,
}

impl NamespaceIds {
    /// Those of the process `pid`.
    ///
    /// # Errors
    ///
    /// [`Error::Namespace`] with ENOENT (no such process), EACCES (no right to trace it).
    pub fn of(pid: Pid) -> Result<Self> {
        Self::read(format!("/proc/{}/ns", pid.as_raw_nonzero()).into())
    }

    /// Those of the calling thread's process.
    ///
    /// # Errors
    ///
    /// [`Error::Namespace`]: `/proc` is not mounted.
    pub fn of_self() -> Result<Self> {
        Self::read("/proc/self/ns".into())
    }

    fn read(path: PathBuf) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(dir) => dir,
            Err(errno) => {
                return Err(Error::Namespace {
                    call: "openat",
                    path,
                    errno,
                });
            }
        };
        let look = |name: &str| match rustix::fs::statat(&dir, name, AtFlags::empty()) {
            Ok(stat) => Ok(Some(NamespaceId::from_stat(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::Namespace {
                call: "stat",
                path: path.join(name),
                errno,
            }),
        };
        let mut own = Vec::new();
        for kind in Namespaces::all().iter() {
            if let Some(id) = look(kind.proc_name().unwrap_or_default())? {
                own.push((kind, id));
            }
        }
        let mut children = Vec::new();
        for kind in [Namespaces::NEWTIME, Namespaces::NEWPID] {
            let name = format!("{}_for_children", kind.proc_name().unwrap_or_default());
            if let Some(id) = look(&name)? {
                children.push((kind, id));
            }
        }
        Ok(Self { own, children })
    }

    /// The namespace of one kind; `None` for a kernel without it.
    #[must_use]
    pub fn get(&self, kind: Namespaces) -> Option<NamespaceId> {
        self.iter().find(|(own, _)| *own == kind).map(|(_, id)| id)
    }

    /// Where children made now will be: other than [`get`](Self::get) after `unshare(2)` or
    /// `setns(2)` of a pid or time namespace. `None` for other kinds, and for a pid namespace that
    /// has no process yet.
    #[must_use]
    pub fn for_children(&self, kind: Namespaces) -> Option<NamespaceId> {
        self.children
            .iter()
            .find(|(own, _)| *own == kind)
            .map(|(_, id)| *id)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Namespaces, NamespaceId)> + '_ {
        self.own.iter().copied()
    }

    /// The kinds that both processes are in the same namespace of.
    #[must_use]
    pub fn shared_with(&self, other: &Self) -> Namespaces {
        self.iter()
            .filter(|(kind, id)| other.get(*kind) == Some(*id))
            .map(|(kind, _)| kind)
            .collect()
    }
}

/// As the links read: `cgroup:[4026531835] ipc:[4026531839] …`
impl fmt::Display for NamespaceIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (kind, id)) in self.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(
                f,
                "{space}{}:[{}]",
                kind.proc_name().unwrap_or_default(),
                id.inode
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_are_those_that_the_links_name() {
        let ids = NamespaceIds::of_self().expect("/proc");
        let text = ids.to_string();
        for kind in Namespaces::all().iter() {
            let name = kind.proc_name().expect("one kind");
            let link = std::fs::read_link(format!("/proc/self/ns/{name}")).expect("the link");
            assert!(
                text.contains(&link.to_string_lossy().into_owned()),
                "{link:?} in {text}"
            );
        }
        assert_eq!(
            ids.for_children(Namespaces::NEWPID),
            ids.get(Namespaces::NEWPID)
        );
        assert_eq!(ids.for_children(Namespaces::NEWNET), None);
    }

    #[test]
    fn a_process_shares_everything_with_itself() {
        let pid = rustix::process::getpid();
        let (by_pid, own) = (NamespaceIds::of(pid), NamespaceIds::of_self());
        let (by_pid, own) = (by_pid.expect("ours"), own.expect("ours"));
        assert_eq!(own.shared_with(&by_pid), Namespaces::all());
    }

    #[test]
    fn a_process_that_is_not_there_is_enoent() {
        let pid = Pid::from_raw(i32::MAX).expect("not 0");
        let error = NamespaceIds::of(pid).expect_err("above pid_max");
        assert_eq!(error.errno(), Some(Errno::NOENT));
    }
}
