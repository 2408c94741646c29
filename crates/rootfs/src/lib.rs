//! The file system a container sees, built by file descriptor.
//!
//! A [`TreeBuilder`] turns what is wanted (a root, `/proc`, `/dev`, binds, masks …) into a [`Tree`]: an
//! ordered list of steps, nearly always one system call each, with every string prepared. The list is
//! pure data: it can be printed as strace would show it before anything happened. A child in a mount
//! namespace of its own then applies it step by step, allocating nothing.
//!
//! - Mounts are made detached ([`fsopen(2)`], [`open_tree(2)`], [`mount_setattr(2)`]) and attached fd
//!   to fd ([`move_mount(2)`]). Needs Linux 5.12; tested on 6.1 and later.
//! - Paths below the root are looked up by [`openat2(2)`] in that root: no symbolic link of an image
//!   leads out of it, and `/proc`, `/dev`, `/sys` must be real directories.
//! - Nothing is ever mounted in the host's mount namespace, and no process is made here.
//!
//! Needs CAP_SYS_ADMIN over the mount namespace, which a new user namespace gives to anybody.
//!
//! ```no_run
//! use rootfs::{Bind, Change, MountAttrs, Proc, Propagation, Source, TreeBuilder};
//!
//! let mut tree = TreeBuilder::new(Propagation::Private);
//! tree.ids(0, 0, false)?;
//! tree.scratch(None)?;
//! tree.root_bind(&Source::Path(c"/srv/image".into()), false)?;
//! tree.proc(&Proc::default())?;
//! tree.dev()?;
//! tree.bind(&Bind {
//!     source: Source::Path(c"/srv/data".into()),
//!     at: "/data".into(),
//!     recursive: false,
//!     change: Change::set(MountAttrs::RDONLY),
//! })?;
//! tree.mask(&["/proc/kcore"])?;
//! tree.pivot()?;
//! let tree = tree.build();
//!
//! // In the child: a new user, mount and pid namespace, ids mapped.
//! for step in 0..tree.len() {
//!     // SAFETY: no descriptor is passed.
//!     if let Err(errno) = unsafe { tree.apply(step, &[]) } {
//!         panic!("{}: {errno}", tree.describe(step));
//!     }
//! }
//! # Ok::<(), rootfs::Error>(())
//! ```
//!
//! [`fsopen(2)`]: https://man7.org/linux/man-pages/man2/fsopen.2.html
//! [`open_tree(2)`]: https://man7.org/linux/man-pages/man2/open_tree.2.html
//! [`mount_setattr(2)`]: https://man7.org/linux/man-pages/man2/mount_setattr.2.html
//! [`move_mount(2)`]: https://man7.org/linux/man-pages/man2/move_mount.2.html
//! [`openat2(2)`]: https://man7.org/linux/man-pages/man2/openat2.2.html

mod apply;
mod attrs;
mod build;
mod describe;
mod error;
mod hint;
mod host;
mod parent;
mod resolve;
mod step;
mod sys;
mod tree;

pub use attrs::{Change, MountAttrs, Propagation};
pub use build::{
    Bind, Device, Filesystem, FsOption, HidePid, HostEntry, HostEntryKind, Overlay, Proc, Pts,
    Source, Steps, Tmpfs, TreeBuilder, Upper,
};
pub use error::Error;
pub use host::host_entries;
pub use parent::{change_mount, clone_mount, idmap_mount};
pub use tree::Tree;
