//! The facts of an entry: which of the values in a header mean something, and what.

use super::super::error::{Rule, Shown};
use super::header::{Header, unsigned};
use super::sparse::Region;

/// What ext4 can store: 1901 to 2446.
const TIMES: std::ops::RangeInclusive<i64> = -(1 << 31)..=(1 << 34) - (1 << 31) - 1;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A regular file.
    File,
    /// Another name of a file that came before.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice {
        /// Its driver.
        major: u32,
        /// Its instance.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Its driver.
        major: u32,
        /// Its instance.
        minor: u32,
    },
}

/// The facts of an entry. The name is as it stands in the archive, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The name.
    pub path: Vec<u8>,
    /// Where a link leads to.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permissions, at most 07777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds and nanoseconds since 1970, within what file systems can store.
    pub mtime: (i64, u32),
    /// Names and values.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Size of the file when it is unpacked, bytes.
    pub size: u64,
    /// Where the stored bytes go, when there are holes.
    pub sparse: Option<Vec<Region>>,
}

impl Entry {
    /// One of root's that nobody may do anything with, empty, from the beginning of 1970.
    pub fn new(kind: Kind, path: Vec<u8>) -> Self {
        Self {
            path,
            link: Vec::new(),
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            xattrs: Vec::new(),
            size: 0,
            sparse: None,
        }
    }

    /// The name, to be shown.
    pub fn shown(&self) -> Shown {
        Shown::new(&self.path)
    }
}

pub(super) fn kind(header: &Header<'_>, path: &[u8]) -> Result<Kind, Rule> {
    Ok(match header.typeflag() {
        // BSD and v7 mark a directory by a slash at the end of its name.
        0 | b'0' if path.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => {
            let (major, minor) = header.device()?;
            Kind::CharDevice { major, minor }
        }
        b'4' => {
            let (major, minor) = header.device()?;
            Kind::BlockDevice { major, minor }
        }
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        _ => return Err(Rule::Type),
    })
}

/// Permissions. Writers of old put the type of the file above them, as stat(2) does; that is taken when it
/// is the type that the entry has.
pub(super) fn mode(value: i128, kind: Kind) -> Result<u32, Rule> {
    let value = u32::try_from(value).map_err(|_large| Rule::Mode)?;
    let format = match kind {
        Kind::File | Kind::HardLink => 0o100_000,
        Kind::Symlink => 0o120_000,
        Kind::Directory => 0o040_000,
        Kind::Fifo => 0o010_000,
        Kind::CharDevice { .. } => 0o020_000,
        Kind::BlockDevice { .. } => 0o060_000,
    };
    match value & !0o7777 {
        0 => Ok(value),
        high if high == format => Ok(value & 0o7777),
        _ => Err(Rule::Mode),
    }
}

/// The last number means "leave it" to chown(2), so it is nobody's id.
pub(super) fn id(value: i128) -> Result<u32, Rule> {
    match unsigned(value)? {
        value if value < u64::from(u32::MAX) => Ok(value as u32),
        _ => Err(Rule::Id),
    }
}

/// Seconds of any size, as many as the type holds.
pub(super) fn seconds(value: i128) -> i64 {
    let limit = if value < 0 { i64::MIN } else { i64::MAX };
    i64::try_from(value).unwrap_or(limit)
}

/// The nearest time that a file system can store.
pub(super) fn storable((seconds, nanos): (i64, u32)) -> (i64, u32) {
    match seconds {
        _ if seconds < *TIMES.start() => (*TIMES.start(), 0),
        _ if seconds > *TIMES.end() => (*TIMES.end(), 0),
        _ => (seconds, nanos),
    }
}
