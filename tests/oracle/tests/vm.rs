//! The kinds of leak that need root.

#![allow(
    unsafe_code,
    reason = "keys, queues and BPF programs have no safe wrappers"
)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use oracle::{Oracle, Places};

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn an_empty_cgroup_is_seen() {
    let oracle = Oracle::start(Places::machine());
    let places = Places::machine();
    let mount: &PathBuf = places.cgroups.first().expect("cgroup2 is mounted");
    let group = mount.join("left-group");
    fs::create_dir(&group).expect("mkdir");
    let found = oracle.difference();
    fs::remove_dir(&group).expect("rmdir");
    assert!(
        found
            .left_behind
            .iter()
            .any(|(kind, line)| *kind == "cgroup" && line.ends_with("/left-group")),
        "{found}"
    );
    oracle.finish(Duration::from_secs(5)).expect("removed");
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_quiet_machine_does_not_change() {
    let oracle = Oracle::start(Places::machine());
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(100));
        let found = oracle.difference();
        assert!(found.is_empty(), "{found}");
    }
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn state_of_every_user_is_looked_at() {
    let dir = PathBuf::from("/run/user/1000/ctr");
    fs::create_dir(&dir).expect("mkdir");
    let oracle = Oracle::start(Places::machine());
    fs::create_dir(dir.join("web")).expect("mkdir");
    let found = oracle.difference();
    fs::remove_dir_all(&dir).expect("remove");
    assert!(
        found.to_string().contains("/run/user/1000/ctr/web"),
        "{found}"
    );
}

/// What a leak of `kind` says, with `what` in its line; after `repair` it is gone.
fn seen<T>(kind: &str, what: &str, leak: impl FnOnce() -> T, repair: impl FnOnce(T)) {
    let oracle = Oracle::start(Places::machine());
    let left = leak();
    let found = oracle.difference();
    repair(left);
    let expected = |(of, line): &(&'static str, String)| *of == kind && line.contains(what);
    assert!(
        found.left_behind.iter().any(expected),
        "no {kind} with {what:?} in:\n{found}"
    );
    oracle.finish(Duration::from_secs(10)).expect("repaired");
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_key_is_seen() {
    const KEY_SPEC_USER_KEYRING: i64 = -4;
    const KEYCTL_INVALIDATE: i64 = 21;
    // The keyring is made at its first use, and stays.
    let add = |name: &std::ffi::CStr| {
        // SAFETY: type, name and payload are NUL-terminated constants, and the payload is one byte long.
        unsafe {
            let (kind, payload) = (c"user".as_ptr(), c"x".as_ptr());
            libc::syscall(
                libc::SYS_add_key,
                kind,
                name.as_ptr(),
                payload,
                1,
                KEY_SPEC_USER_KEYRING,
            )
        }
    };
    assert!(add(c"first") > 0, "{}", std::io::Error::last_os_error());
    seen(
        "key",
        "left-key",
        || add(c"left-key"),
        |key| {
            assert!(key > 0);
            // SAFETY: acts on a key by its number.
            let answer = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_INVALIDATE, key) };
            assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
        },
    );
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_message_queue_is_seen() {
    let open = || {
        // SAFETY: the name is a NUL-terminated constant; the attributes are left to the kernel.
        unsafe {
            libc::mq_open(
                c"/left-queue".as_ptr(),
                libc::O_CREAT | libc::O_RDWR,
                0o600,
                std::ptr::null::<libc::mq_attr>(),
            )
        }
    };
    seen("file", "/dev/mqueue/left-queue", open, |queue| {
        // SAFETY: the descriptor was opened above and is known to nobody else.
        unsafe { libc::mq_close(queue) };
        fs::remove_file("/dev/mqueue/left-queue").expect("unlink");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_bpf_program_is_seen() {
    const BPF_PROG_LOAD: i32 = 5;
    const BPF_PROG_TYPE_SOCKET_FILTER: u32 = 1;
    /// The beginning of `union bpf_attr` for BPF_PROG_LOAD; the rest is zero for a shorter size.
    #[repr(C)]
    struct Load {
        kind: u32,
        instructions: u32,
        program: u64,
        license: u64,
        log: [u32; 2],
        log_buffer: u64,
        kernel_version: u32,
        flags: u32,
    }
    // r0 = 0; exit
    let program: [u64; 2] = [0xb7, 0x95];
    let load = || {
        let attr = Load {
            kind: BPF_PROG_TYPE_SOCKET_FILTER,
            instructions: 2,
            program: program.as_ptr() as u64,
            license: c"".as_ptr() as u64,
            log: [0, 0],
            log_buffer: 0,
            kernel_version: 0,
            flags: 0,
        };
        // SAFETY: the kernel reads `attr` within the size it is told, and the two instructions and the
        // license it points to, all of which outlive the call.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_PROG_LOAD,
                &raw const attr,
                size_of_val(&attr),
            )
        };
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        fd
    };
    seen("bpf program", "id ", load, |fd| {
        // SAFETY: the descriptor was opened above and is known to nobody else.
        unsafe { libc::close(i32::try_from(fd).expect("a descriptor")) };
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn an_element_of_a_set_of_the_firewall_is_seen() {
    let nft = |command: &str| {
        let status = Command::new("nft").arg(command).status().expect("nft");
        assert!(status.success(), "nft {command}: {status}");
    };
    nft("add table inet t");
    // The other set has the same element all the time: a line alone does not say which one it is of.
    for set in ["full", "empty"] {
        nft(&format!("add set inet t {set} {{ type ifname; }}"));
    }
    nft("add element inet t full { \"left-link\" }");
    seen(
        "network",
        "set empty: \"left-link\"",
        || nft("add element inet t empty { \"left-link\" }"),
        |()| nft("delete element inet t empty { \"left-link\" }"),
    );
    nft("delete table inet t");
}
