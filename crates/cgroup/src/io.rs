//! Block devices, and what limits them: `io.max`, `io.prio.class`.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, FileType};

use crate::{Error, Limit};

/// The number of a block device, `MAJOR:MINOR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockDevice {
    /// Of its driver.
    pub major: u32,
    /// Of the disk.
    pub minor: u32,
}

impl BlockDevice {
    /// The device of a node in `/dev`.
    ///
    /// # Errors
    ///
    /// [`Error::Stat`], [`Error::NotABlockDevice`], and [`Error::Partition`] with the disk to name
    /// instead: the io controller limits whole disks and answers `ENODEV` for a partition.
    ///
    /// # Kernel
    ///
    /// [`stat(2)`](https://man7.org/linux/man-pages/man2/stat.2.html): `st_rdev`, and
    /// `/sys/dev/block/MAJOR:MINOR/partition`.
    pub fn of_node(path: &Path) -> Result<Self, Error> {
        let stat = fs::stat(path).map_err(|source| Error::Stat {
            path: path.to_owned(),
            source,
        })?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::BlockDevice {
            return Err(Error::NotABlockDevice {
                path: path.to_owned(),
            });
        }
        let device = Self {
            major: fs::major(stat.st_rdev),
            minor: fs::minor(stat.st_rdev),
        };
        let sysfs = PathBuf::from(format!("/sys/dev/block/{device}"));
        if sysfs.join("partition").exists() {
            return Err(Error::Partition {
                path: path.to_owned(),
                disk: disk_of(&sysfs),
            });
        }
        Ok(device)
    }

    /// Reads `MAJOR:MINOR`.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once(':')?;
        let number = |text: &str| -> Option<u32> {
            (!text.starts_with('+'))
                .then(|| text.parse().ok())
                .flatten()
        };
        Some(Self {
            major: number(major)?,
            minor: number(minor)?,
        })
    }
}

/// The link of a partition in sysfs ends in `…/block/DISK/PARTITION`.
fn disk_of(sysfs: &Path) -> Option<String> {
    let real = std::fs::canonicalize(sysfs).ok()?;
    Some(real.parent()?.file_name()?.to_string_lossy().into_owned())
}

impl fmt::Display for BlockDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// `io.max` of one device. What is `None` stays as it is, which is `max` in a new group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoMax {
    /// The disk.
    pub device: BlockDevice,
    /// Bytes per second read.
    pub rbps: Option<Limit<u64>>,
    /// Bytes per second written.
    pub wbps: Option<Limit<u64>>,
    /// Reads per second.
    pub riops: Option<Limit<u64>>,
    /// Writes per second.
    pub wiops: Option<Limit<u64>>,
}

impl IoMax {
    /// No limit yet.
    pub fn new(device: BlockDevice) -> Self {
        Self {
            device,
            rbps: None,
            wbps: None,
            riops: None,
            wiops: None,
        }
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = (&'static str, Limit<u64>)> {
        [
            ("rbps", self.rbps),
            ("wbps", self.wbps),
            ("riops", self.riops),
            ("wiops", self.wiops),
        ]
        .into_iter()
        .filter_map(|(key, limit)| Some((key, limit?)))
    }
}

/// `254:0 rbps=1048576 wiops=max`
impl fmt::Display for IoMax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.device.fmt(f)?;
        self.parts()
            .try_for_each(|(key, limit)| write!(f, " {key}={limit}"))
    }
}

/// `io.prio.class`: what becomes of the I/O priorities of the group's processes, see [`ioprio_set(2)`].
///
/// [`ioprio_set(2)`]: https://man7.org/linux/man-pages/man2/ioprio_set.2.html
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoPrioClass {
    /// They stay.
    NoChange,
    /// Real time becomes best effort, unset becomes best effort of the same level.
    PromoteToRt,
    /// Not above best effort.
    RestrictToBe,
    /// Idle.
    Idle,
}

impl fmt::Display for IoPrioClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoChange => "no-change",
            Self::PromoteToRt => "promote-to-rt",
            Self::RestrictToBe => "restrict-to-be",
            Self::Idle => "idle",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_max_is_spelled_with_what_is_set_only() {
        let mut max = IoMax::new(BlockDevice {
            major: 254,
            minor: 0,
        });
        assert_eq!(max.to_string(), "254:0");
        max.rbps = Some(Limit::Value(1 << 20));
        max.wiops = Some(Limit::Max);
        assert_eq!(max.to_string(), "254:0 rbps=1048576 wiops=max");
    }

    #[test]
    fn a_character_device_is_not_a_block_device_and_a_missing_one_is_enoent() {
        assert!(matches!(
            BlockDevice::of_node(Path::new("/dev/null")),
            Err(Error::NotABlockDevice { .. })
        ));
        let missing = BlockDevice::of_node(Path::new("/dev/there-is-no-such-node"));
        assert_eq!(
            missing.expect_err("missing").errno(),
            Some(rustix::io::Errno::NOENT)
        );
    }

    #[test]
    fn numbers_are_read_without_signs() {
        for text in ["8", "8:", ":0", "+8:0", "8:-1", "8:0:0", "8:0 "] {
            assert_eq!(BlockDevice::parse(text), None, "{text:?}");
        }
        assert!(BlockDevice::parse("259:3").is_some());
    }
}
