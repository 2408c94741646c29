//! What each system call answers to arguments that cannot work.
//!
//! All six arguments are -1: no descriptor, no pointer, no pid, no flag is valid. What still could
//! succeed changes only the process that tries it, which is a child of its own for each call.

use std::collections::BTreeMap;

use probe::Answer;
use syscalls::Sysno;

use crate::sys;

/// Past the newest: numbers go on growing, and a filter must refuse what it does not know.
const LAST: u32 = 600;

/// Not tried.
const SKIPPED: &[(Sysno, &str)] = &[
    (Sysno::exit, "ends the caller"),
    (Sysno::exit_group, "ends the caller"),
    (
        Sysno::rt_sigreturn,
        "takes its arguments from the stack, and kills without a signal frame",
    ),
    (Sysno::sync, "writes out every disk of the machine"),
    (Sysno::vhangup, "hangs up a terminal when it may"),
    #[cfg(target_arch = "x86_64")]
    (Sysno::pause, "never comes back"),
    #[cfg(target_arch = "x86_64")]
    (Sysno::vfork, "the child would run on the parent's stack"),
    #[cfg(target_arch = "x86_64")]
    (Sysno::uretprobe, "kills whoever is not probed"),
];

/// Calls that say ENOSYS to arguments of -1 although they are there, and what they get instead.
fn arguments(number: u32) -> [u64; 6] {
    const BAD: u64 = u64::MAX;
    match Sysno::from(number) {
        // FUTEX_WAKE; an unknown operation is ENOSYS.
        Sysno::futex => [BAD, 1, BAD, BAD, BAD, BAD],
        // Signal 0 to a pid beyond any: -1 would mean everybody.
        Sysno::kill => [i32::MAX as u64, 0, BAD, BAD, BAD, BAD],
        // CLONE_SIGHAND without CLONE_VM is EINVAL; -1 has namespaces in it, see `operations`.
        Sysno::clone => [libc::CLONE_SIGHAND as u64, 0, 0, 0, 0, 0],
        // Reads the (empty) table; an unknown function is ENOSYS.
        #[cfg(target_arch = "x86_64")]
        Sysno::modify_ldt => [0, BAD, 0, BAD, BAD, BAD],
        _ => [BAD; 6],
    }
}

/// Every number's answer.
pub(crate) fn all() -> BTreeMap<u32, Answer> {
    (0..=LAST).map(|number| (number, one(number))).collect()
}

fn one(number: u32) -> Answer {
    let Some(sysno) = Sysno::new(number as usize) else {
        return sys::call_in_child(number, [u64::MAX; 6]);
    };
    match SKIPPED.iter().find(|(skipped, _)| *skipped == sysno) {
        Some((_, why)) => Answer::Skipped((*why).into()),
        None => sys::call_in_child(number, arguments(number)),
    }
}

/// Operations that share their number with harmless ones, and so are told apart by an argument.
pub(crate) fn operations() -> BTreeMap<String, Answer> {
    const BAD: u64 = u64::MAX;
    let call = |sysno: Sysno, arguments: [u64; 6]| sys::call_in_child(sysno as u32, arguments);
    let ioctl = |request: u64| call(Sysno::ioctl, [BAD, request, BAD, BAD, BAD, BAD]);
    let new = |flag: i32| flag as u64;
    // CLONE_FS with a new mount or user namespace is EINVAL, so nothing comes of it without a filter.
    let clone = |flag: i32| {
        call(
            Sysno::clone,
            [
                new(flag | libc::CLONE_FS | libc::CLONE_NEWNS),
                0,
                0,
                0,
                0,
                0,
            ],
        )
    };
    let personality = |value: u64| call(Sysno::personality, [value, 0, 0, 0, 0, 0]);
    let netlink = |protocol: i32| sys::socket_of(libc::AF_NETLINK, libc::SOCK_RAW, protocol);
    [
        ("ioctl TIOCSTI", ioctl(0x5412)),
        ("ioctl TIOCLINUX", ioctl(0x541c)),
        ("ioctl TCGETS", ioctl(0x5401)),
        ("clone NEWUSER", clone(libc::CLONE_NEWUSER)),
        ("clone NEWNS", clone(0)),
        (
            "unshare NEWUSER",
            call(Sysno::unshare, [new(libc::CLONE_NEWUSER), 0, 0, 0, 0, 0]),
        ),
        (
            "unshare NEWNET",
            call(Sysno::unshare, [new(libc::CLONE_NEWNET), 0, 0, 0, 0, 0]),
        ),
        ("personality PER_LINUX", personality(0)),
        ("personality READ_IMPLIES_EXEC", personality(0x0040_0000)),
        ("netlink route", netlink(libc::NETLINK_ROUTE)),
        ("netlink audit", netlink(libc::NETLINK_AUDIT)),
        ("netlink netfilter", netlink(libc::NETLINK_NETFILTER)),
        (
            "netlink kobject-uevent",
            netlink(libc::NETLINK_KOBJECT_UEVENT),
        ),
        ("netlink generic", netlink(libc::NETLINK_GENERIC)),
        (
            "packet socket",
            sys::socket_of(libc::AF_PACKET, libc::SOCK_RAW, 0),
        ),
        (
            "raw socket",
            sys::socket_of(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        ),
        (
            "ping socket",
            sys::socket_of(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP),
        ),
    ]
    .into_iter()
    .map(|(name, answer)| (name.to_owned(), answer))
    .collect()
}
