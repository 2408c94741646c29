//! Lists the tests and runs them, one process each.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use guest::{Config, Event, Outcome, Suite};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::cgroups;
use crate::kernel_log::KernelLog;
use crate::report::Report;

/// Of a failed test's output, the end is kept.
const OUTPUT_BYTES: u64 = 32 * 1024;
const OUTPUT: &str = "/test-output";
/// Killed processes are gone within this time, or the kernel is stuck.
const REAP_LIMIT: Duration = Duration::from_secs(20);

struct Test<'a> {
    suite: &'a Suite,
    name: String,
}

/// Runs all that the configuration asks for.
///
/// # Errors
///
/// Only what leaves no way to go on; a test that fails is a result.
pub(crate) fn run(config: &Config, report: &mut Report) -> Result<()> {
    let mut log = KernelLog::open()?;
    let mut tests = Vec::new();
    for suite in &config.suites {
        match list(config, suite) {
            Ok(names) => tests.extend(names.into_iter().map(|name| Test { suite, name })),
            Err(error) => report.send(&Event::Trouble(format!("{error:#}")))?,
        }
    }
    tests.retain(|test| {
        let name = format!("{}::{}", test.suite.name, test.name);
        config
            .filter
            .as_ref()
            .is_none_or(|filter| name.contains(filter))
    });
    report.send(&Event::Plan { tests: tests.len() })?;
    tell(&mut log, report)?;
    let mut passed = 0;
    for (number, test) in tests.iter().enumerate() {
        let (suite, name) = (test.suite.name.clone(), test.name.clone());
        report.send(&Event::Start {
            suite: suite.clone(),
            test: name.clone(),
        })?;
        let started = Instant::now();
        let arguments = ["--exact", &test.name, "--nocapture"];
        let outcome = one(config, test.suite, number, &arguments)?;
        let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tell(&mut log, report)?;
        if outcome == Outcome::Passed {
            passed += 1;
        } else {
            for line in output()?.lines() {
                report.send(&Event::Output(line.to_owned()))?;
            }
        }
        report.send(&Event::Finish {
            suite,
            test: name,
            outcome,
            millis,
        })?;
        if let Err(error) = clean() {
            report.send(&Event::Trouble(format!("after {}: {error:#}", test.name)))?;
        }
    }
    tell(&mut log, report)?;
    report.send(&Event::End {
        passed,
        failed: tests.len() - passed,
    })
}

fn tell(log: &mut KernelLog, report: &mut Report) -> Result<()> {
    log.news()
        .into_iter()
        .try_for_each(|line| report.send(&Event::Kernel(line)))
}

/// Privileged tests are those marked `#[ignore]`; an unprivileged suite runs all it has, for what it
/// ignores elsewhere, say for want of subordinate ids, is here.
fn which(suite: &Suite) -> &'static str {
    if suite.unprivileged {
        "--include-ignored"
    } else {
        "--ignored"
    }
}

fn list(config: &Config, suite: &Suite) -> Result<Vec<String>> {
    let mut command = Command::new(path(suite));
    command.args(["--list", "--format", "terse", which(suite)]);
    let output = environment(config, &mut command)
        .output()
        .with_context(|| format!("start {:?}", path(suite)))?;
    anyhow::ensure!(
        output.status.success(),
        "{} --list: {}: {}",
        path(suite),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect())
}

fn path(suite: &Suite) -> String {
    format!("/ctr/tests/{}", suite.name)
}

fn environment<'a>(config: &Config, command: &'a mut Command) -> &'a mut Command {
    command.env_clear();
    command
        .env("PATH", "/usr/bin")
        .env("TMPDIR", "/tmp")
        .env("TERM", "dumb");
    command.envs(config.env.iter().map(|(key, value)| (key, value)));
    command.stdin(Stdio::null()).current_dir("/")
}

fn one(config: &Config, suite: &Suite, number: usize, arguments: &[&str]) -> Result<Outcome> {
    let group = cgroups::create(number)?;
    let output = File::create(OUTPUT).context("create the test's output")?;
    let mut command = Command::new("/usr/bin/ctr-guest");
    command.arg("launch").arg(&group);
    command.arg(if suite.unprivileged { "user" } else { "root" });
    command.arg(path(suite)).args(arguments).arg(which(suite));
    environment(config, &mut command)
        .stderr(output.try_clone().context("dup")?)
        .stdout(output);
    let child = command.spawn().context("start the launcher")?;
    let child = Pid::from_raw(i32::try_from(child.id()).context("a pid is an i32")?);
    let deadline = Instant::now() + config.test_limit;
    // PID 1 inherits every orphan, so it waits for anybody, not for its child alone.
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => {
                return Ok(if code == 0 {
                    Outcome::Passed
                } else {
                    Outcome::Failed
                });
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                fs::write(OUTPUT, format!("{}\n(killed by {signal})", self::output()?))
                    .context("write the test's output")?;
                return Ok(Outcome::Failed);
            }
            Ok(WaitStatus::StillAlive) if Instant::now() > deadline => {
                return Ok(Outcome::TimedOut);
            }
            Ok(WaitStatus::StillAlive) => thread::sleep(Duration::from_millis(4)),
            Ok(_someone_else) => {}
            Err(errno) => return Err(errno).context("waitpid()"),
        }
    }
}

fn output() -> Result<String> {
    let mut file = File::open(OUTPUT).context("open the test's output")?;
    let length = file.metadata().context("fstat the test's output")?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(OUTPUT_BYTES)))
        .context("lseek")?;
    let mut bytes = Vec::new();
    file.take(OUTPUT_BYTES)
        .read_to_end(&mut bytes)
        .context("read the test's output")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Ends and removes what a test has left behind: processes, cgroups, files on the scratch disk.
///
/// Its mounts and network devices went with its namespaces.
fn clean() -> Result<()> {
    match kill(Pid::from_raw(-1), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => return Err(errno).context("kill(-1, SIGKILL)"),
    }
    let deadline = Instant::now() + REAP_LIMIT;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => break,
            Ok(WaitStatus::StillAlive) => {
                anyhow::ensure!(Instant::now() < deadline, "a killed process does not end");
                thread::sleep(Duration::from_millis(4));
            }
            Ok(_reaped) => {}
            Err(errno) => return Err(errno).context("waitpid()"),
        }
    }
    cgroups::remove_leftovers()?;
    for entry in fs::read_dir("/scratch").into_iter().flatten() {
        let path = entry.context("read /scratch")?.path();
        if path.ends_with("lost+found") {
            continue;
        }
        let removed = if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.with_context(|| format!("remove {path:?}"))?;
    }
    Ok(())
}
