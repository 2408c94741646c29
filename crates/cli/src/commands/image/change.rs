//! Names of images, and what no name leads to.

use image::{Record, Reference};

use super::super::shown::{Format, pretty};
use super::Stop;
use crate::images::{Images, Problem, bytes};

pub(super) fn tag(images: &Images, name: &Reference, new: &Reference) -> Result<String, Stop> {
    let pulled = images.must(name)?;
    let Record {
        target,
        manifest,
        platform,
        ..
    } = &pulled.record;
    if new.digest().is_some_and(|digest| *digest != target.digest) {
        return Err(Stop::Problem(Problem::Image(image::Error::Mismatch {
            wanted: new
                .digest()
                .cloned()
                .unwrap_or_else(|| target.digest.clone()),
            got: target.digest.clone(),
        })));
    }
    let record = Record::new(new.clone(), target, manifest, platform.clone());
    images.store.tag(&record, &pulled.held)?;
    Ok(String::new())
}

/// All of them, or none: a name that is not here is found before another is gone.
pub(super) fn remove(images: &Images, names: &[Reference]) -> Result<String, Stop> {
    for name in names {
        images.record(name)?;
    }
    let mut text = String::new();
    for name in names {
        if images.store.untag(name)? {
            text.push_str(&format!("{}\n", name.familiar()));
        }
    }
    Ok(text)
}

pub(super) fn prune(images: &Images, asked: &super::Prune) -> Result<String, Stop> {
    let prune = engine::layers::Prune {
        older_than: asked.older_than,
        budget: asked.budget,
    };
    let pruned = engine::layers::prune(&images.store, &prune)?;
    Ok(match asked.shown.format {
        Format::Json => pretty(&pruned),
        Format::Text => {
            let busy = match pruned.busy {
                0 => String::new(),
                busy => format!("; {busy} are in use and stay until then"),
            };
            let forgotten = pruned.forgotten.iter();
            let names: String = forgotten
                .map(|name| format!("{}\n", name.familiar()))
                .collect();
            names
                + &format!(
                    "removed {} blobs, {} unpacked layers and {} broken downloads, {}{busy}\n",
                    pruned.blobs.len(),
                    pruned.layers.len(),
                    pruned.partial,
                    bytes(pruned.bytes),
                )
                + &super::show::damaged(&pruned.damaged)
        }
    })
}
