//! The image that a manifest names, for the commands that take a manifest.

use std::path::PathBuf;

use engine::Options;
use image::Reference;

use super::super::problems;
use crate::images::{Images, Problem, Ready, Show, Wanted};
use crate::manifest::{Image, Loaded};

/// An image and its layers, in use.
pub(in crate::commands) struct Held {
    ready: Ready,
    lowers: Vec<PathBuf>,
}

impl Held {
    /// As a manifest takes it.
    pub(in crate::commands) fn image(&self) -> Image<'_> {
        Image {
            config: &self.ready.pulled.config,
            record: Some(self.ready.pulled.record.clone()),
            lowers: self.lowers.clone(),
        }
    }
}

/// The manifest's image, pulled and unpacked if that is still to do; with `locked` nothing but what its lock names.
/// What goes wrong is shown.
pub(in crate::commands) fn ready(
    loaded: &Loaded,
    options: &Options,
    locked: bool,
    quiet: bool,
) -> Result<Option<Held>, u8> {
    of(loaded, |name| {
        let wanted = Wanted::of(name, &loaded.folder, locked)?;
        let images = Images::open(options)?;
        let ready = images.ready(&wanted, &Show::new(quiet))?;
        if !ready.pulled.was_present {
            images.keep_to_budget(quiet);
        }
        Ok(ready)
    })
}

/// The manifest's image as it is here; nothing is brought or unpacked.
pub(in crate::commands) fn as_it_is(
    loaded: &Loaded,
    options: &Options,
) -> Result<Option<Held>, u8> {
    of(loaded, |name| {
        let wanted = Wanted::of(name, &loaded.folder, false)?;
        Images::open(options)?.as_it_is(&wanted)
    })
}

fn of(
    loaded: &Loaded,
    get: impl FnOnce(&Reference) -> Result<Ready, Problem>,
) -> Result<Option<Held>, u8> {
    let Some(name) = loaded.image() else {
        return Ok(None);
    };
    let held = get(name).and_then(|ready| {
        let lowers = ready.directories()?;
        Ok(Held { ready, lowers })
    });
    held.map(Some)
        .map_err(|problem| problems::image(loaded, &problem))
}
