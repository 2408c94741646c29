//! What `mount_setattr(2)` can say about a mount (Linux 5.12): flags and propagation.
//!
//! Pure values; [`sys`](crate::sys) hands them to the kernel.

bitflags::bitflags! {
    /// `MOUNT_ATTR_*`: per-mount flags, the same for fsmount(2) and mount_setattr(2).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct MountAttrs: u32 {
        /// Not writable through this mount.
        const RDONLY = 0x1;
        /// Set-user-ID bits and file capabilities are ignored.
        const NOSUID = 0x2;
        /// Device nodes cannot be opened.
        const NODEV = 0x4;
        /// Nothing can be executed.
        const NOEXEC = 0x8;
        /// Access times are not updated.
        const NOATIME = 0x10;
        /// Access times are always updated.
        const STRICTATIME = 0x20;
        /// Access times of directories are not updated.
        const NODIRATIME = 0x80;
        /// Symbolic links are not followed (Linux 5.10).
        const NOSYMFOLLOW = 0x0020_0000;
    }
}

impl MountAttrs {
    /// `MOUNT_ATTR__ATIME`: the two access time flags are one field, and changing it means clearing
    /// the whole field first, or the kernel answers EINVAL.
    pub(crate) const ATIME_FIELD: u32 = 0x70;
}

/// How mount events travel between peers, mount_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Nothing travels.
    #[doc(alias = "MS_PRIVATE")]
    Private,
    /// Events come in from the master, none go out.
    #[doc(alias = "MS_SLAVE")]
    Slave,
    /// Events travel both ways. Needs a mount that is private or shared with the same user namespace.
    #[doc(alias = "MS_SHARED")]
    Shared,
    /// Private, and cannot be bound.
    #[doc(alias = "MS_UNBINDABLE")]
    Unbindable,
}

impl Propagation {
    /// The `MS_*` value.
    pub(crate) fn bits(self) -> u64 {
        match self {
            Self::Private => libc::MS_PRIVATE,
            Self::Slave => libc::MS_SLAVE,
            Self::Shared => libc::MS_SHARED,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }

    /// The kernel's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Private => "MS_PRIVATE",
            Self::Slave => "MS_SLAVE",
            Self::Shared => "MS_SHARED",
            Self::Unbindable => "MS_UNBINDABLE",
        }
    }
}

/// One mount_setattr(2): what is set, what is cleared, and the propagation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// Flags that are set.
    pub set: MountAttrs,
    /// Flags that are cleared. A mount that came from a more privileged mount namespace has its
    /// flags locked: clearing one is EPERM.
    pub clear: MountAttrs,
    /// New propagation type; `None` leaves it.
    pub propagation: Option<Propagation>,
}

impl Change {
    /// Sets flags and nothing else.
    pub fn set(attrs: MountAttrs) -> Self {
        Self {
            set: attrs,
            ..Self::default()
        }
    }

    /// Whether the call would do nothing.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.clear.is_empty() && self.propagation.is_none()
    }

    /// `attr_clr` as the kernel wants it.
    pub(crate) fn clear_bits(&self) -> u64 {
        let atime = MountAttrs::NOATIME | MountAttrs::STRICTATIME;
        let mut bits = self.clear.bits();
        if (self.set | self.clear).intersects(atime) {
            bits = bits & !atime.bits() | MountAttrs::ATIME_FIELD;
        }
        u64::from(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_time_flag_clears_its_whole_field_first() {
        assert_eq!(Change::set(MountAttrs::NOATIME).clear_bits(), 0x70);
        let clear = Change {
            clear: MountAttrs::STRICTATIME,
            ..Change::default()
        };
        assert_eq!(clear.clear_bits(), 0x70);
        assert_eq!(Change::set(MountAttrs::RDONLY).clear_bits(), 0);
    }
}
