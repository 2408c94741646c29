//! OCI images: their names, their documents, a store for their content, and registries.

mod config;
mod descriptor;
mod digest;
mod error;
mod json;
mod manifest;
mod media;
mod platform;
mod pull;
mod reference;
mod registry;
mod store;

pub use config::{Health, History, Id, ImageConfig, Port, Probe, User};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, Hasher};
pub use error::{Error, Source};
pub use json::MAX_DOCUMENT;
pub use manifest::{Document, Index, MAX_LAYERS, Manifest};
pub use media::{Compression, layer_compression};
pub use platform::{Platform, select};
pub use pull::{Progress, Pulled, Quiet, present, pull};
pub use reference::Reference;
pub use registry::challenge::{Challenge, parse as parse_challenge};
pub use registry::{Credentials, Login, Registry, Sent, Settings, forget, remember};
pub use store::{
    Blob, BlobUse, Claim, Ingest, Layer, Pruned, Record, Staging, Store, Usage, Writer,
};
