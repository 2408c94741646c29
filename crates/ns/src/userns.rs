//! A user namespace without a process, to idmap mounts with, [`user_namespaces(7)`].
//!
//! [`user_namespaces(7)`]: https://man7.org/linux/man-pages/man7/user_namespaces.7.html

use std::os::fd::AsRawFd;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use crate::child;
use crate::error::{Error, Result};
use crate::flags::Namespaces;
use crate::namespace::Namespace;
use crate::running::Process;
use crate::sys::{self, Cloned};

/// Make a user namespace, let `map` write its id maps, and keep it by descriptor.
///
/// A process lives in it while `map` runs, and has been reaped when this returns.
///
/// ```no_run
/// use ns::{IdMap, IdMaps, Setgroups, write_maps};
///
/// let ids = vec![IdMap { inside: 0, outside: 100_000, count: 65_536 }];
/// let maps = IdMaps { uids: ids.clone(), gids: ids };
/// let userns = ns::new_user_namespace(|pid| write_maps(pid, &maps, Setgroups::Allow))?;
/// # Ok::<(), ns::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Clone`] with the kernel's errno, [`Error::Namespace`], and what `map` returned.
pub fn new_user_namespace(map: impl FnOnce(Pid) -> Result<()>) -> Result<Namespace> {
    let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| Error::Parent {
        call: "pipe2(O_CLOEXEC)",
        errno,
    })?;
    let cloned = child::start_idle(
        Namespaces::NEWUSER.bits(),
        theirs.as_raw_fd(),
        ours.as_raw_fd(),
    );
    let process = match cloned {
        Ok(Cloned::Parent { pid, pidfd }) => Process::new(pid, pidfd),
        // `start_idle` never returns in the child.
        Ok(Cloned::Child) => sys::exit(0),
        Err(errno) => {
            let (namespaces, into_cgroup) = (Namespaces::NEWUSER, false);
            return Err(Error::Clone {
                namespaces,
                into_cgroup,
                errno,
            });
        }
    };
    let pid = process.pid();
    map(pid)?;
    // `process` is killed and reaped on the way out, `ours` closed.
    Namespace::of(pid, Namespaces::NEWUSER)
}
