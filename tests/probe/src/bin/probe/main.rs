//! Prints what a program here can see and do, as JSON.
//!
//! `probe` prints a [`probe::Report`] on standard output. `probe --syscalls` prints only the answers of
//! the system calls: run outside of any container, it says which of them this kernel has at all.
//!
//! It changes nothing: files are opened and not written, system calls get arguments that cannot work,
//! each in a process of its own. Linked statically, it runs in an empty directory.

#![allow(clippy::print_stdout, reason = "the report goes there")]

mod files;
mod mounts;
mod process;
mod sockets;
mod sys;
mod syscalls;

use std::collections::BTreeMap;
use std::process::ExitCode;

use probe::Report;

fn main() -> ExitCode {
    let text = match std::env::args().nth(1).as_deref() {
        Some("--syscalls") => serde_json::to_string(&syscalls::all()),
        _ => serde_json::to_string_pretty(&report()),
    };
    match text {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{{\"error\": {:?}}}", error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn report() -> Report {
    // First of all, before anything is opened here.
    let fds = process::fds();
    let status = process::status("self");
    let field = |name: &str| status.get(name).cloned().unwrap_or_default();
    let hex = |name: &str| u64::from_str_radix(&field(name), 16).unwrap_or(0);
    let uname = rustix::system::uname();
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    Report {
        fds,
        cwd: std::env::current_dir()
            .map_or_else(|e| e.to_string(), |dir| dir.display().to_string()),
        argv: std::env::args().collect(),
        env: std::env::vars().collect(),
        credentials: process::credentials(&status),
        caps: process::caps(&status),
        no_new_privs: field("NoNewPrivs") == "1",
        seccomp: field("Seccomp").parse().unwrap_or(0),
        uid_map: process::id_map("/proc/self/uid_map"),
        gid_map: process::id_map("/proc/self/gid_map"),
        mounts: mounts::parse(&text("/proc/self/mountinfo")),
        dev: files::nodes("/dev"),
        writable: files::writable(),
        readable: files::readable(),
        sockets: sockets::families(),
        syscalls: syscalls::all(),
        operations: syscalls::operations(),
        namespaces: process::namespaces(),
        terminal: process::terminal(),
        hostname: uname.nodename().to_string_lossy().into_owned(),
        domainname: uname.domainname().to_string_lossy().into_owned(),
        pid: std::process::id() as i32,
        ppid: sys::getppid(),
        sid: sys::getsid(),
        pgid: sys::getpgrp(),
        init: process::init(),
        rlimits: process::rlimits(&text("/proc/self/limits")),
        umask: u32::from_str_radix(&field("Umask"), 8).unwrap_or(0),
        blocked: hex("SigBlk"),
        // SIGPIPE is ignored by the start-up code of this program itself.
        ignored: hex("SigIgn") & !(1 << (libc::SIGPIPE - 1)),
        cgroup: text("/proc/self/cgroup").trim().to_owned(),
        oom_score_adj: text("/proc/self/oom_score_adj").trim().parse().unwrap_or(0),
        interfaces: interfaces(&text("/proc/self/net/dev")),
    }
}

/// Names in proc_pid_net(5)'s `dev`, whose first two lines are headings.
fn interfaces(text: &str) -> Vec<String> {
    let names = text.lines().skip(2).filter_map(|line| line.split_once(':'));
    let sorted: BTreeMap<&str, ()> = names.map(|(name, _)| (name.trim(), ())).collect();
    sorted.into_keys().map(str::to_owned).collect()
}
