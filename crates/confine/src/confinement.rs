//! The list of steps a process takes on itself between clone and exec.
//!
//! The parent builds it ([`Builder`](crate::Builder)), prints it and blames its members; the child runs
//! it by index. Each step is one system call that changes something (a Landlock rule and a label also open
//! and close what they name). The order is this crate's, see [`Part`].

use std::cell::Cell;
use std::ffi::CString;
use std::os::fd::{AsFd, IntoRawFd, RawFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, umask};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySets, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_capabilities_secure_bits, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use crate::label::LabelWrite;
use crate::landlock::PathRule;
use crate::seccomp::Program;
use crate::{CapSet, Capabilities, Capability, IoPriority, Personality, Rlimit, Scheduler};
use crate::{describe, landlock, rlimit, sys};

/// What a step belongs to, in the order of the steps. The two in brackets move before the ids change
/// when no_new_privs is off, because they then need CAP_SYS_ADMIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Part {
    /// The security label on exec: first, `/proc/self` belongs to root once the ids have changed.
    Label,
    /// The file mode creation mask.
    Umask,
    /// The execution domain.
    Personality,
    /// The CPU scheduler.
    Scheduler,
    /// The I/O priority.
    IoPriority,
    /// The Landlock rule set, made while files can still be reached; `Some` is the n-th of the
    /// [`read`](crate::Landlock::read) and [`write`](crate::Landlock::write) paths in this order.
    LandlockRules(Option<usize>),
    /// The bounding set: before CAP_SETPCAP is gone.
    BoundingSet(Capability),
    /// Whether a change of uid touches capabilities.
    SecureBits,
    /// Groups and ids.
    Ids,
    /// The other capability sets.
    Capabilities,
    /// No privileges through exec.
    NoNewPrivs,
    /// [The Landlock domain.]
    LandlockRestrict,
    /// Resource limits: after everything that opens files. The n-th of those given.
    Rlimit(usize),
    /// [The system call filter: last, it may forbid all of the above.]
    Seccomp,
}

/// One call.
#[derive(Debug)]
pub(crate) enum Step {
    Label(LabelWrite),
    Umask(u32),
    Personality(Personality),
    Scheduler(Scheduler),
    IoPriority(IoPriority),
    LandlockCreate { fs: u64, scoped: u64 },
    LandlockRule(usize, PathRule),
    DropBounding(Capability),
    SecureBits(CapabilitiesSecureBits),
    SetGroups(Vec<Gid>),
    SetResGid(Gid),
    SetResUid(Uid),
    CapSet(Capabilities),
    AmbientClear,
    AmbientRaise(Capability),
    NoNewPrivs,
    LandlockRestrict,
    Rlimit(usize, Rlimit),
    Seccomp { program: Program, listen: bool },
}

/// What a process takes on itself before it executes a program.
///
/// Built by [`Confinement::builder`]. Child-local descriptors live in cells: without `CLONE_VM` the child
/// has its own copy of them, and the parent's stay as they are.
#[derive(Debug)]
pub struct Confinement {
    pub(crate) steps: Vec<Step>,
    /// The Landlock rule set, between its creation and the restriction.
    pub(crate) ruleset: Cell<RawFd>,
    /// The seccomp listener.
    pub(crate) listener: Cell<RawFd>,
}

/// In a register: nothing yet.
pub(crate) const NO_FD: RawFd = -1;

impl Confinement {
    /// How many steps.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// No step at all?
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What the step belongs to.
    pub fn part(&self, step: usize) -> Part {
        match &self.steps[step] {
            Step::Label(_) => Part::Label,
            Step::Umask(_) => Part::Umask,
            Step::Personality(_) => Part::Personality,
            Step::Scheduler(_) => Part::Scheduler,
            Step::IoPriority(_) => Part::IoPriority,
            Step::LandlockCreate { .. } => Part::LandlockRules(None),
            Step::LandlockRule(index, _) => Part::LandlockRules(Some(*index)),
            Step::DropBounding(capability) => Part::BoundingSet(*capability),
            Step::SecureBits(_) => Part::SecureBits,
            Step::SetGroups(_) | Step::SetResGid(_) | Step::SetResUid(_) => Part::Ids,
            Step::CapSet(_) | Step::AmbientClear | Step::AmbientRaise(_) => Part::Capabilities,
            Step::NoNewPrivs => Part::NoNewPrivs,
            Step::LandlockRestrict => Part::LandlockRestrict,
            Step::Rlimit(index, _) => Part::Rlimit(*index),
            Step::Seccomp { .. } => Part::Seccomp,
        }
    }

    /// The step as strace spells it. For the parent.
    pub fn describe(&self, step: usize) -> String {
        describe::step(&self.steps[step])
    }

    /// What an errno of this step means, where its own text misleads.
    pub fn hint(&self, step: usize, errno: Errno) -> Option<&'static str> {
        match &self.steps[step] {
            Step::Label(_) => LabelWrite::hint(errno),
            Step::LandlockCreate { .. } | Step::LandlockRule(..) | Step::LandlockRestrict => {
                landlock::hint(errno)
            }
            Step::Rlimit(..) => rlimit::hint(errno),
            other => describe::hint(other, errno),
        }
    }

    /// The descriptor the kernel answered the filter with, when a listener was asked for
    /// ([`Builder::listener`](crate::Builder::listener)). It is in the process that ran the last
    /// step, close-on-exec.
    pub fn listener(&self) -> Option<RawFd> {
        (self.listener.get() != NO_FD).then(|| self.listener.get())
    }

    /// Runs one step on the calling thread. They belong in a process with one thread, in order, from the
    /// first to the last.
    ///
    /// # Safety
    /// Runs between clone and exec: async-signal-safe, no allocation, no lock, no drop of owned memory. The
    /// caller's thread loses rights for good; nothing in the process may rest on having them.
    ///
    /// # Errors
    /// The errno of the call; [`Confinement::hint`] knows what misleads.
    #[allow(
        unsafe_code,
        reason = "an unsafe fn by contract: it is called between clone and exec"
    )]
    pub unsafe fn apply(&self, step: usize) -> Result<(), Errno> {
        match &self.steps[step] {
            Step::Label(write) => write.apply(),
            Step::Umask(mode) => {
                umask(Mode::from_raw_mode(*mode));
                Ok(())
            }
            Step::Personality(domain) => sys::personality(domain.raw()),
            Step::Scheduler(scheduler) => sys::sched_setattr(scheduler),
            Step::IoPriority(priority) => sys::ioprio_set(priority.raw()),
            Step::LandlockCreate { fs, scoped } => {
                self.ruleset
                    .set(sys::landlock_create_ruleset(*fs, *scoped)?.into_raw_fd());
                Ok(())
            }
            Step::LandlockRule(_, rule) => self.add_rule(rule),
            Step::DropBounding(capability) => {
                remove_capability_from_bounding_set(CapSet::from(*capability).to_rustix())
            }
            Step::SecureBits(bits) => set_capabilities_secure_bits(*bits),
            Step::SetGroups(groups) => set_thread_groups(groups),
            Step::SetResGid(gid) => set_thread_res_gid(*gid, *gid, *gid),
            Step::SetResUid(uid) => set_thread_res_uid(*uid, *uid, *uid),
            Step::CapSet(sets) => set_capabilities(
                None,
                CapabilitySets {
                    effective: sets.effective.to_rustix(),
                    permitted: sets.permitted.to_rustix(),
                    inheritable: sets.inheritable.to_rustix(),
                },
            ),
            Step::AmbientClear => clear_ambient_capability_set(),
            Step::AmbientRaise(capability) => {
                configure_capability_in_ambient_set(CapSet::from(*capability).to_rustix(), true)
            }
            Step::NoNewPrivs => set_no_new_privs(true),
            Step::LandlockRestrict => self.restrict(),
            Step::Rlimit(_, rlimit) => sys::prlimit(0, rlimit),
            Step::Seccomp { program, listen } => self.filter(program, *listen),
        }
    }

    #[allow(unsafe_code, reason = "borrows the descriptor an earlier step made")]
    fn add_rule(&self, rule: &PathRule) -> Result<(), Errno> {
        let path: &CString = &rule.path;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        // Symlinks are followed as the program itself would follow them, in its own root; magic links
        // (/proc/PID/root, fd/N) could lead out of it.
        let resolve = ResolveFlags::NO_MAGICLINKS;
        let file = openat2(CWD, path.as_c_str(), flags, Mode::empty(), resolve)?;
        let kind = FileType::from_raw_mode(fstat(&file)?.st_mode);
        let access = if kind == FileType::Directory {
            rule.access
        } else {
            rule.file_access
        };
        // SAFETY: LandlockCreate ran before in this process and stored an open descriptor; only `restrict`
        // closes it, and it comes later.
        let ruleset = unsafe { sys::borrow(self.ruleset.get()) };
        sys::landlock_add_path(ruleset, access, file.as_fd())
    }

    #[allow(unsafe_code, reason = "takes back the descriptor an earlier step made")]
    fn restrict(&self) -> Result<(), Errno> {
        // SAFETY: LandlockCreate ran before in this process and gave up the descriptor to this register;
        // the register is emptied, so that it is closed once.
        let ruleset = unsafe { sys::take(self.ruleset.replace(NO_FD)) };
        sys::landlock_restrict_self(ruleset.as_fd())
    }

    fn filter(&self, program: &Program, listen: bool) -> Result<(), Errno> {
        let flags = program.kernel_flags(listen);
        if let Some(fd) = sys::seccomp_set_mode_filter(flags, program.instructions())? {
            self.listener.set(fd);
        }
        Ok(())
    }
}
