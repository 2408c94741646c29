//! The system calls neither rustix nor std offers. All of them may run between clone and exec: no
//! allocation, no lock. They set the C library's `errno`, which is the thread's own.

#![allow(
    unsafe_code,
    reason = "the one place where system calls are made by number"
)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use crate::rlimit::{Resource, Rlimit};
use crate::sched::Scheduler;
use crate::seccomp::Instruction;

/// -1 means errno.
fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result == -1 {
        // SAFETY: __errno_location returns a pointer to this thread's errno, valid while it lives.
        return Err(Errno::from_raw_os_error(unsafe {
            *libc::__errno_location()
        }));
    }
    Ok(result)
}

pub(crate) fn prlimit(pid: i32, rlimit: &Rlimit) -> Result<(), Errno> {
    let raw = rlimit.raw();
    let none = std::ptr::null_mut::<libc::rlimit64>();
    // SAFETY: the kernel reads one rlimit64 through `raw`, which lives until after the call; the last
    // pointer is NULL, so nothing is written.
    check(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            rlimit.resource.number(),
            &raw const raw,
            none,
        )
    })
    .map(drop)
}

pub(crate) fn getrlimit(resource: Resource) -> Result<libc::rlimit64, Errno> {
    let mut raw = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let none = std::ptr::null::<libc::rlimit64>();
    // SAFETY: the kernel writes one rlimit64 through `raw`, which is exclusively ours.
    check(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource.number(),
            none,
            &raw mut raw,
        )
    })?;
    Ok(raw)
}

pub(crate) fn personality(domain: u32) -> Result<(), Errno> {
    // SAFETY: no pointers.
    check(unsafe { libc::syscall(libc::SYS_personality, libc::c_ulong::from(domain)) }).map(drop)
}

/// `struct sched_attr`, include/uapi/linux/sched/types.h, its first published version.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

pub(crate) fn sched_setattr(scheduler: &Scheduler) -> Result<(), Errno> {
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: scheduler.policy.number(),
        flags: scheduler.flags,
        nice: scheduler.nice,
        priority: scheduler.priority,
        runtime: scheduler.runtime_ns,
        deadline: scheduler.deadline_ns,
        period: scheduler.period_ns,
    };
    // SAFETY: the kernel reads `attr.size` bytes, which is the size of `attr`, alive until after the call.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) }).map(drop)
}

pub(crate) fn ioprio_set(priority: u32) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    // SAFETY: no pointers.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, priority) }).map(drop)
}

/// Installs a filter on the calling thread; with `SECCOMP_FILTER_FLAG_NEW_LISTENER` returns its fd.
pub(crate) fn seccomp_set_mode_filter(
    flags: libc::c_ulong,
    instructions: &[Instruction],
) -> Result<Option<RawFd>, Errno> {
    let filter: *const Instruction = instructions.as_ptr();
    let program = libc::sock_fprog {
        // More than 65535 would wrap; `Program` holds at most 4096.
        len: instructions.len() as libc::c_ushort,
        filter: filter.cast_mut().cast(),
    };
    // SAFETY: `Instruction` has the layout of sock_filter (repr(C), same fields), the kernel copies `len` of
    // them from `filter`, which borrows a live slice of that length, and writes nothing through it.
    let result = check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    })?;
    let listens = flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0;
    Ok(listens.then_some(result as RawFd))
}

/// `struct landlock_ruleset_attr` as of ABI 6; the kernel takes shorter prefixes of it too.
#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: RawFd,
}

/// The Landlock ABI of the running kernel.
pub(crate) fn landlock_abi() -> Result<u32, Errno> {
    const LANDLOCK_CREATE_RULESET_VERSION: libc::c_uint = 1;
    let none = std::ptr::null::<RulesetAttr>();
    // SAFETY: with this flag the kernel demands a NULL pointer and the size 0, and reads nothing.
    check(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            none,
            0_usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    })
    .map(|abi| abi as u32)
}

pub(crate) fn landlock_create_ruleset(fs: u64, scoped: u64) -> Result<OwnedFd, Errno> {
    let attr = RulesetAttr {
        handled_access_fs: fs,
        handled_access_net: 0,
        scoped,
    };
    // KERNEL(6.12): before ABI 6 the structure ends before `scoped`; a longer one is accepted as long
    // as the rest is zero (copy_struct_from_user).
    // SAFETY: the kernel reads as many bytes as `attr` has; it lives until after the call.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const attr,
            size_of::<RulesetAttr>(),
            0,
        )
    })?;
    // SAFETY: the kernel just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

pub(crate) fn landlock_add_path(
    ruleset: BorrowedFd<'_>,
    allowed_access: u64,
    parent: BorrowedFd<'_>,
) -> Result<(), Errno> {
    const LANDLOCK_RULE_PATH_BENEATH: libc::c_uint = 1;
    let attr = PathBeneathAttr {
        allowed_access,
        parent_fd: parent.as_raw_fd(),
    };
    // SAFETY: the kernel reads one path_beneath_attr (12 bytes, packed) through `attr`, alive until after
    // the call; both descriptors are borrowed and so open.
    check(unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            LANDLOCK_RULE_PATH_BENEATH,
            &raw const attr,
            0,
        )
    })
    .map(drop)
}

pub(crate) fn landlock_restrict_self(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: no pointers; the descriptor is borrowed and so open.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })
        .map(drop)
}

/// Borrows a descriptor number kept in a register of the step list.
///
/// # Safety
/// `fd` was stored by an earlier step of the same process and has not been closed since.
pub(crate) unsafe fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: the caller's promise: open, and open for longer than the borrow, which ends with the step.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Takes back a descriptor kept in a register of the step list.
///
/// # Safety
/// `fd` was stored by an earlier step of the same process, which gave up its ownership.
pub(crate) unsafe fn take(fd: RawFd) -> OwnedFd {
    // SAFETY: the caller's promise: nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
