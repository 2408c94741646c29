//! `cargo xtask test`: all tests, on this machine and in the VM, after installing what they need.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, bail};
use rustix::process::geteuid;

use crate::failure::{Counts, Failure};
use crate::workspace::{Workspace, cargo};
use crate::{cmd, fixtures, packages, vm};

/// What `test` can be told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the VM, and with it all that needs root.
    #[arg(long)]
    no_vm: bool,
}

/// An ordinary user; no entry in `/etc/passwd` is needed.
const USER: u32 = 1000;

/// Runs the tiers, cheapest first, and adds up.
///
/// # Errors
///
/// The machinery fails; tests that fail are counts.
pub(crate) fn run(args: &Args) -> Result<Counts> {
    packages::ensure_for_tests()?;
    let workspace = Workspace::load()?;
    let mut counts = Counts::default();
    // debootstrap waits for the network while the compiler works.
    let fixtures = thread::spawn(make_fixtures);
    println!("== tests on this machine");
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    counts += libtest(&mut command)?;
    if geteuid().is_root() {
        println!("== the unprivileged tests again, as user {USER}");
        counts += as_ordinary_user(&workspace)?;
    }
    fixtures.join().expect("making fixtures does not panic")?;
    if !args.no_vm {
        println!("== tests in a VM");
        counts += vm::run(&vm::Args::everything())?;
        println!("== the judge of the VM");
        counts += vm::run(&vm::Args::self_test())?;
    }
    Ok(counts)
}

/// Only root can own a root file system's files; without one, the tests that need it fail and say so.
fn make_fixtures() -> Result<()> {
    if !geteuid().is_root() {
        println!("no fixtures are made: that needs root");
        return Ok(());
    }
    fixtures::all().map_err(|error| Failure::Machine(format!("{error:#}")).into())
}

/// Runs libtest programs, passing on what they print, and adds up their last lines.
///
/// # Errors
///
/// It failed without saying that a test did: it could not be built, or died.
fn libtest(command: &mut Command) -> Result<Counts> {
    let spelled = cmd::spell(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{spelled}`"))?;
    let mut counts = Counts::default();
    let output = child.stdout.take().context("the output is a pipe")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line.with_context(|| format!("read the output of `{spelled}`"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        counts += result(&line).unwrap_or_default();
    }
    let status = child
        .wait()
        .with_context(|| format!("wait for `{spelled}`"))?;
    if !status.success() && counts.failed == 0 {
        bail!("`{spelled}` failed: {status}");
    }
    Ok(counts)
}

/// `test result: ok. 3 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; …`
///
/// A test that runs itself again prints such a line of its own, of the one test that was not filtered
/// out; those are not counted.
fn result(line: &str) -> Option<Counts> {
    let numbers = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let number = |word: &str| {
        let field = numbers
            .split("; ")
            .find_map(|field| field.strip_suffix(word))?;
        field.trim().parse::<usize>().ok()
    };
    let counts = Counts {
        passed: number("passed")?,
        failed: number("failed")?,
    };
    (number("filtered out")? == 0).then_some(counts)
}

/// Runs the tests of tier 2 once more without root's rights, from a place that everybody can read:
/// they must not need the source tree.
fn as_ordinary_user(workspace: &Workspace) -> Result<Counts> {
    let built = vm::build(workspace, &[])?;
    let place = Place::new()?;
    let bin = place.directory("bin")?;
    for (name, path) in &built.programs {
        place.copy(path, &bin.join(name))?;
    }
    let home = place.directory("home")?;
    chown(&home, Some(USER), Some(USER)).with_context(|| format!("chown({home:?})"))?;
    let mut counts = Counts::default();
    for test in built.tests.iter().filter(|test| test.unprivileged) {
        let program = place.path().join(&test.name);
        place.copy(&test.path, &program)?;
        println!("== {} as user {USER}", test.name);
        let user = USER.to_string();
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"])
            .arg(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("CTR_BIN", &bin);
        command
            .env("HOME", &home)
            .env("TMPDIR", &home)
            .env("XDG_RUNTIME_DIR", &home);
        counts += libtest(command.current_dir(&home))?;
    }
    place.remove()?;
    Ok(counts)
}

/// A directory outside the source tree that an ordinary user can read.
struct Place(PathBuf);

impl Place {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("ctr-tests-{}", std::process::id()));
        let place = Self(path);
        place.make(&place.0)?;
        Ok(place)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        self.make(&path)?;
        Ok(path)
    }

    fn make(&self, path: &Path) -> Result<()> {
        fs::create_dir(path)
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("mkdir({path:?}, 0755)"))
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        fs::copy(from, to)
            .and_then(|_| fs::set_permissions(to, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("copy {from:?} to {to:?}"))
    }

    fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.0)
            .with_context(|| format!("remove {:?}", self.0))
            .map_err(|error| Failure::Machine(format!("{error:#}")).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_libtest_is_counted() {
        let check = |line: &str, expected: Option<(usize, usize)>| {
            assert_eq!(
                result(line).map(|c| (c.passed, c.failed)),
                expected,
                "{line:?}"
            );
        };
        check(
            "test result: ok. 3 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            Some((3, 0)),
        );
        check(
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
            Some((1, 2)),
        );
        check(
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 31 filtered out",
            None,
        );
        check("test a::b ... ok", None);
        check("test result: something else", None);
    }

    #[test]
    fn a_program_that_dies_without_a_result_is_an_error_not_a_count() {
        let error = libtest(Command::new("sh").args(["-c", "echo test a ... ok; kill -9 $$"]));
        assert!(error.is_err());
        let failed = libtest(Command::new("sh").args([
            "-c",
            "echo 'test result: FAILED. 1 passed; 2 failed; 0 filtered out'; exit 101",
        ]));
        assert_eq!(
            failed.expect("a result was printed"),
            Counts {
                passed: 1,
                failed: 2
            }
        );
    }
}
