//! Images from registries, and to them.

use image::Sent;

use super::{Pull, Push, Stop};
use crate::images::{Images, Show, bytes};
use crate::output;

pub(super) fn pull(images: &Images, asked: &Pull, quiet: bool) -> Result<String, Stop> {
    let show = Show::new(quiet);
    let (pulled, _in_use) = match &asked.platform {
        None => {
            let ready = images.pull_unpacked(&asked.name, &show)?;
            (ready.pulled, Some(ready.layers))
        }
        // What is for another machine is not run here, and may be for sending on.
        Some(platform) => (images.pull(&asked.name, platform, &show)?, None),
    };
    if !pulled.was_present {
        images.keep_to_budget(quiet);
    }
    let (name, digest) = (asked.name.familiar(), pulled.record.target.digest.clone());
    let was = match pulled.was_present {
        true => "is up to date",
        false => "pulled",
    };
    Ok(match quiet {
        true => format!("{digest}\n"),
        false => format!("{name} {was}: {digest}\n"),
    })
}

pub(super) fn push(images: &Images, asked: &Push, quiet: bool) -> Result<String, Stop> {
    let pulled = images.must(&asked.name)?;
    let to = asked.to.as_ref().unwrap_or(&asked.name);
    let registry = images.registry()?;
    let mut tell = |part: &image::Descriptor, sent| {
        if !quiet {
            let how = match sent {
                Sent::Present => "was there",
                Sent::Mounted => "taken from another repository",
                Sent::Whole => "sent",
            };
            let (digest, size) = (part.digest.short(), bytes(part.size));
            output::stderr(&format!("{digest} {how}, {size}\n"));
        }
    };
    let at = &pulled.record.manifest;
    registry.push(&images.store, at, to, Some(&asked.name), &mut tell)?;
    Ok(match quiet {
        true => format!("{}\n", at.digest),
        false => format!("{} pushed: {}\n", to.familiar(), at.digest),
    })
}
