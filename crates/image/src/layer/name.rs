//! Names of entries: checked and cut into components, and what whiteouts among them mean.
//!
//! The rules of whiteouts are those of the [OCI image specification] and, for what starts with `.wh..wh.`,
//! of aufs, from which they come.
//!
//! [OCI image specification]: https://github.com/opencontainers/image-spec/blob/main/layer.md

use super::error::{Error, Rule};

/// PATH_MAX, counting no NUL.
const MAX_NAME: usize = 4096;
/// NAME_MAX.
const MAX_COMPONENT: usize = 255;
pub(super) const WHITEOUT: &[u8] = b".wh.";
pub(super) const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS: &[u8] = b".wh..wh.";

/// What an entry's name asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// The root of the layer.
    Root,
    /// Something in the directory `parent`, a normal path that is empty for the root.
    Plain { parent: Vec<u8>, name: Vec<u8> },
    /// Hide `name` of the layers below.
    Whiteout { parent: Vec<u8>, name: Vec<u8> },
    /// Hide everything that the layers below have in `parent`.
    Opaque { parent: Vec<u8> },
    /// What aufs kept for itself.
    Ignored,
}

/// Checks `path` and takes it apart.
pub(super) fn parse(path: &[u8], max_depth: usize) -> Result<Name, Error> {
    let (parent, last) = split(path, max_depth).map_err(|rule| Error::refused(path, rule))?;
    let Some(last) = last else {
        return Ok(Name::Root);
    };
    let refused = |rule| Err(Error::refused(path, rule));
    for component in parent.split(|byte| *byte == b'/') {
        if component.starts_with(AUFS) {
            return Ok(Name::Ignored);
        }
        if component.starts_with(WHITEOUT) {
            return refused(Rule::WhiteoutParent);
        }
    }
    if last == OPAQUE {
        return Ok(Name::Opaque { parent });
    }
    if last.starts_with(AUFS) {
        return Ok(Name::Ignored);
    }
    match last.strip_prefix(WHITEOUT) {
        Some(b"" | b"." | b"..") => refused(Rule::Whiteout),
        Some(name) => Ok(Name::Whiteout {
            parent,
            name: name.to_vec(),
        }),
        None => Ok(Name::Plain { parent, name: last }),
    }
}

/// Whether a layer may have an entry of this name.
pub(crate) fn check(path: &[u8], max_depth: usize) -> Result<(), Error> {
    parse(path, max_depth).map(drop)
}

/// The path of a hard link's target: directory and name, by the same rules.
pub(super) fn parse_target(path: &[u8], max_depth: usize) -> Result<(Vec<u8>, Vec<u8>), Rule> {
    match split(path, max_depth) {
        Ok((parent, Some(last))) => Ok((parent, last)),
        Ok((_, None)) => Err(Rule::LinkType),
        Err(Rule::DotDot) => Err(Rule::LinkDotDot),
        Err(Rule::NameEmpty | Rule::NameNul | Rule::NameLong) => Err(Rule::LinkTarget),
        Err(rule) => Err(rule),
    }
}

/// A path without `.`, doubled and leading slashes, and its last component.
fn split(path: &[u8], max_depth: usize) -> Result<(Vec<u8>, Option<Vec<u8>>), Rule> {
    if path.is_empty() {
        return Err(Rule::NameEmpty);
    }
    if path.len() > MAX_NAME {
        return Err(Rule::NameLong);
    }
    if path.contains(&0) {
        return Err(Rule::NameNul);
    }
    let mut parent: Vec<u8> = Vec::with_capacity(path.len());
    let mut last: Option<&[u8]> = None;
    let mut depth = 0;
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err(Rule::DotDot),
            _ if component.len() > MAX_COMPONENT => return Err(Rule::ComponentLong),
            _ => {}
        }
        depth += 1;
        if depth > max_depth {
            return Err(Rule::Depth);
        }
        if let Some(previous) = last.replace(component) {
            if !parent.is_empty() {
                parent.push(b'/');
            }
            parent.extend_from_slice(previous);
        }
    }
    Ok((parent, last.map(<[u8]>::to_vec)))
}

/// `parent/name`.
pub(super) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() {
        return name.to_vec();
    }
    [parent, b"/", name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(parent: &str, name: &str) -> Result<Name, Rule> {
        Ok(Name::Plain {
            parent: parent.into(),
            name: name.into(),
        })
    }

    fn check(path: &str, expected: Result<Name, Rule>) {
        let answer = parse(path.as_bytes(), 8).map_err(|error| match error {
            Error::Refused { rule, .. } => rule,
            other => panic!("{other}"),
        });
        assert_eq!(answer, expected, "{path:?}");
    }

    #[test]
    fn names_are_normal_or_refused() {
        check("/etc/passwd", plain("etc", "passwd"));
        check("./a//b/./c/", plain("a/b", "c"));
        check("./", Ok(Name::Root));
        check("//", Ok(Name::Root));
        check("...", plain("", "..."));
        check("a. ", plain("", "a. "));
        check("", Err(Rule::NameEmpty));
        check("..", Err(Rule::DotDot));
        check("a/../../x", Err(Rule::DotDot));
        check("a\0b", Err(Rule::NameNul));
        check("1/2/3/4/5/6/7/8/9", Err(Rule::Depth));
        check(&"x/".repeat(2049), Err(Rule::NameLong));
        check(&"x".repeat(256), Err(Rule::ComponentLong));
    }

    #[test]
    fn whiteouts_name_a_victim_in_their_own_directory() {
        let whiteout = Name::Whiteout {
            parent: b"a".to_vec(),
            name: b"x".to_vec(),
        };
        check("a/.wh.x", Ok(whiteout));
        let opaque = |parent: &str| {
            Ok(Name::Opaque {
                parent: parent.into(),
            })
        };
        check("a/.wh..wh..opq", opaque("a"));
        check(".wh..wh..opq", opaque(""));
        check(".wh.", Err(Rule::Whiteout));
        check(".wh..", Err(Rule::Whiteout));
        check(".wh...", Err(Rule::Whiteout));
        check(".wh.a/b", Err(Rule::WhiteoutParent));
        check("a/.wh.../x", Err(Rule::WhiteoutParent));
        check(".wh..wh.plnk", Ok(Name::Ignored));
        check(".wh..wh.plnk/12.34", Ok(Name::Ignored));
        check(".wh..wh.aufs", Ok(Name::Ignored));
        check(".wha", plain("", ".wha"));
    }
}
