//! Run a command as root of namespaces of its own: `isolate COMMAND [ARGUMENT]…`
//!
//! Anybody may: it maps the caller's own ids. The command sees only its own processes, has a host
//! name and IPC objects of its own, and a network with nothing but a `lo` that is down. Files stay
//! the caller's. Exits as the command does; Ctrl-C ends it.

use std::ffi::{CString, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::ExitCode;

use ns::{Child, IdMaps, Init, Namespaces, Program, Setgroups, WaitStatus, pidfd, spawn};

fn main() -> ExitCode {
    let command: Vec<OsString> = std::env::args_os().skip(1).collect();
    match run(command) {
        Ok(status) => status.shell_code().into(),
        Err(error) => {
            let hint = error
                .hint()
                .map_or_else(String::new, |hint| format!("\nhint: {hint}"));
            let errno = error
                .errno()
                .map_or_else(String::new, |errno| format!(": {errno}"));
            #[allow(clippy::print_stderr, reason = "a program for people")]
            {
                eprintln!("isolate: {error}{errno}{hint}");
            }
            ExitCode::from(125)
        }
    }
}

fn run(command: Vec<OsString>) -> ns::Result<WaitStatus> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = match command.first() {
        Some(name) if name.as_bytes().contains(&b'/') => vec![c_string(name.clone())],
        Some(name) => std::env::split_paths(&path)
            .map(|dir| c_string(dir.join(name).into()))
            .collect(),
        None => Vec::new(),
    };
    let environment = std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        c_string(name)
    });
    let argv = command.into_iter().map(c_string).collect();
    let program = Program::new(candidates, argv, environment.collect());
    let child = Child {
        namespaces: Namespaces::all(),
        init: Some(Init::default()),
        ..Child::new(&program)
    };
    let spawned = spawn(&child)?;
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let maps = IdMaps::own((0, 0), (uid.as_raw(), gid.as_raw()));
    ns::write_maps(spawned.pid(), &maps, Setgroups::Deny)?;
    let running = spawned.go(&[])?;
    let reported = running.read_exit();
    let init = pidfd::wait(running.pidfd.as_fd());
    let init = init.map_err(|errno| ns::Error::Parent {
        call: "waitid(P_PIDFD)",
        errno,
    })?;
    Ok(reported.unwrap_or(init))
}

/// Arguments and environment come from the kernel, so they hold no NUL.
fn c_string(text: OsString) -> CString {
    CString::new(text.into_vec()).unwrap_or_default()
}
