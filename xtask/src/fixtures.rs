//! `cargo xtask fixtures`: root file systems for the tests, made once and kept.
//!
//! - `target/fixtures/debian`: Debian 12, `minbase` with apt, python3-minimal and strace, owned by root;
//! - `target/fixtures/debian-user`: the same, every file owned by uid and gid 1000;
//! - `target/fixtures/services`: Debian 12 with nginx, PostgreSQL (and the cluster that its package makes),
//!   python3, curl and iperf3;
//! - `target/fixtures/tiny`: busybox, `probe` and `true`, nothing else;
//! - `target/fixtures/images`: docker-registry and what it serves: `web` and `db` of `services`, `small` of `tiny`.
//!
//! Each is built under another name and renamed when it is whole; `etc/ctr-fixture` in it says from what
//! it was made, and one made from something else is made anew. Packages are kept in
//! `target/fixtures/debs`, so a run that was interrupted goes on where it stopped.
//!
//! Needs root, debootstrap, busybox-static, docker-registry, skopeo, umoci and a Debian mirror. debootstrap runs
//! in a mount namespace of its own, since it mounts a /proc; the registry in a network of its own.

mod images;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::cmd;
use crate::workspace::{Workspace, cargo};

const SUITE: &str = "bookworm";
const PACKAGES: &str = "python3-minimal,strace";
const SERVICES: &str = "ca-certificates,curl,iperf3,nginx-light,postgresql,python3";

const MIRROR: &str = "http://deb.debian.org/debian";

/// Says from what a fixture was made.
const MARKER: &str = "etc/ctr-fixture";

/// What `fixtures` can be told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where Debian's packages come from
    #[arg(long, default_value = MIRROR)]
    mirror: String,
}

/// Makes what is missing, from Debian's own mirror.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn all() -> Result<()> {
    run(&Args {
        mirror: MIRROR.to_owned(),
    })
}

/// Makes what is missing.
///
/// # Errors
///
/// Not root; a program is missing; debootstrap fails (its log is named).
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "fixtures needs root: the files of a root file system belong to root"
    );
    let workspace = Workspace::load()?;
    let directory = workspace.root.join("target/fixtures");
    fs::create_dir_all(&directory).with_context(|| format!("mkdir {}", directory.display()))?;
    let packages = fixture(
        &directory,
        "debian",
        &format!("{SUITE} minbase {PACKAGES}, /etc/hosts\n"),
        |new| debootstrap(&directory, new, PACKAGES, &args.mirror),
    )?;
    let servers = fixture(
        &directory,
        "services",
        &format!("{SUITE} minbase {SERVICES}\n"),
        |new| debootstrap(&directory, new, SERVICES, &args.mirror),
    )?;
    fixture(
        &directory,
        "debian-user",
        &format!("uid 1000 of: {packages}"),
        |new| {
            cmd::run(
                Command::new("cp")
                    .arg("-a")
                    .arg(directory.join("debian"))
                    .arg(new),
            )?;
            // Not the device nodes: an ordinary user has none.
            let dev = new.join("dev");
            fs::remove_dir_all(&dev).context("remove dev")?;
            fs::create_dir(&dev).context("make dev")?;
            cmd::run(
                Command::new("chown")
                    .args(["-R", "-h", "1000:1000"])
                    .arg(new),
            )
        },
    )?;
    let small = fixture(&directory, "tiny", "busybox, probe, true\n", tiny)?;
    let from = format!("{packages}{servers}{small}{}", images::SCRIPT);
    fixture(&directory, "images", &from, |new| {
        images::make(&directory, new)
    })?;
    Ok(())
}

/// `make` gets the path of what becomes `name` when it succeeds. Returns what the fixture is made from.
fn fixture(
    directory: &Path,
    name: &str,
    made_from: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<String> {
    let place = directory.join(name);
    if fs::read_to_string(place.join(MARKER)).is_ok_and(|text| text == made_from) {
        println!("{}: there", place.display());
        return Ok(made_from.to_owned());
    }
    let new = directory.join(format!("{name}.new"));
    for old in [&new, &place] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("remove {}", old.display()))?;
        }
    }
    make(&new).with_context(|| format!("make the fixture {name}"))?;
    fs::create_dir_all(new.join("etc")).context("make etc")?;
    fs::write(new.join(MARKER), made_from).with_context(|| format!("write {MARKER}"))?;
    fs::rename(&new, &place).with_context(|| format!("rename {} to {name}", new.display()))?;
    println!("{}: made", place.display());
    Ok(made_from.to_owned())
}

fn debootstrap(directory: &Path, new: &Path, packages: &str, mirror: &str) -> Result<()> {
    let program = cmd::which("debootstrap")
        .context("no `debootstrap` here: `apt-get install debootstrap`")?;
    let cache = directory.join("debs");
    fs::create_dir_all(&cache).with_context(|| format!("mkdir {}", cache.display()))?;
    // A name, since a package that makes a certificate asks for one; some machines have none.
    let named = "hostname localhost; exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["-m", "-u", "-p", "-f", "--kill-child", "--mount-proc"])
        .args(["sh", "-euc", named, "sh"])
        .arg(program)
        .arg("--variant=minbase")
        .arg(format!("--include={packages}"))
        .arg(format!("--cache-dir={}", cache.display()))
        .args([SUITE, &new.display().to_string(), mirror]);
    cmd::run(&mut command)
        .with_context(|| format!("see {}", new.join("debootstrap/debootstrap.log").display()))?;
    // What an installed system has and the base system lacks: mount points of a container's own files, and
    // the fixture is used read-only.
    for (name, text) in [
        ("hosts", "127.0.0.1\tlocalhost\n"),
        ("hostname", "debian\n"),
        ("resolv.conf", ""),
    ] {
        let path = new.join("etc").join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    for rest in [
        "var/cache/apt/archives",
        "var/lib/apt/lists",
        "usr/share/doc",
        "usr/share/locale",
    ] {
        let rest = new.join(rest);
        for entry in fs::read_dir(&rest).with_context(|| format!("read {}", rest.display()))? {
            let path = entry
                .with_context(|| format!("read {}", rest.display()))?
                .path();
            remove(&path)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    let is_dir = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    let removed = if is_dir {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.with_context(|| format!("remove {}", path.display()))
}

fn tiny(new: &Path) -> Result<()> {
    for dir in ["bin", "dev", "etc", "home", "proc", "root", "sys", "tmp"] {
        fs::create_dir_all(new.join(dir)).with_context(|| format!("mkdir {dir}"))?;
    }
    let busybox =
        cmd::which("busybox").context("no `busybox` here: `apt-get install busybox-static`")?;
    let bin = new.join("bin");
    fs::copy(&busybox, bin.join("busybox")).context("copy busybox")?;
    for applet in cmd::output(Command::new(&busybox).arg("--list"))?.lines() {
        if !["busybox", "true"].contains(&applet) {
            std::os::unix::fs::symlink("busybox", bin.join(applet))
                .with_context(|| format!("link {applet}"))?;
        }
    }
    for (name, program) in ours()? {
        fs::copy(&program, bin.join(&name))
            .with_context(|| format!("copy {}", program.display()))?;
    }
    fs::write(
        new.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n",
    )
    .context("write etc/passwd")?;
    fs::write(
        new.join("etc/group"),
        "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n",
    )
    .context("write etc/group")
}

/// `probe` and `true`, as cargo builds them.
fn ours() -> Result<Vec<(String, PathBuf)>> {
    let mut command = cargo();
    command.args([
        "build",
        "--release",
        "--bins",
        "-p",
        "probe",
        "-p",
        "nothing",
    ]);
    let text = cmd::output(command.arg("--message-format=json-render-diagnostics"))?;
    let mut programs = Vec::new();
    for line in text.lines() {
        let message: serde_json::Value = serde_json::from_str(line)
            .with_context(|| format!("understand cargo's message {line:?}"))?;
        if let (Some(name), Some(path)) = (
            message["target"]["name"].as_str(),
            message["executable"].as_str(),
        ) {
            programs.push((name.to_owned(), path.into()));
        }
    }
    ensure!(
        programs.len() == 2,
        "cargo built {programs:?}, not `probe` and `true`"
    );
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own for each test.
    fn place(name: &str) -> PathBuf {
        let place = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
        fs::create_dir(&place).expect("mkdir");
        place
    }

    #[test]
    fn a_fixture_is_made_once_and_again_when_it_is_made_from_something_else() {
        let place = place("once");
        let make = |from: &str| {
            let mut made = false;
            let result = fixture(&place, "root", from, |new| {
                made = true;
                fs::create_dir(new).context("mkdir")
            });
            result.expect("a fixture");
            made
        };
        assert!(make("one\n"));
        assert!(!make("one\n"));
        assert!(make("two\n"));
        fs::remove_dir_all(place).expect("remove");
    }

    #[test]
    fn a_fixture_that_fails_half_way_is_not_there() {
        let place = place("half");
        let result = fixture(&place, "root", "x\n", |new| {
            fs::create_dir(new).context("mkdir")?;
            anyhow::bail!("no mirror")
        });
        assert!(format!("{:#}", result.expect_err("it failed")).contains("no mirror"));
        assert!(!place.join("root").exists());
        let result = fixture(&place, "root", "x\n", |new| {
            fs::create_dir(new).context("mkdir")
        });
        result.expect("what is half made is no obstacle");
        assert!(place.join("root").join(MARKER).exists());
        fs::remove_dir_all(place).expect("remove");
    }
}
