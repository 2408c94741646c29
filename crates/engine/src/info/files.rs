//! Facts that are read from files of the host.

use std::path::{Path, PathBuf};

use confine::Lsms;
use ns::subid::{self, SubId};

use crate::observe::read_bounded;

/// Far above all of these files but mountinfo.
const LIMIT: usize = 1 << 20;
/// One line of some 100 bytes per mount, and `fs.mount-max` is 100 000.
const MOUNTINFO_LIMIT: usize = 64 << 20;

/// What the files say. `None` and empty: the file is not there or not readable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Files {
    /// `/proc/sys/kernel/osrelease`.
    pub(super) release: String,
    /// Kinds of namespaces, as `/proc/self/ns` names them.
    pub(super) namespaces: Vec<String>,
    /// Overlayfs is in `/proc/filesystems`.
    pub(super) overlay: bool,
    /// It is a module of this kernel, which the first overlay mount loads.
    pub(super) overlay_module: bool,
    /// What is mounted below `/proc`, and keeps a user namespace from a procfs of its own.
    pub(super) over_proc: Vec<PathBuf>,
    /// The same of `/sys`.
    pub(super) over_sys: Vec<PathBuf>,
    /// Sysctl `user.max_user_namespaces`.
    pub(super) max_user_namespaces: Option<u64>,
    /// Sysctl `kernel.unprivileged_userns_clone`, of Debian's and some other kernels.
    pub(super) userns_clone: Option<u64>,
    /// Sysctl `kernel.apparmor_restrict_unprivileged_userns`, of Ubuntu's kernels.
    pub(super) apparmor_userns: Option<u64>,
    /// Sysctl `kernel.seccomp.actions_avail`.
    pub(super) seccomp_actions: Option<String>,
    /// Resources `/proc/pressure` has.
    pub(super) pressure: Vec<String>,
    /// Running security modules.
    pub(super) lsms: Lsms,
    /// All of `/etc/subuid`.
    pub(super) subuids: Vec<SubId>,
    /// The caller's first range in `/etc/subuid`.
    pub(super) subuid: Option<SubId>,
    /// The caller's first range in `/etc/subgid`.
    pub(super) subgid: Option<SubId>,
    /// The caller has no_new_privs set.
    pub(super) no_new_privs: bool,
    /// The caller is behind a seccomp filter.
    pub(super) filtered: bool,
}

impl Files {
    /// Read those below `root`, which is `/` but for tests, for the user `uid`.
    pub(super) fn read(root: &Path, uid: u32) -> Self {
        let text = |path: &str, limit| {
            let bytes = read_bounded(&root.join(path), limit).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let short = |path: &str| text(path, LIMIT).unwrap_or_default();
        let number = |path: &str| text(path, LIMIT)?.trim().parse().ok();
        let release = short("proc/sys/kernel/osrelease").trim().to_owned();
        let mountinfo = text("proc/self/mountinfo", MOUNTINFO_LIMIT).unwrap_or_default();
        let status = short("proc/self/status");
        let modules = root.join("lib/modules").join(&release);
        let subuids = subid::parse(&short("etc/subuid"));
        let subgids = subid::parse(&short("etc/subgid"));
        let login = crate::users::name_of(&short("etc/passwd"), uid);
        let mine = |ranges: &[SubId]| {
            let mut mine = ranges
                .iter()
                .filter(|range| range.belongs_to(login.as_deref(), uid));
            mine.next().cloned()
        };
        Self {
            namespaces: names(&root.join("proc/self/ns")),
            overlay: knows_overlay(&short("proc/filesystems")),
            overlay_module: ["modules.dep", "modules.builtin"].iter().any(|index| {
                let text = read_bounded(&modules.join(index), 8 * LIMIT).unwrap_or_default();
                has_module(&String::from_utf8_lossy(&text), "overlay")
            }),
            over_proc: covers(&mountinfo, "proc", "/proc", EMPTY_IN_PROC),
            over_sys: covers(&mountinfo, "sysfs", "/sys", EMPTY_IN_SYS),
            max_user_namespaces: number("proc/sys/user/max_user_namespaces"),
            userns_clone: number("proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_userns: number("proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            seccomp_actions: text("proc/sys/kernel/seccomp/actions_avail", LIMIT),
            pressure: names(&root.join("proc/pressure")),
            lsms: Lsms::observe(&root.join("sys")),
            no_new_privs: field(&status, "NoNewPrivs").is_some_and(|value| value != "0"),
            filtered: field(&status, "Seccomp").is_some_and(|value| value != "0"),
            subuid: mine(&subuids),
            subgid: mine(&subgids),
            subuids,
            release,
        }
    }
}

/// Major and minor number of a release, as `6.12.5-amd64` has them.
pub(super) fn version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let rest = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    status.lines().find_map(rest).map(str::trim)
}

fn knows_overlay(filesystems: &str) -> bool {
    let mut names = filesystems
        .lines()
        .filter_map(|line| line.split_whitespace().next_back());
    names.any(|name| name == "overlay")
}

/// `modules.dep` and `modules.builtin` begin each line with the path of a module.
fn has_module(index: &str, name: &str) -> bool {
    index.lines().any(|line| {
        let path = line.split(':').next().unwrap_or_default();
        let file = path.rsplit('/').next().unwrap_or_default();
        file.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(".ko"))
    })
}

/// Directories that the kernel made to be mounted on: nothing can hide below a mount there. Those of
/// `proc_create_mount_point`, `register_sysctl_mount_point` and `sysfs_create_mount_point`.
const EMPTY_IN_PROC: &[&str] = &["/proc/sys/fs/binfmt_misc", "/proc/fs/nfsd"];
const EMPTY_IN_SYS: &[&str] = &[
    "/sys/firmware/efi/efivars",
    "/sys/fs/bpf",
    "/sys/fs/cgroup",
    "/sys/fs/fuse/connections",
    "/sys/fs/pstore",
    "/sys/fs/resctrl",
    "/sys/fs/selinux",
    "/sys/fs/smackfs",
    "/sys/hypervisor/s390",
    "/sys/kernel/config",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
];

/// The mounts over parts of the `kind` mounted on `at`, see `mnt_already_visible` in fs/namespace.c:
/// with one of them, and no other mount of that kind without, no user namespace gets its own.
fn covers(mountinfo: &str, kind: &str, at: &str, empty: &[&str]) -> Vec<PathBuf> {
    let mounts: Vec<Mount<'_>> = mountinfo.lines().filter_map(Mount::parse).collect();
    let over = |whole: &Mount<'_>| -> Vec<PathBuf> {
        let mut over: Vec<PathBuf> = mounts
            .iter()
            .filter(|mount| mount.parent == whole.id)
            .filter(|mount| whole.point != at || !empty.contains(&mount.point))
            .map(|mount| mount.point.into())
            .collect();
        over.sort();
        over
    };
    let of_kind = mounts
        .iter()
        .filter(|mount| mount.kind == kind && mount.root == "/");
    of_kind.map(over).min_by_key(Vec::len).unwrap_or_default()
}

/// A line of mountinfo, proc_pid_mountinfo(5). Names keep the kernel's escapes.
struct Mount<'a> {
    id: &'a str,
    parent: &'a str,
    root: &'a str,
    point: &'a str,
    kind: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ');
        let (id, parent) = (fields.next()?, fields.next()?);
        let _device = fields.next()?;
        let (root, point) = (fields.next()?, fields.next()?);
        let kind = after.split(' ').next()?;
        Some(Self {
            id,
            parent,
            root,
            point,
            kind,
        })
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
