//! Paths of the host that a manifest names: looked up, and refused where they would hand out more
//! than files.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Code, quoted_path};
use crate::manifest::host::Host;
use crate::manifest::walk::Rule;

/// Kernel file systems of the host.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// An existing path, absolute and without symbolic links, and what it is.
pub(crate) fn existing(host: &Host<'_>, text: &str) -> Result<(PathBuf, Metadata), Rule> {
    if text.is_empty() {
        return Err("an empty path; the manifest's folder is \".\"".into());
    }
    if text.starts_with('~') {
        return Err(Rule::from("`~` is not expanded; write the path in full"));
    }
    if text.starts_with('$') {
        return Err(Rule::from(
            "variables are not expanded; write the path in full",
        ));
    }
    // Collected anew, so that a `./` does not show in messages.
    let joined: PathBuf = host.folder.join(text).components().collect();
    let path = fs::canonicalize(&joined).map_err(|e| missing(text, &joined, &e))?;
    let metadata = fs::metadata(&path).map_err(|e| missing(text, &joined, &e))?;
    Ok((path, metadata))
}

/// A file or directory to bind into a container.
pub(crate) fn bind_source(host: &Host<'_>, text: &str) -> Result<PathBuf, Rule> {
    let (path, metadata) = existing(host, text)?;
    shareable(host, text, &path)?;
    let kind = metadata.file_type();
    if kind.is_char_device() || kind.is_block_device() {
        return Err("a device; `devices` in `[security]` takes those of `/dev`".into());
    }
    Ok(path)
}

/// A directory to be a container's `/`.
pub(crate) fn root(host: &Host<'_>, text: &str) -> Result<PathBuf, Rule> {
    let (path, metadata) = existing(host, text)?;
    if path == Path::new("/") {
        return Err("the host's own `/` is written as \"host\"".into());
    }
    shareable(host, text, &path)?;
    if !metadata.is_dir() {
        return Err("not a directory".into());
    }
    Ok(path)
}

/// A device node of `/dev`.
pub(crate) fn device(host: &Host<'_>, text: &str) -> Result<PathBuf, Rule> {
    let path = device_path(text)?;
    let (_, metadata) = existing(host, text)?;
    let kind = metadata.file_type();
    if !kind.is_char_device() && !kind.is_block_device() {
        return Err("not a device".into());
    }
    Ok(path)
}

/// A block device of `/dev`.
pub(crate) fn block_device(host: &Host<'_>, text: &str) -> Result<PathBuf, Rule> {
    let path = device_path(text)?;
    let (_, metadata) = existing(host, text)?;
    if !metadata.file_type().is_block_device() {
        return Err("not a block device".into());
    }
    Ok(path)
}

fn device_path(text: &str) -> Result<PathBuf, Rule> {
    match super::path::absolute(text) {
        Ok(path) if path.starts_with("/dev") && path != Path::new("/dev") => Ok(path),
        _ => Err("a device is named by its path below `/dev`, like \"/dev/fuse\"".into()),
    }
}

/// Refuse what would hand out the host itself or the engine's own state.
fn shareable(host: &Host<'_>, text: &str, path: &Path) -> Result<(), Rule> {
    if path == Path::new("/") {
        return Err("the host's `/` cannot be bound; bind the directories that are needed".into());
    }
    let resolved = if Path::new(text) == path {
        String::new()
    } else {
        format!(" (this path is {})", quoted_path(path))
    };
    if let Some(kernel) = KERNEL.iter().find(|kernel| path.starts_with(kernel)) {
        let rule = Rule::from(format!(
            "nothing of the host's `{kernel}` can be shared{resolved}"
        ));
        return Err(match *kernel {
            "/dev" => rule.help("`devices` in `[security]` takes single devices"),
            _ => rule,
        });
    }
    for state in &host.options.state {
        let at = state.canonical();
        let inside = path.starts_with(&at);
        let above = state.guard_parents && at.starts_with(path);
        if inside || above {
            let relation = if inside { "is" } else { "holds" };
            let resolved = if path == at { "" } else { &resolved };
            let at = quoted_path(&at);
            return Err(format!("{relation} the engine's own state, {at}{resolved}").into());
        }
    }
    Ok(())
}

fn missing(text: &str, joined: &Path, error: &std::io::Error) -> Rule {
    let rule = match error.kind() {
        ErrorKind::NotFound => {
            let absent = joined
                .ancestors()
                .filter(|p| fs::symlink_metadata(p).is_err())
                .last();
            match absent {
                Some(absent) => Rule::from(format!("{} does not exist", quoted_path(absent))),
                None => Rule::from("a symbolic link that leads nowhere"),
            }
        }
        ErrorKind::PermissionDenied => "cannot be looked at: permission denied".into(),
        ErrorKind::NotADirectory => "goes through something that is not a directory".into(),
        _ => Rule::from(format!("cannot be looked at: {error}")),
    };
    let rule = rule.code(Code::NotFound);
    match text.find([':', ',']) {
        Some(_) => rule.help("`bind` takes one path and nothing else; the target goes into `at`, there are no option strings"),
        None => rule,
    }
}
