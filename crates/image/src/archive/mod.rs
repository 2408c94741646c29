//! Images in files: the [image layout] of OCI as a directory or as an archive, and what `docker save` writes.
//!
//! - [`load`] brings images from a directory or from a stream that is read once, as a pipe must be.
//! - [`save`] writes them, so that Docker, podman, skopeo and umoci read them.
//! - [`import`] makes an image of a root file system, [`assemble`] one of another image and layers of our own.
//!
//! What stands in such a file was written by anybody. Names that leave the archive, that come twice or are no
//! names at all, sizes and digests that differ, and streams that inflate without end are refused, and the error
//! names the entry.
//!
//! [image layout]: https://github.com/opencontainers/image-spec/blob/main/image-layout.md

mod assemble;
mod change;
mod directory;
mod docker;
mod import;
mod load;
mod names;
mod oci;
mod plain;
mod save;
mod sink;
mod stream;

use std::path::Path;

pub use assemble::{Draft, assemble};
pub use change::Change;
pub use import::{Root, import};
pub use load::{Check, load, load_checked};
pub use save::{Output, save};

use crate::digest::Digest;
use crate::error::{Error, shown};
use crate::layer;

/// Of an image layout: what it is.
const OCI_LAYOUT: &str = "oci-layout";
/// Of an image layout: what it holds.
const INDEX: &str = "index.json";
/// Of Docker's archive: what it holds.
const MANIFEST: &str = "manifest.json";
/// The full name of an image, as containerd writes it.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// A name by the image specification: a full one, or a tag alone.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Bytes of a buffer.
const CHUNK: usize = 256 * 1024;

/// Where images are read from.
#[allow(missing_debug_implementations, reason = "a reader has nothing to show")]
pub enum Input<'a> {
    /// An image layout.
    Directory(&'a Path),
    /// An archive of an image layout or of `docker save`, as it is or packed by gzip or Zstandard.
    Stream(&'a mut dyn std::io::Read),
}

fn refuse(entry: &str, why: impl Into<String>) -> Error {
    Error::Archive {
        entry: shown(entry),
        why: why.into(),
    }
}

fn tar(source: layer::Error) -> Error {
    Error::Tar { source }
}

/// The file of a blob in an image layout.
fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}
