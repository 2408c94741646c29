//! The way out: a virtio-serial port named `ctr.results`.

use std::fs::{self, File};
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use guest::Event;

const NAME: &str = "ctr.results";
const PORTS: &str = "/sys/class/virtio-ports";

/// The open port.
pub(crate) struct Report(File);

impl Report {
    /// Finds the port by its name.
    ///
    /// The host announces ports by messages of its own, a moment after the driver is there, so the
    /// port is waited for.
    pub(crate) fn open() -> Result<Self> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(device) = find() {
                let port = File::options().write(true).open(&device);
                return Ok(Self(port.with_context(|| format!("open({device:?})"))?));
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "no port in {PORTS} is named {NAME:?}"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends one line; returns when the host has taken it.
    pub(crate) fn send(&mut self, event: &Event) -> Result<()> {
        let line = format!("{event}\n");
        self.0
            .write_all(line.as_bytes())
            .context("write to the results port")
    }
}

fn find() -> Option<String> {
    for entry in fs::read_dir(PORTS).ok()?.flatten() {
        let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if name.trim() == NAME {
            return Some(format!("/dev/{}", entry.file_name().display()));
        }
    }
    None
}
