//! What the images of manifests are now, written down.

use image::Platform;
use serde_json::{Value, json};

use super::super::problems;
use super::super::shown::{Format, columns, pretty};
use super::{Stop, Update};
use crate::args::Global;
use crate::images::{Images, Lock, Problem, Show};
use crate::manifest;

/// One manifest after the other: what was written stays when a later one fails.
pub(super) fn update(images: &Images, asked: &Update, global: &Global) -> Result<String, Stop> {
    let host = Platform::host();
    let mut rows = Vec::new();
    let mut all: Vec<Value> = Vec::new();
    for path in &asked.manifests {
        let of_host = manifest::Options::of_host(global.root.as_deref());
        let loaded = manifest::load(path, &of_host)
            .map_err(|report| Stop::Said(problems::bad_manifest(&report)))?;
        let name = loaded.image().ok_or_else(|| Problem::NoImage {
            manifest: loaded.source.name().to_owned(),
        })?;
        let pulled = images.pull(name, &host, &Show::new(global.quiet))?;
        let now = pulled.record.target.digest.clone();
        let _turn = Lock::turn(&loaded.folder)?;
        let mut lock = Lock::read(&loaded.folder)?;
        let before = lock.set(name, &host, &now);
        if before.as_ref() != Some(&now) {
            lock.write()?;
        }
        let change = match &before {
            None => format!("is locked: {now}"),
            Some(before) if *before == now => format!("has not changed: {now}"),
            Some(before) => format!("{before} -> {now}"),
        };
        rows.push(vec![name.familiar(), host.to_string(), change]);
        all.push(json!({ "name": name, "platform": host, "before": before, "now": now }));
    }
    Ok(match asked.shown.format {
        Format::Json => pretty(&all),
        Format::Text => columns(&rows),
    })
}
