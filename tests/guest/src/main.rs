//! PID 1 of the test VM.
//!
//! The kernel starts this program as `/init` of the initramfs. It mounts what tests expect of a
//! Linux machine, leaves the initramfs for a tmpfs root, since `pivot_root(2)` refuses the
//! initial rootfs, runs every test in a process of its own, reports over a virtio-serial port and
//! powers the machine off. It judges nothing: that is the machine's outside, which also sees what
//! this program can no longer say.
//!
//! The same binary is the launcher of each test (`ctr-guest launch`): it gives itself the test's
//! cgroup, mount namespace and network namespace, and becomes the test by exec.

mod boot;
mod cgroups;
mod kernel_log;
mod launch;
mod mounts;
mod report;
mod runner;

use std::io::Write as _;

use anyhow::{Context as _, Result, bail};
use nix::sys::reboot::{RebootMode, reboot};

fn main() {
    let result = if std::process::id() == 1 {
        init()
    } else {
        command()
    };
    if let Err(error) = result {
        let _the_console_may_be_gone = writeln!(std::io::stderr(), "guest: {error:#}");
        if std::process::id() == 1 {
            power_off();
        }
        std::process::exit(125);
    }
}

fn command() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((word, rest)) if word == "launch" => launch::exec(rest),
        _ => bail!("this program is PID 1 of the test VM; `cargo xtask test-vm` starts it"),
    }
}

fn init() -> Result<()> {
    let (config, mut report) = boot::boot().context("boot")?;
    if let Err(error) = runner::run(&config, &mut report) {
        report.send(&guest::Event::Trouble(format!("{error:#}")))?;
    }
    power_off();
}

/// Ends the machine; QEMU is told not to start it again.
fn power_off() -> ! {
    nix::unistd::sync();
    let refused = reboot(RebootMode::RB_POWER_OFF);
    panic!("reboot(RB_POWER_OFF): {refused:?}")
}
