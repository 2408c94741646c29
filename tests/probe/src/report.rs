//! The probe's report.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Everything the probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Open descriptors and what `/proc/self/fd` says of them.
    pub fds: BTreeMap<i32, String>,
    /// getcwd(3).
    pub cwd: String,
    /// argv, the program's own name first.
    pub argv: Vec<String>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// Who it is.
    pub credentials: Credentials,
    /// Capability sets, by name.
    pub caps: Caps,
    /// `NoNewPrivs` of proc_pid_status(5).
    pub no_new_privs: bool,
    /// `Seccomp` of proc_pid_status(5): 0 off, 2 filter.
    pub seccomp: u32,
    /// Lines of `/proc/self/uid_map`.
    pub uid_map: Vec<[u32; 3]>,
    /// Lines of `/proc/self/gid_map`.
    pub gid_map: Vec<[u32; 3]>,
    /// Mounts, in the order of mountinfo.
    pub mounts: Vec<Mount>,
    /// Nodes in `/dev`, with their kind: `c 1:3`, `dir`, `-> fd/0`.
    pub dev: BTreeMap<String, String>,
    /// Files below `/proc` and `/sys` that can be opened for writing.
    pub writable: Vec<String>,
    /// What reading a path that tells of the machine gives: `data`, `empty`, `dir of N` or an errno.
    pub readable: BTreeMap<String, String>,
    /// What socket(2) answers, by family.
    pub sockets: BTreeMap<u32, Answer>,
    /// What system calls answer to bad arguments, by number.
    pub syscalls: BTreeMap<u32, Answer>,
    /// What single operations answer that a filter tells apart by their arguments.
    pub operations: BTreeMap<String, Answer>,
    /// Inode numbers of the namespaces.
    pub namespaces: BTreeMap<String, u64>,
    /// Which of the standard descriptors are terminals.
    pub terminal: Terminal,
    /// Host name.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// Its own pid, parent, session and process group.
    pub pid: i32,
    /// getppid(2).
    pub ppid: i32,
    /// getsid(2).
    pub sid: i32,
    /// getpgrp(2).
    pub pgid: i32,
    /// PID 1 as it can be seen.
    pub init: Init,
    /// Resource limits: `NAME` → (soft, hard), `None` is unlimited.
    pub rlimits: BTreeMap<String, (Option<u64>, Option<u64>)>,
    /// umask(2).
    pub umask: u32,
    /// Blocked signals, `SigBlk`.
    pub blocked: u64,
    /// Ignored signals, `SigIgn`, but for SIGPIPE.
    pub ignored: u64,
    /// `/proc/self/cgroup`.
    pub cgroup: String,
    /// `/proc/self/oom_score_adj`.
    pub oom_score_adj: i32,
    /// Network interfaces.
    pub interfaces: Vec<String>,
}

/// User and group ids: real, effective, saved, file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Uids.
    pub uid: [u32; 4],
    /// Gids.
    pub gid: [u32; 4],
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// Capability sets as names without `CAP_`, sorted by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caps {
    /// CapInh.
    pub inheritable: Vec<String>,
    /// CapPrm.
    pub permitted: Vec<String>,
    /// CapEff.
    pub effective: Vec<String>,
    /// CapBnd.
    pub bounding: Vec<String>,
    /// CapAmb.
    pub ambient: Vec<String>,
}

/// A mount, proc_pid_mountinfo(5), without what differs from run to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Mount point.
    pub at: String,
    /// File system type.
    pub fstype: String,
    /// Which part of the file system, as it names it.
    pub root: String,
    /// Options of the mount, sorted, `relatime` left out.
    pub options: Vec<String>,
    /// Options of the file system, sorted.
    pub super_options: Vec<String>,
    /// `shared:N`, `master:N` and the like, numbers left out.
    pub propagation: Vec<String>,
}

/// What the kernel answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Success.
    Ok,
    /// An error number.
    Errno(i32),
    /// The caller was killed by this signal.
    Killed(i32),
    /// The call did not come back in time.
    Hung,
    /// Not tried, for this reason.
    Skipped(String),
}

impl Answer {
    /// Whether this is how a filter, or a kernel without the call, says no.
    #[must_use]
    pub fn refused(&self) -> bool {
        matches!(
            self,
            Self::Errno(libc::EPERM | libc::ENOSYS) | Self::Killed(libc::SIGSYS)
        )
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Errno(libc::EPERM) => f.write_str("EPERM"),
            Self::Errno(libc::ENOSYS) => f.write_str("ENOSYS"),
            Self::Errno(libc::EAFNOSUPPORT) => f.write_str("EAFNOSUPPORT"),
            Self::Errno(number) => write!(f, "errno {number}"),
            Self::Killed(signal) => write!(f, "killed by signal {signal}"),
            Self::Hung => f.write_str("hung"),
            Self::Skipped(why) => write!(f, "skipped: {why}"),
        }
    }
}

/// The standard descriptors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// isatty(3) of 0, 1, 2.
    pub isatty: [bool; 3],
    /// Whether /dev/tty opens: there is a controlling terminal.
    pub controlling: bool,
    /// Rows and columns of descriptor 0.
    pub size: Option<(u16, u16)>,
}

/// PID 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Init {
    /// `/proc/1/cmdline`, words separated by spaces.
    pub cmdline: String,
    /// `/proc/1/comm`.
    pub comm: String,
    /// What readlink(2) of exe, cwd, root answers: the target or the errno.
    pub links: BTreeMap<String, String>,
    /// What opening environ, mem, maps and fd answers: `data`, `empty`, `dir of N` or an errno.
    pub files: BTreeMap<String, String>,
    /// Lines of `/proc/1/status` that say what it may do: Cap*, NoNewPrivs, Seccomp, Uid, Gid.
    pub status: BTreeMap<String, String>,
}
