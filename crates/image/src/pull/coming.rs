//! Layers that come, for who works on them meanwhile.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::manifest::Manifest;
use crate::store::{Came, Growth};

/// An image whose layers are being brought. Its configuration is there: it fits the manifest and the platform.
#[derive(Debug)]
pub struct Coming<'a> {
    manifest: &'a Manifest,
    config: &'a ImageConfig,
    /// By digest: a layer that comes twice is brought once.
    growths: HashMap<&'a Digest, Growth>,
    over: AtomicBool,
}

impl<'a> Coming<'a> {
    pub(super) fn new(manifest: &'a Manifest, config: &'a ImageConfig) -> Self {
        let layers = manifest.layers.iter();
        Self {
            manifest,
            config,
            growths: layers
                .map(|layer| (&layer.digest, Growth::default()))
                .collect(),
            over: AtomicBool::new(false),
        }
    }

    /// Its manifest.
    pub fn manifest(&self) -> &'a Manifest {
        self.manifest
    }

    /// Its configuration.
    pub fn config(&self) -> &'a ImageConfig {
        self.config
    }

    /// Waits for a layer, by its place in the manifest, until it is whole or this process begins to bring it; where another
    /// process brings it, until it is whole. `None` if it will not come, because the pull has failed.
    pub fn layer(&self, at: usize) -> Option<Came<'_>> {
        self.growth_at(at)?.wait()
    }

    /// Waits until a layer is in the store, whole and verified; `false` if it will not come.
    pub fn whole(&self, at: usize) -> bool {
        self.growth_at(at).is_some_and(Growth::wait_whole)
    }

    /// The pull has failed: nothing more will come, and what was made of it may be of no use.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn growth_at(&self, at: usize) -> Option<&Growth> {
        self.growth(&self.manifest.layers.get(at)?.digest)
    }

    pub(super) fn growth(&self, digest: &Digest) -> Option<&Growth> {
        self.growths.get(digest)
    }

    /// Ends every wait.
    pub(super) fn fail(&self) {
        self.over.store(true, Ordering::Release);
        self.growths.values().for_each(Growth::fail);
    }
}
