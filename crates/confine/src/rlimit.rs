//! Resource limits, [`getrlimit(2)`].
//!
//! A process may lower its limits, and raise a soft one up to the hard one, itself: that is a step of
//! [`Confinement`](crate::Confinement). Raising a hard limit takes CAP_SYS_RESOURCE in the *initial* user
//! namespace, so a process in a user namespace of its own cannot; its parent does it with [`prlimit`]
//! while the child waits.
//!
//! [`getrlimit(2)`]: https://man7.org/linux/man-pages/man2/getrlimit.2.html

use std::fmt;

use rustix::io::Errno;
use rustix::process::Pid;

use crate::{Error, sys};

/// What is limited. The numbers are those of the generic ABI (`asm-generic/resource.h`), which x86_64 and
/// aarch64 share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource(u8);

/// By number, without `RLIMIT_`, lower case.
const NAMES: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

impl Resource {
    /// `RLIMIT_CORE`, bytes.
    pub const CORE: Self = Self(4);
    /// `RLIMIT_NPROC`, processes of the user.
    pub const NPROC: Self = Self(6);
    /// `RLIMIT_NOFILE`, the first descriptor number that is too high.
    pub const NOFILE: Self = Self(7);
    /// `RLIMIT_MEMLOCK`, bytes.
    pub const MEMLOCK: Self = Self(8);

    /// By name: `nofile` or `RLIMIT_NOFILE`, upper or lower case.
    ///
    /// # Errors
    /// [`Error::UnknownResource`] with the names that come near.
    pub fn from_name(name: &str) -> Result<Self, Error> {
        let lower = name.to_ascii_lowercase();
        let bare = lower.strip_prefix("rlimit_").unwrap_or(&lower);
        match NAMES.iter().position(|known| *known == bare) {
            Some(number) => Ok(Self(number as u8)),
            None => Err(Error::UnknownResource {
                name: name.to_owned(),
                near: crate::near::names(bare, NAMES),
            }),
        }
    }

    /// All of them, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..NAMES.len() as u8).map(Self)
    }

    /// Lower case, without `RLIMIT_`.
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    /// The kernel's number.
    pub fn number(self) -> u32 {
        u32::from(self.0)
    }
}

/// `RLIMIT_NOFILE`.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RLIMIT_{}", self.name().to_ascii_uppercase())
    }
}

/// A limit. `None` is unlimited, `RLIM_INFINITY`. Units are the resource's: bytes, seconds
/// (`RLIMIT_CPU`), microseconds (`RLIMIT_RTTIME`) or a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rlimit {
    /// What is limited.
    pub resource: Resource,
    /// In force now; may be raised up to `hard` by the process itself.
    pub soft: Option<u64>,
    /// The most `soft` can be.
    pub hard: Option<u64>,
}

impl Rlimit {
    /// Soft at most hard?
    ///
    /// # Errors
    /// [`Error::RlimitOrder`].
    pub fn check(&self) -> Result<(), Error> {
        if self.soft.unwrap_or(u64::MAX) > self.hard.unwrap_or(u64::MAX) {
            return Err(Error::RlimitOrder { rlimit: *self });
        }
        Ok(())
    }

    pub(crate) fn raw(&self) -> libc::rlimit64 {
        libc::rlimit64 {
            rlim_cur: self.soft.unwrap_or(libc::RLIM64_INFINITY),
            rlim_max: self.hard.unwrap_or(libc::RLIM64_INFINITY),
        }
    }
}

/// `{rlim_cur=1024, rlim_max=RLIM64_INFINITY}`, as strace prints it.
impl fmt::Display for Rlimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |limit: Option<u64>| {
            limit.map_or_else(|| "RLIM64_INFINITY".to_owned(), |limit| limit.to_string())
        };
        write!(
            f,
            "{{rlim_cur={}, rlim_max={}}}",
            number(self.soft),
            number(self.hard)
        )
    }
}

/// Sets a limit of another process.
///
/// # Kernel
/// [`prlimit(2)`](https://man7.org/linux/man-pages/man2/prlimit.2.html). The caller's ids must equal the
/// target's, or it needs CAP_SYS_RESOURCE in the target's user namespace; above the target's hard limit it
/// needs CAP_SYS_RESOURCE in the initial one.
///
/// # Errors
/// [`Error::RlimitOrder`] before the call; [`Error::Prlimit`] with EPERM (see above), ESRCH (no such
/// process).
pub fn prlimit(pid: Pid, rlimit: Rlimit) -> Result<(), Error> {
    rlimit.check()?;
    sys::prlimit(pid.as_raw_nonzero().get(), &rlimit).map_err(|errno| Error::Prlimit {
        pid: pid.as_raw_nonzero().get(),
        rlimit,
        source: errno,
    })
}

/// The limit of the calling process.
///
/// # Errors
/// [`Error::Prlimit`]; not seen on the kernels this crate is for.
pub fn getrlimit(resource: Resource) -> Result<Rlimit, Error> {
    let limit = |raw: u64| (raw != libc::RLIM64_INFINITY).then_some(raw);
    match sys::getrlimit(resource) {
        Ok(raw) => Ok(Rlimit {
            resource,
            soft: limit(raw.rlim_cur),
            hard: limit(raw.rlim_max),
        }),
        Err(source) => {
            let rlimit = Rlimit {
                resource,
                soft: None,
                hard: None,
            };
            Err(Error::Prlimit {
                pid: 0,
                rlimit,
                source,
            })
        }
    }
}

pub(crate) fn hint(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::PERM => Some(
            "a hard limit can only be raised with CAP_SYS_RESOURCE in the initial user namespace; \
             RLIMIT_NOFILE also cannot exceed fs.nr_open",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_libc() {
        let libc_numbers = [
            ("cpu", libc::RLIMIT_CPU),
            ("fsize", libc::RLIMIT_FSIZE),
            ("data", libc::RLIMIT_DATA),
            ("stack", libc::RLIMIT_STACK),
            ("core", libc::RLIMIT_CORE),
            ("rss", libc::RLIMIT_RSS),
            ("nproc", libc::RLIMIT_NPROC),
            ("nofile", libc::RLIMIT_NOFILE),
            ("memlock", libc::RLIMIT_MEMLOCK),
            ("as", libc::RLIMIT_AS),
            ("locks", libc::RLIMIT_LOCKS),
            ("sigpending", libc::RLIMIT_SIGPENDING),
            ("msgqueue", libc::RLIMIT_MSGQUEUE),
            ("nice", libc::RLIMIT_NICE),
            ("rtprio", libc::RLIMIT_RTPRIO),
            ("rttime", libc::RLIMIT_RTTIME),
        ];
        for (name, number) in libc_numbers {
            assert_eq!(
                Resource::from_name(name).unwrap().number(),
                number,
                "{name}"
            );
        }
        assert_eq!(libc_numbers.len(), Resource::all().count());
    }

    #[test]
    fn the_oci_spelling_is_a_name_too() {
        assert_eq!(
            Resource::from_name("RLIMIT_NOFILE").unwrap(),
            Resource::NOFILE
        );
        let error = Resource::from_name("nofiles").unwrap_err();
        assert!(matches!(error, Error::UnknownResource { near, .. } if near == ["nofile"]));
    }

    #[test]
    fn a_soft_limit_above_the_hard_one_is_refused() {
        let with = |soft, hard| {
            Rlimit {
                resource: Resource::CORE,
                soft,
                hard,
            }
            .check()
            .is_ok()
        };
        assert!(with(Some(1), Some(1)) && with(Some(1), None) && with(None, None));
        assert!(!with(Some(2), Some(1)) && !with(None, Some(1)));
    }
}
