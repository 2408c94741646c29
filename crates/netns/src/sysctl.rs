//! Kernel parameters of a network namespace: `/proc/sys/net` ([`sysctl(2)`], [`ip-sysctl`]).
//!
//! `/proc/sys/net` shows the network namespace of the *thread that looks*, whichever descriptor it
//! looks through. So there are [`apply`] for the caller's own and [`apply_in`], which enters another
//! one in a thread.
//!
//! A parameter is written only if it reads otherwise, and what it read is returned, so that it can be
//! said and taken back:
//!
//! ```no_run
//! use netns::sysctl::{self, Setting};
//!
//! let forward = Setting::new("net/ipv4/conf/ctr0/forwarding", "1")?;
//! let before = sysctl::apply(&[forward])?;
//! for was in &before {
//!     println!("changed: {} was {}", was.key(), was.value());
//! }
//! sysctl::apply(&before)?;
//! # Ok::<(), netns::Error>(())
//! ```
//!
//! [`sysctl(2)`]: https://man7.org/linux/man-pages/man2/sysctl.2.html
//! [`ip-sysctl`]: https://docs.kernel.org/networking/ip-sysctl.html

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::{Error, enter};

/// Longer than any parameter read here.
const VALUE: usize = 256;

/// A parameter and its value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Setting {
    key: String,
    value: String,
}

impl Setting {
    /// `key` is the path below `/proc/sys`, with slashes: the name of an interface may hold dots.
    ///
    /// # Errors
    ///
    /// [`Error::SysctlKey`] unless `key` is `net/` and two to four more names of letters, digits, `.`,
    /// `_`, `-`, and `@`, none of them `.` or `..`, and the value 1 to 255 printable ASCII characters.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Result<Self, Error> {
        let (key, value) = (key.into(), value.into());
        let name = |part: &str| {
            (1..=64).contains(&part.len())
                && !matches!(part, "." | "..")
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b))
        };
        let parts = key.split('/').count();
        let good_key =
            key.starts_with("net/") && (3..=5).contains(&parts) && key.split('/').all(name);
        let good_value = (1..VALUE).contains(&value.len())
            && value
                .bytes()
                .all(|b| b == b' ' || b == b'\t' || b.is_ascii_graphic());
        if good_key && good_value {
            Ok(Self { key, value })
        } else {
            Err(Error::SysctlKey { key, value })
        }
    }

    /// The path below `/proc/sys`.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The value.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// `write("/proc/sys/net/ipv4/ip_forward", "1")`.
    pub fn describe(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write(\"/proc/sys/{}\", {:?})", self.key, self.value)
    }
}

/// Makes the settings true in the network namespace of the calling thread, in order, and returns what
/// was there before of those that were not.
///
/// # Errors
///
/// [`Error::Sysctl`], which holds what was changed until then.
///
/// # Kernel
///
/// [`openat2(2)`] below `/proc/sys`, `read`, `write`. Needs root of the user namespace that owns the
/// network namespace.
///
/// [`openat2(2)`]: https://man7.org/linux/man-pages/man2/openat2.2.html
pub fn apply(settings: &[Setting]) -> Result<Vec<Setting>, Error> {
    let mut changed = Vec::new();
    let root = rustix::fs::openat(
        CWD,
        c"/proc/sys",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|source| Error::Sysctl {
        call: "open(\"/proc/sys\", O_PATH|O_DIRECTORY)".to_owned(),
        changed: Vec::new(),
        source,
    })?;
    for setting in settings {
        match set(root.as_fd(), setting) {
            Ok(None) => {}
            Ok(Some(value)) => changed.push(Setting {
                key: setting.key.clone(),
                value,
            }),
            Err((call, source)) => {
                return Err(Error::Sysctl {
                    call,
                    changed,
                    source,
                });
            }
        }
    }
    Ok(changed)
}

/// As [`apply`], in the network namespace of a descriptor. A thread of its own enters it.
///
/// # Errors
///
/// As [`apply`], and [`Error::Enter`] as [`Socket::open_in`](crate::route::Socket::open_in).
pub fn apply_in(netns: BorrowedFd<'_>, settings: &[Setting]) -> Result<Vec<Setting>, Error> {
    enter::within(netns, || apply(settings))?
}

/// The value of a parameter in the network namespace of the calling thread, without its newline.
///
/// # Errors
///
/// [`Error::Sysctl`]; [`Error::SysctlKey`] as [`Setting::new`].
pub fn read(key: &str) -> Result<String, Error> {
    let setting = Setting::new(key, "0")?;
    let failed = |source| Error::Sysctl {
        call: format!("read(\"/proc/sys/{key}\")"),
        changed: Vec::new(),
        source,
    };
    let root = rustix::fs::openat(
        CWD,
        c"/proc/sys",
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(failed)?;
    let file = open(root.as_fd(), &setting, OFlags::RDONLY).map_err(failed)?;
    current(&file).map_err(failed)
}

/// Returns the former value if it was another.
fn set(root: BorrowedFd<'_>, setting: &Setting) -> Result<Option<String>, (String, Errno)> {
    let path = || format!("/proc/sys/{}", setting.key);
    let file = open(root, setting, OFlags::RDWR)
        .map_err(|errno| (format!("open({:?}, O_RDWR)", path()), errno))?;
    let before = current(&file).map_err(|errno| (format!("read({:?})", path()), errno))?;
    if before == setting.value {
        return Ok(None);
    }
    let written = rustix::io::pwrite(&file, setting.value.as_bytes(), 0);
    match written {
        Ok(length) if length == setting.value.len() => Ok(Some(before)),
        Ok(_) => Err((setting.describe(), Errno::IO)),
        Err(errno) => Err((setting.describe(), errno)),
    }
}

/// No symbolic link and no mount lies on the way to a parameter, unless somebody put it there.
fn open(root: BorrowedFd<'_>, setting: &Setting, mode: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat2(
        root,
        setting.key.as_str(),
        mode | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
    )
}

fn current(file: &OwnedFd) -> Result<String, Errno> {
    let mut value = [0; VALUE];
    let length = rustix::io::pread(file, &mut value, 0)?;
    let text = String::from_utf8_lossy(&value[..length]);
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_below_net_and_a_value_is_one_line() {
        for key in [
            "net/ipv4/ip_forward",
            "net/ipv4/conf/ctr0/route_localnet",
            "net/ipv6/conf/eth0.5/accept_ra",
        ] {
            let setting = Setting::new(key, "1").expect(key);
            assert_eq!(
                setting.describe(),
                format!("write(\"/proc/sys/{key}\", \"1\")")
            );
        }
        for key in [
            "",
            "net",
            "net/ipv4",
            "kernel/core/pattern",
            "net/../kernel/core_pattern",
            "net/ipv4/./ip_forward",
            "net//ip_forward",
            "/net/ipv4/ip_forward",
            "net/a/b/c/d/e",
            "net/ipv4/a b",
        ] {
            assert!(Setting::new(key, "1").is_err(), "{key:?}");
        }
        for value in ["", "1\n2", "\0", "é"] {
            assert!(
                Setting::new("net/ipv4/ip_forward", value).is_err(),
                "{value:?}"
            );
        }
    }
}
