//! `/dev`: a tmpfs of our own, whatever the image has there.

use std::ffi::CString;
use std::path::PathBuf;

use super::{Steps, Tmpfs, TreeBuilder, text};
use crate::attrs::MountAttrs;
use crate::step::{Kind, Reg, Step, To};

/// Bytes /dev may hold: names, nodes and links; programs that log to a file called /dev/null.txt find
/// an end soon.
const DEV_SIZE: u64 = 1 << 20;

/// The nodes every program may expect, with their numbers (devices.txt of the kernel).
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// A device node of the host in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The node on the host.
    pub path: CString,
    /// Where in the container, absolute.
    pub at: PathBuf,
    /// Major and minor number it must have; `None`: any device.
    pub number: Option<(u32, u32)>,
}

/// Options of devpts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pts {
    /// Group that owns terminals. 5 (`tty`) by custom; must be mapped in the user namespace.
    pub gid: Option<u32>,
    /// Most terminals at a time.
    pub max: u32,
}

impl Default for Pts {
    fn default() -> Self {
        Self {
            gid: None,
            max: 1024,
        }
    }
}

impl TreeBuilder {
    /// A tmpfs at `/dev` with null, zero, full, random, urandom and tty, and the usual links. `/dev`
    /// in the image must be missing or a real directory. The nodes are binds of the host's own, since
    /// a user namespace has no mknod(2), and each is checked for its number once it is held.
    ///
    /// # Errors
    /// [`Error::Order`](crate::Error::Order).
    pub fn dev(&mut self) -> Steps {
        self.needs_root("dev")?;
        let start = self.len();
        let tmpfs = Tmpfs {
            size: Some(DEV_SIZE),
            mode: Some(0o755),
            ..Tmpfs::default()
        };
        let attrs = MountAttrs::NOSUID | MountAttrs::NOEXEC;
        self.make_fs("tmpfs", tmpfs.options()?, attrs, Reg::Dev)?;
        self.attach(Reg::Dev, c"dev".into(), Kind::RealDirectory);
        for (name, major, minor) in NODES {
            let path = text::c_string("device", format!("/dev/{name}"))?;
            let name = text::c_string("device", name)?;
            self.steps.push(Step::OpenDevice {
                path,
                rdev: Some((major, minor)),
            });
            self.steps.push(Step::Mknodat {
                dir: Reg::Dev,
                name: name.clone(),
                mode: 0o666,
            });
            self.steps.push(Step::MoveMount {
                from: Reg::Mount,
                to: To::In(Reg::Dev, name),
            });
        }
        for (name, target) in LINKS {
            let (name, target) = (
                text::c_string("link", name)?,
                text::c_string("link", target)?,
            );
            self.steps.push(Step::Symlinkat {
                target,
                dir: Reg::Dev,
                name,
            });
        }
        self.dev = true;
        Ok(start..self.len())
    }

    /// Another device node.
    ///
    /// # Errors
    /// [`Error::Path`](crate::Error::Path), [`Error::Order`](crate::Error::Order).
    pub fn device(&mut self, device: &Device) -> Steps {
        self.needs_root("device")?;
        let at = text::in_root(&device.at)?;
        let start = self.len();
        self.steps.push(Step::OpenDevice {
            path: device.path.clone(),
            rdev: device.number,
        });
        self.attach(Reg::Mount, at, Kind::File);
        Ok(start..self.len())
    }

    /// Terminals of the container's own at `/dev/pts`.
    ///
    /// # Errors
    /// [`Error::Order`](crate::Error::Order) before [`dev`](Self::dev).
    pub fn devpts(&mut self, pts: &Pts) -> Steps {
        let mut options = vec![
            text::option("ptmxmode", "0666")?,
            text::option("mode", "0620")?,
            text::option("max", &pts.max.to_string())?,
        ];
        if let Some(gid) = pts.gid {
            options.push(text::option("gid", &gid.to_string())?);
        }
        self.in_dev(
            "pts",
            "devpts",
            options,
            MountAttrs::NOSUID | MountAttrs::NOEXEC,
        )
    }
}
