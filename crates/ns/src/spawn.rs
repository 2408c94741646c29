//! Start a process in namespaces of its own: what to start, and the clone.

use std::cell::Cell;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::child::{self, Task};
use crate::error::{Error, Result};
use crate::flags::Namespaces;
use crate::message::MAX_PHASES;
use crate::program::Program;
use crate::running::{Process, Spawned};
use crate::steps::Steps;
use crate::sys::{self, Cloned};
use crate::timens::TimeOffsets;

/// Threads that were joined are gone by then.
const THREADS_END: Duration = Duration::from_secs(1);

/// What to start, and how.
///
/// ```
/// use ns::{Child, Namespaces, Program};
///
/// let program = Program::new(vec![c"/bin/true".into()], vec![c"true".into()], vec![]);
/// let child = Child {
///     namespaces: Namespaces::NEWUSER | Namespaces::NEWPID | Namespaces::NEWNS,
///     ..Child::new(&program)
/// };
/// # assert!(child.join.is_empty());
/// ```
#[derive(Clone)]
pub struct Child<'a> {
    /// Namespaces made for it.
    pub namespaces: Namespaces,
    /// Namespaces entered first, in this order: a pidfd with any set of kinds, or a descriptor of
    /// one namespace (`/proc/PID/ns/KIND`) with its kind. A user namespace that gives the rights
    /// over the others comes before them, one that takes them away comes last.
    ///
    /// A pid namespace takes only children, so entering one, or entering some namespaces and making
    /// others, costs a process in between. It ends before [`spawn`] returns.
    ///
    /// A child that enters a pid or user namespace is not dumpable until it executes the program, so
    /// that nothing in there can trace it. Its files in `/proc` then belong to root: an ordinary
    /// user cannot combine that with a new user namespace or with time offsets (EACCES).
    ///
    /// The same holds for a target: an [`Init`] is not dumpable, so an ordinary user joins a
    /// container by its workload, or by descriptors opened before GO.
    pub join: Vec<(BorrowedFd<'a>, Namespaces)>,
    /// The directory of the cgroup2 group it is born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Offsets of its clocks; `NEWTIME` must be among `namespaces`.
    pub time_offsets: Option<TimeOffsets>,
    /// Phases, from 0, that the child runs before it waits for GO: what needs no mapped ids and
    /// nothing of the parent's is done while the parent prepares the rest.
    pub early: Vec<&'a dyn Steps>,
    /// Phases, numbered on from `early`, that the child runs after GO.
    pub setup: Vec<&'a dyn Steps>,
    /// `None`: the program takes the child's place. `Some`: the child stays as a small init and
    /// starts the program; `NEWPID` must be among `namespaces`.
    pub init: Option<Init<'a>>,
    /// Phases, numbered on from `setup`, that the process which executes the program runs last.
    ///
    /// After them it calls `prctl(PR_SET_PDEATHSIG)` (without `init`), `sendmsg` and `execve`: a
    /// seccomp filter among them must allow these.
    pub workload: Vec<&'a dyn Steps>,
    /// A terminal of its own, from the container's `/dev/ptmx`.
    pub tty: Option<Tty>,
    /// Stop after `setup` and wait: see [`Spawned::go_until_held`].
    pub hold: bool,
    /// It lives on when the parent has died after READY. Otherwise it gets SIGKILL then.
    pub outlive_parent: bool,
    /// The process may have other threads, if the calling one leads them: see [`spawn`].
    ///
    /// The program begins with nothing of theirs. Until then the child has a copy of every descriptor that they have
    /// open, so a lock that one of them gives up meanwhile is free only when the child executes the program. Not with
    /// `init`, which would keep a copy of their memory for as long as it lives.
    pub beside_threads: bool,
    /// What is executed.
    pub program: &'a Program,
}

impl<'a> Child<'a> {
    /// A plain child with nothing of its own.
    #[must_use]
    pub fn new(program: &'a Program) -> Self {
        Self {
            namespaces: Namespaces::empty(),
            join: Vec::new(),
            cgroup: None,
            time_offsets: None,
            early: Vec::new(),
            setup: Vec::new(),
            init: None,
            workload: Vec::new(),
            tty: None,
            hold: false,
            outlive_parent: false,
            beside_threads: false,
            program,
        }
    }

    fn validate(&self) -> Result<()> {
        let joined = self
            .join
            .iter()
            .fold(Namespaces::empty(), |all, (_, kinds)| all | *kinds);
        let invalid = if self.init.is_some() && !self.namespaces.contains(Namespaces::NEWPID) {
            "an init needs a pid namespace of its own (CLONE_NEWPID)"
        } else if self.init.is_some() && self.beside_threads {
            "an init would keep what threads beside its parent had in memory"
        } else if self.time_offsets.is_some() && !self.namespaces.contains(Namespaces::NEWTIME) {
            "time offsets need a time namespace of its own (CLONE_NEWTIME)"
        } else if self.join.iter().any(|(_, kinds)| kinds.is_empty()) {
            "a descriptor to join names no kind of namespace"
        } else if self.namespaces.intersects(joined) {
            "a namespace is both joined and made"
        } else if self.phases() > MAX_PHASES {
            "too many phases"
        } else if self.program.candidates().is_empty() {
            "the program has no path"
        } else {
            return Ok(());
        };
        Err(Error::Invalid(invalid))
    }

    fn phases(&self) -> usize {
        let init = self.init.as_ref().map_or(0, |init| init.confine.len());
        self.early.len() + self.setup.len() + self.workload.len() + init
    }

    /// A process in between is needed: see [`Child::join`].
    fn needs_relay(&self) -> bool {
        let pid = self
            .join
            .iter()
            .any(|(_, kinds)| kinds.contains(Namespaces::NEWPID));
        pid || !self.join.is_empty() && !self.namespaces.is_empty()
    }
}

/// The built-in init: PID 1 of the new pid namespace.
///
/// It reaps what is orphaned, passes every signal it gets on to the workload, reports how the
/// workload ended, and exits as a shell would (the status, or 128 + the signal); with it the kernel
/// ends everything else in the namespace. It is called `ctr-init`, holds no descriptor but its
/// status socket, and is not dumpable, so that `/proc/1/exe`, `environ`, `mem` and `fd` are out of
/// the container's reach.
#[derive(Clone, Default)]
pub struct Init<'a> {
    /// Phases, numbered on from `workload`, that it runs once the workload is cloned.
    ///
    /// After them it calls prctl, sendmsg, close_range, rt_sigtimedwait, wait4, kill and
    /// exit_group. To pass signals on to a workload of another user it needs CAP_KILL.
    pub confine: Vec<&'a dyn Steps>,
}

/// The program's terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tty {
    /// The user, in the container's ids, that the terminal is given to. Default: who opens it,
    /// which is container root.
    pub owner: Option<u32>,
    /// Rows and columns from the start.
    pub size: Option<(u16, u16)>,
}

/// Clone the child. It waits until [`Spawned::go`], while its namespaces can be prepared from
/// outside: id maps, network devices, limits.
///
/// # Kernel
///
/// [`clone3(2)`] with `CLONE_PIDFD`, `CLONE_CLEAR_SIGHAND` (Linux 5.5), and `CLONE_INTO_CGROUP`
/// (5.7) when there is a cgroup. Needs CAP_SYS_ADMIN for any namespace, unless `NEWUSER` is among
/// them.
///
/// # Threads
///
/// `PR_SET_PDEATHSIG` ties the child to the *thread* that made it, prctl(2). With [`Child::beside_threads`] the thread
/// group's leader, the thread whose id is the process's, may make one while others run: it goes with the process. Any
/// other could end long before, and its child with it.
///
/// A thread that has been joined is seen in the process a moment longer, so where there may be no other this waits for
/// their end, up to a second.
///
/// # Errors
///
/// [`Error::Threads`] in a process with several threads that are not allowed, [`Error::Invalid`] for a description that
/// contradicts itself, [`Error::Clone`] with the kernel's errno, and [`Error::Join`] when a
/// namespace to join refused and a process in between was needed (otherwise [`Spawned::go`] says so).
///
/// [`clone3(2)`]: https://man7.org/linux/man-pages/man2/clone.2.html
pub fn spawn<'a>(child: &'a Child<'a>) -> Result<Spawned<'a>> {
    child.validate()?;
    let leads = child.beside_threads && sys::leads_its_threads();
    if !leads && !alone() {
        return Err(Error::Threads);
    }
    let (ours, theirs) = control_socket()?;
    let join: Vec<(RawFd, u32)> = child
        .join
        .iter()
        .map(|(fd, kinds)| (fd.as_raw_fd(), kinds.bits()))
        .collect();
    let relay = child.needs_relay();
    let mut flags = child.namespaces;
    // Its offsets cannot be written any more once a process is born into it, see timens.rs.
    let time = child.time_offsets.map(|offsets| offsets.text());
    flags.set(
        Namespaces::NEWTIME,
        flags.contains(Namespaces::NEWTIME) && time.is_none(),
    );
    // clone3 takes the cgroup that the *parent* is in for the root of the new namespace
    // (copy_cgroup_ns, kernel/cgroup/namespace.c), so the child makes it, once it is where it belongs.
    let cgroup_late = flags.contains(Namespaces::NEWCGROUP) && child.cgroup.is_some() && !relay;
    flags.set(
        Namespaces::NEWCGROUP,
        flags.contains(Namespaces::NEWCGROUP) && !cgroup_late,
    );
    let task = Task {
        child,
        join: &join,
        flags: flags.bits(),
        time: time.as_deref().map(str::as_bytes),
        cgroup_late,
        socket: theirs.as_raw_fd(),
        parents_end: ours.as_raw_fd(),
        before_go: Cell::new(false),
    };
    let first = if relay { Namespaces::empty() } else { flags };
    let cgroup = child.cgroup.map(|fd| fd.as_raw_fd());
    let cloned = child::start(&task, u64::from(first.bits()), cgroup, relay);
    let process = match cloned {
        Ok(Cloned::Parent { pid, pidfd }) => Process::new(pid, pidfd),
        // `start` never returns in the child.
        Ok(Cloned::Child) => sys::exit(127),
        Err(errno) => {
            let into_cgroup = cgroup.is_some();
            return Err(Error::Clone {
                namespaces: first,
                into_cgroup,
                errno,
            });
        }
    };
    // The child's end must be closed here, or its end would never be seen.
    drop(theirs);
    let spawned = Spawned::new(process, ours, child);
    if relay {
        spawned.after_relay()
    } else {
        Ok(spawned)
    }
}

/// Whether the process has one thread, or comes to have one in a moment: pthread_join(3) returns before the kernel has
/// taken the thread out of its group (`mm_release` wakes the joiner, `release_task` comes later).
fn alone() -> bool {
    let begun = Instant::now();
    while !sys::single_threaded() {
        if begun.elapsed() >= THREADS_END {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

fn control_socket() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|errno: Errno| Error::Parent {
        call: "socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC)",
        errno,
    })
}
