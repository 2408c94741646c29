//! Trees of files and of cgroups.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Deeper than this nobody is looking for leaks.
const DEPTH: usize = 16;

/// Everything below the directories, themselves included: path, kind and mode, owner.
pub(crate) fn trees(roots: &[PathBuf]) -> Vec<String> {
    let mut lines = Vec::new();
    for root in roots {
        if let Ok(meta) = fs::symlink_metadata(root) {
            lines.push(line(root, &meta));
            walk(root, DEPTH, &mut |path, meta| lines.push(line(path, meta)));
        }
    }
    lines
}

fn line(path: &Path, meta: &fs::Metadata) -> String {
    format!(
        "{} mode {:o} owner {}:{}",
        path.display(),
        meta.permissions().mode(),
        meta.uid(),
        meta.gid()
    )
}

/// Every group below the mount points.
pub(crate) fn cgroups(mounts: &[PathBuf]) -> Vec<String> {
    let mut lines = Vec::new();
    for mount in mounts {
        walk(mount, DEPTH, &mut |path, meta| {
            if meta.is_dir() {
                lines.push(path.display().to_string());
            }
        });
    }
    lines
}

fn walk(dir: &Path, depth: usize, found: &mut impl FnMut(&Path, &fs::Metadata)) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        found(&path, &meta);
        if meta.is_dir() && depth > 0 {
            walk(&path, depth - 1, found);
        }
    }
}
