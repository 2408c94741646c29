//! Where cgroup v2 is mounted, what it can limit, and which group this process is in.
//!
//! Read from `/proc/self/mountinfo` and `/proc/self/cgroup` ([`cgroups(7)`]), never assumed: on a
//! hybrid host the cgroup2 mount lies beside the v1 ones and owns only the controllers that v1 left
//! over, and in a cgroup namespace both files show paths relative to the namespace's root.
//!
//! [`cgroups(7)`]: https://man7.org/linux/man-pages/man7/cgroups.7.html

use std::fs;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FsWord, fstatfs};
use rustix::io::Errno;

use crate::group::Group;
use crate::mountinfo::{self, CgroupMount, Version};
use crate::{Controller, Controllers, Error, Holder};

/// `CGROUP2_SUPER_MAGIC`, see [`statfs(2)`](https://man7.org/linux/man-pages/man2/statfs.2.html).
const CGROUP2_SUPER_MAGIC: FsWord = 0x6367_7270;

/// mountinfo is one line of some 100 bytes per mount, and `fs.mount-max` is 100,000.
const MOUNTINFO_LIMIT: u64 = 64 << 20;

/// How many groups are looked through for a group whose name the cgroup namespace hides.
const SEARCH_LIMIT: usize = 4096;

/// Which versions of cgroups the host uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Version 2 alone.
    Unified,
    /// Some controllers belong to version 1.
    Hybrid,
}

/// A version 1 hierarchy that holds controllers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct V1 {
    controllers: Vec<String>,
    mount_point: Option<PathBuf>,
}

/// A mounted cgroup2 file system, seen from this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    mount_point: PathBuf,
    read_only: bool,
    options: Vec<String>,
    own: Own,
    /// How many levels below the mount point the root of our cgroup namespace lies.
    namespace_depth: usize,
    v1: Vec<V1>,
    controllers: Controllers,
    whole: bool,
}

/// Where our own group is, seen from the mount point.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Own {
    /// At this relative path.
    At(PathBuf),
    /// Below groups whose names the cgroup namespace hides: so many levels, then this path.
    Hidden { levels: usize, rest: PathBuf },
    /// Not below the mount.
    Elsewhere,
}

impl Hierarchy {
    /// Looks at `/proc/self` and at the mount found there.
    ///
    /// Of several cgroup2 mounts the first is taken that shows our own group and can be written;
    /// one that lies under another mount is passed over.
    ///
    /// # Errors
    ///
    /// [`Error::NoCgroup2`] when there is none, with the controllers that version 1 holds;
    /// [`Error::Read`] when `/proc` is not mounted or hidden.
    pub fn find() -> Result<Self, Error> {
        Self::find_in(Path::new("/proc/self"))
    }

    /// The same for another process' view: `/proc/PID`.
    ///
    /// # Errors
    ///
    /// As [`Hierarchy::find`].
    pub fn find_in(proc: &Path) -> Result<Self, Error> {
        let mountinfo = read_bounded(&proc.join("mountinfo"))?;
        let own = read_bounded(&proc.join("cgroup"))?;
        let candidates = candidates(&mountinfo, &own);
        for mut hierarchy in candidates {
            let Ok(root) = Group::open(&hierarchy.mount_point) else {
                continue;
            };
            // A mount that lies under a later one is still in mountinfo, but cannot be reached.
            if !is_cgroup2(&root) {
                continue;
            }
            hierarchy.controllers = root.controllers()?;
            // Only the one true root has no cgroup.type: it is a domain and nothing else.
            hierarchy.whole = !root.has_file("cgroup.type")?;
            hierarchy.find_hidden();
            return Ok(hierarchy);
        }
        Err(no_cgroup2(&own))
    }

    /// The pure part of [`Hierarchy::find`]: reads the text of `/proc/PID/mountinfo` and
    /// `/proc/PID/cgroup`. [`Hierarchy::controllers`] is empty until
    /// [`Hierarchy::with_controllers`].
    ///
    /// # Errors
    ///
    /// [`Error::NoCgroup2`].
    pub fn parse(mountinfo: impl AsRef<[u8]>, own: impl AsRef<[u8]>) -> Result<Self, Error> {
        let own = own.as_ref();
        candidates(mountinfo.as_ref(), own)
            .into_iter()
            .next()
            .ok_or_else(|| no_cgroup2(own))
    }

    /// Sets what [`Hierarchy::controllers`] says: the mount root's `cgroup.controllers`.
    #[must_use]
    pub fn with_controllers(mut self, controllers: Controllers) -> Self {
        self.controllers = controllers;
        self
    }

    /// Where it is mounted.
    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// Which versions the host uses.
    pub fn kind(&self) -> Kind {
        if self.v1.is_empty() {
            Kind::Unified
        } else {
            Kind::Hybrid
        }
    }

    /// What the group at the mount point offers its children (`cgroup.controllers`).
    pub fn controllers(&self) -> Controllers {
        self.controllers
    }

    /// Whether the mount point shows the root of the whole hierarchy, which alone may hold
    /// processes and enable controllers at the same time. In a cgroup namespace it does not.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether it is mounted read-only.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Whether the mount has this option: `nsdelegate`, `memory_recursiveprot`, `favordynmods` …
    pub fn has_option(&self, option: &str) -> bool {
        self.options.iter().any(|o| o == option)
    }

    /// The group of this process, as a path on this host. `None` when it is not below the mount,
    /// or when a cgroup namespace hides its name and no group was found to hold this process.
    pub fn own_cgroup(&self) -> Option<PathBuf> {
        match &self.own {
            Own::At(relative) => Some(join(&self.mount_point, relative)),
            Own::Hidden { .. } | Own::Elsewhere => None,
        }
    }

    /// Whether a process may be started from our own group in this one, as far as namespaces go:
    /// with `nsdelegate`, only below the root of the cgroup namespace.
    pub(crate) fn is_in_namespace(&self, dir: &Path) -> bool {
        let depth = dir
            .strip_prefix(&self.mount_point)
            .map_or(0, |below| below.components().count());
        !self.has_option("nsdelegate") || depth >= self.namespace_depth
    }

    /// Why the group at the mount point does not offer `controller`: who holds it.
    pub fn holder(&self, controller: Controller) -> Holder {
        let v1 = self
            .v1
            .iter()
            .find(|v1| v1.controllers.iter().any(|c| c == controller.v1_name()));
        match v1 {
            Some(V1 {
                mount_point: Some(path),
                ..
            }) => Holder::V1Mount(path.clone()),
            Some(_) => Holder::V1Hidden,
            None if self.whole => Holder::Nobody,
            None => Holder::AboveTheMount(self.mount_point.clone()),
        }
    }

    /// Checks that the group at the mount point offers all of `needed`.
    ///
    /// # Errors
    ///
    /// [`Error::ControllerMissing`] for the first that it does not, with who holds it.
    pub fn require(&self, needed: Controllers) -> Result<(), Error> {
        match needed.without(self.controllers).iter().next() {
            None => Ok(()),
            Some(controller) => Err(Error::ControllerMissing {
                controller,
                group: self.mount_point.clone(),
                holder: self.holder(controller),
            }),
        }
    }

    /// Opens the group at the mount point.
    ///
    /// # Errors
    ///
    /// [`Error::Open`].
    pub fn root(&self) -> Result<Group, Error> {
        Group::open(&self.mount_point)
    }

    fn find_hidden(&mut self) {
        let Own::Hidden { levels, rest } = &self.own else {
            return;
        };
        let pid = std::process::id().to_string();
        let mut budget = SEARCH_LIMIT;
        if let Some(found) = search(&self.mount_point, *levels, rest, &pid, &mut budget) {
            // Found below the mount point, so the prefix is there.
            let relative = found.strip_prefix(&self.mount_point).unwrap_or(&found);
            self.own = Own::At(relative.to_owned());
        }
    }
}

/// The directory `levels` below `dir` whose group `rest` holds the process `pid`.
fn search(
    dir: &Path,
    levels: usize,
    rest: &Path,
    pid: &str,
    budget: &mut usize,
) -> Option<PathBuf> {
    *budget = budget.checked_sub(1)?;
    if levels == 0 {
        let group = join(dir, rest);
        let procs = fs::read_to_string(group.join("cgroup.procs")).ok()?;
        return procs.lines().any(|line| line == pid).then_some(group);
    }
    for entry in fs::read_dir(dir).ok()?.flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir())
            && let Some(found) = search(&entry.path(), levels - 1, rest, pid, budget)
        {
            return Some(found);
        }
    }
    None
}

/// `Path::join` would end in a slash for an empty second half.
fn join(dir: &Path, relative: &Path) -> PathBuf {
    if relative.as_os_str().is_empty() {
        dir.to_owned()
    } else {
        dir.join(relative)
    }
}

fn is_cgroup2(group: &Group) -> bool {
    fstatfs(group.dir()).is_ok_and(|fs| fs.f_type == CGROUP2_SUPER_MAGIC)
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, Error> {
    use std::io::Read;
    let failed = |source: std::io::Error| Error::Read {
        path: path.to_owned(),
        source: Errno::from_io_error(&source).unwrap_or(Errno::IO),
    };
    let mut text = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MOUNTINFO_LIMIT + 1).read_to_end(&mut text))
        .map_err(failed)?;
    if text.len() as u64 > MOUNTINFO_LIMIT {
        return Err(Error::TooLong {
            path: path.to_owned(),
            limit: MOUNTINFO_LIMIT as usize,
        });
    }
    Ok(text)
}

/// A hierarchy for every cgroup2 mount, best first.
fn candidates(mountinfo: &[u8], own: &[u8]) -> Vec<Hierarchy> {
    let mounts = mountinfo::parse(mountinfo);
    let own = OwnLines::parse(own);
    let v1: Vec<V1> = own
        .v1
        .iter()
        .map(|controllers| V1 {
            controllers: controllers.clone(),
            mount_point: v1_mount(&mounts, controllers),
        })
        .collect();
    let mut found: Vec<Hierarchy> = mounts
        .iter()
        .filter(|mount| mount.version == Version::V2)
        .map(|mount| Hierarchy {
            mount_point: mount.mount_point.clone(),
            read_only: mount.read_only,
            options: mount.options.clone(),
            own: own.v2.as_deref().map_or(Own::Elsewhere, |own| {
                relative_to(&mount.root, Path::new(own))
            }),
            namespace_depth: split_up(&mount.root).0,
            v1: v1.clone(),
            controllers: Controllers::EMPTY,
            whole: false,
        })
        .collect();
    // Stable: among equals the order of mountinfo, oldest first.
    found.sort_by_key(|h| (h.own == Own::Elsewhere, h.read_only));
    found
}

fn v1_mount(mounts: &[CgroupMount], controllers: &[String]) -> Option<PathBuf> {
    mounts
        .iter()
        .find(|m| {
            m.version == Version::V1 && controllers.iter().any(|c| m.options.iter().any(|o| o == c))
        })
        .map(|m| m.mount_point.clone())
}

/// `/proc/PID/cgroup`: `ID:CONTROLLERS:PATH` per hierarchy, id 0 without controllers for v2.
struct OwnLines {
    v2: Option<String>,
    v1: Vec<Vec<String>>,
}

impl OwnLines {
    fn parse(text: &[u8]) -> Self {
        let mut lines = Self {
            v2: None,
            v1: Vec::new(),
        };
        for line in String::from_utf8_lossy(text).lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(id), Some(controllers), Some(path)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if id == "0" && controllers.is_empty() {
                // A process may outlive its group: a zombie, or one that was moved as it died.
                lines.v2 = (!path.ends_with(" (deleted)")).then(|| path.to_owned());
                continue;
            }
            // `name=systemd` is a hierarchy that holds no controller.
            let held: Vec<String> = controllers
                .split(',')
                .filter(|c| !c.is_empty() && !c.starts_with("name="))
                .map(str::to_owned)
                .collect();
            if !held.is_empty() {
                lines.v1.push(held);
            }
        }
        lines
    }
}

fn no_cgroup2(own: &[u8]) -> Error {
    Error::NoCgroup2 {
        v1_controllers: OwnLines::parse(own).v1.concat(),
    }
}

/// Where `own` lies below the mount's root; both as the cgroup namespace shows them. The kernel
/// goes up (`..`) no further than to the nearest common ancestor with the namespace's root
/// ([`kernfs_path_from_node`]), so a path that goes up less than the mount's root lies below it.
///
/// [`kernfs_path_from_node`]: https://elixir.bootlin.com/linux/v6.12/source/fs/kernfs/dir.c
fn relative_to(root: &Path, own: &Path) -> Own {
    let (root_up, root_rest) = split_up(root);
    let (own_up, own_rest) = split_up(own);
    if root_up == own_up {
        return own_rest
            .strip_prefix(&root_rest)
            .map_or(Own::Elsewhere, |below| Own::At(below.to_owned()));
    }
    if own_up < root_up && root_rest.as_os_str().is_empty() {
        return Own::Hidden {
            levels: root_up - own_up,
            rest: own_rest,
        };
    }
    Own::Elsewhere
}

/// How many `..` a path starts with, and what follows.
fn split_up(path: &Path) -> (usize, PathBuf) {
    let components = path.components().filter(|c| *c != Component::RootDir);
    let up = components
        .clone()
        .take_while(|c| *c == Component::ParentDir)
        .count();
    (up, components.skip(up).collect())
}

#[cfg(test)]
#[path = "hierarchy_tests.rs"]
mod tests;
