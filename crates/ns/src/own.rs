//! The child's own calls, by the number it sends when one fails.

macro_rules! own {
    ($($name:ident = $call:literal,)*) => {
        /// A call that the child makes by itself, not for a caller's step.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        pub(crate) enum Own {
            $($name,)*
        }

        const CALLS: &[&str] = &[$($call,)*];
    };
}

own! {
    NotDumpable = "prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE)",
    Fork = "clone3(CLONE_PARENT)",
    DeathSignal = "prctl(PR_SET_PDEATHSIG)",
    Setsid = "setsid()",
    ResetSignals = "rt_sigaction(SIG_DFL)",
    UnshareTime = "unshare(CLONE_NEWTIME)",
    TimeOffsets = "write(\"/proc/self/timens_offsets\")",
    EnterTime = "setns(\"/proc/self/ns/time_for_children\", CLONE_NEWTIME)",
    UnshareCgroup = "unshare(CLONE_NEWCGROUP)",
    ArgumentArea = "read(\"/proc/self/stat\")",
    ReceiveGo = "recvmsg(GO)",
    BlockSignals = "rt_sigprocmask(SIG_SETMASK, ~[])",
    CloneWorkload = "clone3(CLONE_PIDFD)",
    InitName = "prctl(PR_SET_NAME, \"ctr-init\")",
    StatusSocket = "socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC)",
    InitClose = "close_range()",
    OpenPtmx = "openat(\"/dev/ptmx\", O_RDWR|O_NOCTTY|O_CLOEXEC)",
    UnlockPty = "ioctl(TIOCSPTLCK, [0])",
    OpenPeer = "ioctl(TIOCGPTPEER, O_RDWR|O_NOCTTY|O_CLOEXEC)",
    PtyOwner = "fchown(pty)",
    PtySize = "ioctl(TIOCSWINSZ)",
    ControllingTty = "ioctl(TIOCSCTTY)",
    PtyDup = "dup2(pty)",
    EmptyMask = "rt_sigprocmask(SIG_SETMASK, [])",
    CloseOnExec = "close_range(3, ~0U, CLOSE_RANGE_CLOEXEC)",
}

/// The words for a number a child sent.
pub(crate) fn call_of(number: u32) -> &'static str {
    let call = usize::try_from(number)
        .ok()
        .and_then(|number| CALLS.get(number));
    call.copied().unwrap_or("a call unknown to this version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_go_together() {
        assert_eq!(
            call_of(Own::NotDumpable as u32),
            "prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE)"
        );
        assert_eq!(call_of(Own::CloseOnExec as u32), CALLS[CALLS.len() - 1]);
        assert_eq!(call_of(999), "a call unknown to this version");
    }
}
