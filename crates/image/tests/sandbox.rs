//! The unpacking process as the engine makes it: namespaces of its own, `/` is the layer, few system calls.
//!
//! The test starts itself again: a forked copy of a program with threads would not be like the real one.

#![allow(unsafe_code, reason = "descriptors by number, and ending a process")]

#[path = "common/tarball.rs"]
mod tarball;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use image::layer::{
    Error, Limits, Options, OverlayAttrs, Rule, SYSCALLS, Unpack, Unpacked, VERDICT, Verdict, child,
};
use syscalls::Sysno;

use tarball::{Head, dir, file, hard, pax, symlink, tar};

const PLACE: &str = "IMAGE_TEST_CHILD_PLACE";

/// The other process. It does nothing in an ordinary run of the tests.
#[test]
fn the_child_itself() {
    let Some(place) = std::env::var_os(PLACE) else {
        return;
    };
    let lower = File::open(Path::new(&place).join("lower")).expect("the layer below");
    std::os::unix::fs::chroot(Path::new(&place).join("layer")).expect("chroot");
    std::env::set_current_dir("/").expect("chdir");
    let root = File::open("/").expect("the layer");
    let options = Options {
        overlay: OverlayAttrs::User,
        lowers: vec![lower.as_fd()],
        ..Options::default()
    };
    let unpack = Unpack {
        root: root.as_fd(),
        compression: None,
        limits: &Limits::default(),
        options: &options,
    };
    allow_only(SYSCALLS);
    // SAFETY: the parent put both descriptors there, and nothing in this process closes them.
    let (input, verdict) = unsafe { (BorrowedFd::borrow_raw(0), BorrowedFd::borrow_raw(3)) };
    let said = child(&unpack, input, verdict);
    // SAFETY: ends the process at once: what the test harness does at its end is not allowed here.
    unsafe { libc::_exit(i32::from(!said)) }
}

/// Ends this process at any other system call, of this thread or of one that it starts.
fn allow_only(names: &[&str]) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, k| libc::sock_filter { code, jt, jf: 0, k };
    let mut program = vec![step(LOAD, 0, 0)];
    for (at, name) in names.iter().enumerate() {
        let call: Sysno = name.parse().unwrap_or_else(|_unknown| panic!("{name}"));
        // Over the rest of the list and over what follows it.
        let over = u8::try_from(names.len() - at).expect("a short list");
        program.push(step(EQUAL, over, call.id() as u32));
    }
    program.push(step(RETURN, 0, libc::SECCOMP_RET_KILL_PROCESS));
    program.push(step(RETURN, 0, libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `filter` and what it points to live until after the calls, which copy them.
    let results = unsafe {
        (
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const filter,
            ),
        )
    };
    assert_eq!(results, (0, 0), "{}", std::io::Error::last_os_error());
}

/// Starts the other process in namespaces of its own and gives it `blob`.
fn run(place: &Path, blob: &[u8]) -> Result<Unpacked, Error> {
    for name in ["layer", "lower"] {
        fs::create_dir_all(place.join(name)).expect("directories");
    }
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new("unshare");
    let flags = [
        "--user",
        "--map-root-user",
        "--mount",
        "--net",
        "--ipc",
        "--pid",
        "--fork",
    ];
    command
        .args(flags)
        .arg(program)
        .args(["the_child_itself", "--exact", "--nocapture"])
        .env(PLACE, place)
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let raw = writer.as_raw_fd();
    // SAFETY: dup2 is async-signal-safe, and `raw` is open until after the spawn.
    unsafe {
        command.pre_exec(move || {
            if libc::dup2(raw, 3) == 3 {
                return Ok(());
            }
            Err(std::io::Error::last_os_error())
        });
    }
    let mut process = command.spawn().expect("unshare(1)");
    drop(writer);
    let mut stdin = process.stdin.take().expect("a pipe");
    // A child that refuses does not read to the end.
    let _broken_pipe = stdin.write_all(blob);
    drop(stdin);
    let mut said = Vec::new();
    reader.read_to_end(&mut said).expect("the verdict");
    let status = process.wait().expect("wait");
    let said: [u8; VERDICT] = said.try_into().map_err(|_size| Error::NoVerdict)?;
    assert_eq!(status.code(), Some(0), "a verdict was written");
    Verdict(said).read()
}

#[test]
fn the_child_needs_no_more_than_the_calls_that_are_listed() {
    let place = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(place.path().join("lower/tmp")).expect("below");
    fs::write(place.path().join("lower/tmp/f"), "below").expect("below");
    let holes = Head::new(b"s", b'S')
        .gnu()
        .with(386, b"00000000010\x0000000000001\0");
    let holes = holes.with(483, b"00000100000\0").data(b"x");
    let long = "text ".repeat(1 << 20);
    let archive = tar(&[
        dir("d"),
        file("d/f", &long),
        symlink("l", "d"),
        hard("l/g", "l/f"),
        hard("h", "tmp/f"),
        file("implicit/deep/f", ""),
        file("l/again", "1"),
        file("l/again", "2"),
        file("d", "a file"),
        Head::new(b"p", b'6').bytes(),
        Head::new(b"n", b'3').device(1, 3).bytes(),
        pax(&[("SCHILY.xattr.user.a", b"b"), ("mtime", b"1.5")]),
        file("x", ""),
        file(".wh.gone", ""),
        holes.bytes(),
    ]);
    let unpacked = run(
        place.path(),
        &zstd::encode_all(&archive[..], 3).expect("to memory"),
    );
    let unpacked = unpacked.expect("an honest layer");
    assert_eq!(unpacked.plain_size, archive.len() as u64);
    assert_eq!(unpacked.applied.hard_links, 2);
    let layer = place.path().join("layer");
    assert_eq!(fs::read_to_string(layer.join("h")).expect("h"), "below");
    assert_eq!(fs::metadata(layer.join("s")).expect("s").len(), 0o100_000);
    let mut gzip = Vec::new();
    flate2::read::GzEncoder::new(&archive[..], flate2::Compression::fast())
        .read_to_end(&mut gzip)
        .expect("to memory");
    let place = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(place.path().join("lower/tmp")).expect("below");
    fs::write(place.path().join("lower/tmp/f"), "below").expect("below");
    let again = run(place.path(), &gzip).expect("an honest layer");
    assert_eq!(again.plain, unpacked.plain);
}

#[test]
fn the_child_sends_the_rule_and_the_name() {
    let place = tempfile::tempdir().expect("a directory");
    let hostile = tar(&[file("ok", ""), file("a/../../x\x1b", "")]);
    match run(place.path(), &hostile) {
        Err(Error::Refused {
            entry,
            rule: Rule::DotDot,
        }) => {
            assert_eq!(entry.to_string(), r#""a/../../x\x1b""#);
        }
        other => panic!("{other:?}"),
    }
}
