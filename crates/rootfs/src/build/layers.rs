//! Where `/` comes from, and what of the host is bound into it.

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};

use super::{Source, Steps, Tmpfs, TreeBuilder, show, text};
use crate::attrs::{Change, MountAttrs};
use crate::error::Error;
use crate::step::{Kind, Reg, Step, To};

/// Most layers an overlay can have here: each is named by one byte, and the names joined by colons
/// must fit [`text::VALUE_MAX`]. (`lowerdir+`, which has no such limit, works from Linux 6.5.)
const MAX_LAYERS: usize = 128;

/// An overlay as root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// Lower layers, topmost first, 1 to 128.
    pub lowers: Vec<Source>,
    /// Where writes go.
    pub upper: Upper,
    /// `user.overlay.*` attributes instead of `trusted.overlay.*`: needed in a user namespace. A tmpfs
    /// has user attributes from Linux 6.6 on; before, an ephemeral overlay in a user namespace cannot
    /// replace a directory of a lower layer by a new one of the same name.
    pub userxattr: bool,
}

/// Where an overlay's writes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upper {
    /// Into scratch: gone with the container.
    Ephemeral,
    /// A mount whose root holds `upper/` and `work/`.
    Directory(Source),
}

/// A file or directory of the host in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// What.
    pub source: Source,
    /// Where, absolute; made if missing, as a file or a directory as the source is.
    pub at: PathBuf,
    /// With what is mounted below the source. (For [`Source::Passed`] the parent decided it when it
    /// made the clone; here it says whether `change` goes down.)
    pub recursive: bool,
    /// What changes on the way.
    pub change: Change,
}

/// An entry of the host's `/`, for [`TreeBuilder::root_host_binds`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEntry {
    /// Its name, without a slash.
    pub name: CString,
    /// What it is.
    pub kind: HostEntryKind,
}

/// What an entry of the host's `/` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostEntryKind {
    /// A directory, bound.
    Directory,
    /// A regular file, bound.
    File,
    /// A link, made anew.
    Symlink {
        /// Where it points.
        target: CString,
    },
}

impl TreeBuilder {
    /// The tmpfs the container never sees: mount points of layers, an ephemeral upper directory, what
    /// masks are cloned from. It is laid over the process's own `/`, where a look-up of `/…` does not
    /// go, so all of the host's paths stay reachable until [`pivot`](Self::pivot). `size`: bytes, the
    /// kernel's default (half of the memory) if `None`; its pages count in the container's cgroup.
    ///
    /// [`scratch_over`](Self::scratch_over) is some 50 µs cheaper.
    ///
    /// # Errors
    /// [`Error::Order`] when called twice or after the root.
    pub fn scratch(&mut self, size: Option<u64>) -> Steps {
        let steps = self.make_scratch(size, To::OverSlash)?;
        self.over_slash = true;
        Ok(steps)
    }

    /// As [`scratch`](Self::scratch), laid over a directory of the host that no later step looks
    /// into, such as the one where the container's state is kept; only the child's mount namespace
    /// sees it there. It is the cheaper way: what lies over `/` itself must be detached on its own
    /// after pivot_root, and each umount2(2) waits for an RCU grace period.
    ///
    /// # Errors
    /// [`Error::Order`] when called twice or after the root.
    pub fn scratch_over(&mut self, size: Option<u64>, directory: &CStr) -> Steps {
        self.make_scratch(size, To::Host(directory.into()))
    }

    fn make_scratch(&mut self, size: Option<u64>, to: To) -> Steps {
        if self.scratch || self.root {
            let other = if self.root {
                "the root"
            } else {
                "another scratch"
            };
            return Err(Error::Order {
                step: "scratch",
                relation: "before",
                other,
            });
        }
        let start = self.len();
        let tmpfs = Tmpfs {
            size,
            ..Tmpfs::default()
        };
        let attrs = MountAttrs::NOSUID | MountAttrs::NODEV;
        self.make_fs("tmpfs", tmpfs.options()?, attrs, Reg::Scratch)?;
        self.steps.push(Step::MoveMount {
            from: Reg::Scratch,
            to,
        });
        self.scratch = true;
        Ok(start..self.len())
    }

    /// A directory as root. Writes go into it.
    ///
    /// # Errors
    /// [`Error::Order`] when there is a root already.
    pub fn root_bind(&mut self, source: &Source, recursive: bool) -> Steps {
        let start = self.begin_root("root_bind")?;
        self.open(source, recursive, Reg::Root);
        self.finish_root();
        Ok(start..self.len())
    }

    /// An overlay as root. Layers are attached below scratch one by one, since before Linux 6.15
    /// overlayfs takes no detached mount, and named to it relative to scratch.
    ///
    /// # Errors
    /// [`Error::Order`], [`Error::LayerCount`], [`Error::LayersOverlap`] as far as names show it; the
    /// kernel refuses the rest (ELOOP).
    pub fn root_overlay(&mut self, overlay: &Overlay) -> Steps {
        self.needs(self.scratch, "root_overlay", "scratch")?;
        let count = overlay.lowers.len();
        if !(1..=MAX_LAYERS).contains(&count) {
            return Err(Error::LayerCount {
                count,
                max: MAX_LAYERS,
            });
        }
        refuse_overlap(overlay)?;
        let start = self.begin_root("root_overlay")?;
        let names: Vec<u8> = layer_names().take(count).collect();
        for (source, name) in overlay.lowers.iter().zip(&names) {
            self.layer(source, text::c_string("layer", [*name])?);
        }
        let (upper, work) = match &overlay.upper {
            Upper::Ephemeral => {
                // 0755 is what the container's `/` shows: an overlay's root has the upper's mode.
                for (name, mode) in [(c"upper", 0o755), (c"work", 0o700)] {
                    self.steps.push(Step::Mkdirat {
                        dir: Reg::Scratch,
                        name: name.into(),
                        mode,
                    });
                }
                ("upper", "work")
            }
            Upper::Directory(source) => {
                self.layer(source, c"disk".into());
                ("disk/upper", "disk/work")
            }
        };
        self.steps.push(Step::Fchdir(Reg::Scratch));
        let lowerdir: Vec<u8> = names
            .iter()
            .flat_map(|name| [b':', *name])
            .skip(1)
            .collect();
        let mut options = vec![
            Step::FsconfigString {
                key: c"lowerdir".into(),
                value: text::c_string("layers", lowerdir)?,
            },
            text::option("upperdir", upper)?,
            text::option("workdir", work)?,
        ];
        if overlay.userxattr {
            options.push(Step::FsconfigFlag(c"userxattr".into()));
        }
        self.make_fs("overlay", options, MountAttrs::empty(), Reg::Root)?;
        self.finish_root();
        Ok(start..self.len())
    }

    /// The host's own `/` for who may not lay an overlay over it: an empty tmpfs with recursive,
    /// read-only binds of the entries given (see [`host_entries`](crate::host_entries)).
    ///
    /// # Errors
    /// [`Error::Order`] when there is a root already.
    pub fn root_host_binds(&mut self, entries: &[HostEntry]) -> Steps {
        let start = self.begin_root("root_host_binds")?;
        let tmpfs = Tmpfs {
            mode: Some(0o755),
            ..Tmpfs::default()
        };
        let attrs = MountAttrs::NOSUID | MountAttrs::NODEV;
        self.make_fs("tmpfs", tmpfs.options()?, attrs, Reg::Root)?;
        self.finish_root();
        for HostEntry { name, kind } in entries {
            let (dir, name) = (Reg::Root, name.clone());
            match kind {
                HostEntryKind::Symlink { target } => {
                    self.steps.push(Step::Symlinkat {
                        target: target.clone(),
                        dir,
                        name,
                    });
                    continue;
                }
                HostEntryKind::Directory => {
                    self.steps.push(Step::Mkdirat {
                        dir,
                        name: name.clone(),
                        mode: 0o755,
                    });
                }
                HostEntryKind::File => {
                    self.steps.push(Step::Mknodat {
                        dir,
                        name: name.clone(),
                        mode: 0o444,
                    });
                }
            }
            let path = text::c_string("path", [b"/", name.to_bytes()].concat())?;
            self.steps.push(Step::OpenTree {
                path,
                recursive: true,
                into: Reg::Mount,
            });
            self.change(Reg::Mount, true, Change::set(MountAttrs::RDONLY));
            self.steps.push(Step::MoveMount {
                from: Reg::Mount,
                to: To::In(dir, name),
            });
        }
        Ok(start..self.len())
    }

    /// Binds a file or directory.
    ///
    /// # Errors
    /// [`Error::Path`] for a bad `at`; [`Error::Order`].
    pub fn bind(&mut self, bind: &Bind) -> Steps {
        self.needs_root("bind")?;
        let at = text::in_root(&bind.at)?;
        let start = self.len();
        self.open(&bind.source, bind.recursive, Reg::Mount);
        self.change(Reg::Mount, bind.recursive, bind.change);
        self.attach(Reg::Mount, at, Kind::LikeMount);
        Ok(start..self.len())
    }

    /// The host's `/sys`, read-only with all below: what there is to see when the network namespace is
    /// not the container's own, so that no new sysfs may be mounted.
    ///
    /// # Errors
    /// [`Error::Order`].
    pub fn host_sys(&mut self) -> Steps {
        self.needs_root("host_sys")?;
        let start = self.len();
        self.open(&Source::Path(c"/sys".into()), true, Reg::Mount);
        let attrs =
            MountAttrs::RDONLY | MountAttrs::NOSUID | MountAttrs::NODEV | MountAttrs::NOEXEC;
        self.change(Reg::Mount, true, Change::set(attrs));
        self.attach(Reg::Mount, c"sys".into(), Kind::RealDirectory);
        Ok(start..self.len())
    }

    fn begin_root(&self, step: &'static str) -> Result<usize, Error> {
        if self.root {
            return Err(Error::Order {
                step,
                relation: "before",
                other: "another root",
            });
        }
        Ok(self.len())
    }

    fn finish_root(&mut self) {
        // On top of whatever is over `/` by now: pivot_root wants the new root to be a mount point.
        self.steps.push(Step::MoveMount {
            from: Reg::Root,
            to: To::OverSlash,
        });
        self.root = true;
    }

    fn layer(&mut self, source: &Source, name: CString) {
        self.steps.push(Step::Mkdirat {
            dir: Reg::Scratch,
            name: name.clone(),
            mode: 0o700,
        });
        self.open(source, false, Reg::Mount);
        self.steps.push(Step::MoveMount {
            from: Reg::Mount,
            to: To::In(Reg::Scratch, name),
        });
    }
}

/// One-byte names that mean nothing to overlayfs (`:` `,` `\`) or to a path (`/` `.`).
fn layer_names() -> impl Iterator<Item = u8> {
    let plain = (b'0'..=b'9')
        .chain(b'a'..=b'z')
        .chain(b'A'..=b'Z')
        .chain(*b"_-+=@%^~");
    plain.chain(0xa1..=0xff)
}

fn refuse_overlap(overlay: &Overlay) -> Result<(), Error> {
    let upper = match &overlay.upper {
        Upper::Directory(source) => Some(source),
        Upper::Ephemeral => None,
    };
    let all: Vec<&Source> = upper.into_iter().chain(&overlay.lowers).collect();
    for (i, upper) in all.iter().enumerate() {
        for lower in &all[i + 1..] {
            if overlap(upper, lower) {
                return Err(Error::LayersOverlap {
                    upper: show(upper),
                    lower: show(lower),
                });
            }
        }
    }
    Ok(())
}

fn overlap(a: &Source, b: &Source) -> bool {
    use std::os::unix::ffi::OsStrExt;
    match (a, b) {
        (Source::Passed(a), Source::Passed(b)) => a == b,
        (Source::Path(a), Source::Path(b)) => {
            let path = |c: &CString| PathBuf::from(std::ffi::OsStr::from_bytes(c.to_bytes()));
            let (a, b): (PathBuf, PathBuf) = (path(a), path(b));
            lies_in(&a, &b) || lies_in(&b, &a)
        }
        _ => false,
    }
}

fn lies_in(a: &Path, b: &Path) -> bool {
    a.starts_with(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Propagation;

    fn overlay(lowers: &[&str]) -> Overlay {
        let source = |p: &&str| Source::Path(CString::new(*p).expect("no NUL"));
        let lowers = lowers.iter().map(source).collect();
        Overlay {
            lowers,
            upper: Upper::Ephemeral,
            userxattr: true,
        }
    }

    fn build(lowers: &[&str]) -> Result<Vec<String>, Error> {
        let mut builder = TreeBuilder::new(Propagation::Private);
        builder.scratch(None)?;
        let steps = builder.root_overlay(&overlay(lowers))?;
        let tree = builder.build();
        Ok(steps.map(|step| tree.describe(step)).collect())
    }

    #[test]
    fn overlapping_layers_are_refused_by_name() {
        for lowers in [
            &["/a", "/a"][..],
            &["/a/b", "/a"],
            &["/a", "/x", "/a/b/"],
            &["/a", "/a/./b"],
        ] {
            assert!(
                matches!(build(lowers), Err(Error::LayersOverlap { .. })),
                "{lowers:?}"
            );
        }
        for lowers in [&["/a", "/ab"][..], &["/a/b", "/a/c"]] {
            build(lowers).expect("side by side");
        }
    }

    #[test]
    fn a_layer_count_overlayfs_cannot_name_is_refused() {
        assert!(matches!(
            build(&[]),
            Err(Error::LayerCount { count: 0, max: 128 })
        ));
        let many: Vec<String> = (0..129).map(|n| format!("/layers/{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(matches!(
            build(&many),
            Err(Error::LayerCount { count: 129, .. })
        ));
        build(&many[..128]).expect("128 fit");
    }

    #[test]
    fn layer_names_are_distinct_and_mean_nothing() {
        let names: std::collections::BTreeSet<u8> = layer_names().collect();
        assert!(names.len() >= MAX_LAYERS);
        assert!(!names.iter().any(|n| b":,\\/.\0".contains(n)));
    }

    #[test]
    fn an_overlay_is_attached_layer_by_layer_topmost_first() {
        let steps = build(&["/top", "/base"]).expect("two layers");
        assert_eq!(
            steps,
            [
                r#"mkdirat(<scratch>, "0", 0700)"#,
                r#"open_tree(AT_FDCWD, "/top", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC)"#,
                r#"move_mount(</top>, "", <scratch>, "0", MOVE_MOUNT_F_EMPTY_PATH)"#,
                r#"mkdirat(<scratch>, "1", 0700)"#,
                r#"open_tree(AT_FDCWD, "/base", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC)"#,
                r#"move_mount(</base>, "", <scratch>, "1", MOVE_MOUNT_F_EMPTY_PATH)"#,
                r#"mkdirat(<scratch>, "upper", 0755)"#,
                r#"mkdirat(<scratch>, "work", 0700)"#,
                "fchdir(<scratch>)",
                r#"fsopen("overlay", FSOPEN_CLOEXEC)"#,
                r#"fsconfig(<overlay>, FSCONFIG_SET_STRING, "lowerdir", "0:1", 0)"#,
                r#"fsconfig(<overlay>, FSCONFIG_SET_STRING, "upperdir", "upper", 0)"#,
                r#"fsconfig(<overlay>, FSCONFIG_SET_STRING, "workdir", "work", 0)"#,
                r#"fsconfig(<overlay>, FSCONFIG_SET_FLAG, "userxattr", NULL, 0)"#,
                "fsconfig(<overlay>, FSCONFIG_CMD_CREATE, NULL, NULL, 0)",
                "fsmount(<overlay>, FSMOUNT_CLOEXEC, 0)",
                r#"move_mount(<root>, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH)"#,
            ]
        );
    }
}
