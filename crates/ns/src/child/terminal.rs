//! The program's terminal, pty(7). The rules of [`super`] hold here too.
//!
//! Opened in the container's own devpts, where nothing of the container has run yet: so its name
//! there is right, and no pty of the host is ever inside.

use std::os::fd::RawFd;

use rustix::fs::OFlags;

use super::{Task, open as open_file};
use crate::own::Own;
use crate::spawn::Tty;
use crate::sys;

/// Open a pair, make it the controlling terminal and stdio of this session's leader; gives the
/// master.
pub(super) fn open(task: &Task<'_>, tty: &Tty) -> RawFd {
    let master = open_file(c"/dev/ptmx", OFlags::RDWR | OFlags::NOCTTY);
    let master = task.got(Own::OpenPtmx, master);
    let unlocked: libc::c_int = 0;
    // SAFETY: reads one int.
    let unlock = unsafe { sys::ioctl(master, libc::TIOCSPTLCK, (&raw const unlocked) as usize) };
    task.check(Own::UnlockPty, unlock.map(drop));
    // By descriptor, not by a path in the container.
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: takes flags as an integer.
    let peer = unsafe { sys::ioctl(master, libc::TIOCGPTPEER, flags as usize) };
    let peer = task.got(Own::OpenPeer, peer);
    if let Some(owner) = tty.owner {
        task.check(Own::PtyOwner, sys::chown_owner(peer, owner));
    }
    if let Some((ws_row, ws_col)) = tty.size {
        let size = libc::winsize {
            ws_row,
            ws_col,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: reads one winsize.
        let set = unsafe { sys::ioctl(peer, libc::TIOCSWINSZ, (&raw const size) as usize) };
        task.check(Own::PtySize, set.map(drop));
    }
    // SAFETY: takes an integer: 0, do not steal it from another session.
    let controlling = unsafe { sys::ioctl(peer, libc::TIOCSCTTY, 0) };
    task.check(Own::ControllingTty, controlling.map(drop));
    for stdio in 0..3 {
        // SAFETY: the caller's stdio is given up here, as it should be.
        task.check(Own::PtyDup, unsafe { sys::dup_onto(peer, stdio) });
    }
    master
}
