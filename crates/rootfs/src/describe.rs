//! Each step in words: as strace(1) would spell it, descriptors by what they stand for.
//!
//! `<root/proc>` is a descriptor of `/proc` in the container's root, `<scratch>` one of the tmpfs that
//! the container never sees. Look-ups and closes are left out; `unless missing` marks what depends on
//! what the root holds.

use std::ffi::CStr;
use std::fmt::Write as _;

use crate::apply::{EMPTY_DIRECTORY, EMPTY_FILE};
use crate::attrs::{Change, MountAttrs};
use crate::step::{Cover, Kind, Reg, Step, To};
use crate::tree::Tree;

impl Tree {
    /// Step `step` as strace would spell it; an empty string past the end.
    pub fn describe(&self, step: usize) -> String {
        let Some(this) = self.steps.get(step) else {
            return String::new();
        };
        self.describe_process(step, this)
            .or_else(|| self.describe_mount(step, this))
            .unwrap_or_else(|| self.describe_file(step, this))
    }

    fn describe_process(&self, at: usize, step: &Step) -> Option<String> {
        Some(match step {
            Step::Umask(mode) => format!("umask({})", octal(*mode)),
            Step::MountPropagation(p) => {
                format!("mount(NULL, \"/\", NULL, MS_REC|{}, NULL)", p.name())
            }
            Step::Setgroups => "setgroups(0, [])".into(),
            Step::Setresgid(id) => format!("setresgid({id}, {id}, {id})"),
            Step::Setresuid(id) => format!("setresuid({id}, {id}, {id})"),
            Step::Fchdir(reg) => format!("fchdir({})", self.fd(at, *reg)),
            Step::PivotRoot => "pivot_root(\".\", \".\")".into(),
            Step::DetachOldRoot => "umount2(\".\", MNT_DETACH)".into(),
            Step::ChdirSlash => "chdir(\"/\")".into(),
            Step::Workdir { path, create } => {
                let made = if *create {
                    self.made(path, true)
                } else {
                    String::new()
                };
                format!("{made}fchdir({})", self.in_root(path))
            }
            _ => return None,
        })
    }

    fn describe_mount(&self, at: usize, step: &Step) -> Option<String> {
        let context = || self.fd(at, Reg::Context);
        Some(match step {
            Step::Fsopen(name) => format!("fsopen({}, FSOPEN_CLOEXEC)", quote(name)),
            Step::FsconfigString { key, value } => format!(
                "fsconfig({}, FSCONFIG_SET_STRING, {}, {}, 0)",
                context(),
                quote(key),
                quote(value)
            ),
            Step::FsconfigFlag(key) => {
                format!(
                    "fsconfig({}, FSCONFIG_SET_FLAG, {}, NULL, 0)",
                    context(),
                    quote(key)
                )
            }
            Step::FsconfigCreate => {
                format!(
                    "fsconfig({}, FSCONFIG_CMD_CREATE, NULL, NULL, 0)",
                    context()
                )
            }
            Step::Fsmount { attrs, .. } => {
                format!(
                    "fsmount({}, FSMOUNT_CLOEXEC, {})",
                    context(),
                    attr_names(attrs.bits())
                )
            }
            Step::OpenTree {
                path, recursive, ..
            } => open_tree("AT_FDCWD", path, *recursive),
            Step::OpenDevice { path, .. } => open_tree("AT_FDCWD", path, false),
            Step::CloneOwn { dir, name, .. } => open_tree(&self.fd(at, *dir), name, false),
            Step::MountSetattr {
                reg,
                recursive,
                change,
            } => mount_setattr(&self.fd(at, *reg), *recursive, change),
            Step::MoveMount { from, to } => self.move_mount(at, *from, to),
            Step::Cover { path, with } => self.cover(path, with),
            _ => return None,
        })
    }

    fn describe_file(&self, at: usize, step: &Step) -> String {
        match step {
            Step::Passed { index, .. } => format!("fcntl(<passed {index}>, F_DUPFD_CLOEXEC, 0)"),
            Step::OpenSlash => {
                "openat(AT_FDCWD, \"/\", O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY)".into()
            }
            Step::Target { path, kind } => self.target(at, path, *kind),
            Step::Mkdirat { dir, name, mode } => {
                format!(
                    "mkdirat({}, {}, {})",
                    self.fd(at, *dir),
                    quote(name),
                    octal(*mode)
                )
            }
            Step::Directory { parent, name, mode } => format!(
                "mkdirat({}, {}, {}) if missing",
                self.in_root(parent),
                quote(name),
                octal(*mode)
            ),
            Step::Mknodat { dir, name, mode } => format!(
                "mknodat({}, {}, S_IFREG|{})",
                self.fd(at, *dir),
                quote(name),
                octal(*mode)
            ),
            Step::Symlinkat { target, dir, name } => {
                format!(
                    "symlinkat({}, {}, {})",
                    quote(target),
                    self.fd(at, *dir),
                    quote(name)
                )
            }
            Step::OpenDirectory { dir, name, .. } => format!(
                "openat({}, {}, O_RDONLY|O_NOFOLLOW|O_CLOEXEC|O_PATH|O_DIRECTORY)",
                self.fd(at, *dir),
                quote(name)
            ),
            Step::WriteFile { dir, name, bytes } => format!(
                "openat({}, {}, O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0644); write({}, {}, {})",
                self.fd(at, *dir),
                quote(name),
                angle(&format!(
                    "{}/{}",
                    self.name(at, *dir),
                    name.to_string_lossy()
                )),
                quote_bytes(bytes),
                bytes.len()
            ),
            Step::WriteSysctl { path, value } => format!(
                "write(<root/proc/{}>, {}, {})",
                path.to_string_lossy(),
                quote_bytes(value),
                value.len()
            ),
            // The others have their words above.
            _ => String::new(),
        }
    }

    fn target(&self, at: usize, path: &CStr, kind: Kind) -> String {
        match kind {
            Kind::RealDirectory => {
                format!("mkdirat(<root>, {}, 0755) if missing", quote(path))
            }
            Kind::Directory => self.made(path, true).trim_end_matches("; ").into(),
            Kind::File => self.made(path, false).trim_end_matches("; ").into(),
            Kind::LikeMount => format!(
                "mkdirat or mknodat, as {} is, of {} where missing",
                self.fd(at, Reg::Mount),
                self.in_root(path)
            ),
        }
    }

    /// What makes a path in the root, with a separator behind it.
    fn made(&self, path: &CStr, directory: bool) -> String {
        let what = if directory {
            "mkdirat"
        } else {
            "mkdirat, mknodat(…, S_IFREG|0644)"
        };
        format!("{what} of {} where missing; ", self.in_root(path))
    }

    fn move_mount(&self, at: usize, from: Reg, to: &To) -> String {
        let from = self.fd(at, from);
        match to {
            To::OverSlash => {
                format!("move_mount({from}, \"\", AT_FDCWD, \"/\", MOVE_MOUNT_F_EMPTY_PATH)")
            }
            To::Host(path) => format!(
                "move_mount({from}, \"\", AT_FDCWD, {}, MOVE_MOUNT_F_EMPTY_PATH)",
                quote(path)
            ),
            To::Target => attach(&from, &self.fd(at, Reg::Target)),
            To::In(dir, name) => format!(
                "move_mount({from}, \"\", {}, {}, MOVE_MOUNT_F_EMPTY_PATH)",
                self.fd(at, *dir),
                quote(name)
            ),
        }
    }

    fn cover(&self, path: &CStr, with: &Cover) -> String {
        let target = self.in_root(path);
        let calls = match with {
            Cover::Mask => {
                let names = format!("{} or {}", quote(EMPTY_DIRECTORY), quote(EMPTY_FILE));
                format!(
                    "open_tree(<store>, {names}, OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC); {}",
                    attach("<store/…>", &target)
                )
            }
            Cover::Scratch(name) => {
                let tree = open_tree("<scratch>", name, false);
                let name = format!("<scratch/{}>", name.to_string_lossy());
                format!("{tree}; {}", attach(&name, &target))
            }
            Cover::ReadOnly { recursive } => format!(
                "{}; {}; {}",
                open_tree(&target, c"", *recursive),
                mount_setattr(&target, *recursive, &Change::set(MountAttrs::RDONLY)),
                attach(&target, &target)
            ),
        };
        format!("{calls} unless missing")
    }

    fn in_root(&self, path: &CStr) -> String {
        angle(&format!(
            "root/{}",
            path.to_string_lossy().trim_start_matches('/')
        ))
    }

    /// A register as a descriptor is printed.
    fn fd(&self, at: usize, reg: Reg) -> String {
        angle(&self.name(at, reg))
    }

    /// What a register stands for before step `at`.
    fn name(&self, at: usize, reg: Reg) -> String {
        match reg {
            Reg::Scratch => "scratch".into(),
            Reg::Root => "root".into(),
            Reg::Proc => "root/proc".into(),
            Reg::Dev => "root/dev".into(),
            Reg::StoreDir => "scratch/store".into(),
            Reg::Store => "store".into(),
            Reg::Context | Reg::Mount | Reg::Target => {
                let earlier = self.steps[..at].iter().enumerate().rev();
                earlier
                    .into_iter()
                    .find_map(|(i, s)| self.holds(i, s, reg))
                    .unwrap_or_default()
            }
        }
    }

    /// What step `at` leaves in `reg`, if it is that step that fills it.
    fn holds(&self, at: usize, step: &Step, reg: Reg) -> Option<String> {
        match step {
            Step::Fsopen(name) if reg == Reg::Context => Some(name.to_string_lossy().into()),
            Step::Fsmount { into, .. } if *into == reg => Some(self.name(at, Reg::Context)),
            Step::OpenTree { path, into, .. } if *into == reg => {
                Some(path.to_string_lossy().into())
            }
            Step::OpenDevice { path, .. } if reg == Reg::Mount => {
                Some(path.to_string_lossy().into())
            }
            Step::CloneOwn { dir, name, into } if *into == reg => Some(format!(
                "{}/{}",
                self.name(at, *dir),
                name.to_string_lossy()
            )),
            Step::Passed { index, into } if *into == reg => Some(format!("passed {index}")),
            Step::Target { path, .. } if reg == Reg::Target => {
                Some(format!("root/{}", path.to_string_lossy()))
            }
            _ => None,
        }
    }
}

fn attach(from: &str, to: &str) -> String {
    format!("move_mount({from}, \"\", {to}, \"\", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)")
}

fn open_tree(dir: &str, path: &CStr, recursive: bool) -> String {
    let mut flags = String::from("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC");
    if path.is_empty() {
        flags.push_str("|AT_EMPTY_PATH");
    }
    if recursive {
        flags.push_str("|AT_RECURSIVE");
    }
    format!("open_tree({dir}, {}, {flags})", quote(path))
}

pub(crate) fn mount_setattr(fd: &str, recursive: bool, change: &Change) -> String {
    let clear = u32::try_from(change.clear_bits()).expect("a mount attribute has 32 bits");
    format!(
        "mount_setattr({fd}, \"\", AT_EMPTY_PATH{}, {{attr_set={}, attr_clr={}, propagation={}, userns_fd=0}}, 32)",
        if recursive { "|AT_RECURSIVE" } else { "" },
        attr_names(change.set.bits()),
        attr_names(clear),
        change.propagation.map_or("0", crate::Propagation::name)
    )
}

/// Flag names joined by `|`, or `0`.
fn attr_names(mut bits: u32) -> String {
    let mut names = Vec::new();
    if bits & MountAttrs::ATIME_FIELD == MountAttrs::ATIME_FIELD {
        bits &= !MountAttrs::ATIME_FIELD;
        names.push("MOUNT_ATTR__ATIME".to_owned());
    }
    for (name, _flag) in MountAttrs::from_bits_truncate(bits).iter_names() {
        names.push(format!("MOUNT_ATTR_{name}"));
    }
    if names.is_empty() {
        "0".into()
    } else {
        names.join("|")
    }
}

fn octal(mode: u32) -> String {
    if mode == 0 {
        "000".into()
    } else {
        format!("0{mode:o}")
    }
}

fn angle(name: &str) -> String {
    format!("<{name}>")
}

fn quote(text: &CStr) -> String {
    quote_bytes(text.to_bytes())
}

/// A C string literal; of a long one strace shows the first 32 bytes, so do we with file contents.
fn quote_bytes(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            0x20..=0x7e => out.push(char::from(byte)),
            other => write!(out, "\\{other:o}").expect("a String takes all that is written"),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_spelled_as_the_kernel_names_them() {
        assert_eq!(attr_names(0), "0");
        assert_eq!(attr_names(0x3), "MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID");
        assert_eq!(attr_names(0x70), "MOUNT_ATTR__ATIME");
        assert_eq!(attr_names(0x0020_0000), "MOUNT_ATTR_NOSYMFOLLOW");
    }

    #[test]
    fn bytes_that_do_not_print_are_octal() {
        assert_eq!(quote(c"a\"b\\c\n\xc3"), "\"a\\\"b\\\\c\\n\\303\"");
    }
}
