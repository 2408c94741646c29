//! What lies over parts of the tree: masks, read-only parts, small files, empty directories, and
//! kernel parameters written once.

use std::path::Path;

use super::{Steps, TreeBuilder, text};
use crate::apply::{EMPTY_DIRECTORY, EMPTY_FILE};
use crate::attrs::{Change, MountAttrs};
use crate::error::Error;
use crate::step::{Cover, Kind, Reg, Step, To};

/// Kernel parameter names are short; the path must fit the kernel's own buffers.
const SYSCTL_NAME_MAX: usize = 255;

impl TreeBuilder {
    /// Hides paths that exist: an empty directory over a directory, an empty file over anything else.
    /// All masks are clones of one read-only mount.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Order`].
    pub fn mask<P: AsRef<Path>>(&mut self, paths: &[P]) -> Steps {
        self.needs_root("mask")?;
        let start = self.len();
        self.store("mask")?;
        for path in paths {
            self.cover(path.as_ref(), Cover::Mask)?;
        }
        Ok(start..self.len())
    }

    /// Makes paths that exist read-only, with all that is mounted below. In `/proc`, where nothing is
    /// mounted below the parts one makes read-only, prefer [`readonly_leaf`](Self::readonly_leaf).
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Order`].
    pub fn readonly<P: AsRef<Path>>(&mut self, paths: &[P]) -> Steps {
        self.readonly_each(paths, true)
    }

    /// As [`readonly`](Self::readonly) for paths that have no mount below: what is mounted below one
    /// all the same does not show any more.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Order`].
    pub fn readonly_leaf<P: AsRef<Path>>(&mut self, paths: &[P]) -> Steps {
        self.readonly_each(paths, false)
    }

    fn readonly_each<P: AsRef<Path>>(&mut self, paths: &[P], recursive: bool) -> Steps {
        self.needs_root("readonly")?;
        let start = self.len();
        for path in paths {
            self.cover(path.as_ref(), Cover::ReadOnly { recursive })?;
        }
        Ok(start..self.len())
    }

    /// A read-only file with these bytes at `at`, which is made if missing: resolv.conf, hosts,
    /// hostname. A link at `at` is followed inside the root.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Order`].
    pub fn file(&mut self, at: &Path, bytes: &[u8]) -> Steps {
        self.needs_root("file")?;
        let at = text::in_root(at)?;
        let start = self.len();
        self.store("file")?;
        let name = text::c_string("name", self.stored.to_string())?;
        self.stored += 1;
        self.steps.extend([
            Step::WriteFile {
                dir: Reg::StoreDir,
                name: name.clone(),
                bytes: bytes.into(),
            },
            Step::CloneOwn {
                dir: Reg::Store,
                name,
                into: Reg::Mount,
            },
        ]);
        self.attach(Reg::Mount, at, Kind::File);
        Ok(start..self.len())
    }

    /// An empty, writable directory with this mode over the one at `at`, if there is one. Its files
    /// live on scratch.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Order`].
    pub fn hide_dir(&mut self, at: &Path, mode: u32) -> Steps {
        self.needs_root("hide_dir")?;
        self.needs(self.scratch, "hide_dir", "scratch")?;
        let start = self.len();
        let name = text::c_string("name", format!("hide{}", self.hidden))?;
        self.hidden += 1;
        self.steps.push(Step::Mkdirat {
            dir: Reg::Scratch,
            name: name.clone(),
            mode,
        });
        self.cover(at, Cover::Scratch(name))?;
        Ok(start..self.len())
    }

    /// A directory of the root file system itself, made with this mode if there is nothing of that
    /// name; what is missing above it is made 0755.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Order`].
    pub fn directory(&mut self, at: &Path, mode: u32) -> Steps {
        self.needs_root("directory")?;
        let path = text::in_root(at)?;
        let start = self.len();
        let bytes = path.to_bytes();
        let (parent, name) = match bytes.iter().rposition(|&b| b == b'/') {
            Some(slash) => (&bytes[..slash], &bytes[slash + 1..]),
            None => (&b"."[..], bytes),
        };
        self.steps.push(Step::Directory {
            parent: text::c_string("path", parent)?,
            name: text::c_string("path", name)?,
            mode,
        });
        Ok(start..self.len())
    }

    /// Writes a kernel parameter (`net.core.somaxconn`, or with slashes) through the container's own
    /// procfs, before anything is laid over parts of it. Which parameters belong to a namespace of the
    /// container is for the caller to know: the kernel lets host root, under whatever name, write the
    /// others for the whole machine.
    ///
    /// # Errors
    /// [`Error::Sysctl`] for a name that is none; [`Error::Order`] before [`proc`](Self::proc).
    pub fn sysctl(&mut self, name: &str, value: &str) -> Steps {
        self.needs_root("sysctl")?;
        self.needs(self.proc, "sysctl", "proc")?;
        let start = self.len();
        self.steps.push(Step::WriteSysctl {
            path: text::c_string("sysctl", sysctl_path(name)?)?,
            value: value.as_bytes().into(),
        });
        Ok(start..self.len())
    }

    fn cover(&mut self, path: &Path, with: Cover) -> Result<(), Error> {
        self.steps.push(Step::Cover {
            path: text::in_root(path)?,
            with,
        });
        Ok(())
    }

    /// Makes the store, once: a directory on scratch that is written through scratch and shown through
    /// a read-only mount of itself, so that clones of that need no mount_setattr of their own.
    fn store(&mut self, step: &'static str) -> Result<(), Error> {
        self.needs(self.scratch, step, "scratch")?;
        if self.store {
            return Ok(());
        }
        let name = || c"store".into();
        let attrs =
            MountAttrs::RDONLY | MountAttrs::NOSUID | MountAttrs::NODEV | MountAttrs::NOEXEC;
        self.steps.extend([
            Step::Mkdirat {
                dir: Reg::Scratch,
                name: name(),
                mode: 0o755,
            },
            Step::OpenDirectory {
                dir: Reg::Scratch,
                name: name(),
                into: Reg::StoreDir,
            },
            Step::Mkdirat {
                dir: Reg::StoreDir,
                name: EMPTY_DIRECTORY.into(),
                mode: 0o555,
            },
            Step::Mknodat {
                dir: Reg::StoreDir,
                name: EMPTY_FILE.into(),
                mode: 0o444,
            },
            Step::CloneOwn {
                dir: Reg::Scratch,
                name: name(),
                into: Reg::Store,
            },
            Step::MountSetattr {
                reg: Reg::Store,
                recursive: false,
                change: Change::set(attrs),
            },
            // Before Linux 6.15 only an attached mount can be cloned.
            Step::MoveMount {
                from: Reg::Store,
                to: To::In(Reg::Scratch, name()),
            },
        ]);
        self.store = true;
        Ok(())
    }
}

/// `net.core.somaxconn` → `sys/net/core/somaxconn`. As sysctl(8): dots separate unless the first
/// separator is a slash, and then a dot is a dot (`net/ipv4/conf/eth0.1/forwarding`).
fn sysctl_path(name: &str) -> Result<String, Error> {
    let wrong = || Error::Sysctl {
        name: name.to_owned(),
    };
    let slashed = match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'/' => name.to_owned(),
        // Swapped, so that a name with both keeps its dots.
        Some(_) => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect(),
        None => return Err(wrong()),
    };
    let good =
        |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(|b| b.is_ascii_graphic());
    if name.len() > SYSCTL_NAME_MAX || !slashed.split('/').all(good) {
        return Err(wrong());
    }
    Ok(format!("sys/{slashed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Option<&str>) {
        assert_eq!(sysctl_path(name).ok().as_deref(), expected, "{name:?}");
    }

    #[test]
    fn kernel_parameters_are_named_with_dots_or_slashes() {
        check("net.core.somaxconn", Some("sys/net/core/somaxconn"));
        check("net/core/somaxconn", Some("sys/net/core/somaxconn"));
        check(
            "net.ipv4.conf.eth0/1.forwarding",
            Some("sys/net/ipv4/conf/eth0.1/forwarding"),
        );
        check(
            "net/ipv4/conf/eth0.1/forwarding",
            Some("sys/net/ipv4/conf/eth0.1/forwarding"),
        );
    }

    #[test]
    fn kernel_parameters_do_not_climb() {
        for name in [
            "", "x", "a..b", "a.//.b", "../x", "a/../b", "/a/b", "a/b/", "a.b c", "a.b\n",
        ] {
            check(name, None);
        }
    }
}
