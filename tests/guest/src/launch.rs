//! Becomes a test: `ctr-guest launch CGROUP root|user PROGRAM [ARG…]`.
//!
//! A process of its own, with one thread, so that nothing has to happen between fork and exec.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, unshare};

use crate::{boot, cgroups, mounts};

const USER: u32 = 1000;

/// Enters the cgroup, makes the namespaces and replaces this program by the test.
///
/// # Errors
///
/// Only returns with one.
pub(crate) fn exec(arguments: &[String]) -> Result<()> {
    let [group, who, program, rest @ ..] = arguments else {
        bail!("usage: launch CGROUP root|user PROGRAM [ARG…]");
    };
    cgroups::enter(Path::new(group))?;
    nix::unistd::setsid().context("setsid()")?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
        .context("unshare(CLONE_NEWNS|CLONE_NEWNET)")?;
    mounts::of_one_test()?;
    boot::loopback_up()?;
    let mut command = Command::new(program);
    command.args(rest);
    match who.as_str() {
        "root" => command.env("HOME", "/root"),
        "user" => command
            .env("HOME", "/home/user")
            .env("USER", "user")
            .env("XDG_RUNTIME_DIR", "/run/user/1000")
            .current_dir("/home/user")
            .gid(USER)
            .uid(USER),
        other => bail!("neither root nor user: {other:?}"),
    };
    let refused = command.exec();
    Err(refused).with_context(|| format!("execve({program:?})"))
}
