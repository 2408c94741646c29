//! What can be opened. Nothing is written, nothing is created, nothing is truncated.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{major, minor};

/// What tells of the machine, or acts on it, when it can be read.
const SENSITIVE: &[&str] = &[
    "/proc/kcore",
    "/proc/kallsyms",
    "/proc/kmsg",
    "/proc/keys",
    "/proc/key-users",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/kpagecgroup",
    "/proc/sysrq-trigger",
    "/proc/config.gz",
    "/proc/modules",
    "/proc/mtrr",
    "/proc/dma",
    "/proc/iomem",
    "/proc/ioports",
    "/proc/vmallocinfo",
    "/proc/slabinfo",
    "/proc/interrupts",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/acpi",
    "/proc/asound",
    "/proc/scsi",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/sys/firmware",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
    "/sys/kernel/security",
    "/sys/kernel/btf",
    "/sys/kernel/vmcoreinfo",
    "/sys/kernel/notes",
    "/sys/kernel/uevent_helper",
    "/sys/module",
    "/sys/fs/selinux",
    "/sys/fs/bpf",
    "/sys/fs/pstore",
    "/sys/fs/cgroup",
    "/sys/hypervisor",
    "/sys/class/dmi",
    "/sys/class/net",
    "/sys/block",
    "/sys/devices/virtual/powercap",
    "/sys/bus",
    "/sys/devices/system/cpu",
    "/dev/kmsg",
    "/dev/mem",
    "/dev/kvm",
    "/dev/fuse",
    "/dev/mapper",
    "/dev/net/tun",
];

/// Deeper than this nothing new is found; /sys has loops of links, which are not followed.
const DEPTH: usize = 12;

/// What each of [`SENSITIVE`] gives.
pub(crate) fn readable() -> BTreeMap<String, String> {
    SENSITIVE
        .iter()
        .map(|path| ((*path).to_owned(), look(path)))
        .collect()
}

/// `data`, `empty`, `dir of N` or an errno.
pub(crate) fn look(path: &str) -> String {
    if fs::metadata(path).is_ok_and(|meta| meta.is_dir()) {
        return match fs::read_dir(path) {
            Ok(dir) => format!("dir of {}", dir.count()),
            Err(error) => errno(&error),
        };
    }
    let mut file = match open(path, false) {
        Ok(file) => file,
        Err(error) => return errno(&error),
    };
    // Opening a device or the kernel's own log is the answer; reading it would have an effect, as taking
    // messages away from their reader. A mask over it is a file of another file system, and can be read.
    let device = file.metadata().is_ok_and(|meta| !meta.is_file());
    if device || (path == "/proc/kmsg" && is_proc(&file)) {
        return "opens".into();
    }
    let mut bytes = [0; 64];
    match file.read(&mut bytes) {
        Ok(0) => "empty".into(),
        Ok(_) => "data".into(),
        Err(error) => errno(&error),
    }
}

fn is_proc(file: &fs::File) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|stat| stat.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

/// `O_NONBLOCK`: a FIFO or a device must not hold us up.
fn open(path: impl AsRef<Path>, write: bool) -> io::Result<fs::File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    fs::OpenOptions::new()
        .read(!write)
        .write(write)
        .custom_flags(flags)
        .open(path)
}

/// Its name where it has one that matters here, else its number.
pub(crate) fn errno(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOENT) => "ENOENT".into(),
        Some(libc::EACCES) => "EACCES".into(),
        Some(libc::EPERM) => "EPERM".into(),
        Some(libc::EROFS) => "EROFS".into(),
        Some(libc::ENXIO) => "ENXIO".into(),
        Some(number) => format!("errno {number}"),
        None => error.to_string(),
    }
}

/// Files below `/proc` and `/sys` that open for writing. Of processes, one's own and PID 1.
pub(crate) fn writable() -> Vec<String> {
    let mut found = Vec::new();
    walk(Path::new("/proc"), 0, &mut found);
    walk(Path::new("/sys"), 0, &mut found);
    found.sort_unstable();
    found
}

fn walk(dir: &Path, depth: usize, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_dir() && depth < DEPTH && !passed_over(dir, &name) {
            walk(&path, depth + 1, found);
        } else if meta.is_file() && open(&path, true).is_ok() {
            let own = format!("/proc/{}/", std::process::id());
            found.push(path.display().to_string().replace(&own, "/proc/SELF/"));
        }
    }
}

/// Other processes than ourselves and PID 1, whose files tell nothing new, and our own descriptors.
fn passed_over(dir: &Path, name: &str) -> bool {
    if dir == Path::new("/proc") {
        let own = std::process::id().to_string();
        return name.bytes().all(|byte| byte.is_ascii_digit()) && name != own && name != "1";
    }
    dir.parent() == Some(Path::new("/proc"))
        && ["task", "fd", "fdinfo", "map_files"].contains(&name)
}

/// What `dir` holds.
pub(crate) fn nodes(dir: &str) -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return BTreeMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let meta = fs::symlink_metadata(entry.path()).ok()?;
            let kind = meta.file_type();
            let number = || format!("{}:{}", major(meta.rdev()), minor(meta.rdev()));
            let text = if kind.is_char_device() {
                format!("c {}", number())
            } else if kind.is_block_device() {
                format!("b {}", number())
            } else if kind.is_symlink() {
                format!("-> {}", fs::read_link(entry.path()).ok()?.display())
            } else if kind.is_dir() {
                "dir".to_owned()
            } else {
                "file".to_owned()
            };
            Some((entry.file_name().to_string_lossy().into_owned(), text))
        })
        .collect()
}
