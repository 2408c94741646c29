//! Other programs, with errors that say which one failed and how.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs it to its end; its output goes where ours goes.
///
/// # Errors
///
/// It cannot be started, or ends with another status than 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| start(command))?;
    if !status.success() {
        bail!("`{}` failed: {status}", spell(command));
    }
    Ok(())
}

/// Runs it to its end and returns its standard output.
///
/// # Errors
///
/// As [`run`]; the end of its standard error is part of the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| start(command))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{}` failed: {}\n{}",
            spell(command),
            output.status,
            said.trim_end()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of `{}`", spell(command)))
}

/// Finds a program in `PATH` and in the directories of the administrator's programs.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// The command line, for people.
pub(crate) fn spell(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn start(command: &Command) -> String {
    format!("cannot start `{}`", spell(command))
}
