//! Write the id maps of a new user namespace, from outside, while its first process waits.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Error, Result};
use crate::idmap::{IdMap, IdMaps, text};

/// Whether the processes of a user namespace may call `setgroups(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setgroups {
    /// As it is after the clone. Leaves the file alone.
    Allow,
    /// Never again. The kernel demands it of a caller without CAP_SETGID, since dropping a group
    /// can take away a refusal (CVE-2014-8989).
    Deny,
}

/// Write `setgroups`, `uid_map` and `gid_map` of the user namespace that `pid` lives in.
///
/// # Kernel
///
/// [`user_namespaces(7)`]: needs CAP_SETUID and CAP_SETGID over the outside ids. Without, one line of
/// one id, the caller's own, with [`Setgroups::Deny`]. Each map can be written once.
///
/// # Errors
///
/// [`Error::IdMap`] as [`IdMaps::validate`] finds it; [`Error::Write`] with EPERM where rights are
/// missing, EINVAL for ids that the caller's own namespace lacks.
///
/// [`user_namespaces(7)`]: https://man7.org/linux/man-pages/man7/user_namespaces.7.html
pub fn write_maps(pid: Pid, maps: &IdMaps, setgroups: Setgroups) -> Result<()> {
    maps.validate()?;
    if setgroups == Setgroups::Deny {
        write(pid, "setgroups", "deny".into())?;
    }
    write(pid, "uid_map", text(&maps.uids))?;
    write(pid, "gid_map", text(&maps.gids))
}

fn write(pid: Pid, file: &str, value: String) -> Result<()> {
    let path = PathBuf::from(format!("/proc/{}/{file}", pid.as_raw_nonzero()));
    let fd = rustix::fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let written = fd.and_then(|fd| rustix::io::write(fd, value.as_bytes()));
    match written {
        Ok(written) if written == value.len() => Ok(()),
        Ok(_) => Err(Error::Write {
            path,
            value,
            errno: Errno::IO,
        }),
        Err(errno) => Err(Error::Write { path, value, errno }),
    }
}

/// The set-user-ID programs that give ordinary users their subordinate ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helpers {
    /// `newuidmap(1)`.
    pub newuidmap: PathBuf,
    /// `newgidmap(1)`.
    pub newgidmap: PathBuf,
}

/// Let `newuidmap(1)` and `newgidmap(1)` write the maps, both at once.
///
/// They allow the ranges of `/etc/subuid` and `/etc/subgid` and the caller's own ids. Arguments go
/// as an array; no shell.
///
/// # Errors
///
/// [`Error::IdMap`] as [`IdMaps::validate`] finds it, [`Error::HelperExec`] when one cannot be
/// run, [`Error::Helper`] with its own words when it refuses.
pub fn write_maps_with(helpers: &Helpers, pid: Pid, maps: &IdMaps) -> Result<()> {
    maps.validate()?;
    let run = |program: &Path, maps: &[IdMap]| {
        Command::new(program)
            .args(arguments(pid, maps))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| Error::HelperExec {
                program: program.to_owned(),
                source,
            })
    };
    let uids = run(&helpers.newuidmap, &maps.uids)?;
    // Both are waited for, whatever comes of one.
    let gids = run(&helpers.newgidmap, &maps.gids);
    let uids = finish(&helpers.newuidmap, uids, pid, &maps.uids);
    let gids = finish(&helpers.newgidmap, gids?, pid, &maps.gids);
    uids.and(gids)
}

fn finish(program: &Path, child: std::process::Child, pid: Pid, maps: &[IdMap]) -> Result<()> {
    let program = program.to_owned();
    let output = match child.wait_with_output() {
        Ok(output) => output,
        Err(source) => return Err(Error::HelperExec { program, source }),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let message = match said.trim() {
        "" => output.status.to_string(),
        said => said.to_owned(),
    };
    let arguments = arguments(pid, maps)
        .join(" ".as_ref())
        .to_string_lossy()
        .into_owned();
    Err(Error::Helper {
        program,
        arguments,
        message,
    })
}

/// `PID INSIDE OUTSIDE COUNT …`
fn arguments(pid: Pid, maps: &[IdMap]) -> Vec<OsString> {
    let numbers = maps
        .iter()
        .flat_map(|map| [map.inside, map.outside, map.count]);
    std::iter::once(pid.as_raw_nonzero().to_string())
        .chain(numbers.map(|number| number.to_string()))
        .map(OsString::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_get_one_argument_per_number() {
        let pid = Pid::from_raw(42).expect("not 0");
        let maps = [
            IdMap {
                inside: 0,
                outside: 1000,
                count: 1,
            },
            IdMap {
                inside: 1,
                outside: 100_000,
                count: 65_535,
            },
        ];
        assert_eq!(
            arguments(pid, &maps),
            ["42", "0", "1000", "1", "1", "100000", "65535"]
        );
    }

    #[test]
    fn a_helper_that_is_missing_is_named() {
        let helpers = Helpers {
            newuidmap: "/nonexistent/u".into(),
            newgidmap: "/nonexistent/g".into(),
        };
        let pid = Pid::from_raw(1).expect("not 0");
        let error =
            write_maps_with(&helpers, pid, &IdMaps::own((0, 0), (1, 1))).expect_err("missing");
        assert_eq!(error.errno(), Some(Errno::NOENT));
        assert_eq!(error.to_string(), r#"execve("/nonexistent/u")"#);
    }
}
