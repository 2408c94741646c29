//! A container that runs, by its name: its processes, its user namespace, its root.
//!
//! Nothing is kept of these while it runs: its supervisor's first child is its first process, and the program is that
//! one's first child ([`proc_tid_children(5)`]). Descriptors are opened and then it is asked whether the processes are
//! still who they were, so a number that was given to somebody else meanwhile leads nowhere.
//!
//! [`proc_tid_children(5)`]: https://man7.org/linux/man-pages/man5/proc_tid_children.5.html

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ns::{Namespace, Namespaces, Pid};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags, openat, statx};
use rustix::io::Errno;

use crate::error::StateError;
use crate::run::Options;
use crate::state::{Record, Store};

/// Bytes of a list of children that are read: some 10,000 of them.
const MAX_CHILDREN: usize = 64 << 10;

/// Bytes of an id map: 340 lines fit.
const MAX_MAP: usize = 32 << 10;

/// User namespaces lie in each other this deep at most, user_namespaces(7).
const MAX_NESTED: usize = 33;

/// Why there is no such container, or none that can be looked into.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The run root.
    #[error(transparent)]
    State(#[from] StateError),
    /// Nothing of that name runs.
    #[error("no container named `{name}` is running")]
    NotRunning {
        /// The name.
        name: String,
    },
    /// It ended while it was looked at.
    #[error("the container `{name}` has ended")]
    Ended {
        /// Its name.
        name: String,
    },
    /// It is not the caller's to look into, or its processes have left its root.
    #[error("cannot open {what} of the container `{name}`")]
    Closed {
        /// Its name.
        name: String,
        /// What was to be opened.
        what: &'static str,
        /// Why.
        #[source]
        errno: Errno,
    },
}

/// A running container's root and user namespace, open.
#[derive(Debug)]
pub struct Container {
    pub(crate) record: Record,
    /// Its `/`, `O_PATH`: in its own mount namespace, so with everything that is mounted there.
    root: OwnedFd,
    /// When it is not the caller's own.
    user: Option<Inside>,
}

/// A user namespace and the ids of root in it.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) namespace: Namespace,
    /// The first ids that there are: those of root, or the one there is.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Whether supplementary groups can be dropped.
    pub(crate) setgroups: bool,
}

impl Container {
    /// The container of this name.
    ///
    /// # Errors
    /// [`Error`].
    pub fn find(options: &Options, name: &str) -> Result<Self, Error> {
        let store = Store::open(&options.state_root)?;
        let not_running = || Error::NotRunning { name: name.into() };
        let record = store.running(name).ok_or_else(not_running)?;
        let ended = |_errno| Error::Ended { name: name.into() };
        let supervisor = pid(record.supervisor).ok_or_else(not_running)?;
        let first = children(supervisor).map_err(ended)?;
        let first = *first.first().ok_or_else(|| ended(Errno::SRCH))?;
        let mut opened = open(first);
        let mut checked = None;
        if let Err((_, Errno::ACCESS | Errno::PERM)) = opened {
            // The built-in init lets nobody look into it but root: its first child is the program.
            for program in children(first).map_err(ended)? {
                opened = open(program);
                checked = Some(program);
                if opened.is_ok() {
                    break;
                }
            }
        }
        // All of them are still whose children they were, so their numbers were theirs all the time.
        let is_child = |of, child| children(of).is_ok_and(|all| all.contains(&child));
        let alive = is_child(supervisor, first)
            && checked.is_none_or(|program| is_child(first, program))
            && store.running(name).is_some_and(|now| now == record);
        if !alive {
            return Err(ended(Errno::SRCH));
        }
        let (root, user) = opened.map_err(|(what, errno)| Error::Closed {
            name: name.into(),
            what,
            errno,
        })?;
        Ok(Self { record, root, user })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// The image that its root is made of.
    #[must_use]
    pub fn image(&self) -> Option<&image::Record> {
        self.record.image.as_ref()
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    pub(crate) fn user(&self) -> Option<&Inside> {
        self.user.as_ref()
    }
}

fn pid(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}

/// The children of a process of one thread, the oldest first.
fn children(of: Pid) -> Result<Vec<Pid>, Errno> {
    let of = of.as_raw_nonzero();
    let path = format!("/proc/{of}/task/{of}/children");
    let text = crate::observe::read_bounded(path.as_ref(), MAX_CHILDREN)?;
    let text = String::from_utf8_lossy(&text);
    let words = text.split_ascii_whitespace();
    Ok(words.filter_map(|word| pid(word.parse().ok()?)).collect())
}

type Opened = Result<(OwnedFd, Option<Inside>), (&'static str, Errno)>;

/// The root and the user namespace of a process.
fn open(process: Pid) -> Opened {
    let path = format!("/proc/{}/root", process.as_raw_nonzero());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, path, flags, Mode::empty()).map_err(|errno| ("the root", errno))?;
    // A program that has called chroot(2) has another root than its container.
    let seen = statx(&root, "", AtFlags::EMPTY_PATH, StatxFlags::empty());
    let seen = seen.map_err(|errno| ("the root", errno))?;
    if !seen.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Err(("the root", Errno::PERM));
    }
    let user = inside(process).map_err(|errno| ("the user namespace", errno))?;
    Ok((root, user))
}

/// The container's user namespace: the one in our own, whichever the program has made in it.
fn inside(process: Pid) -> Result<Option<Inside>, Errno> {
    let errno = |error: ns::Error| error.errno().unwrap_or(Errno::INVAL);
    let id = |namespace: &Namespace| namespace.id().map_err(errno);
    let own = id(&Namespace::of_self(Namespaces::NEWUSER).map_err(errno)?)?;
    let mut namespace = Namespace::of(process, Namespaces::NEWUSER).map_err(errno)?;
    if id(&namespace)? == own {
        return Ok(None);
    }
    for depth in 0..MAX_NESTED {
        let parent = namespace.parent().map_err(errno)?;
        if id(&parent)? == own {
            // In a namespace below, the numbers of the process's own map say nothing of this one; its root is 0.
            let (uid, gid, setgroups) = match depth {
                0 => ids(process)?,
                _ => (0, 0, false),
            };
            return Ok(Some(Inside {
                namespace,
                uid,
                gid,
                setgroups,
            }));
        }
        namespace = parent;
    }
    Err(Errno::PERM)
}

fn ids(process: Pid) -> Result<(u32, u32, bool), Errno> {
    let read = |file: &str| {
        let path = format!("/proc/{}/{file}", process.as_raw_nonzero());
        crate::observe::read_bounded(path.as_ref(), MAX_MAP)
    };
    let first = |file| {
        let text = String::from_utf8(read(file)?).map_err(|_binary| Errno::INVAL)?;
        let word = text.split_ascii_whitespace().next();
        let number = word.and_then(|word| word.parse().ok());
        number.ok_or(Errno::INVAL)
    };
    let setgroups = read("setgroups")?.starts_with(b"allow");
    Ok((first("uid_map")?, first("gid_map")?, setgroups))
}
