//! Processes that go on in the background, and commands that are waited for, inside the private namespaces.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// For a server to say that it is there, and for it to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process that is told to end, and waited for, when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
}

impl Running {
    /// Starts `argv`; its output goes to `log`.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub(super) fn start(argv: &[String], log: &Path) -> Result<Self> {
        let out = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let err = out.try_clone().context("dup")?;
        Self::spawn(argv, out.into(), err.into())
    }

    /// Starts `argv` and waits until it writes a line with `ready` in it.
    ///
    /// # Errors
    ///
    /// It cannot be started, ends, or says nothing in time: with the end of what it wrote to standard error.
    pub(super) fn ready(argv: &[String], ready: &'static str, log: &Path) -> Result<Self> {
        let err = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let mut running = Self::spawn(argv, Stdio::piped(), err.into())?;
        let out = running.child.stdout.take().context("stdout is a pipe")?;
        let (said, hear) = mpsc::channel();
        // Reads on until the end, so that the process never waits for a reader.
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if line.contains(ready) {
                    let _nobody_waits_any_more = said.send(());
                }
            }
        });
        match hear.recv_timeout(PATIENCE) {
            Ok(()) => Ok(running),
            Err(RecvTimeoutError::Timeout) => bail!("`{}` is not ready", argv.join(" ")),
            Err(RecvTimeoutError::Disconnected) => {
                let status = running.child.wait().context("wait")?;
                bail!("`{}`: {status}: {}", argv.join(" "), end_of(log))
            }
        }
    }

    fn spawn(argv: &[String], out: Stdio, err: Stdio) -> Result<Self> {
        let child = command(argv)
            .stdout(out)
            .stderr(err)
            .spawn()
            .with_context(|| format!("start `{}`", argv.join(" ")))?;
        Ok(Self { child })
    }

    /// Whether it has ended by itself.
    pub(super) fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn signal(&self, signal: Signal) {
        // It is ours and not waited for, so the number is not another's.
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _gone_already = kill_process(pid, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended() {
            return;
        }
        self.signal(Signal::TERM);
        let start = Instant::now();
        while !self.ended() {
            if start.elapsed() > PATIENCE {
                self.signal(Signal::KILL);
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// `argv` with nothing on standard input.
pub(super) fn command(argv: &[String]) -> Command {
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).stdin(Stdio::null());
    command
}

/// Words of one command line.
pub(super) fn words(line: &str) -> Vec<String> {
    line.split_ascii_whitespace().map(str::to_owned).collect()
}

/// The last lines of a log, on one.
pub(super) fn end_of(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(3)..].join(" | ")
}

/// Where the process called `name` writes.
pub(super) fn log(place: &Path, name: &str) -> PathBuf {
    place.join(format!("{name}.log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn temporary(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("bench-{}-{name}", std::process::id()))
    }

    #[test]
    fn a_server_is_waited_for_and_ended() {
        let log = temporary("server");
        let argv = shell("echo not yet; echo now ready; exec sleep 100");
        let running = Running::ready(&argv, "ready", &log).expect("it says so");
        let process = PathBuf::from(format!("/proc/{}", running.child.id()));
        assert!(process.exists());
        drop(running);
        assert!(!process.exists());
        fs::remove_file(log).expect("remove the log");
    }

    #[test]
    fn a_server_that_ends_instead_is_an_error_with_its_last_words() {
        let log = temporary("dying");
        let argv = shell("echo no such port >&2; exit 3");
        let error = Running::ready(&argv, "ready", &log).expect_err("it ends");
        assert!(
            error.to_string().ends_with("exit status: 3: no such port"),
            "{error}"
        );
        fs::remove_file(log).expect("remove the log");
    }
}
