//! What a caller decides about applying a layer, and what it learns.

use std::os::fd::BorrowedFd;

/// How much a layer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries of the archive.
    pub entries: u64,
    /// Components of a name.
    pub depth: usize,
    /// Bytes of all files together, holes counted.
    pub bytes: u64,
    /// Compressed bytes that are read: a caller who knows the size gives that.
    pub compressed: u64,
    /// Uncompressed bytes of the archive.
    pub plain: u64,
    /// Uncompressed bytes per compressed one, from [`Limits::ratio_from`] on. Deflate reaches 1030.
    pub ratio: u64,
    /// Uncompressed bytes up to which the ratio is not looked at.
    pub ratio_from: u64,
    /// The largest zstd window, as a power of two. That much memory may be used.
    pub zstd_window_log: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 2_000_000,
            depth: 1024,
            bytes: 64 << 30,
            compressed: 32 << 30,
            plain: 64 << 30,
            ratio: 250,
            ratio_from: 64 << 20,
            zstd_window_log: 25,
        }
    }
}

/// Whose the files are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Owners {
    /// As the layer says.
    #[default]
    Keep,
    /// As the layer says, moved; an owner in no range is refused.
    Mapped {
        /// Users.
        uids: Vec<IdRange>,
        /// Groups.
        gids: Vec<IdRange>,
    },
    /// Those of the calling process: for a user who has no other ids.
    Caller,
}

/// A range of ids of a layer, and where it lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// First id in the layer.
    pub inside: u32,
    /// First id on disk.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// Which attribute marks an opaque directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OverlayAttrs {
    /// `trusted.overlay.*`: overlayfs mounted by root of the host.
    #[default]
    Trusted,
    /// `user.overlay.*`: overlayfs mounted with `userxattr`, in a user namespace.
    User,
}

impl OverlayAttrs {
    /// The name of the attribute whose value `y` makes a directory opaque.
    pub fn opaque(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }
}

/// How a layer is applied.
#[derive(Debug, Clone, Default)]
pub struct Options<'a> {
    /// Whose the files are.
    pub owners: Owners,
    /// Which attribute marks an opaque directory.
    pub overlay: OverlayAttrs,
    /// The layers below, the nearest first, each as [`apply`](super::apply) left it. They are read only: for
    /// hard links to their files, and for directories that an entry lies in without the layer having them.
    pub lowers: Vec<BorrowedFd<'a>>,
}

/// What was in a layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of all files together, holes counted.
    pub bytes: u64,
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Hard links.
    pub hard_links: u64,
    /// Named pipes.
    pub fifos: u64,
    /// Whiteouts, opaque marks among them.
    pub whiteouts: u64,
    /// Device nodes, which are left out: a container's come from the engine.
    pub devices_skipped: u64,
    /// Extended attributes that were left out: those of overlayfs and of the host's security modules, and
    /// those that the file system does not store.
    pub xattrs_skipped: u64,
    /// The root itself is opaque. Overlayfs does not look at that mark on the root of a layer: leave out the
    /// layers below.
    pub root_opaque: bool,
}
