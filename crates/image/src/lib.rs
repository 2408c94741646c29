//! OCI images: their names, their documents, a store for their content, and registries.
//!
//! - [`Reference`], [`Digest`] and [`Platform`] are what people and documents call things by. Each is checked
//!   where it is made.
//! - [`Document`], [`Manifest`], [`Index`] and [`ImageConfig`] are what registries serve, by the [image
//!   specification] and in Docker's words. They are read within bounds, and refused where two readers could
//!   differ.
//! - [`Store`] keeps blobs, names and unpacked layers in a directory, without a lock over the whole.
//! - [`layer`] turns the stream of a layer into a directory that overlayfs can stack, and back.
//! - [`archive`] reads and writes images in files: OCI layouts, and what `docker save` writes; it makes
//!   images of root file systems, and of other images.
//! - [`Registry`] speaks the [distribution specification]; [`pull`] brings an image from it into a store.
//!
//! Needs no privilege. Calls wait, and need a thread each to be done at once; [`pull`] has three more for the time
//! it runs.
//!
//! ```no_run
//! use image::{Credentials, Platform, Quiet, Registry, Settings, Store, pull};
//!
//! let store = Store::open("/var/lib/images".as_ref())?;
//! let credentials = Credentials::from_environment();
//! let registry = Registry::new(Settings { credentials, ..Settings::default() })?;
//! let image = pull(&store, &registry, &"nginx".parse()?, &Platform::host(), &Quiet)?;
//! println!("{:?} {:?}", image.config.entrypoint, image.config.cmd);
//! # Ok::<(), image::Error>(())
//! ```
//!
//! [image specification]: https://github.com/opencontainers/image-spec/blob/main/spec.md
//! [distribution specification]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md

pub mod archive;
mod chain;
mod config;
mod descriptor;
mod digest;
mod error;
mod json;
pub mod layer;
mod manifest;
mod media;
mod platform;
mod pull;
mod reference;
mod registry;
mod store;

pub use chain::ChainId;
pub use config::{Health, History, Id, ImageConfig, Port, Probe, User};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, Hasher};
pub use error::{Error, Source};
pub use json::MAX_DOCUMENT;
pub use manifest::{Document, Index, MAX_LAYERS, Manifest};
pub use media::layer_compression;
pub use platform::{Platform, select};
pub use pull::{Coming, Progress, Pulled, Quiet, local, present, pull, pull_meanwhile, recorded};
pub use reference::Reference;
pub use registry::challenge::{Challenge, parse as parse_challenge};
pub use registry::{Credentials, Login, Registry, Sent, Settings, forget, remember};
pub use store::{
    Blob, BlobUse, Came, Claim, Damage, Growing, Ingest, Layer, LayerUse, Pruned, Record, Staging,
    Store, Usage, Verified, Writer,
};
