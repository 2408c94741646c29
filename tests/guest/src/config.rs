//! The file that tells the guest what to do, `/config` in the initramfs.

use std::fmt::Write as _;
use std::time::Duration;

/// A disk of the VM, known by the serial number that QEMU was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// `/sys/block/*/serial`.
    pub serial: String,
    /// Where the tests find it.
    pub at: String,
    /// Mounted read-only.
    pub read_only: bool,
}

/// A test binary in `/ctr/tests`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite {
    /// File name, and the name in the results.
    pub name: String,
    /// Runs as the ordinary user, tests that are not marked `#[ignore]` too.
    pub unprivileged: bool,
}

/// Everything the guest is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// File names in `/modules`, in the order in which they can be loaded.
    pub modules: Vec<String>,
    /// What to mount besides the fixed table.
    pub disks: Vec<Disk>,
    /// What to run.
    pub suites: Vec<Suite>,
    /// Environment of the tests.
    pub env: Vec<(String, String)>,
    /// Only tests whose `suite::name` contains this.
    pub filter: Option<String>,
    /// Time limit of one test.
    pub test_limit: Duration,
}

impl Config {
    /// The file's text.
    pub fn to_text(&self) -> String {
        let mut text = format!("limit\t{}\n", self.test_limit.as_secs());
        let mut line = |fields: &[&str]| {
            let _infallible = writeln!(text, "{}", fields.join("\t"));
        };
        if let Some(filter) = &self.filter {
            line(&["filter", filter]);
        }
        for module in &self.modules {
            line(&["module", module]);
        }
        for disk in &self.disks {
            line(&[
                "disk",
                &disk.serial,
                &disk.at,
                if disk.read_only { "ro" } else { "rw" },
            ]);
        }
        for suite in &self.suites {
            line(&[
                "suite",
                &suite.name,
                if suite.unprivileged { "user" } else { "root" },
            ]);
        }
        for (key, value) in &self.env {
            line(&["env", key, value]);
        }
        text
    }

    /// Reads the file's text.
    ///
    /// # Errors
    ///
    /// The first line that is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut config = Self::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            match fields[..] {
                ["limit", seconds] => {
                    let seconds = seconds.parse().map_err(|e| format!("{line:?}: {e}"))?;
                    config.test_limit = Duration::from_secs(seconds);
                }
                ["filter", filter] => config.filter = Some(filter.to_owned()),
                ["module", file] => config.modules.push(file.to_owned()),
                ["disk", serial, at, mode @ ("ro" | "rw")] => config.disks.push(Disk {
                    serial: serial.to_owned(),
                    at: at.to_owned(),
                    read_only: mode == "ro",
                }),
                ["suite", name, who @ ("root" | "user")] => config.suites.push(Suite {
                    name: name.to_owned(),
                    unprivileged: who == "user",
                }),
                ["env", key, value] => config.env.push((key.to_owned(), value.to_owned())),
                _ => return Err(format!("line not understood: {line:?}")),
            }
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let config = Config {
            modules: vec!["virtio.ko".into(), "veth.ko".into()],
            disks: vec![
                Disk {
                    serial: "tests".into(),
                    at: "/ctr".into(),
                    read_only: true,
                },
                Disk {
                    serial: "scratch".into(),
                    at: "/scratch".into(),
                    read_only: false,
                },
            ],
            suites: vec![
                Suite {
                    name: "ns-vm".into(),
                    unprivileged: false,
                },
                Suite {
                    name: "ns-user".into(),
                    unprivileged: true,
                },
            ],
            env: vec![("CTR_VM".into(), "1".into())],
            filter: Some("pivot".into()),
            test_limit: Duration::from_secs(60),
        };
        assert_eq!(Config::parse(&config.to_text()), Ok(config));
    }

    #[test]
    fn an_unknown_line_is_named() {
        let error = Config::parse("limit\t60\nmodul\tveth.ko\n").unwrap_err();
        assert!(error.contains("modul"), "{error}");
    }
}
