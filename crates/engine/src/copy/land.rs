//! Where a copy goes and what it is called there, by the rules of cp(1) and `docker cp`.

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::place::Place;
use super::{Error, Open};

/// What was asked for.
pub(super) struct Ask<'a> {
    /// The destination.
    pub(super) path: &'a [u8],
    /// What is copied; `None` for a stream that has its names itself.
    pub(super) source: Option<&'a [u8]>,
    pub(super) owners: bool,
    pub(super) mode: u32,
}

/// A directory that is there gets the copy under its own name, or all that is in the source when that ends with `/.`;
/// anything else is the copy's name. A link to a file is replaced, and not the file behind it.
pub(super) fn land(open: Open<'_>, ask: Ask<'_>) -> Result<Place, Error> {
    let Ask {
        path,
        source,
        owners,
        mode,
    } = ask;
    let failed = |errno| Error::call("openat2", path, errno);
    let place = |base, name: Option<&[u8]>, directory| Place {
        base,
        name: name.map(<[u8]>::to_vec),
        directory,
        owners,
        mode,
    };
    match open(path, OFlags::PATH | OFlags::DIRECTORY) {
        Ok(base) => return Ok(place(base, source.and_then(last), false)),
        Err(Errno::NOTDIR | Errno::NOENT) if source.is_some() => {}
        Err(errno) => return Err(failed(errno)),
    }
    let slash = path.ends_with(b"/");
    let (parent, Some(name)) = split(path) else {
        return Err(failed(Errno::NOENT));
    };
    let base = open(parent, OFlags::PATH | OFlags::DIRECTORY).map_err(failed)?;
    Ok(place(base, Some(name), slash))
}

/// The last component of a path, when it is a name of what the path stands for.
pub(super) fn last(path: &[u8]) -> Option<&[u8]> {
    split(path).1
}

/// A path's directory, and the name in it: `None` for `/`, and for what ends with `.` or `..`.
fn split(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    let end = path.iter().rposition(|byte| *byte != b'/');
    let Some(end) = end else {
        return (b"/", None);
    };
    let path = &path[..=end];
    let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) => (&b"/"[..], &path[1..]),
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&b"."[..], path),
    };
    match name {
        b"." | b".." => (path, None),
        name => (parent, Some(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_apart_as_cp_does() {
        for (path, parent, name) in [
            (&b"/a/b"[..], &b"/a"[..], Some(&b"b"[..])),
            (b"/a/b//", b"/a", Some(b"b")),
            (b"/a", b"/", Some(b"a")),
            (b"a", b".", Some(b"a")),
            (b"/", b"/", None),
            (b"a/.", b"a/.", None),
            (b"a/..", b"a/..", None),
            (b".", b".", None),
        ] {
            assert_eq!(split(path), (parent, name), "{}", path.escape_ascii());
        }
    }
}
