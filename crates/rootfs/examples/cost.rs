//! What each step of a full tree costs on this machine, in microseconds.
//!
//! ```sh
//! cargo run --release -p rootfs --example cost -- /srv/image 100
//! ```
//!
//! Builds the tree the given number of times, each time in a new child with its own user, mount, pid,
//! ipc and network namespace, and prints the median of every step and the sum of the medians. The
//! directory must belong to the caller.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program"
)]
#![allow(
    unsafe_code,
    reason = "unshare, fork and applying steps, in a process with one thread"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "writes its own id maps, before there is any container"
)]

use std::ffi::CString;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::process::ExitCode;
use std::time::Instant;

use rootfs::{Error, Overlay, Proc, Propagation, Pts, Source, Tree, TreeBuilder, Upper};

const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (Some(root), Some(rounds)) = (args.next(), args.next()) else {
        eprintln!("usage: cost DIRECTORY ROUNDS");
        return ExitCode::from(2);
    };
    let rounds: usize = rounds.to_str().and_then(|r| r.parse().ok()).unwrap_or(100);
    let tree = match CString::new(root.into_vec()).map(tree) {
        Ok(Ok(tree)) => tree,
        Ok(Err(error)) => {
            eprintln!("cost: {error}");
            return ExitCode::FAILURE;
        }
        Err(error) => {
            eprintln!("cost: {error}");
            return ExitCode::from(2);
        }
    };
    let mut samples = vec![Vec::with_capacity(rounds); tree.len()];
    for _ in 0..rounds {
        match round(&tree) {
            Ok(times) => {
                for (samples, time) in samples.iter_mut().zip(times) {
                    samples.push(time);
                }
            }
            Err(error) => {
                eprintln!("cost: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    let mut sum = 0;
    for (step, samples) in samples.iter_mut().enumerate() {
        samples.sort_unstable();
        let median = samples[samples.len() / 2];
        sum += median;
        println!("{:8.1}  {}", micros(median), tree.describe(step));
    }
    println!("{:8.1}  sum of {} steps", micros(sum), tree.len());
    ExitCode::SUCCESS
}

fn micros(nanos: u64) -> f64 {
    std::time::Duration::from_nanos(nanos).as_secs_f64() * 1e6
}

fn tree(root: CString) -> Result<Tree, Error> {
    let mut tree = TreeBuilder::new(Propagation::Private);
    tree.ids(0, 0, false)?;
    tree.scratch_over(None, c"/mnt")?;
    let lowers = vec![Source::Path(root)];
    tree.root_overlay(&Overlay {
        lowers,
        upper: Upper::Ephemeral,
        userxattr: true,
    })?;
    tree.proc(&Proc::default())?;
    tree.sysfs()?;
    tree.dev()?;
    tree.devpts(&Pts::default())?;
    tree.shm(64 << 20)?;
    tree.mqueue()?;
    tree.mask(&MASKED)?;
    tree.readonly_leaf(&READ_ONLY)?;
    tree.file("/etc/hosts".as_ref(), b"127.0.0.1 localhost\n")?;
    tree.pivot()?;
    Ok(tree.build())
}

/// Nanoseconds of each step, measured in a child.
fn round(tree: &Tree) -> std::io::Result<Vec<u64>> {
    let (mut reader, mut writer) = std::io::pipe()?;
    // SAFETY: this process has one thread, so the child is as good as the parent.
    match unsafe { libc::fork() } {
        -1 => return Err(std::io::Error::last_os_error()),
        0 => {
            let done = unshare()
                .and_then(|()| measure(tree))
                .and_then(|t| writer.write_all(&t));
            if let Err(error) = &done {
                eprintln!("cost: {error}");
            }
            std::process::exit(i32::from(done.is_err()));
        }
        _ => drop(writer),
    }
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    // SAFETY: no status is wanted.
    unsafe { libc::wait(std::ptr::null_mut()) };
    let times: Vec<u64> = bytes
        .chunks_exact(8)
        .map(|chunk| u64::from_ne_bytes(chunk.try_into().expect("eight bytes")))
        .collect();
    if times.len() == tree.len() {
        Ok(times)
    } else {
        Err(std::io::ErrorKind::UnexpectedEof.into())
    }
}

fn measure(tree: &Tree) -> std::io::Result<Vec<u8>> {
    // The pid namespace is that of the next child: proc needs it.
    let (mut reader, mut writer) = std::io::pipe()?;
    // SAFETY: as in `round`.
    match unsafe { libc::fork() } {
        -1 => return Err(std::io::Error::last_os_error()),
        0 => {}
        _ => {
            drop(writer);
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
    }
    let mut times = Vec::with_capacity(tree.len() * 8);
    for step in 0..tree.len() {
        let start = Instant::now();
        // SAFETY: no descriptor is passed, and this process has one thread.
        let result = unsafe { tree.apply(step, &[]) };
        let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        times.extend_from_slice(&nanos.to_ne_bytes());
        if let Err(errno) = result {
            eprintln!("cost: {}: {errno}", tree.describe(step));
            std::process::exit(1);
        }
    }
    let written = writer.write_all(&times);
    std::process::exit(i32::from(written.is_err()));
}

fn unshare() -> std::io::Result<()> {
    let (uid, gid) = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC;
    // SAFETY: plain integers; this process has one thread, so nothing shares what is unshared.
    if unsafe { libc::unshare(flags) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}
