//! Where to look for files and cgroups.

use std::path::{Path, PathBuf};

/// Where to look for files and cgroups, and which objects of the whole machine count.
#[derive(Debug, Clone)]
pub struct Places {
    /// Directories whose content counts, with all below.
    pub files: Vec<PathBuf>,
    /// Mount points of cgroup2.
    pub cgroups: Vec<PathBuf>,
    /// Whether keys count: they belong to a user, in whatever namespace it is.
    pub keys: bool,
}

impl Places {
    /// Where `ctr` keeps state, where temporary files are made, and every cgroup2 hierarchy.
    #[must_use]
    pub fn machine() -> Self {
        let mut files: Vec<PathBuf> = [
            "/run/ctr",
            "/var/lib/ctr",
            "/tmp",
            "/var/tmp",
            "/dev/shm",
            "/dev/mqueue",
            "/run/netns",
        ]
        .map(PathBuf::from)
        .into();
        files.extend(std::env::var_os("XDG_RUNTIME_DIR").map(|dir| Path::new(&dir).join("ctr")));
        let users = std::fs::read_dir("/run/user")
            .into_iter()
            .flatten()
            .flatten();
        files.extend(users.map(|user| user.path().join("ctr")));
        files.sort_unstable();
        files.dedup();
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self {
            files,
            cgroups: cgroup2(&mountinfo),
            keys: true,
        }
    }

    /// One directory, no cgroups and no keys: for tests beside other tests.
    #[must_use]
    pub fn only(directory: &Path) -> Self {
        Self {
            files: vec![directory.into()],
            cgroups: Vec::new(),
            keys: false,
        }
    }
}

/// Mount points of cgroup2 in proc_pid_mountinfo(5).
fn cgroup2(mountinfo: &str) -> Vec<PathBuf> {
    mountinfo
        .lines()
        .filter(|line| {
            line.split_once(" - ")
                .is_some_and(|(_, tail)| tail.starts_with("cgroup2 "))
        })
        .filter_map(|line| line.split(' ').nth(4).map(PathBuf::from))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cgroup2_counts() {
        let text = "30 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                    31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:4 - cgroup2 cgroup2 rw\n\
                    32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert_eq!(cgroup2(text), [Path::new("/sys/fs/cgroup/unified")]);
    }
}
