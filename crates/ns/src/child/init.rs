//! The built-in init, PID 1 of the container. The rules of [`super`] hold here too.

use std::os::fd::{IntoRawFd, RawFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::setsid;

use super::{Task, open};
use crate::message::Message;
use crate::own::Own;
use crate::spawn::Init;
use crate::stat;
use crate::status::WaitStatus;
use crate::sys::{self, Cloned};

/// Who: PID 1, all set up. It clones the workload and becomes its init.
pub(super) fn start(
    task: &Task<'_>,
    init: &Init<'_>,
    arguments: (usize, usize),
    passed: &[RawFd],
) -> ! {
    // Before the workload can look: it must not reach our memory, descriptors or /proc/1/exe. The
    // program it executes is dumpable again, begin_new_exec() in fs/exec.c.
    task.not_dumpable();
    // Before the clone: a SIGCHLD that comes unblocked is dropped. The workload unblocks its own.
    task.check(Own::BlockSignals, sys::set_mask(u64::MAX));
    // SAFETY: the child's branch is `execute`, which keeps to the calls listed above.
    match unsafe { sys::clone3(0, None) } {
        Ok(Cloned::Child) => {
            // A session of its own: for its terminal, and so that it can make process groups.
            task.check(Own::Setsid, setsid().map(drop));
            task.execute(passed)
        }
        Ok(Cloned::Parent { pid, pidfd }) => {
            let status = become_init(task, init, arguments, passed, pidfd.into_raw_fd());
            look_after(pid.as_raw_nonzero().get(), status)
        }
        Err(errno) => task.fail(Own::CloneWorkload, errno),
    }
}

/// Give up all that is not needed; gives the status socket.
fn become_init(
    task: &Task<'_>,
    init: &Init<'_>,
    (start, end): (usize, usize),
    passed: &[RawFd],
    workload: RawFd,
) -> RawFd {
    task.check(Own::InitName, rustix::thread::set_name(c"ctr-init"));
    // SAFETY: the area is our own copy, as the kernel told, and only the caller's `main` reads it.
    unsafe { sys::overwrite_arguments(start, end, b"ctr-init") };
    let pair = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    );
    let (ours, parents) = task.got(Own::StatusSocket, pair);
    let (ours, parents) = (ours.into_raw_fd(), parents.into_raw_fd());
    let child = task.child;
    task.apply(
        child.early.len() + child.setup.len() + child.workload.len(),
        &init.confine,
        passed,
    );
    // After the last change of ids, which clears it.
    task.death_signal(!child.outlive_parent);
    task.tell(Message::Started, &[workload, parents]);
    // Everything else, the control socket and the caller's stdio included. Its end tells the
    // parent that both the workload and we have got so far.
    let (below, above) = (ours as u32, ours as u32 + 1);
    // SAFETY: from here on only `ours` is used.
    unsafe {
        task.check(Own::InitClose, sys::close_range(above, u32::MAX, 0));
        if let Some(last) = below.checked_sub(1) {
            // The control socket may be closed by now: there is nobody to report to.
            let _ = sys::close_range(0, last, 0);
        }
    }
    ours
}

/// Reap and forward until the workload ends, report that, and end as it did.
fn look_after(workload: i32, status: RawFd) -> ! {
    loop {
        match sys::wait_signal() {
            Ok(libc::SIGCHLD) => {
                // One SIGCHLD can stand for several children.
                while let Ok(Some((pid, raw))) = sys::reap_any() {
                    if pid == workload {
                        // The parent may be gone, if we were to outlive it.
                        let _ = sys::send(status, &Message::Exit { status: raw }.encode(), &[]);
                        let code = WaitStatus::from_raw(raw).map_or(255, WaitStatus::shell_code);
                        // With PID 1 the kernel ends the rest of the namespace.
                        sys::exit(code.into())
                    }
                }
            }
            // It may just have ended: its SIGCHLD is next then.
            Ok(signal) => drop(sys::kill(workload, signal)),
            Err(_) => {}
        }
    }
}

/// Where this process's arguments lie in memory.
pub(super) fn argument_area() -> Result<(usize, usize), Errno> {
    let file = open(c"/proc/self/stat", OFlags::RDONLY)?;
    let mut text = [0; 1024];
    // SAFETY: open, and used no longer than this call.
    let read = rustix::io::read(unsafe { super::BorrowedFd::borrow_raw(file) }, &mut text);
    // SAFETY: opened here and not used again.
    unsafe { sys::close(file) };
    let text = text.get(..read?).unwrap_or_default();
    stat::argument_area(text).ok_or(Errno::BADMSG)
}
