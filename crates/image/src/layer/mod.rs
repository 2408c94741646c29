//! A layer: a tar archive, mostly compressed, that says how one directory tree differs from the one below.
//!
//! - [`Unpack`] takes the compressed stream and makes a directory that [overlayfs] can stack, checking the
//!   archive strictly and hashing both sides on the way.
//! - [`apply`] does the same for an archive that is not compressed, [`Archive`] only reads it.
//! - [`diff`] writes such an archive, from an upper directory of overlayfs or from two trees; [`differences`] only says
//!   what would be in it.
//! - [`child`] is [`Unpack`] for a process that can do nothing else, [`Verdict`] what that process says.
//!
//! Nothing outside the directory can be reached by what a layer holds: it is worked on by descriptor, and
//! the only paths that are looked up are resolved with that directory as their root.
//!
//! Needs Linux 5.8.
//!
//! ```no_run
//! use std::fs::File;
//! use std::os::fd::AsFd;
//!
//! use image::layer::{Compression, Limits, Options, Unpack};
//!
//! let directory = File::open("layer")?;
//! let unpack = Unpack {
//!     root: directory.as_fd(),
//!     compression: Some(Compression::Gzip),
//!     limits: &Limits::default(),
//!     options: &Options::default(),
//! };
//! let unpacked = unpack.run(File::open("layer.tar.gz")?)?;
//! // Compare `unpacked.compressed` and `unpacked.plain` with what the image says before using it.
//! println!("{} files", unpacked.applied.files);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [overlayfs]: https://docs.kernel.org/filesystems/overlayfs.html

mod apply;
mod child;
mod diff;
mod error;
mod inflate;
mod name;
mod options;
mod tar;
mod unpack;
mod verdict;

pub use apply::apply;
pub use child::{SYSCALLS, child};
pub(crate) use diff::write as tarball;
pub use diff::write::Tarball;
pub use diff::{Changes, Difference, Written, diff, differences};
pub use error::{Bound, Call, Error, Rule, Shown};
pub(crate) use inflate::Inflate;
pub use inflate::{Compression, Found};
pub(crate) use name::check as check_name;
pub use options::{Applied, IdRange, Limits, Options, OverlayAttrs, Owners};
pub use tar::{Archive, Entry, Kind, Region};
pub use unpack::{Unpack, Unpacked};
pub use verdict::{VERDICT, Verdict};
