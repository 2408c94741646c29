//! `/dev/kmsg`: what the kernel had to say while a test ran.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Context as _, Result};

/// `KERN_WARNING`; the lower the worse.
const WARNING: u32 = 4;
/// A record is at most this long (`CONSOLE_EXT_LOG_MAX` of the kernel).
const RECORD_BYTES: usize = 8192;

/// A position in the kernel's log.
pub(crate) struct KernelLog(File);

impl KernelLog {
    /// Starts at the oldest record.
    pub(crate) fn open() -> Result<Self> {
        let file = File::options()
            .read(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .context("open(\"/dev/kmsg\")")?;
        Ok(Self(file))
    }

    /// The kernel's own lines of level warning or worse since the last call.
    pub(crate) fn news(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut record = vec![0; RECORD_BYTES];
        loop {
            match self.0.read(&mut record) {
                Ok(length) => {
                    lines.extend(warning(&String::from_utf8_lossy(&record[..length])));
                }
                // The ring has overtaken us: the next read goes on with the oldest that is left.
                Err(error) if error.raw_os_error() == Some(nix::libc::EPIPE) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_nothing_more) => return lines,
            }
        }
    }
}

/// The text of a record `priority,sequence,microseconds,flags;text`, if it is a warning of the
/// kernel itself (facility 0).
fn warning(record: &str) -> Option<String> {
    let (head, text) = record.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    // Lines after the first are key=value pairs about the device.
    let text = text.lines().next().unwrap_or_default();
    (priority <= WARNING).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::warning;

    #[test]
    fn only_the_kernels_own_warnings_count() {
        let check = |record: &str, expected: Option<&str>| {
            assert_eq!(warning(record).as_deref(), expected, "{record:?}");
        };
        check(
            "4,1,2,-;WARNING: CPU: 0 PID: 1\n SUBSYSTEM=x\n",
            Some("WARNING: CPU: 0 PID: 1"),
        );
        check(
            "0,1,2,-;Kernel panic; not syncing\n",
            Some("Kernel panic; not syncing"),
        );
        check("6,1,2,-;an information\n", None);
        check("12,1,2,-;written by a program, facility 1\n", None);
        check("garbled", None);
    }
}
