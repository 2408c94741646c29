//! What can be wrong with a layer, in parts that a sandboxed child can send as numbers.
//!
//! Every variant is made of small enumerations, numbers and one bounded name, so that
//! [`Verdict`](super::Verdict) carries it between processes and the words stay on this side.

use std::fmt;

use rustix::io::Errno;

use super::inflate::{Compression, Found};

/// An enumeration with a text and a number for each variant.
macro_rules! worded {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[non_exhaustive]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            const ALL: &[Self] = &[$(Self::$variant),*];

            /// The words.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            pub(super) fn number(self) -> u8 {
                self as u8
            }

            pub(super) fn from_number(number: u8) -> Option<Self> {
                Self::ALL.get(usize::from(number)).copied()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(super) use worded;

worded! {
    /// The rule that an entry or a header breaks.
    Rule {
        /// Header checksum.
        Checksum = "the checksum of its header does not match",
        /// Not octal, not base-256.
        Number = "a number in its header is malformed",
        /// Negative.
        Negative = "a number in its header is negative",
        /// A uid or gid from 2³²−1 on.
        Id = "its owner is not an id that Linux has",
        /// A name that would be read as a whiteout.
        WhiteoutName = "its name is that of a whiteout",
        /// `overlay.redirect`, `overlay.metacopy`.
        OverlayReference = "an attribute of overlayfs says that a part of it lies in another layer",
        /// Read while it was written.
        Changed = "it changed while it was read",
        /// Owner outside of the mapping asked for.
        IdUnmapped = "its owner is outside the ids that are mapped",
        /// Mode.
        Mode = "its mode has bits beyond 07777",
        /// Typeflag.
        Type = "its type is not one that a layer can hold",
        /// Data where none belongs.
        DataOfNothing = "it has data, and its type has none",
        /// PAX record framing.
        PaxRecord = "a record of its extended header is malformed",
        /// PAX too large.
        PaxSize = "its extended header is larger than 1 MiB",
        /// PAX value.
        PaxValue = "a value of its extended header is malformed",
        /// Two PAX headers.
        PaxTwice = "it has two extended headers",
        /// A global header that names or measures entries.
        Global = "a global header sets what only an entry can have",
        /// PAX and GNU long names.
        Mixed = "it has both an extended header and a GNU long name",
        /// Two long names.
        LongTwice = "it has two long names",
        /// Long name size.
        LongSize = "its long name is larger than 64 KiB",
        /// Extension without an entry.
        Dangling = "an extended header or a long name is followed by no entry",
        /// Header and PAX disagree.
        SizeConflict = "its header and its extended header disagree about its size",
        /// Sparse map.
        Sparse = "its map of sparse regions is malformed, unsorted or beyond its size",
        /// Sparse map size.
        SparseCount = "its map of sparse regions has too many of them",
        /// Trailer.
        Trailer = "bytes other than zero follow the end of the archive",
        /// Name is empty.
        NameEmpty = "its name is empty",
        /// NUL.
        NameNul = "its name contains a NUL byte",
        /// Name length.
        NameLong = "its name is longer than 4096 bytes",
        /// Component length.
        ComponentLong = "a component of its name is longer than 255 bytes",
        /// Depth.
        Depth = "it lies deeper than the limit allows",
        /// Climbs.
        DotDot = "its name contains `..`",
        /// The root as something else.
        RootType = "the root of a layer is a directory",
        /// Whiteout without a victim.
        Whiteout = "a whiteout names no file",
        /// Whiteout as directory.
        WhiteoutParent = "a component of its name is a whiteout",
        /// Device 0:0.
        OverlayWhiteout = "a character device 0:0 would hide what lies below it",
        /// Empty or too long link target.
        LinkTarget = "its link target is empty, too long or contains a NUL byte",
        /// Hard link out.
        LinkDotDot = "its link target contains `..`",
        /// Hard link to nothing.
        LinkMissing = "it is a hard link to a file that the layer does not have",
        /// Hard link to itself.
        LinkSelf = "it is a hard link to itself",
        /// Hard link to a directory.
        LinkType = "it is a hard link to what cannot be linked",
        /// Parent is no directory.
        ParentType = "its parent is not a directory",
        /// Too many symlinks.
        ParentLoop = "its parent is a loop of symbolic links",
        /// Number of attributes.
        XattrCount = "it has more than 64 extended attributes",
        /// Name or size of an attribute.
        XattrSize = "an extended attribute has a malformed name or more than 64 KiB",
        /// `security.capability`.
        Capability = "its file capabilities are malformed or of another range of ids",
        /// `system.posix_acl_*`.
        Acl = "its access control list is malformed",
    }
}

worded! {
    /// A limit that a layer reaches.
    Bound {
        /// Entries.
        Entries = "entries",
        /// Unpacked bytes.
        Bytes = "bytes of files",
        /// Compressed bytes.
        Compressed = "compressed bytes",
        /// Plain bytes.
        Plain = "uncompressed bytes",
        /// Ratio.
        Ratio = "times its compressed size",
    }
}

worded! {
    /// A system call made for an entry, as strace spells it.
    Call {
        /// Directory of an entry.
        Parent = "openat2(<layer>, parent, O_DIRECTORY, RESOLVE_IN_ROOT)",
        /// File.
        Create = "openat(<parent>, name, O_CREAT|O_EXCL|O_NOFOLLOW)",
        /// Existing thing.
        Open = "openat(<parent>, name, O_NOFOLLOW)",
        /// Directory.
        Mkdir = "mkdirat(<parent>, name)",
        /// Symbolic link.
        Symlink = "symlinkat(target, <parent>, name)",
        /// Hard link.
        Link = "linkat(<parent>, target, <parent>, name, 0)",
        /// Fifo or whiteout.
        Mknod = "mknodat(<parent>, name)",
        /// Data.
        Write = "write",
        /// Data of a lower layer.
        Read = "read",
        /// Size.
        Truncate = "ftruncate",
        /// Owner.
        Chown = "fchownat",
        /// Mode.
        Chmod = "fchmod",
        /// Attribute.
        Setxattr = "fsetxattr",
        /// Attribute.
        Getxattr = "fgetxattr",
        /// Time.
        Utimens = "utimensat",
        /// Facts.
        Stat = "fstat",
        /// Removal.
        Unlink = "unlinkat",
        /// Listing.
        Readdir = "getdents64",
        /// Target.
        Readlink = "readlinkat",
        /// The stream itself.
        Input = "read(<layer stream>)",
        /// The stream written.
        Output = "write(<layer stream>)",
        /// A thread.
        Thread = "clone3",
        /// A layer below, made read-only.
        Below = "mount_setattr(<layer below>, MOUNT_ATTR_RDONLY)",
        /// The layer as `/`.
        Enter = "pivot_root(<layer>)",
        /// Rights, limits, filter.
        Confine = "prctl, prlimit64, capset or seccomp",
    }
}

/// Bytes of a name that are kept to be shown.
const SHOWN: usize = 255;

/// The name of an entry, cut to be shown; what a terminal would act on is escaped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown(Vec<u8>);

impl Shown {
    pub(super) fn new(name: &[u8]) -> Self {
        Self(name[..name.len().min(SHOWN)].to_vec())
    }

    pub(super) fn cut(name: &[u8], length: usize) -> Self {
        Self(name[..name.len().min(length)].to_vec())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Why a layer was not applied, or not written.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An entry breaks a rule.
    #[error("entry {entry}: {rule}")]
    Refused {
        /// Which.
        entry: Shown,
        /// The rule.
        rule: Rule,
    },
    /// A header breaks a rule before the entry has a name.
    #[error("header at byte {at}: {rule}")]
    Malformed {
        /// Where it starts, in the uncompressed archive.
        at: u64,
        /// The rule.
        rule: Rule,
    },
    /// The archive stops in the middle.
    #[error("unexpected end at byte {at}")]
    End {
        /// Where, in the uncompressed archive.
        at: u64,
    },
    /// A limit is reached.
    #[error("a layer of more than {limit} {bound}")]
    Limit {
        /// What is limited.
        bound: Bound,
        /// The limit.
        limit: u64,
    },
    /// The kernel refuses.
    #[error("entry {entry}: {call}")]
    Call {
        /// For which entry.
        entry: Shown,
        /// What.
        call: Call,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// The bytes are not compressed as said.
    #[error("the layer is said to be {declared}, and is {found}")]
    Compression {
        /// As the media type says.
        declared: Compression,
        /// As its first bytes say.
        found: Found,
    },
    /// The first bytes belong to nothing that can be read.
    #[error("the layer is {found}, which is not a layer's compression")]
    Unsupported {
        /// As its first bytes say.
        found: Found,
    },
    /// The compressed stream is damaged, cut short, followed by something, or wants too much memory.
    #[error("the {compression} stream is damaged near byte {at}")]
    Damaged {
        /// Which format.
        compression: Compression,
        /// How many uncompressed bytes came out of it before.
        at: u64,
    },
    /// The source of the compressed bytes failed.
    #[error("read the compressed layer")]
    Input {
        /// Why; EIO where the source has no number for it.
        #[source]
        errno: Errno,
    },
    /// The process that was to unpack could not be shut in, and has read nothing.
    #[error("cannot shut in the process that unpacks: {call}")]
    Sandbox {
        /// What.
        call: Call,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// The child did not say how it ended.
    #[error("the unpacking process ended without a verdict")]
    NoVerdict,
    /// Another thread of the pipeline failed; its error is the one to be shown.
    #[doc(hidden)]
    #[error("stopped")]
    Stopped,
}

impl Error {
    /// The kernel's answer, where it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call { errno, .. } | Self::Input { errno } | Self::Sandbox { errno, .. } => {
                Some(*errno)
            }
            _ => None,
        }
    }

    /// What to look at, where the message alone would mislead.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Call {
                call: Call::Chown,
                errno: Errno::INVAL,
                ..
            } => Some("the owner is not mapped in this user namespace: more ids in /etc/subuid"),
            Self::Call {
                call: Call::Mknod,
                errno: Errno::PERM,
                ..
            } => Some(
                "a whiteout needs Linux 5.8 in a user namespace, and a file system with devices",
            ),
            Self::Damaged {
                compression: Compression::Zstd,
                ..
            } => Some("a window larger than the limit is refused as well"),
            _ => None,
        }
    }

    pub(super) fn refused(entry: &[u8], rule: Rule) -> Self {
        let entry = match rule {
            Rule::NameLong | Rule::ComponentLong => Shown::cut(entry, 64),
            _ => Shown::new(entry),
        };
        Self::Refused { entry, rule }
    }

    pub(super) fn call(entry: &[u8], call: Call) -> impl FnOnce(Errno) -> Self {
        let entry = Shown::new(entry);
        move |errno| Self::Call { entry, call, errno }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_with_what_a_terminal_acts_on_escaped() {
        let error = Error::refused(b"a\x1b[2J\n\xff\"", Rule::DotDot);
        assert_eq!(
            error.to_string(),
            r#"entry "a\x1b[2J\n\xff\"": its name contains `..`"#
        );
    }

    #[test]
    fn every_number_leads_back_to_its_word() {
        for rule in Rule::ALL {
            assert_eq!(Rule::from_number(rule.number()), Some(*rule));
        }
        assert_eq!(Rule::from_number(255), None);
    }
}
