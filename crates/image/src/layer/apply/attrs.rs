//! Owners and extended attributes: which of an archive's are set, and as what.
//!
//! Attributes of overlayfs would redirect or hide what it finds, and those of a security module belong to the
//! host's policy: both are left out. What is set is checked here first, as the kernel's EINVAL would not say
//! what is wrong.

use std::os::fd::BorrowedFd;

use rustix::fs::{XattrFlags, fsetxattr};
use rustix::io::Errno;

use super::super::error::{Call, Error, Rule};
use super::super::options::{IdRange, OverlayAttrs, Owners};
use super::super::tar::Entry;

const CAPABILITY: &[u8] = b"security.capability";
const ACL: &[u8] = b"system.posix_acl_";
/// `VFS_CAP_REVISION_2` and `_3` in the top byte of the first word.
const CAP_V2: u32 = 0x0200_0000;
const CAP_V3: u32 = 0x0300_0000;

/// What becomes of one attribute.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Set(Vec<u8>),
    /// Set where the file system stores it.
    Optional,
    Skip,
}

impl Owners {
    /// Owner and group on disk, `None` where they stay as they are.
    pub(super) fn of(&self, uid: u32, gid: u32) -> Result<Option<(u32, u32)>, Rule> {
        match self {
            Self::Keep => Ok(Some((uid, gid))),
            Self::Caller => Ok(None),
            Self::Mapped { uids, gids } => Ok(Some((mapped(uids, uid)?, mapped(gids, gid)?))),
        }
    }

    fn uid(&self, id: u32) -> Result<u32, Rule> {
        match self {
            Self::Mapped { uids, .. } => mapped(uids, id),
            _ => Ok(id),
        }
    }

    fn gid(&self, id: u32) -> Result<u32, Rule> {
        match self {
            Self::Mapped { gids, .. } => mapped(gids, id),
            _ => Ok(id),
        }
    }
}

fn mapped(ranges: &[IdRange], id: u32) -> Result<u32, Rule> {
    ranges
        .iter()
        .find_map(|range| {
            let offset = id.checked_sub(range.inside)?;
            if offset >= range.count {
                return None;
            }
            range.outside.checked_add(offset)
        })
        .ok_or(Rule::IdUnmapped)
}

/// Sets the attributes of `entry` on `fd`; returns how many were left out.
pub(super) fn set(
    fd: BorrowedFd<'_>,
    entry: &Entry,
    owners: &Owners,
    overlay: OverlayAttrs,
) -> Result<u64, Error> {
    let mut skipped = 0;
    for (name, value) in &entry.xattrs {
        let fate = fate(name, value, owners, overlay);
        let fate = fate.map_err(|rule| Error::refused(&entry.path, rule))?;
        let (value, optional) = match &fate {
            Fate::Set(changed) => (changed, false),
            Fate::Optional => (value, true),
            Fate::Skip => {
                skipped += 1;
                continue;
            }
        };
        match fsetxattr(fd, &name[..], value, XattrFlags::empty()) {
            // tmpfs has no user.* before 6.6.
            Err(Errno::OPNOTSUPP) if optional => skipped += 1,
            result => result.map_err(Error::call(&entry.path, Call::Setxattr))?,
        }
    }
    Ok(skipped)
}

fn fate(name: &[u8], value: &[u8], owners: &Owners, overlay: OverlayAttrs) -> Result<Fate, Rule> {
    if name == CAPABILITY {
        return capability(value, owners).map(Fate::Set);
    }
    if name.starts_with(ACL) {
        return match &name[ACL.len()..] {
            b"access" | b"default" => acl(value, owners).map(Fate::Set),
            _ => Err(Rule::Acl),
        };
    }
    if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
        return Ok(Fate::Skip);
    }
    if name.starts_with(b"user.") {
        return Ok(Fate::Optional);
    }
    // Only root of the host may set those.
    if name.starts_with(b"trusted.") && overlay == OverlayAttrs::Trusted {
        return Ok(Fate::Optional);
    }
    Ok(Fate::Skip)
}

/// `struct vfs_cap_data`, little endian: revision and flags, permitted and inheritable in two halves, and in
/// revision 3 the id that is root where the capabilities count.
fn capability(value: &[u8], owners: &Owners) -> Result<Vec<u8>, Rule> {
    let word = |at: usize| {
        let bytes = value.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    };
    let first = word(0).ok_or(Rule::Capability)?;
    match (first & 0xff00_0000, value.len()) {
        (CAP_V2, 20) => Ok(value.to_vec()),
        (CAP_V3, 24) => {
            let root = word(20).ok_or(Rule::Capability)?;
            if root == 0 {
                // The same as revision 2; the kernel writes down which root sets it.
                let first = first & 0x00ff_ffff | CAP_V2;
                return Ok([&first.to_le_bytes()[..], &value[4..20]].concat());
            }
            let root = owners.uid(root).map_err(|_unmapped| Rule::Capability)?;
            Ok([&value[..20], &root.to_le_bytes()].concat())
        }
        _ => Err(Rule::Capability),
    }
}

/// `struct posix_acl_xattr_header` and its entries: tag, permissions, id.
fn acl(value: &[u8], owners: &Owners) -> Result<Vec<u8>, Rule> {
    const VERSION: [u8; 4] = 2u32.to_le_bytes();
    const USER: u16 = 0x02;
    const GROUP: u16 = 0x08;
    let entries = value.strip_prefix(&VERSION).ok_or(Rule::Acl)?;
    if !entries.len().is_multiple_of(8) {
        return Err(Rule::Acl);
    }
    let mut out = VERSION.to_vec();
    for entry in entries.chunks_exact(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let perm = u16::from_le_bytes([entry[2], entry[3]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        // One bit each: owner, user, group of the file, group, mask, others.
        let id = match tag {
            USER => owners.uid(id)?,
            GROUP => owners.gid(id)?,
            0x01 | 0x04 | 0x10 | 0x20 => id,
            _ => return Err(Rule::Acl),
        };
        if perm > 7 {
            return Err(Rule::Acl);
        }
        out.extend_from_slice(&entry[..4]);
        out.extend_from_slice(&id.to_le_bytes());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shifted() -> Owners {
        let range = IdRange {
            inside: 0,
            outside: 100_000,
            count: 65_536,
        };
        Owners::Mapped {
            uids: vec![range],
            gids: vec![range],
        }
    }

    #[test]
    fn an_owner_outside_the_ranges_is_refused() {
        assert_eq!(shifted().of(0, 65_535), Ok(Some((100_000, 165_535))));
        assert_eq!(shifted().of(65_536, 0), Err(Rule::IdUnmapped));
        assert_eq!(Owners::Keep.of(7, 8), Ok(Some((7, 8))));
        assert_eq!(Owners::Caller.of(7, 8), Ok(None));
    }

    #[test]
    fn attributes_of_overlayfs_and_of_security_modules_are_left_out() {
        for name in [
            &b"trusted.overlay.opaque"[..],
            b"trusted.overlay.redirect",
            b"user.overlay.origin",
            b"security.selinux",
            b"security.ima",
            b"com.apple.quarantine",
        ] {
            let fate = fate(name, b"y", &Owners::Keep, OverlayAttrs::Trusted);
            assert_eq!(fate, Ok(Fate::Skip), "{}", name.escape_ascii());
        }
        let own = |overlay| fate(b"trusted.x", b"y", &Owners::Keep, overlay);
        assert_eq!(own(OverlayAttrs::Trusted), Ok(Fate::Optional));
        assert_eq!(own(OverlayAttrs::User), Ok(Fate::Skip));
    }

    #[test]
    fn capabilities_of_another_root_are_kept_when_that_is_mapped() {
        let v2 = [&CAP_V2.to_le_bytes()[..], &[1; 16]].concat();
        assert_eq!(capability(&v2, &Owners::Keep), Ok(v2.clone()));
        assert_eq!(capability(&v2[..19], &Owners::Keep), Err(Rule::Capability));
        let v3 = |root: u32| [&CAP_V3.to_le_bytes()[..], &[1; 16], &root.to_le_bytes()].concat();
        assert_eq!(capability(&v3(0), &shifted()), Ok(v2));
        assert_eq!(capability(&v3(5), &shifted()), Ok(v3(100_005)));
        assert_eq!(capability(&v3(70_000), &shifted()), Err(Rule::Capability));
    }

    #[test]
    fn an_access_control_list_is_checked_and_its_ids_moved() {
        let list = |tag: u8, perm: u8, id: u32| {
            [&[2, 0, 0, 0, tag, 0, perm, 0][..], &id.to_le_bytes()].concat()
        };
        assert_eq!(acl(&list(2, 7, 5), &shifted()), Ok(list(2, 7, 100_005)));
        assert_eq!(acl(&list(1, 7, 5), &shifted()), Ok(list(1, 7, 5)));
        assert_eq!(acl(&list(2, 8, 5), &shifted()), Err(Rule::Acl));
        assert_eq!(acl(&list(3, 7, 5), &shifted()), Err(Rule::Acl));
        assert_eq!(acl(&list(2, 7, 5)[..11], &shifted()), Err(Rule::Acl));
        assert_eq!(acl(b"\x01\0\0\0", &shifted()), Err(Rule::Acl));
    }
}
