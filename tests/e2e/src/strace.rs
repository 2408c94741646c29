//! strace(1): system calls recorded, and system calls that fail on request.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::case::Case;

/// One line of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The process that made it.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// The whole line after the pid, its result included.
    pub text: String,
}

impl Call {
    /// Whether it succeeded.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.text
            .rsplit_once(" = ")
            .is_some_and(|(_, result)| !result.starts_with('-'))
    }
}

/// The words that start strace: this machine's, or the Debian root's with its own loader.
///
/// # Panics
/// When neither is there.
fn program() -> Vec<String> {
    let here = Path::new("/usr/bin/strace");
    if here.exists() {
        return vec![here.display().to_string()];
    }
    let debian = crate::debian();
    let path = |path: &str| debian.join(path).display().to_string();
    // Not by its usual name, which is an absolute symlink and would lead to this machine's own.
    let loader = [
        "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
        "usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1",
    ];
    let loader = loader
        .map(|path| debian.join(path))
        .into_iter()
        .find(|path| path.exists())
        .expect("a dynamic loader in the Debian root");
    let libraries = ["usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu"]
        .map(path)
        .join(":");
    let strace = path("usr/bin/strace");
    vec![
        loader.display().to_string(),
        "--library-path".into(),
        libraries,
        strace,
    ]
}

/// `ctr ARGUMENTS` under strace with these options, and where the record will be.
pub fn strace<S: AsRef<std::ffi::OsStr>>(
    case: &Case,
    options: &[&str],
    arguments: &[S],
) -> (Command, PathBuf) {
    let record = case.dir().join("strace.txt");
    let words = program();
    let mut command = case.command(&words[0]);
    command
        .args(&words[1..])
        .args(["-f", "-qq", "-y", "-s", "256", "-o"])
        .arg(&record)
        .args(options);
    command
        .arg("--")
        .arg(crate::case::program("ctr"))
        .args(arguments);
    (command, record)
}

impl Call {
    /// Reads a record: `PID name(arguments) = result`, calls that others interrupted joined again.
    #[must_use]
    pub fn parse(record: &str) -> Vec<Self> {
        let mut calls: Vec<Self> = Vec::new();
        for line in record.lines() {
            let Some((pid, text)) = line.split_once(' ') else {
                continue;
            };
            let (Ok(pid), text) = (pid.parse(), text.trim_start()) else {
                continue;
            };
            if let Some(rest) = text.strip_prefix("<... ") {
                let Some((_, rest)) = rest.split_once(" resumed>") else {
                    continue;
                };
                let unfinished =
                    |call: &&mut Self| call.pid == pid && call.text.ends_with(UNFINISHED);
                if let Some(call) = calls.iter_mut().rev().find(unfinished) {
                    call.text.truncate(call.text.len() - UNFINISHED.len());
                    call.text.push_str(rest);
                }
                continue;
            }
            let Some((name, _)) = text.split_once('(') else {
                continue;
            };
            if name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            {
                calls.push(Self {
                    pid,
                    name: name.to_owned(),
                    text: text.to_owned(),
                });
            }
        }
        calls
    }
}

const UNFINISHED: &str = " <unfinished ...>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_call_is_one_call() {
        let calls = Call::parse(
            "10 read(3,  <unfinished ...>\n11 mkdir(\"/x\", 0700) = 0\n10 <... read resumed>\"1\", 1) = 1\n\
             10 --- SIGCHLD {si_signo=SIGCHLD} ---\n11 +++ exited with 0 +++\n11 rmdir(\"/x\") = -1 EBUSY (…)\n",
        );
        let texts: Vec<_> = calls
            .iter()
            .map(|call| (call.pid, call.text.as_str()))
            .collect();
        assert_eq!(
            texts,
            [
                (10, "read(3, \"1\", 1) = 1"),
                (11, "mkdir(\"/x\", 0700) = 0"),
                (11, "rmdir(\"/x\") = -1 EBUSY (…)")
            ]
        );
        assert!(calls[1].succeeded() && !calls[2].succeeded());
    }
}
