//! From the kernel's first `execve` to a machine that tests can run on.

use std::ffi::CString;
use std::fs::{self, File};

use anyhow::{Context as _, Result};
use guest::{Config, Event};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use crate::report::Report;
use crate::{cgroups, mounts};

/// Mounts, modules, root, cgroups, loopback, in the order in which each needs the one before.
///
/// # Errors
///
/// Before the results port is there an error can only reach the console; from then on it is
/// reported as well.
pub(crate) fn boot() -> Result<(Config, Report)> {
    mounts::first("")?;
    let text = fs::read_to_string("/config").context("read /config")?;
    let config = Config::parse(&text)
        .map_err(anyhow::Error::msg)
        .context("/config")?;
    let mut troubles = load(&config.modules);
    mounts::leave_the_initramfs()?;
    let mut report = Report::open()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("read osrelease")?;
    report.send(&Event::Hello {
        kernel: kernel.trim().to_owned(),
    })?;
    if let Err(error) = machine(&config) {
        troubles.push(format!("{error:#}"));
    }
    for trouble in troubles {
        report.send(&Event::Trouble(trouble))?;
    }
    Ok((config, report))
}

/// Loads the modules; the names of those that the kernel refused.
fn load(modules: &[String]) -> Vec<String> {
    let mut refused = Vec::new();
    for module in modules {
        let path = format!("/modules/{module}");
        let loaded = File::open(&path)
            .map_err(anyhow::Error::from)
            .and_then(|file| {
                match finit_module(file, &CString::default(), ModuleInitFlags::empty()) {
                    Ok(()) | Err(Errno::EEXIST) => Ok(()),
                    Err(errno) => Err(errno.into()),
                }
            });
        if let Err(error) = loaded {
            refused.push(format!("finit_module({path:?}): {error:#}"));
        }
    }
    refused
}

fn machine(config: &Config) -> Result<()> {
    mounts::machine()?;
    cgroups::enable_all()?;
    loopback_up()?;
    nix::unistd::sethostname("ctr-vm").context("sethostname(\"ctr-vm\")")?;
    for disk in &config.disks {
        mounts::disk(disk)?;
    }
    Ok(())
}

/// Brings up `lo` of the network namespace of the calling process.
pub(crate) fn loopback_up() -> Result<()> {
    let status = std::process::Command::new("/bin/busybox")
        .args(["ip", "link", "set", "lo", "up"])
        .status()
        .context("start busybox ip")?;
    anyhow::ensure!(status.success(), "ip link set lo up: {status}");
    Ok(())
}
