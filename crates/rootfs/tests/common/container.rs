//! Children in namespaces of their own that apply a tree and look around in it.

#![allow(unsafe_code, reason = "fork, unshare and applying steps")]
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests build trees on the host and look at them from inside by path"
)]

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use rootfs::{Source, Tree, TreeBuilder};
use rustix::io::Errno;

/// Every namespace a container has.
pub(crate) const ALL: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// Runs `body` in a forked child with one thread and hands on its failure.
pub(crate) fn forked(body: impl FnOnce()) {
    // Before the fork: the hook's lock may be held by another thread, and in the child for ever. It
    // writes without std's lock for the same reason.
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let text = format!("{info}\n");
            // SAFETY: `text` is valid for its length and only read.
            unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
        }));
    });
    // SAFETY: glibc's fork leaves the allocator usable in the child of a threaded process, and the
    // child ends in _exit: no destructor and no buffer of the parent's is touched twice.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid == 0 {
        let code = if catch_unwind(AssertUnwindSafe(body)).is_ok() {
            0
        } else {
            101
        };
        // SAFETY: ends the process, nothing is run any more.
        unsafe { libc::_exit(code) }
    }
    let mut status = 0;
    // SAFETY: `status` is ours and the kernel writes one int through it.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(
        status, 0,
        "wait status of the child; its message is on standard error"
    );
}

/// unshare(2), in a process with one thread.
pub(crate) fn unshare(flags: libc::c_int) {
    // SAFETY: plain integers; the callers are forked children with one thread.
    let result = unsafe { libc::unshare(flags) };
    assert_eq!(
        result,
        0,
        "unshare({flags:#x}): {}",
        std::io::Error::last_os_error()
    );
}

/// Runs `body` as PID 1 and root of new namespaces, the user namespace among them.
pub(crate) fn contained(body: impl FnOnce()) {
    forked(|| {
        let uid = rustix::process::getuid().as_raw();
        let gid = rustix::process::getgid().as_raw();
        unshare(libc::CLONE_NEWUSER | ALL);
        std::fs::write("/proc/self/setgroups", "deny").expect("setgroups");
        std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).expect("uid_map");
        std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).expect("gid_map");
        forked(body);
    });
}

/// The same without a user namespace, for root.
pub(crate) fn contained_as_root(body: impl FnOnce()) {
    forked(|| {
        unshare(ALL);
        forked(body);
    });
}

/// A step that failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) step: String,
    pub(crate) errno: Errno,
    pub(crate) hint: Option<&'static str>,
}

/// Applies every step.
pub(crate) fn apply(tree: &Tree, passed: &[RawFd]) -> Result<(), Failed> {
    for step in 0..tree.len() {
        // SAFETY: `passed` is open in this process, a forked child with one thread.
        unsafe { tree.apply(step, passed) }.map_err(|errno| Failed {
            step: tree.describe(step),
            errno,
            hint: tree.hint(step, errno),
        })?;
    }
    Ok(())
}

/// Builds with `build` after private `/`, ids and scratch, pivots and applies.
pub(crate) fn enter(
    build: impl FnOnce(&mut TreeBuilder) -> Result<(), rootfs::Error>,
) -> Result<(), Failed> {
    let mut tree = TreeBuilder::new(rootfs::Propagation::Private);
    tree.ids(0, 0, false).expect("ids");
    tree.scratch(None).expect("scratch");
    build(&mut tree).expect("a tree that can be built");
    tree.pivot().expect("pivot");
    apply(&tree.build(), &[])
}

/// `enter` with `root` bound as `/`.
pub(crate) fn enter_bind(
    root: &Path,
    build: impl FnOnce(&mut TreeBuilder) -> Result<(), rootfs::Error>,
) -> Result<(), Failed> {
    enter(|tree| {
        tree.root_bind(&path(root), false)?;
        build(tree)
    })
}

/// A source by path.
pub(crate) fn path(path: &Path) -> Source {
    Source::Path(CString::new(path.as_os_str().as_bytes()).expect("no NUL"))
}

/// Mount points and mount options of the calling process's mount namespace.
pub(crate) fn mounts() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        (fields[4].to_owned(), fields[5..].join(" "))
    };
    text.lines().map(line).collect()
}

/// errno of a failed std call.
pub(crate) fn errno<T>(result: std::io::Result<T>) -> Option<Errno> {
    result.err().and_then(|error| Errno::from_io_error(&error))
}

/// A directory with a tree to run in and a canary beside it.
pub(crate) struct Scene {
    dir: tempfile::TempDir,
    before: Vec<String>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir_all(dir.path().join("canary/sub")).expect("canary");
        std::fs::create_dir(dir.path().join("root")).expect("root");
        std::fs::write(dir.path().join("canary/file"), "song").expect("canary");
        let mut scene = Self {
            dir,
            before: Vec::new(),
        };
        scene.before = snapshot(&scene.canary());
        scene
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub(crate) fn canary(&self) -> PathBuf {
        self.dir.path().join("canary")
    }

    /// A further directory beside the root.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        path
    }

    pub(crate) fn mkdir(&self, path: &str) -> &Self {
        std::fs::create_dir_all(self.root().join(path)).expect("a directory");
        self
    }

    pub(crate) fn write(&self, path: &str, text: &str) -> &Self {
        std::fs::write(self.root().join(path), text).expect("a file");
        self
    }

    pub(crate) fn link(&self, path: &str, target: impl AsRef<Path>) -> &Self {
        std::os::unix::fs::symlink(target, self.root().join(path)).expect("a link");
        self
    }

    pub(crate) fn fifo(&self, path: &str) -> &Self {
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, self.root().join(path), kind, mode, 0).expect("FIFO");
        self
    }

    /// Nothing of the canary was touched.
    pub(crate) fn assert_canary_alive(&self) {
        assert_eq!(snapshot(&self.canary()), self.before, "the canary changed");
    }
}

/// Names, modes, owners, times and contents below `path`.
fn snapshot(path: &Path) -> Vec<String> {
    let meta = std::fs::symlink_metadata(path).expect("lstat");
    let mut lines = vec![format!(
        "{} {:o} {} {} {} {}.{}",
        path.display(),
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.ino(),
        meta.mtime(),
        meta.mtime_nsec()
    )];
    if meta.is_dir() {
        let mut names: Vec<_> = std::fs::read_dir(path)
            .expect("readdir")
            .map(|e| e.expect("entry").path())
            .collect();
        names.sort();
        lines.extend(names.iter().flat_map(|name| snapshot(name)));
    } else {
        lines.push(String::from_utf8_lossy(&std::fs::read(path).expect("read")).into_owned());
    }
    lines
}
