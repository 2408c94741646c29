//! What the host's `/` holds, for [`TreeBuilder::root_host_binds`](crate::TreeBuilder::root_host_binds).

use std::ffi::{CStr, CString};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::build::{HostEntry, HostEntryKind};
use crate::error::Error;

/// The entries of the host's `/` but those in `skip`, by name. Sockets, pipes and device nodes there
/// are left out.
///
/// # Errors
/// [`Error::Call`] when `/` cannot be read.
pub fn host_entries(skip: &[&str]) -> Result<Vec<HostEntry>, Error> {
    let failed = |call: &str| {
        let call = call.to_owned();
        move |errno: Errno| Error::Call {
            call,
            errno,
            hint: None,
        }
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, c"/", flags, Mode::empty()).map_err(failed(
        "openat(AT_FDCWD, \"/\", O_RDONLY|O_DIRECTORY|O_CLOEXEC)",
    ))?;
    let mut entries = Vec::new();
    for entry in Dir::read_from(&root).map_err(failed("getdents64(</>)"))? {
        let entry = entry.map_err(failed("getdents64(</>)"))?;
        let name = entry.file_name().to_owned();
        if is_skipped(&name, skip) {
            continue;
        }
        let kind = match rustix::fs::statat(
            &root,
            name.as_c_str(),
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        ) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            // Gone meanwhile, or not for us to see.
            Err(_) => continue,
        };
        let kind = match kind {
            FileType::Directory => HostEntryKind::Directory,
            FileType::RegularFile => HostEntryKind::File,
            FileType::Symlink => HostEntryKind::Symlink {
                target: read_link(&root, &name)?,
            },
            _ => continue,
        };
        entries.push(HostEntry { name, kind });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn is_skipped(name: &CStr, skip: &[&str]) -> bool {
    matches!(name.to_bytes(), b"." | b"..") || skip.iter().any(|s| s.as_bytes() == name.to_bytes())
}

fn read_link(root: &impl std::os::fd::AsFd, name: &CStr) -> Result<CString, Error> {
    rustix::fs::readlinkat(root, name, Vec::new()).map_err(|errno| Error::Call {
        call: format!("readlinkat(</>, {name:?})"),
        errno,
        hint: None,
    })
}
