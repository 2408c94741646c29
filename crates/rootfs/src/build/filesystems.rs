//! New file systems in the tree: proc, sysfs, tmpfs, mqueue, cgroup2, or any other by name.

use std::path::PathBuf;

use super::{Steps, TreeBuilder, text};
use crate::attrs::MountAttrs;
use crate::error::Error;
use crate::step::{Kind, Reg, Step, To};

/// A tmpfs, tmpfs(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tmpfs {
    /// Most bytes; `None`: half of the memory.
    pub size: Option<u64>,
    /// Mode of its root directory; `None`: 1777.
    pub mode: Option<u32>,
    /// Owner of its root directory; `None`: who mounts it.
    pub owner: Option<(u32, u32)>,
    /// Most inodes; `None`: half of the pages of memory.
    pub nr_inodes: Option<u64>,
    /// Mount flags.
    pub attrs: MountAttrs,
}

impl Tmpfs {
    pub(super) fn options(&self) -> Result<Vec<Step>, Error> {
        let mut options = Vec::new();
        if let Some(size) = self.size {
            // tmpfs reads 0 as "no limit", which nobody means who writes 0.
            options.push(text::option("size", &size.max(1).to_string())?);
        }
        if let Some(mode) = self.mode {
            options.push(text::option("mode", &format!("{mode:04o}"))?);
        }
        if let Some((uid, gid)) = self.owner {
            options.push(text::option("uid", &uid.to_string())?);
            options.push(text::option("gid", &gid.to_string())?);
        }
        if let Some(inodes) = self.nr_inodes {
            options.push(text::option("nr_inodes", &inodes.max(1).to_string())?);
        }
        Ok(options)
    }
}

/// procfs options, proc(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proc {
    /// `subset=pid`: nothing but processes. Hides /proc/meminfo and its like, which many programs read.
    pub subset_pid: bool,
    /// `hidepid=`.
    pub hidepid: Option<HidePid>,
}

/// What one user sees of another's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HidePid {
    /// `noaccess`: the directories, but nothing in them.
    NoAccess,
    /// `invisible`: nothing.
    Invisible,
    /// `ptraceable`: only what one may ptrace.
    Ptraceable,
}

/// A file system by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filesystem {
    /// `tmpfs`, `ramfs`, `cgroup2` …
    pub fs_type: String,
    /// Shown as the device in mountinfo.
    pub source: Option<String>,
    /// Where, absolute; made if missing.
    pub at: PathBuf,
    /// Options of the file system itself, in order.
    pub options: Vec<FsOption>,
    /// Mount flags.
    pub attrs: MountAttrs,
}

/// One option of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FsOption {
    /// `key`
    Flag(String),
    /// `key=value`, the value at most 255 bytes.
    Value(String, String),
}

const NO_SUID_DEV_EXEC: MountAttrs = MountAttrs::NOSUID
    .union(MountAttrs::NODEV)
    .union(MountAttrs::NOEXEC);

impl TreeBuilder {
    /// A new procfs at `/proc`, of the child's pid namespace. `/proc` must be missing or a real
    /// directory. Its descriptor is kept for [`sysctl`](Self::sysctl).
    ///
    /// # Errors
    /// [`Error::Order`].
    pub fn proc(&mut self, proc: &Proc) -> Steps {
        self.needs_root("proc")?;
        let start = self.len();
        let mut options = Vec::new();
        if let Some(hidepid) = proc.hidepid {
            let value = match hidepid {
                HidePid::NoAccess => "noaccess",
                HidePid::Invisible => "invisible",
                HidePid::Ptraceable => "ptraceable",
            };
            options.push(text::option("hidepid", value)?);
        }
        if proc.subset_pid {
            options.push(text::option("subset", "pid")?);
        }
        self.make_fs("proc", options, NO_SUID_DEV_EXEC, Reg::Proc)?;
        self.attach(Reg::Proc, c"proc".into(), Kind::RealDirectory);
        self.proc = true;
        Ok(start..self.len())
    }

    /// A new, read-only sysfs at `/sys`. Needs an own network namespace; see
    /// [`host_sys`](Self::host_sys).
    ///
    /// # Errors
    /// [`Error::Order`].
    pub fn sysfs(&mut self) -> Steps {
        self.needs_root("sysfs")?;
        let start = self.len();
        let attrs = NO_SUID_DEV_EXEC | MountAttrs::RDONLY;
        self.make_fs("sysfs", Vec::new(), attrs, Reg::Mount)?;
        self.attach(Reg::Mount, c"sys".into(), Kind::RealDirectory);
        Ok(start..self.len())
    }

    /// cgroup2 at `/sys/fs/cgroup`, which [`sysfs`](Self::sysfs) has a directory for. Its root is the
    /// container's own cgroup if the cgroup namespace is new.
    ///
    /// # Errors
    /// [`Error::Order`].
    pub fn cgroup2(&mut self, read_only: bool) -> Steps {
        self.needs_root("cgroup2")?;
        let start = self.len();
        let mut attrs = NO_SUID_DEV_EXEC;
        attrs.set(MountAttrs::RDONLY, read_only);
        self.make_fs("cgroup2", Vec::new(), attrs, Reg::Mount)?;
        self.attach(Reg::Mount, c"sys/fs/cgroup".into(), Kind::RealDirectory);
        Ok(start..self.len())
    }

    /// POSIX message queues at `/dev/mqueue`, of the child's ipc namespace.
    ///
    /// # Errors
    /// [`Error::Order`] before [`dev`](Self::dev).
    pub fn mqueue(&mut self) -> Steps {
        self.in_dev("mqueue", "mqueue", Vec::new(), NO_SUID_DEV_EXEC)
    }

    /// `/dev/shm`: a tmpfs of `size` bytes.
    ///
    /// # Errors
    /// [`Error::Order`] before [`dev`](Self::dev).
    pub fn shm(&mut self, size: u64) -> Steps {
        let tmpfs = Tmpfs {
            size: Some(size),
            ..Tmpfs::default()
        };
        self.in_dev("shm", "tmpfs", tmpfs.options()?, NO_SUID_DEV_EXEC)
    }

    /// A tmpfs at `at`.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Order`].
    pub fn tmpfs(&mut self, at: &std::path::Path, tmpfs: &Tmpfs) -> Steps {
        self.needs_root("tmpfs")?;
        let at = text::in_root(at)?;
        let start = self.len();
        self.make_fs("tmpfs", tmpfs.options()?, tmpfs.attrs, Reg::Mount)?;
        self.attach(Reg::Mount, at, Kind::Directory);
        Ok(start..self.len())
    }

    /// Any file system by name.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Order`], [`Error::Nul`], [`Error::ValueTooLong`].
    pub fn filesystem(&mut self, fs: &Filesystem) -> Steps {
        self.needs_root("filesystem")?;
        let at = text::in_root(&fs.at)?;
        let mut options = Vec::new();
        if let Some(source) = &fs.source {
            options.push(text::option("source", source)?);
        }
        for option in &fs.options {
            options.push(match option {
                FsOption::Flag(key) => Step::FsconfigFlag(text::c_string("option", key)?),
                FsOption::Value(key, value) => text::option(key, value)?,
            });
        }
        let start = self.len();
        self.make_fs(&fs.fs_type, options, fs.attrs, Reg::Mount)?;
        self.attach(Reg::Mount, at, Kind::Directory);
        Ok(start..self.len())
    }

    /// A file system in our own /dev, which needs no look-up: nobody else has made a name there.
    pub(super) fn in_dev(
        &mut self,
        name: &'static str,
        fs: &str,
        options: Vec<Step>,
        attrs: MountAttrs,
    ) -> Steps {
        self.needs_root(name)?;
        self.needs(self.dev, name, "dev")?;
        let start = self.len();
        let entry = text::c_string("name", name)?;
        self.steps.push(Step::Mkdirat {
            dir: Reg::Dev,
            name: entry.clone(),
            mode: 0o755,
        });
        self.make_fs(fs, options, attrs, Reg::Mount)?;
        self.steps.push(Step::MoveMount {
            from: Reg::Mount,
            to: To::In(Reg::Dev, entry),
        });
        Ok(start..self.len())
    }
}
