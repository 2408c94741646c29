//! The cgroup lines of `/proc/PID/mountinfo` ([`proc_pid_mountinfo(5)`]).
//!
//! Paths there are bytes, with blank, tab, newline and backslash as three octal digits.
//!
//! [`proc_pid_mountinfo(5)`]: https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A mount of a cgroup file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CgroupMount {
    /// Which group is at the mount point, seen from the cgroup namespace of the reader: `/`, or
    /// `/../..` when the mount was made above the namespace's root.
    pub(crate) root: PathBuf,
    pub(crate) mount_point: PathBuf,
    /// `ro` as a mount or as a super block option.
    pub(crate) read_only: bool,
    /// Super block options: of v2 `nsdelegate` …, of v1 the controllers and `name=`.
    pub(crate) options: Vec<String>,
    pub(crate) version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// All cgroup mounts, in the file's order. Lines that are not of the documented form cannot come
/// from the kernel and are passed over.
pub(crate) fn parse(text: &[u8]) -> Vec<CgroupMount> {
    text.split(|b| *b == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<CgroupMount> {
    let mut fields = line.split(|b| *b == b' ').filter(|f| !f.is_empty());
    let root = fields.nth(3)?;
    let mount_point = fields.next()?;
    let mount_options = fields.next()?;
    // Any number of optional fields (`shared:1`), then a lone dash.
    fields.by_ref().find(|f| *f == b"-")?;
    let version = match fields.next()? {
        b"cgroup2" => Version::V2,
        b"cgroup" => Version::V1,
        _ => return None,
    };
    let super_options = fields.nth(1)?;
    Some(CgroupMount {
        root: path(root),
        mount_point: path(mount_point),
        read_only: options(mount_options).any(|o| o == b"ro")
            || options(super_options).any(|o| o == b"ro"),
        options: options(super_options)
            .filter(|o| *o != b"rw" && *o != b"ro")
            .map(|o| String::from_utf8_lossy(o).into_owned())
            .collect(),
        version,
    })
}

fn options(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|b| *b == b',')
}

fn path(escaped: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, octal(after)) {
            (b'\\', Some(value)) => {
                plain.push(value);
                rest = &after[3..];
            }
            _ => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    OsString::from_vec(plain).into()
}

/// The value of three octal digits at the start.
fn octal(text: &[u8]) -> Option<u8> {
    let digits = text.get(..3)?;
    digits.iter().try_fold(0u8, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(digit - b'0'),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blanks_and_backslashes_in_a_path_are_unescaped() {
        let text = br"31 24 0:27 / /mnt/a\040b\134c rw,nosuid shared:9 master:2 - cgroup2 none rw,nsdelegate";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 1);
        assert_eq!(mounts[0].mount_point, PathBuf::from(r"/mnt/a b\c"));
        assert_eq!(mounts[0].options, ["nsdelegate"]);
        assert!(!mounts[0].read_only);
    }

    #[test]
    fn read_only_is_seen_in_either_list_of_options() {
        for text in [
            "31 24 0:27 / /a ro,nosuid - cgroup2 none rw",
            "31 24 0:27 / /a rw - cgroup2 none ro,nsdelegate",
        ] {
            assert!(parse(text.as_bytes())[0].read_only, "{text}");
        }
    }

    #[test]
    fn lines_of_other_file_systems_and_broken_lines_are_passed_over() {
        for text in [
            "22 27 0:21 / /proc rw - proc proc rw",
            "31 24 0:27 / /a rw cgroup2 none rw",
            "31 24 0:27 / /a rw - cgroup2 none",
            "31 24 0:27 /",
            "",
        ] {
            assert_eq!(parse(text.as_bytes()), [], "{text}");
        }
    }

    #[test]
    fn a_backslash_without_three_octal_digits_stays() {
        assert_eq!(path(br"/a\04"), PathBuf::from(r"/a\04"));
        assert_eq!(path(br"/a\999"), PathBuf::from(r"/a\999"));
        assert_eq!(path(br"/a\777"), PathBuf::from(r"/a\777"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&text);
        }

        #[test]
        fn any_line_of_the_form_is_one_mount(point in "/[a-z \\\\\n]{0,20}", opts in "[a-z,=]{1,20}") {
            let escaped: String = point
                .bytes()
                .map(|b| match b {
                    b' ' | b'\\' | b'\n' => format!("\\{b:03o}"),
                    _ => char::from(b).to_string(),
                })
                .collect();
            let mounts = parse(format!("1 2 0:3 / {escaped} rw - cgroup2 cgroup2 {opts}\n").as_bytes());
            prop_assert_eq!(&mounts[0].mount_point, &PathBuf::from(point));
        }
    }
}
