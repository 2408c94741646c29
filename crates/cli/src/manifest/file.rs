//! The bytes of a manifest: a regular file, bounded, UTF-8.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Largest manifest, bytes.
pub(crate) const LIMIT: u64 = 1 << 20;

/// Why a file is no manifest.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl<T: Into<String>> From<T> for Unreadable {
    fn from(message: T) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }
}

/// The text of a regular UTF-8 file of at most 1 MiB. Symbolic links are followed: what counts is what
/// they lead to.
pub(crate) fn read(path: &Path) -> Result<String, Unreadable> {
    let bytes = bounded(&open_regular(path)?)?;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Unreadable {
            message: "the file is UTF-16".into(),
            help: Some("save it as UTF-8".into()),
        });
    }
    String::from_utf8(bytes).map_err(|e| {
        let valid = e.utf8_error().valid_up_to();
        let line = 1 + e.as_bytes()[..valid]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        format!("not UTF-8: line {line} has a byte that no character has").into()
    })
}

/// Open without waiting: a FIFO would block until somebody writes.
fn open_regular(path: &Path) -> Result<File, Unreadable> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(cannot_open)?;
    let kind = file.metadata().map_err(cannot_open)?.file_type();
    let what = if kind.is_file() {
        return Ok(file);
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else {
        "something else"
    };
    Err(format!("not a regular file but {what}").into())
}

fn bounded(file: &File) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::new();
    file.take(LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| format!("cannot read the file: {}", reason(&e)))?;
    if bytes.len() as u64 > LIMIT {
        return Err("the file is larger than 1 MiB, the most a manifest may have".into());
    }
    Ok(bytes)
}

fn cannot_open(error: std::io::Error) -> Unreadable {
    format!("cannot open the file: {}", reason(&error)).into()
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such file".into(),
        ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}
