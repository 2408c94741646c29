//! What became of a command.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// So many seconds, or more where the machine is emulated.
#[must_use]
pub fn patience(seconds: u64) -> Duration {
    let factor = if std::env::var_os("CTR_VM").is_some() {
        6
    } else {
        1
    };
    Duration::from_secs(seconds * factor)
}

/// A command that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit status; `None`: a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Outcome {
    /// Runs `command` to its end.
    ///
    /// # Panics
    /// When it cannot be started or takes longer than a minute.
    pub fn of(command: &mut Command) -> Self {
        Started::new(command).end()
    }

    /// Expects status 0, and returns standard output.
    ///
    /// # Panics
    /// When it ended otherwise.
    #[track_caller]
    pub fn ok(self) -> String {
        self.expect(0).out
    }

    /// Expects this exit status.
    ///
    /// # Panics
    /// When it ended otherwise.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Expects this text on standard error.
    ///
    /// # Panics
    /// When it is not there.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.err.contains(text),
            "{text:?} is not on standard error of:\n{self}"
        );
        self
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "status {:?}, signal {:?}", self.code, self.signal)?;
        writeln!(
            f,
            "--- standard output\n{}--- standard error\n{}",
            self.out, self.err
        )
    }
}

/// A command that runs. Its standard error is collected from the start; lines of its standard output
/// can be waited for.
pub struct Started {
    child: Child,
    out: BufReader<ChildStdout>,
    heard: String,
    err: Option<thread::JoinHandle<String>>,
}

impl Started {
    /// Starts `command`, whose stdin stays what it is.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn new(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let out = child.stdout.take().expect("a pipe");
        let mut err = child.stderr.take().expect("a pipe");
        let err = thread::spawn(move || read(&mut err));
        Self {
            child,
            out: BufReader::new(out),
            heard: String::new(),
            err: Some(err),
        }
    }

    /// The pid of the command, not of what it starts.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The first process of the container whose `ctr` this is: its only child, proc_pid_task(5).
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn init(&self) -> u32 {
        let pid = self.pid();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let first = text.split_whitespace().next();
        first
            .and_then(|pid| pid.parse().ok())
            .unwrap_or_else(|| panic!("{path}: {text:?}"))
    }

    /// Waits for a line of standard output, and returns it without its end.
    ///
    /// # Panics
    /// When the output ends before.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let got = self.out.read_line(&mut line).expect("read standard output");
        self.heard.push_str(&line);
        if got == 0 {
            let status = self.child.wait().expect("wait");
            let err = self.err.take().map(|err| err.join().expect("no panic"));
            panic!("no further line; {status}: {}", err.unwrap_or_default());
        }
        line.trim_end().to_owned()
    }

    /// Standard input, when it is a pipe.
    pub fn stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// Sends a signal to the command.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a pid"), signal).expect("kill");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When that takes longer than a minute.
    pub fn end(mut self) -> Outcome {
        let status = self.wait();
        let mut rest = read(&mut self.out);
        rest.insert_str(0, &self.heard);
        let err = self.err.take().map(|err| err.join().expect("no panic"));
        Outcome {
            code: status.code(),
            signal: status.signal(),
            out: rest,
            err: err.unwrap_or_default(),
        }
    }

    /// Pipes hold what is written meanwhile; a test that writes more reads it with [`Started::line`].
    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + patience(60);
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status;
            }
            if Instant::now() > deadline {
                let pid = self.child.id();
                let _ = self.child.kill();
                panic!("process {pid} did not end in time");
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // A test that failed in between; one that ended has nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(from: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("read");
    String::from_utf8_lossy(&bytes).into_owned()
}
