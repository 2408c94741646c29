//! Blobs, one after the other and several at a time.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use super::{Coming, Progress};
use crate::config::ImageConfig;
use crate::descriptor::Descriptor;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::platform::{self, Platform};
use crate::reference::Reference;
use crate::registry::Registry;
use crate::store::{Blob, Claim, Growth, Store};

/// Blobs that come at the same time: enough to hide one server's delays, too few to be called rude.
const THREADS: usize = 3;

/// Where blobs come from, and where they go.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) store: &'a Store,
    pub(super) registry: &'a Registry,
    pub(super) name: &'a Reference,
    pub(super) progress: &'a dyn Progress,
}

/// How a blob is brought.
#[derive(Clone, Copy, Default)]
struct Way<'a> {
    /// Who works on the image's layers, and whose failure ends this.
    coming: Option<&'a Coming<'a>>,
    /// Where others read along.
    growth: Option<&'a Growth>,
}

impl Source<'_> {
    /// The configuration: an image that is for another machine, or cannot be run, is found out before its layers
    /// are brought.
    pub(super) fn config(
        &self,
        manifest: &Manifest,
        wanted: &Platform,
    ) -> Result<(ImageConfig, Blob), Error> {
        let mut blobs = vec![manifest.config.clone()];
        blobs.extend(manifest.layers.iter().cloned());
        self.progress.blobs(&blobs);
        let bring = || self.bring(&manifest.config, Way::default());
        let mut blob = bring()?;
        let bytes = match blob.document() {
            Err(error) if error.is_damage() => {
                let digest = std::slice::from_ref(&manifest.config.digest);
                self.store.remove_damaged(digest)?;
                blob = bring()?;
                blob.document()?
            }
            read => read?,
        };
        let config = ImageConfig::parse(manifest, &bytes)?;
        platform::check(&config.platform, wanted)?;
        Ok((config, blob))
    }

    /// The layers, in threads that have ended when this returns, and what `meanwhile` made of them.
    pub(super) fn layers<T, E: From<Error>>(
        &self,
        manifest: &Manifest,
        config: &ImageConfig,
        meanwhile: impl FnOnce(&Coming<'_>) -> Result<T, E>,
    ) -> Result<(Vec<Blob>, T), E> {
        let coming = Coming::new(manifest, config);
        // A layer that comes twice is brought once.
        let mut seen = HashSet::new();
        let parts: Vec<(usize, &Descriptor)> = manifest
            .layers
            .iter()
            .enumerate()
            .filter(|(_, layer)| seen.insert(&layer.digest))
            .collect();
        let next = AtomicUsize::new(0);
        let (held, errors) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let work = || {
            let _panics = FailsInPanic(&coming);
            while !coming.is_over() {
                let Some((at, layer)) = parts.get(next.fetch_add(1, Ordering::Relaxed)) else {
                    return;
                };
                match self.layer(*at, layer, &coming) {
                    Ok(blob) => {
                        lock(&held).push(blob);
                        coming.growth(&layer.digest).map(Growth::whole);
                    }
                    Err(error) => {
                        // Before the others are stopped: what they then say is no cause.
                        lock(&errors).push(error);
                        coming.fail();
                    }
                }
            }
        };
        let (done, is_cause) = thread::scope(|scope| {
            let threads = THREADS.min(parts.len());
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let done = meanwhile(&coming);
            // One that gives up because no more comes is not the cause.
            let is_cause = done.is_err() && !coming.is_over();
            if is_cause {
                coming.fail();
            }
            // A scope waits for what threads do, and a join for the threads.
            for thread in threads {
                if let Err(panic) = thread.join() {
                    std::panic::resume_unwind(panic);
                }
            }
            (done, is_cause)
        });
        // The first is the cause; those after it were stopped.
        match lock(&errors).drain(..).next() {
            Some(error) if !is_cause => Err(error.into()),
            _ => done.map(|done| (std::mem::take(&mut *lock(&held)), done)),
        }
    }

    fn layer(&self, at: usize, layer: &Descriptor, coming: &Coming<'_>) -> Result<Blob, Error> {
        let way = Way {
            coming: Some(coming),
            growth: coming.growth(&layer.digest),
        };
        let blob = self.bring(layer, way)?;
        self.progress.layer(at, layer, &blob)?;
        Ok(blob)
    }

    fn bring<'a>(&'a self, part: &Descriptor, way: Way<'a>) -> Result<Blob, Error> {
        let Self {
            store,
            registry,
            name,
            progress,
        } = self;
        let digest = &part.digest;
        let go_on = |so_far, shared| {
            !way.coming.is_some_and(Coming::is_over)
                && progress.go_on()
                && progress.bytes(digest, so_far, shared)
        };
        let mut is_first = true;
        loop {
            let mut ingest = match store.claim(part, &mut |so_far| go_on(so_far, true))? {
                Claim::Present(blob) => {
                    progress.bytes(digest, blob.size(), false);
                    return Ok(blob);
                }
                Claim::Given => {
                    return Err(Error::GivenUp {
                        what: digest.to_string(),
                    });
                }
                Claim::Mine(ingest) => ingest,
            };
            if let Some(growth) = way.growth {
                ingest.shown_by(growth)?;
            }
            let in_one_piece = match registry.blob(name, digest, &mut ingest, &mut |so_far| {
                go_on(so_far, false)
            }) {
                Ok(in_one_piece) => in_one_piece,
                // Nothing of what is too long can be of use.
                Err(error @ Error::Size { .. }) => {
                    ingest.discard()?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            };
            match ingest.commit() {
                Ok(blob) => return Ok(blob),
                // What came before a failure, or before a crash, may have been wrong: once more.
                Err(Error::Mismatch { .. }) if is_first && !in_one_piece => {}
                // Published, and pruned before it was held.
                Err(Error::Absent { .. }) if is_first => {}
                Err(error) => return Err(error),
            }
            is_first = false;
        }
    }
}

/// A thread that panics would be waited for without end.
struct FailsInPanic<'a>(&'a Coming<'a>);

impl Drop for FailsInPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
