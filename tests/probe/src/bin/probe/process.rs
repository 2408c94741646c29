//! What the process is: ids, capabilities, limits, descriptors, and what it sees of PID 1.

use std::collections::BTreeMap;
use std::fs;

use probe::{Caps, Credentials, Init, Terminal};

use crate::{files, sys};

/// Names of capabilities by number, capabilities(7).
const CAPS: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Open descriptors, but the one that lists them.
pub(crate) fn fds() -> BTreeMap<i32, String> {
    let Ok(dir) = fs::read_dir("/proc/self/fd") else {
        return BTreeMap::new();
    };
    let own = format!("/proc/{}/fd", std::process::id());
    dir.flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let target = fs::read_link(entry.path()).ok()?.display().to_string();
            (target != own).then_some((number, target))
        })
        .collect()
}

/// `/proc/PID/status` by name.
pub(crate) fn status(pid: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

/// From `Uid`, `Gid` and `Groups`.
pub(crate) fn credentials(status: &BTreeMap<String, String>) -> Credentials {
    let numbers = |name: &str| -> Vec<u32> {
        let text = status.get(name).map_or("", String::as_str);
        text.split_ascii_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect()
    };
    let four = |name: &str| numbers(name).try_into().unwrap_or([u32::MAX; 4]);
    Credentials {
        uid: four("Uid"),
        gid: four("Gid"),
        groups: numbers("Groups"),
    }
}

/// From `CapInh` and its like.
pub(crate) fn caps(status: &BTreeMap<String, String>) -> Caps {
    let set = |name: &str| {
        let text = status.get(name).map_or("", String::as_str);
        names(u64::from_str_radix(text, 16).unwrap_or(u64::MAX))
    };
    Caps {
        inheritable: set("CapInh"),
        permitted: set("CapPrm"),
        effective: set("CapEff"),
        bounding: set("CapBnd"),
        ambient: set("CapAmb"),
    }
}

fn names(bits: u64) -> Vec<String> {
    (0..64)
        .filter(|bit| bits >> bit & 1 == 1)
        .map(|bit| {
            CAPS.get(bit)
                .map_or_else(|| format!("{bit}"), |name| (*name).to_owned())
        })
        .collect()
}

/// Lines of a `uid_map`.
pub(crate) fn id_map(path: &str) -> Vec<[u32; 3]> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let numbers: Vec<u32> = line
                .split_ascii_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect();
            numbers.try_into().ok()
        })
        .collect()
}

/// Inode numbers below `/proc/self/ns`.
pub(crate) fn namespaces() -> BTreeMap<String, u64> {
    let Ok(dir) = fs::read_dir("/proc/self/ns") else {
        return BTreeMap::new();
    };
    dir.flatten()
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?.display().to_string();
            let inode = target
                .split_once('[')?
                .1
                .trim_end_matches(']')
                .parse()
                .ok()?;
            Some((entry.file_name().into_string().ok()?, inode))
        })
        .collect()
}

/// What the standard descriptors are.
pub(crate) fn terminal() -> Terminal {
    Terminal {
        isatty: [0, 1, 2].map(sys::isatty),
        controlling: fs::File::open("/dev/tty").is_ok(),
        size: sys::window_size(),
    }
}

/// What can be seen of PID 1.
pub(crate) fn init() -> Init {
    let text = |name: &str| fs::read(format!("/proc/1/{name}")).unwrap_or_default();
    let cmdline = String::from_utf8_lossy(&text("cmdline")).replace('\0', " ");
    let links = ["exe", "cwd", "root"].map(|name| {
        let target = fs::read_link(format!("/proc/1/{name}"));
        (
            name.to_owned(),
            target.map_or_else(|e| files::errno(&e), |path| path.display().to_string()),
        )
    });
    let files = ["environ", "mem", "maps", "auxv", "fd"]
        .map(|name| (name.to_owned(), files::look(&format!("/proc/1/{name}"))));
    let shown = [
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Uid",
        "Gid",
        "Groups",
    ];
    let status = status("1")
        .into_iter()
        .filter(|(name, _)| shown.contains(&name.as_str()));
    Init {
        cmdline: cmdline.trim_end().to_owned(),
        comm: String::from_utf8_lossy(&text("comm")).trim_end().to_owned(),
        links: links.into_iter().collect(),
        files: files.into_iter().collect(),
        status: status.collect(),
    }
}

/// `/proc/self/limits`: the name is in the first 26 columns.
pub(crate) fn rlimits(text: &str) -> BTreeMap<String, (Option<u64>, Option<u64>)> {
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let (name, values) = line.split_at_checked(26)?;
            let mut values = values.split_ascii_whitespace();
            let (soft, hard) = (values.next()?, values.next()?);
            Some((
                name.trim().to_owned(),
                (soft.parse().ok(), hard.parse().ok()),
            ))
        })
        .collect()
}
