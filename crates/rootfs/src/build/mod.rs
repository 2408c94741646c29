//! Building a [`Tree`]: pure, one method per thing wanted, each returning the steps it appended.

mod covers;
mod devices;
mod filesystems;
mod finish;
mod layers;
mod text;

use std::ffi::CString;
use std::ops::Range;
use std::path::PathBuf;

pub use devices::{Device, Pts};
pub use filesystems::{Filesystem, FsOption, HidePid, Proc, Tmpfs};
pub use layers::{Bind, HostEntry, HostEntryKind, Overlay, Upper};

use crate::attrs::{Change, MountAttrs, Propagation};
use crate::error::Error;
use crate::step::{Kind, Reg, Step, To};
use crate::tree::Tree;

/// Where a mount comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The descriptor of this index among those passed to [`Tree::apply`]: a detached mount made with
    /// [`clone_mount`](crate::clone_mount) by who may do so.
    Passed(usize),
    /// A path of the host, looked up by the child in its own mount namespace.
    Path(CString),
}

/// Which steps a method appended.
pub type Steps = Result<Range<usize>, Error>;

/// Collects steps. The order of calls is the order of steps; what must precede what is checked.
///
/// ```
/// use rootfs::{Propagation, Source, TreeBuilder};
///
/// let mut tree = TreeBuilder::new(Propagation::Private);
/// tree.ids(0, 0, true)?;
/// tree.scratch(None)?;
/// tree.root_bind(&Source::Path(c"/srv/image".into()), false)?;
/// let proc = tree.proc(&rootfs::Proc::default())?;
/// tree.pivot()?;
/// let tree = tree.build();
/// assert_eq!(tree.describe(proc.start), r#"fsopen("proc", FSOPEN_CLOEXEC)"#);
/// # Ok::<(), rootfs::Error>(())
/// ```
#[derive(Debug)]
pub struct TreeBuilder {
    steps: Vec<Step>,
    scratch: bool,
    over_slash: bool,
    root: bool,
    proc: bool,
    dev: bool,
    store: bool,
    pivoted: bool,
    stored: usize,
    hidden: usize,
}

impl TreeBuilder {
    /// Starts in a new mount namespace: what is mounted there must not travel back to the host. The
    /// first steps (a zero umask, so that modes are what they say, and the propagation of `/`) are
    /// there already.
    ///
    /// [`Propagation::Slave`] costs more (every later mount of the host is copied in) and is for
    /// containers with a mount that asks for it.
    pub fn new(propagation: Propagation) -> Self {
        let mut builder = Self::entered();
        builder.steps = vec![Step::Umask(0), Step::MountPropagation(propagation)];
        builder.root = false;
        builder.pivoted = false;
        builder
    }

    /// Starts in a container that runs already and has been entered by setns(2): its root is `/`, and
    /// only [`workdir`](Self::workdir) makes sense.
    pub fn entered() -> Self {
        Self {
            steps: vec![Step::OpenSlash],
            scratch: false,
            over_slash: false,
            root: true,
            proc: false,
            dev: false,
            store: false,
            pivoted: true,
            stored: 0,
            hidden: 0,
        }
    }

    /// How many steps there are so far.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Never: the first step is made by [`new`](Self::new).
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The finished list.
    pub fn build(self) -> Tree {
        Tree::new(self.steps)
    }

    /// Takes ids in the container's user namespace, before anything is made, so that what is made
    /// belongs to the container's root. `setgroups`: drop all supplementary groups; a user namespace
    /// made by an ordinary user without newgidmap(1) has setgroups denied.
    ///
    /// # Errors
    /// None; the form is that of its sisters.
    pub fn ids(&mut self, uid: u32, gid: u32, setgroups: bool) -> Steps {
        let start = self.len();
        if setgroups {
            self.steps.push(Step::Setgroups);
        }
        // The uid last: leaving uid 0 would take the right to change the gid.
        self.steps
            .extend([Step::Setresgid(gid), Step::Setresuid(uid)]);
        Ok(start..self.len())
    }

    /// Appends fsopen … fsmount.
    fn make_fs(
        &mut self,
        fs: &str,
        options: Vec<Step>,
        attrs: MountAttrs,
        into: Reg,
    ) -> Result<(), Error> {
        self.steps
            .push(Step::Fsopen(text::c_string("file system", fs)?));
        self.steps.extend(options);
        self.steps
            .extend([Step::FsconfigCreate, Step::Fsmount { attrs, into }]);
        Ok(())
    }

    /// Appends what opens `source` into a register.
    fn open(&mut self, source: &Source, recursive: bool, into: Reg) {
        self.steps.push(match source {
            Source::Passed(index) => Step::Passed {
                index: *index,
                into,
            },
            Source::Path(path) => Step::OpenTree {
                path: path.clone(),
                recursive,
                into,
            },
        });
    }

    /// Appends the change, if there is one.
    fn change(&mut self, reg: Reg, recursive: bool, change: Change) {
        if !change.is_empty() {
            self.steps.push(Step::MountSetattr {
                reg,
                recursive,
                change,
            });
        }
    }

    /// Appends: find or make the mount point, attach [`Reg::Mount`] (or `from`) there.
    fn attach(&mut self, from: Reg, path: CString, kind: Kind) {
        self.steps.push(Step::Target { path, kind });
        self.steps.push(Step::MoveMount {
            from,
            to: To::Target,
        });
    }

    fn needs(&self, have: bool, step: &'static str, other: &'static str) -> Result<(), Error> {
        if have {
            Ok(())
        } else {
            Err(Error::Order {
                step,
                relation: "after",
                other,
            })
        }
    }

    fn needs_root(&self, step: &'static str) -> Result<(), Error> {
        self.needs(self.root, step, "the root")?;
        if self.pivoted {
            return Err(Error::Order {
                step,
                relation: "before",
                other: "pivot",
            });
        }
        Ok(())
    }
}

/// `path` for a message.
fn show(source: &Source) -> String {
    match source {
        Source::Passed(index) => format!("descriptor {index}"),
        Source::Path(path) => PathBuf::from(path.to_string_lossy().into_owned())
            .display()
            .to_string(),
    }
}
