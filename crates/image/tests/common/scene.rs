//! A place of its own for each test: namespaces, a tmpfs, the layer's directory and a canary beside it.

#![allow(unsafe_code, reason = "fork and unshare")]
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use image::layer::{self, Applied, Error, Limits, Options, OverlayAttrs, Rule};

/// Who applies the layers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    /// Root of the host.
    Root,
    /// Root of a user namespace in which one id is mapped.
    User,
}

/// Runs `body` in a forked child with one thread and hands on its failure.
fn forked(body: impl FnOnce()) {
    // Before the fork, as another thread may hold the hook's lock; without std's lock of standard error
    // for the same reason.
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let text = format!("{info}\n");
            // SAFETY: `text` is valid for its length and only read.
            unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
        }));
    });
    // SAFETY: the child ends in _exit, so no destructor and no buffer of the parent's is touched twice.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid == 0 {
        let done = catch_unwind(AssertUnwindSafe(body)).is_ok();
        // SAFETY: ends the process.
        unsafe { libc::_exit(if done { 0 } else { 101 }) }
    }
    let mut status = 0;
    // SAFETY: `status` is ours and the kernel writes one int through it.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0, "wait status; the message is on standard error");
}

fn unshare(flags: libc::c_int) {
    // SAFETY: plain integers, in a forked child with one thread.
    let result = unsafe { libc::unshare(flags) };
    let error = std::io::Error::last_os_error();
    assert_eq!(result, 0, "unshare({flags:#x}): {error}");
}

pub(crate) fn mount_tmpfs(at: &Path) {
    let at = CString::new(at.as_os_str().as_bytes()).expect("no NUL");
    // SAFETY: NUL-terminated strings that the kernel reads during the calls.
    let (private, mounted) = unsafe {
        let flags = libc::MS_REC | libc::MS_PRIVATE;
        let none = std::ptr::null();
        let null = std::ptr::null;
        let private = libc::mount(null(), c"/".as_ptr(), null(), flags, none);
        let tmpfs = c"tmpfs".as_ptr();
        (private, libc::mount(tmpfs, at.as_ptr(), tmpfs, 0, none))
    };
    let error = std::io::Error::last_os_error();
    assert_eq!((private, mounted), (0, 0), "mount: {error}");
}

/// One test's place.
pub(crate) struct Scene {
    pub(crate) who: Who,
    base: PathBuf,
    layers: std::cell::Cell<u32>,
    canary: BTreeMap<PathBuf, Fact>,
}

/// Everything that a layer says about one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, i64),
    pub(crate) links: u64,
    pub(crate) device: u64,
    pub(crate) content: Vec<u8>,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Which inode, as the first path of it.
    pub(crate) same_as: PathBuf,
}

/// Runs `body` in namespaces of its own.
pub(crate) fn scene(who: Who, body: impl FnOnce(&Scene)) {
    let directory = tempfile::tempdir().expect("a directory");
    let base = directory.path().to_owned();
    forked(|| {
        if who == Who::User {
            // SAFETY: no arguments, and they always succeed.
            let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
            unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWNET);
            fs::write("/proc/self/setgroups", "deny").expect("setgroups");
            fs::write("/proc/self/uid_map", format!("0 {uid} 1")).expect("uid_map");
            fs::write("/proc/self/gid_map", format!("0 {gid} 1")).expect("gid_map");
        } else {
            unshare(libc::CLONE_NEWNS | libc::CLONE_NEWNET);
        }
        // SAFETY: sets an integer of this process.
        unsafe { libc::umask(0o022) };
        mount_tmpfs(&base);
        let canary = base.join("canary");
        fs::create_dir_all(canary.join("sub")).expect("canary");
        fs::write(canary.join("victim"), "alive").expect("canary");
        fs::write(canary.join("sub/file"), "alive").expect("canary");
        fs::write(base.join("x"), "alive").expect("canary");
        let scene = Scene {
            who,
            canary: facts(&canary),
            base,
            layers: 0.into(),
        };
        body(&scene);
        scene.canary_lives();
    });
}

impl Scene {
    pub(crate) fn canary(&self) -> String {
        self.base.join("canary").display().to_string()
    }

    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    pub(crate) fn canary_lives(&self) {
        assert_eq!(facts(&self.base.join("canary")), self.canary, "the canary");
        assert_eq!(fs::read(self.base.join("x")).expect("x"), b"alive");
    }

    pub(crate) fn overlay(&self) -> OverlayAttrs {
        match self.who {
            Who::Root => OverlayAttrs::Trusted,
            Who::User => OverlayAttrs::User,
        }
    }

    /// Whether attributes of overlayfs can be set here: tmpfs has no `user.*` before Linux 6.6.
    pub(crate) fn has_opaque(&self) -> bool {
        self.has_xattr(self.overlay().opaque())
    }

    pub(crate) fn has_xattr(&self, name: &str) -> bool {
        let probe = self.base.join("probe");
        fs::create_dir_all(&probe).expect("probe");
        set_xattr(&probe, name, b"y").is_ok()
    }

    pub(crate) fn options(&self) -> Options<'static> {
        Options {
            overlay: self.overlay(),
            ..Options::default()
        }
    }

    pub(crate) fn new_layer(&self) -> PathBuf {
        self.layers.set(self.layers.get() + 1);
        let layer = self.base.join(format!("layer{}", self.layers.get()));
        fs::create_dir(&layer).expect("a new directory");
        layer
    }

    /// Applies an archive to a new directory.
    pub(crate) fn apply_with(
        &self,
        archive: &[u8],
        limits: &Limits,
        options: &Options<'_>,
    ) -> (PathBuf, Result<Applied, Error>) {
        let layer = self.new_layer();
        let root = fs::File::open(&layer).expect("the layer");
        let result = layer::apply(root.as_fd(), archive, limits, options);
        self.canary_lives();
        (layer, result)
    }

    pub(crate) fn apply(&self, archive: &[u8]) -> (PathBuf, Result<Applied, Error>) {
        self.apply_with(archive, &Limits::default(), &self.options())
    }

    #[track_caller]
    pub(crate) fn good(&self, archive: &[u8]) -> PathBuf {
        let (layer, result) = self.apply(archive);
        if let Err(error) = result {
            panic!("{error}: {:?}", error.errno());
        }
        layer
    }

    /// With layers below, the nearest first.
    #[track_caller]
    pub(crate) fn good_on(&self, lowers: &[&Path], archive: &[u8]) -> PathBuf {
        let files: Vec<fs::File> = lowers
            .iter()
            .map(|lower| fs::File::open(lower).expect("a lower layer"))
            .collect();
        let mut options = self.options();
        options.lowers = files.iter().map(|file| borrow(file)).collect();
        let before: Vec<_> = lowers.iter().map(|lower| facts(lower)).collect();
        let (layer, result) = self.apply_with(archive, &Limits::default(), &options);
        if let Err(error) = result {
            panic!("{error}: {:?}", error.errno());
        }
        let after: Vec<_> = lowers.iter().map(|lower| facts(lower)).collect();
        assert_eq!(before, after, "the layers below");
        layer
    }

    /// What overlayfs makes of layers, the nearest first.
    pub(crate) fn merged(&self, layers: &[&Path]) -> BTreeMap<PathBuf, Fact> {
        let at = self.new_layer();
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).expect("no NUL");
        let lowers: Vec<_> = layers
            .iter()
            .map(|layer| layer.to_str().expect("text"))
            .collect();
        let mut data = format!("lowerdir={}", lowers.join(":"));
        if self.who == Who::User {
            data += ",userxattr";
        }
        let (name, target) = (c"overlay", text(&at));
        let data = CString::new(data).expect("no NUL");
        // SAFETY: NUL-terminated strings that the kernel reads during the call.
        let mounted = unsafe {
            let data = data.as_ptr().cast();
            libc::mount(
                name.as_ptr(),
                target.as_ptr(),
                name.as_ptr(),
                libc::MS_RDONLY,
                data,
            )
        };
        assert_eq!(mounted, 0, "overlay: {}", std::io::Error::last_os_error());
        let found = facts(&at);
        // SAFETY: a NUL-terminated string.
        assert_eq!(unsafe { libc::umount2(target.as_ptr(), 0) }, 0);
        found
    }

    /// An overlay that can be written to, as long as the scene lasts.
    pub(crate) fn in_use(&self, lower: &Path) -> PathBuf {
        let (at, upper, work) = (self.new_layer(), self.new_layer(), self.new_layer());
        let [lower, upper, work] = [lower, &upper, &work].map(|path| path.to_str().expect("text"));
        let mut data = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        if self.who == Who::User {
            data += ",userxattr";
        }
        let target = CString::new(at.as_os_str().as_bytes()).expect("no NUL");
        let (name, data) = (c"overlay", CString::new(data).expect("no NUL"));
        // SAFETY: NUL-terminated strings that the kernel reads during the call.
        let mounted = unsafe {
            let data = data.as_ptr().cast();
            libc::mount(name.as_ptr(), target.as_ptr(), name.as_ptr(), 0, data)
        };
        assert_eq!(mounted, 0, "overlay: {}", std::io::Error::last_os_error());
        at
    }

    #[track_caller]
    pub(crate) fn bad(&self, archive: &[u8], expected: Rule) {
        match self.apply(archive).1 {
            Err(Error::Refused { rule, .. } | Error::Malformed { rule, .. }) => {
                assert_eq!(rule, expected);
            }
            other => panic!("{expected:?} expected, not {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn fails(&self, archive: &[u8], expected: &Error) {
        assert_eq!(self.apply(archive).1.as_ref(), Err(expected));
    }
}

fn borrow(file: &fs::File) -> BorrowedFd<'_> {
    file.as_fd()
}

pub(crate) fn set_xattr(path: &Path, name: &str, value: &[u8]) -> std::io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    let name = CString::new(name).expect("no NUL");
    // SAFETY: strings and value are valid for their lengths and only read.
    let result = unsafe {
        let value = (value.as_ptr().cast(), value.len());
        libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.0, value.1, 0)
    };
    match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Sets both times of `path`, which may be a link.
pub(crate) fn touch(path: &Path, seconds: i64, nanos: i64) {
    let text = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    let time = libc::timespec {
        tv_sec: seconds,
        tv_nsec: nanos,
    };
    let times = [time, time];
    // SAFETY: a NUL-terminated string and two times that live until after the call.
    let result = unsafe {
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        libc::utimensat(libc::AT_FDCWD, text.as_ptr(), times.as_ptr(), flags)
    };
    assert_eq!(result, 0, "{path:?}: {}", std::io::Error::last_os_error());
}

pub(crate) fn make_fifo(path: &Path, mode: u32) {
    let text = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    // SAFETY: a NUL-terminated string.
    assert_eq!(unsafe { libc::mkfifo(text.as_ptr(), mode) }, 0, "{path:?}");
}

pub(crate) fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    let mut names = vec![0u8; 4096];
    // SAFETY: the kernel writes at most the length passed.
    let length = unsafe { libc::llistxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    names.truncate(usize::try_from(length).unwrap_or(0));
    let mut found = Vec::new();
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let text = CString::new(name).expect("no NUL");
        let mut value = vec![0u8; 65_536];
        // SAFETY: the kernel writes at most the length passed.
        let length = unsafe {
            let buffer = value.as_mut_ptr().cast();
            libc::lgetxattr(path.as_ptr(), text.as_ptr(), buffer, value.len())
        };
        value.truncate(usize::try_from(length).expect("a value"));
        found.push((name.to_vec(), value));
    }
    found.sort();
    found
}

/// Everything below `root`, itself included.
pub(crate) fn facts(root: &Path) -> BTreeMap<PathBuf, Fact> {
    let mut found = BTreeMap::new();
    let mut first = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let stat = fs::symlink_metadata(&path).expect("stat");
        let kind = stat.file_type();
        let content = if kind.is_dir() {
            let mut names: Vec<_> = fs::read_dir(&path)
                .expect("a directory")
                .map(|entry| entry.expect("an entry").path())
                .collect();
            names.sort();
            // The first name in order stands for the inode, so the walk must be in order.
            names.reverse();
            todo.extend(names);
            Vec::new()
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).expect("a link");
            target.as_os_str().as_bytes().to_vec()
        } else if kind.is_file() {
            fs::read(&path).expect("a file")
        } else {
            Vec::new()
        };
        let relative = path.strip_prefix(root).expect("below").to_owned();
        let same_as = first.entry(stat.ino()).or_insert_with(|| relative.clone());
        let fact = Fact {
            mode: stat.mode(),
            owner: (stat.uid(), stat.gid()),
            mtime: (stat.mtime(), stat.mtime_nsec()),
            links: if kind.is_dir() { 0 } else { stat.nlink() },
            device: stat.rdev(),
            content,
            xattrs: xattrs(&path),
            same_as: same_as.clone(),
        };
        found.insert(relative, fact);
    }
    found
}

pub(crate) fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|stat| stat.mode() & libc::S_IFMT == libc::S_IFCHR && stat.rdev() == 0)
}
