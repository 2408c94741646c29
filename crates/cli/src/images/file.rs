//! Small files of the user's: settings and locks.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use super::Problem;

/// A file that is not what it should be, or cannot be read.
pub(super) fn wrong(
    path: &Path,
    source: impl std::error::Error + Send + Sync + 'static,
) -> Problem {
    Problem::Settings {
        path: path.to_owned(),
        source: Box::new(source),
    }
}

/// What stands in a file of at most `max` bytes; `None` where there is none.
pub(super) fn read_text(path: &Path, max: u64) -> Result<Option<String>, Problem> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(path, error)),
    };
    let mut text = String::new();
    let read = file.take(max + 1).read_to_string(&mut text);
    read.map_err(|error| wrong(path, error))?;
    if text.len() as u64 > max {
        let why = format!("larger than {max} bytes");
        return Err(wrong(path, io::Error::other(why)));
    }
    Ok(Some(text))
}
