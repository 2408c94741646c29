//! Strings and paths on their way to the kernel.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use crate::error::Error;
use crate::step::Step;

/// fsconfig(2) copies at most 256 bytes of a value, the NUL included (`strndup_user` in fs/fsopen.c).
pub(crate) const VALUE_MAX: usize = 255;

pub(crate) fn c_string(what: &'static str, text: impl AsRef<[u8]>) -> Result<CString, Error> {
    let text = text.as_ref();
    CString::new(text).map_err(|_nul| Error::Nul {
        what,
        text: String::from_utf8_lossy(text).into_owned(),
    })
}

/// `key=value` as a step.
pub(crate) fn option(key: &str, value: &str) -> Result<Step, Error> {
    if value.len() > VALUE_MAX {
        return Err(Error::ValueTooLong {
            key: key.to_owned(),
            length: value.len(),
        });
    }
    Ok(Step::FsconfigString {
        key: c_string("option", key)?,
        value: c_string("option", value)?,
    })
}

/// A path of the container as the steps want it: relative to the root, never empty, never climbing.
pub(crate) fn in_root(path: &Path) -> Result<CString, Error> {
    let wrong = |why| Error::Path {
        path: path.to_path_buf(),
        why,
    };
    if !path.is_absolute() {
        return Err(wrong("is not absolute"));
    }
    let mut out = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => {
                if !out.is_empty() {
                    out.push(b'/');
                }
                out.extend_from_slice(name.as_bytes());
            }
            Component::ParentDir => return Err(wrong("climbs with ..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    if out.is_empty() {
        return Err(wrong("is the root itself"));
    }
    c_string("path", out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Option<&str>) {
        let found = in_root(Path::new(path)).ok();
        assert_eq!(
            found.as_deref().and_then(|p| p.to_str().ok()),
            expected,
            "{path}"
        );
    }

    #[test]
    fn paths_of_the_container_are_absolute_and_never_climb() {
        check("/proc", Some("proc"));
        check("//a///b/./c/", Some("a/b/c"));
        check("/", None);
        check("/.", None);
        check("a", None);
        check("", None);
        check("/a/../b", None);
        check("/..", None);
        check("/a\0b", None);
    }

    #[test]
    fn a_value_fsconfig_would_cut_is_refused() {
        assert!(option("lowerdir", &"a".repeat(255)).is_ok());
        assert!(matches!(
            option("lowerdir", &"a".repeat(256)),
            Err(Error::ValueTooLong { length: 256, .. })
        ));
    }
}
