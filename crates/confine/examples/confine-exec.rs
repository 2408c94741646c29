//! Runs a program under the default confinement: `confine-exec [--print] PROGRAM [ARGUMENT]…`
//!
//! With `--print` the steps are shown and nothing is run. As an ordinary user it makes a user namespace first,
//! where it may cut the bounding set.

#![allow(unsafe_code, reason = "unshare, and the steps themselves")]
#![allow(clippy::print_stdout, reason = "it prints the steps when asked to")]

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::Command;

use confine::seccomp::{Arch, Program};
use confine::{Abi, CapSet, Capabilities, Confinement, Landlock, Resource, Rlimit, caps};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let print = arguments
        .next_if(|argument| argument == "--print")
        .is_some();
    let program = arguments.next();

    let filter = Program::default_for(CapSet::DEFAULT, Arch::NATIVE);
    let landlock = Landlock::scopes_only();
    let abi = Abi::observe();
    let confinement = Confinement::builder()
        .rlimit(Rlimit {
            resource: Resource::CORE,
            soft: Some(0),
            hard: Some(0),
        })
        .capabilities(Capabilities::for_user(CapSet::DEFAULT, 0))
        .last_capability(caps::last_supported())
        .no_new_privs(true)
        .landlock(landlock.clone(), abi)
        .seccomp(filter)
        .build()?;
    if print {
        (0..confinement.len()).for_each(|step| println!("{}", confinement.describe(step)));
        landlock
            .unenforced(abi)
            .iter()
            .for_each(|what| println!("not enforced: {what}"));
        return Ok(());
    }
    let program = program.ok_or("usage: confine-exec [--print] PROGRAM [ARGUMENT]…")?;
    if !rustix::process::geteuid().is_root() {
        become_root_of_a_namespace()?;
    }
    for step in 0..confinement.len() {
        // SAFETY: this process has one thread; it gives its rights up for good and then becomes the
        // program.
        if let Err(errno) = unsafe { confinement.apply(step) } {
            let hint = confinement.hint(step, errno).unwrap_or_default();
            return Err(format!("{}: {errno} {hint}", confinement.describe(step)).into());
        }
    }
    Err(Command::new(program).args(arguments).exec().into())
}

fn become_root_of_a_namespace() -> Result<(), Box<dyn Error>> {
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    // SAFETY: one thread, and no file descriptor table is shared.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWUSER) }?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    Ok(())
}
