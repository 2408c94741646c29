//! An image's layers, unpacked once and shared: what overlayfs stacks.
//!
//! A layer is applied by a process that has nothing else, see [`sandbox`]. Each needs the ones below it, so
//! they are applied one after the other, lowest first, and those that are being downloaded as they come.

mod coming;
mod ids;
mod one;
pub mod sandbox;

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use image::layer::{self, Limits, OverlayAttrs};
use image::{
    ChainId, Coming, Descriptor, Digest, ImageConfig, Layer, Manifest, Platform, Progress, Pulled,
    Reference, Registry, Store,
};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use one::One;
use sandbox::Sandbox;

/// Why an image cannot be had as directories.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// A layer is not what it should be, or the disk refused it.
    #[error("cannot unpack the layer {}", digest.short())]
    Layer {
        /// Its blob.
        digest: Digest,
        /// Why.
        #[source]
        source: layer::Error,
    },
    /// A layer's archive is not the one the image's configuration speaks of.
    #[error("the layer {} unpacks to {got}, and the image says {wanted}", digest.short())]
    DiffId {
        /// Its blob.
        digest: Digest,
        /// In the configuration.
        wanted: Digest,
        /// What came out.
        got: Digest,
    },
    /// What was asked of that process, besides unpacking, could not be done.
    #[error("cannot {what}: {why}")]
    Task {
        /// What.
        what: &'static str,
        /// As the process said it.
        why: String,
    },
    /// The process that unpacks could not be had.
    #[error("cannot start a process to unpack in: {call}")]
    Start {
        /// What failed.
        call: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// The way out, where there is one that the message does not say.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Image(error) => error.hint(),
            Self::Layer { source, .. } => source.hint(),
            Self::DiffId { .. } => {
                Some("whoever built the image must mend it; `ctr image pull` again changes nothing")
            }
            Self::Start { .. } | Self::Task { .. } => None,
        }
    }
}

/// Unpacked layers in use: as long as this lives, nobody removes them.
#[derive(Debug)]
pub struct Layers {
    held: Vec<Layer>,
}

impl Layers {
    /// The directories, as overlayfs takes them: topmost first. What the root of a layer hides is left out,
    /// since overlayfs does not look at that mark there.
    ///
    /// # Errors
    ///
    /// [`Error::Image`] where a layer cannot be looked at.
    pub fn directories(&self) -> Result<Vec<PathBuf>, Error> {
        let mut directories = Vec::new();
        for layer in self.held.iter().rev() {
            directories.push(layer.path().to_owned());
            if is_opaque(layer)? {
                break;
            }
        }
        Ok(directories)
    }
}

/// Hears how unpacking goes on: the layer's place, lowest first, and how much of its blob is read.
pub type Heard<'a> = &'a mut dyn FnMut(usize, &Descriptor, u64);

/// The layers of an image, if they are all unpacked.
///
/// # Errors
///
/// [`Error::Image`].
pub fn present(store: &Store, pulled: &Pulled) -> Result<Option<Layers>, Error> {
    let mut held = Vec::new();
    for id in ChainId::all(&pulled.config.diff_ids) {
        match store.layer(&id)? {
            Some(layer) => held.push(layer),
            None => return Ok(None),
        }
    }
    Ok(Some(Layers { held }))
}

/// Unpacks what is not unpacked yet, and holds all of it.
///
/// # Errors
///
/// [`Error`]; what was unpacked whole stays.
pub fn unpack(store: &Store, pulled: &Pulled, heard: Heard<'_>) -> Result<Layers, Error> {
    all(store, (&pulled.manifest, &pulled.config), None, heard)
}

/// Brings what a name leads to, and unpacks it meanwhile. Otherwise as [`image::pull`] and then [`unpack`].
///
/// A layer that this process is downloading is unpacked as it comes. One that is there, and one that another process
/// downloads, is unpacked when it is whole. Must be called by the leader of the process's threads, which starts the
/// processes that unpack: see [`ns::spawn`].
///
/// # Errors
///
/// [`Error`]. An image that cannot be unpacked gets no name, unless it had it before.
pub fn pull(
    store: &Store,
    registry: &Registry,
    name: &Reference,
    progress: &dyn Progress,
    heard: Heard<'_>,
) -> Result<(Pulled, Layers), Error> {
    let host = Platform::host();
    let meanwhile = |coming: &Coming<'_>| {
        let image = (coming.manifest(), coming.config());
        all(store, image, Some(coming), heard)
    };
    let (pulled, layers) =
        image::pull_meanwhile(store, registry, name, &host, progress, meanwhile)?;
    let layers = match layers {
        Some(layers) => layers,
        None => unpack(store, &pulled, heard)?,
    };
    Ok((pulled, layers))
}

/// All layers of an image, the missing ones lowest first.
fn all(
    store: &Store,
    (manifest, config): (&Manifest, &ImageConfig),
    coming: Option<&Coming<'_>>,
    heard: Heard<'_>,
) -> Result<Layers, Error> {
    let mut held: Vec<Layer> = Vec::new();
    let mut sandbox = None;
    for (at, id) in ChainId::all(&config.diff_ids).iter().enumerate() {
        if let Some(layer) = store.layer(id)? {
            held.push(layer);
            continue;
        }
        let sandbox = match &sandbox {
            Some(sandbox) => sandbox,
            None => sandbox.insert(Sandbox::new()?),
        };
        let one = One {
            store,
            sandbox,
            at,
            part: &manifest.layers[at],
            diff_id: &config.diff_ids[at],
            id,
            below: &held,
        };
        let layer = match coming {
            Some(coming) => one.as_it_comes(coming, heard)?,
            None => one.unpack(&|| true, heard)?,
        };
        held.push(layer);
    }
    Ok(Layers { held })
}

/// What a prune did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Gone {
    /// Blobs that are gone.
    pub blobs: Vec<Digest>,
    /// Unpacked layers that are gone, by their chain ID.
    pub layers: Vec<Digest>,
    /// Downloads and layers that were never finished.
    pub partial: usize,
    /// Bytes of the blobs and of what was never finished.
    pub bytes: u64,
    /// Objects without a name that somebody uses at this moment.
    pub busy: usize,
    /// What cannot be read, and what it may lead to has been kept.
    pub damaged: Vec<image::Damage>,
    /// Images that lost their names to a budget.
    pub forgotten: Vec<Reference>,
}

impl Gone {
    /// What a prune did.
    fn of(pruned: image::Pruned, forgotten: Vec<Reference>) -> Self {
        Self {
            layers: pruned.layers.iter().map(|id| id.digest().clone()).collect(),
            blobs: pruned.blobs,
            partial: pruned.partial,
            bytes: pruned.bytes,
            busy: pruned.busy,
            damaged: pruned.damaged,
            forgotten,
        }
    }
}

/// What is to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prune {
    /// What was never finished goes when it is older.
    pub older_than: Duration,
    /// Bytes that the images may take on disk, see [`Store::shrink`].
    pub budget: Option<u64>,
}

impl Prune {
    fn carry_out(&self, store: &Store) -> Result<Gone, image::Error> {
        match self.budget {
            None => Ok(Gone::of(store.prune(self.older_than)?, Vec::new())),
            Some(budget) => {
                let (forgotten, pruned) = store.shrink(budget, self.older_than)?;
                Ok(Gone::of(pruned, forgotten))
            }
        }
    }
}

/// [`Store::prune`] or [`Store::shrink`], with the right over files of every id that layers were unpacked with.
///
/// # Errors
///
/// [`Error`].
pub fn prune(store: &Store, prune: &Prune) -> Result<Gone, Error> {
    let sandbox = Sandbox::new()?;
    if sandbox.has_foreign_ids() {
        return sandbox.prune(store.path(), prune);
    }
    Ok(prune.carry_out(store)?)
}

/// Writes an image's layers as one archive: the root that a container of it has.
///
/// # Errors
///
/// [`Error::Task`] where the archive could not be written, [`Error::Start`].
pub fn export(layers: &Layers, out: BorrowedFd<'_>) -> Result<(), Error> {
    Sandbox::new()?.export(layers.directories()?, out)
}

/// Whether the root of a layer hides all below it.
fn is_opaque(layer: &Layer) -> Result<bool, Error> {
    let mut value = [0];
    match rustix::fs::fgetxattr(layer, OverlayAttrs::User.opaque(), &mut value) {
        Ok(1) => Ok(value == *b"y"),
        Ok(_) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(Error::Image(image::Error::Call {
            call: format!("fgetxattr({:?})", layer.path()),
            errno,
        })),
    }
}

/// What a layer may be, given what its descriptor says.
fn limits(compressed: u64) -> Limits {
    Limits {
        compressed,
        ..Limits::default()
    }
}

/// A directory by descriptor, for what is done in it.
fn open_directory(path: &std::path::Path) -> Result<std::os::fd::OwnedFd, Errno> {
    rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}
