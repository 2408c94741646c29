//! Landlock, [`landlock(7)`]: rules an unprivileged process lays on itself and its children, beside and
//! below those of the file system.
//!
//! Since Linux 5.13 (ABI 1), if the kernel was booted with it; what each ABI added is in
//! [`Landlock::unenforced`]. Needs no_new_privs or CAP_SYS_ADMIN. The rule set is made by the child inside
//! its own root, so paths are the container's. Not used here: the network rules (ABI 4), since a
//! container has a network namespace.
//!
//! [`landlock(7)`]: https://man7.org/linux/man-pages/man7/landlock.7.html

use std::ffi::CString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use landlock::{ABI, Access, AccessFs, Scope};
use rustix::io::Errno;

use crate::{Error, sys};

/// The running kernel's Landlock ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Abi(u32);

impl Abi {
    /// No Landlock: not built in, or not in `lsm=`.
    pub const NONE: Self = Self(0);

    /// Asks the kernel.
    ///
    /// # Kernel
    /// [`landlock_create_ruleset(2)`](https://man7.org/linux/man-pages/man2/landlock_create_ruleset.2.html)
    /// with `LANDLOCK_CREATE_RULESET_VERSION`; no privilege. ENOSYS and EOPNOTSUPP both mean
    /// [`Abi::NONE`].
    pub fn observe() -> Self {
        sys::landlock_abi().map_or(Self::NONE, Self)
    }

    /// An ABI by number.
    pub fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Its number; 0 is none.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The newest ABI whose file system rights are handled. ABI 9 and later add rights this crate has
    /// not been tried with; a right that is not handled is not restricted.
    fn known(self) -> ABI {
        ABI::from(self.0.min(8) as i32)
    }
}

/// What a process may not reach outside of its own Landlock domain (ABI 6).
///
/// A domain is that of one process and what it starts. A process that enters a container later has a
/// domain of its own, a sibling: with these scopes it can neither connect to the workload's abstract
/// sockets nor signal it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scopes {
    /// Connecting to abstract unix sockets. They belong to the network namespace, so this counts where
    /// that is shared with the host (CVE-2020-15257).
    pub abstract_unix_socket: bool,
    /// Sending signals. Counts where the pid namespace is shared.
    pub signal: bool,
}

impl Scopes {
    /// Both.
    pub const ALL: Self = Self {
        abstract_unix_socket: true,
        signal: true,
    };
    /// Neither.
    pub const NONE: Self = Self {
        abstract_unix_socket: false,
        signal: false,
    };
}

impl Default for Scopes {
    fn default() -> Self {
        Self::ALL
    }
}

/// What to restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Landlock {
    /// May be read and executed below. Absolute, in the container.
    pub read: Vec<PathBuf>,
    /// May be read, executed and changed below. Absolute, in the container.
    pub write: Vec<PathBuf>,
    /// What is out of reach.
    pub scopes: Scopes,
}

/// Something asked for that an ABI cannot enforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unenforced {
    /// No Landlock at all: neither paths nor scopes.
    Everything,
    /// Before ABI 2 every link or rename into another directory is refused, also below `write`.
    Refer,
    /// Before ABI 3 files below `read` can still be truncated.
    Truncate,
    /// Before ABI 5 devices below `read` still take every ioctl.
    IoctlDev,
    /// Before ABI 6 abstract unix sockets can still be reached.
    AbstractUnixSocket,
    /// Before ABI 6 signals can still be sent.
    Signal,
}

impl fmt::Display for Unenforced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Everything => "this kernel has no Landlock: nothing is enforced",
            Self::Refer => {
                "Landlock ABI 2 (Linux 5.19) is missing: no file can be linked or moved to another directory"
            }
            Self::Truncate => "Landlock ABI 3 (Linux 6.2) is missing: truncation is not restricted",
            Self::IoctlDev => "Landlock ABI 5 (Linux 6.10) is missing: ioctls on devices are not restricted",
            Self::AbstractUnixSocket => {
                "Landlock ABI 6 (Linux 6.12) is missing: abstract unix sockets are not restricted"
            }
            Self::Signal => "Landlock ABI 6 (Linux 6.12) is missing: signals are not restricted",
        })
    }
}

/// One rule, ready for the child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathRule {
    pub(crate) path: CString,
    /// For a directory.
    pub(crate) access: u64,
    /// For anything else: the kernel refuses directory rights there with EINVAL.
    pub(crate) file_access: u64,
}

impl Landlock {
    /// The scopes alone: no path is restricted.
    pub fn scopes_only() -> Self {
        Self::default()
    }

    /// Are any paths restricted? Then everything that is not named is out of reach: also `/proc`,
    /// `/dev/null` and `/tmp`.
    pub fn restricts_paths(&self) -> bool {
        !self.read.is_empty() || !self.write.is_empty()
    }

    /// What of this the kernel would not enforce. Empty: all of it holds.
    pub fn unenforced(&self, abi: Abi) -> Vec<Unenforced> {
        let paths = self.restricts_paths();
        let asked = paths || self.scopes != Scopes::NONE;
        if asked && abi == Abi::NONE {
            return vec![Unenforced::Everything];
        }
        let table = [
            (paths && abi.0 < 2, Unenforced::Refer),
            (paths && abi.0 < 3, Unenforced::Truncate),
            (paths && abi.0 < 5, Unenforced::IoctlDev),
            (
                self.scopes.abstract_unix_socket && abi.0 < 6,
                Unenforced::AbstractUnixSocket,
            ),
            (self.scopes.signal && abi.0 < 6, Unenforced::Signal),
        ];
        table
            .into_iter()
            .filter(|(missing, _)| *missing)
            .map(|(_, what)| what)
            .collect()
    }

    /// The handled rights, the scopes and the rules for a kernel with this ABI; `None` when it can
    /// enforce nothing of it, or nothing is asked.
    pub(crate) fn prepare(&self, abi: Abi) -> Result<Option<(u64, u64, Vec<PathRule>)>, Error> {
        let known = abi.known();
        let read = AccessFs::from_read(known).bits();
        let write = AccessFs::from_all(known).bits();
        let file = AccessFs::from_file(known).bits();
        let mut rules = Vec::with_capacity(self.read.len() + self.write.len());
        for (paths, access) in [(&self.read, read), (&self.write, write)] {
            for path in paths {
                let wrong = || Error::LandlockPath { path: path.clone() };
                if !path.is_absolute() {
                    return Err(wrong());
                }
                let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
                    return Err(wrong());
                };
                rules.push(PathRule {
                    path,
                    access,
                    file_access: access & file,
                });
            }
        }
        if abi == Abi::NONE {
            return Ok(None);
        }
        let handled = if self.restricts_paths() { write } else { 0 };
        let scoped = self.scoped() & Scope::from_all(known).bits();
        Ok((handled != 0 || scoped != 0).then_some((handled, scoped, rules)))
    }

    fn scoped(&self) -> u64 {
        let bit = |wanted: bool, scope: Scope| if wanted { scope as u64 } else { 0 };
        bit(self.scopes.abstract_unix_socket, Scope::AbstractUnixSocket)
            | bit(self.scopes.signal, Scope::Signal)
    }
}

/// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET|LANDLOCK_SCOPE_SIGNAL`, or `0`.
pub(crate) fn scope_names(scoped: u64) -> String {
    let names = [
        (
            Scope::AbstractUnixSocket as u64,
            "LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET",
        ),
        (Scope::Signal as u64, "LANDLOCK_SCOPE_SIGNAL"),
    ];
    join(scoped, &names)
}

/// `LANDLOCK_ACCESS_FS_EXECUTE|…`, or `0`.
pub(crate) fn access_names(access: u64) -> String {
    let names = [
        (1 << 0, "LANDLOCK_ACCESS_FS_EXECUTE"),
        (1 << 1, "LANDLOCK_ACCESS_FS_WRITE_FILE"),
        (1 << 2, "LANDLOCK_ACCESS_FS_READ_FILE"),
        (1 << 3, "LANDLOCK_ACCESS_FS_READ_DIR"),
        (1 << 4, "LANDLOCK_ACCESS_FS_REMOVE_DIR"),
        (1 << 5, "LANDLOCK_ACCESS_FS_REMOVE_FILE"),
        (1 << 6, "LANDLOCK_ACCESS_FS_MAKE_CHAR"),
        (1 << 7, "LANDLOCK_ACCESS_FS_MAKE_DIR"),
        (1 << 8, "LANDLOCK_ACCESS_FS_MAKE_REG"),
        (1 << 9, "LANDLOCK_ACCESS_FS_MAKE_SOCK"),
        (1 << 10, "LANDLOCK_ACCESS_FS_MAKE_FIFO"),
        (1 << 11, "LANDLOCK_ACCESS_FS_MAKE_BLOCK"),
        (1 << 12, "LANDLOCK_ACCESS_FS_MAKE_SYM"),
        (1 << 13, "LANDLOCK_ACCESS_FS_REFER"),
        (1 << 14, "LANDLOCK_ACCESS_FS_TRUNCATE"),
        (1 << 15, "LANDLOCK_ACCESS_FS_IOCTL_DEV"),
    ];
    join(access, &names)
}

fn join(bits: u64, names: &[(u64, &str)]) -> String {
    let set: Vec<&str> = names
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, n)| *n)
        .collect();
    if set.is_empty() {
        "0".to_owned()
    } else {
        set.join("|")
    }
}

pub(crate) fn hint(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::NOENT => Some("a path given to Landlock does not exist in the container"),
        Errno::PERM => Some("landlock_restrict_self needs no_new_privs or CAP_SYS_ADMIN"),
        Errno::TOOBIG => Some("at most 16 Landlock rule sets can be stacked on a process"),
        Errno::NOSYS | Errno::OPNOTSUPP => {
            Some("Landlock is not built into this kernel (CONFIG_SECURITY_LANDLOCK) or not in lsm=")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Landlock {
        Landlock {
            read: vec!["/usr".into()],
            write: vec!["/data".into()],
            scopes: Scopes::ALL,
        }
    }

    #[test]
    fn each_abi_says_what_it_cannot_enforce() {
        use Unenforced::{AbstractUnixSocket, Everything, IoctlDev, Refer, Signal, Truncate};
        let table: [(u32, &[Unenforced]); 6] = [
            (0, &[Everything]),
            (1, &[Refer, Truncate, IoctlDev, AbstractUnixSocket, Signal]),
            (2, &[Truncate, IoctlDev, AbstractUnixSocket, Signal]),
            (4, &[IoctlDev, AbstractUnixSocket, Signal]),
            (5, &[AbstractUnixSocket, Signal]),
            (6, &[]),
        ];
        for (abi, expected) in table {
            assert_eq!(asked().unenforced(Abi(abi)), expected, "ABI {abi}");
        }
    }

    #[test]
    fn scopes_alone_restrict_no_path() {
        let (handled, scoped, rules) = Landlock::scopes_only().prepare(Abi(6)).unwrap().unwrap();
        assert_eq!((handled, scoped, rules.len()), (0, 3, 0));
    }

    #[test]
    fn scopes_alone_make_no_rule_set_before_abi_6() {
        assert_eq!(Landlock::scopes_only().prepare(Abi(5)).unwrap(), None);
        assert_eq!(Landlock::scopes_only().prepare(Abi::NONE).unwrap(), None);
    }

    #[test]
    fn read_rules_hold_no_right_to_change() {
        let (handled, _, rules) = asked().prepare(Abi(7)).unwrap().unwrap();
        assert_eq!(handled, 0xffff);
        assert_eq!(
            access_names(rules[0].access),
            "LANDLOCK_ACCESS_FS_EXECUTE|LANDLOCK_ACCESS_FS_READ_FILE|LANDLOCK_ACCESS_FS_READ_DIR"
        );
        assert_eq!(
            access_names(rules[0].file_access),
            "LANDLOCK_ACCESS_FS_EXECUTE|LANDLOCK_ACCESS_FS_READ_FILE"
        );
        assert_eq!(rules[1].access, handled);
    }

    #[test]
    fn rights_a_kernel_does_not_know_are_not_asked_of_it() {
        let (handled, scoped, _) = asked().prepare(Abi(1)).unwrap().unwrap();
        assert_eq!((handled, scoped), (0x1fff, 0));
    }

    #[test]
    fn a_relative_path_is_refused() {
        let relative = Landlock {
            read: vec!["usr".into()],
            ..Landlock::default()
        };
        assert!(matches!(
            relative.prepare(Abi(6)),
            Err(Error::LandlockPath { .. })
        ));
    }
}
