//! What is known of images.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use image::{Pulled, Record, Reference};
use serde_json::{Value, json};

use super::super::shown::{Format, columns, pretty};
use super::Stop;
use crate::images::{Images, Problem, age, bytes};

fn row(cells: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
    cells.into_iter().map(Into::into).collect()
}

pub(super) fn list(images: &Images, format: Format) -> Result<String, Stop> {
    let mut records = images.store.images()?;
    records.sort_by_key(|record| record.name.familiar());
    if format == Format::Json {
        return Ok(pretty(&records));
    }
    let mut rows = vec![row(["IMAGE", "DIGEST", "PLATFORM", "SIZE", "HERE SINCE"])];
    for record in &records {
        let size = match images.here(&record.name) {
            Ok(Some(pulled)) => bytes(size(&pulled)),
            Ok(None) => "incomplete".to_owned(),
            Err(Problem::Image(image::Error::Damaged { .. })) => "damaged".to_owned(),
            Err(problem) => return Err(problem.into()),
        };
        rows.push(row([
            record.name.familiar(),
            record.target.digest.short().to_owned(),
            record.platform.to_string(),
            size,
            since(record),
        ]));
    }
    Ok(columns(&rows))
}

/// Of the blobs: what a registry would send.
fn size(pulled: &Pulled) -> u64 {
    let parts = pulled.manifest.layers.iter();
    parts.map(|part| part.size).sum::<u64>() + pulled.manifest.config.size
}

fn since(record: &Record) -> String {
    let then = UNIX_EPOCH + Duration::from_secs(record.updated);
    age(SystemTime::now().duration_since(then).unwrap_or_default())
}

pub(super) fn inspect(images: &Images, name: &Reference, format: Format) -> Result<String, Stop> {
    let pulled = images.must(name)?;
    if format == Format::Json {
        return Ok(pretty(&document(images, &pulled)?));
    }
    let config = &pulled.config;
    let mut rows = vec![
        row(["name", &name.to_string()]),
        row(["digest", &pulled.record.target.digest.to_string()]),
        row(["manifest", &pulled.record.manifest.digest.to_string()]),
        row(["config", &pulled.manifest.config.digest.to_string()]),
        row(["platform", &config.platform.to_string()]),
        row([
            "created",
            &config
                .created
                .as_deref()
                .unwrap_or("-")
                .escape_debug()
                .to_string(),
        ]),
        row(["entrypoint", &words(&config.entrypoint)]),
        row(["command", &words(&config.cmd)]),
        row(["workdir", config.working_dir.as_deref().unwrap_or("/")]),
    ];
    rows.extend(config.user.as_ref().map(|user| row(["user", &who(user)])));
    for (name, value) in &config.env {
        rows.push(row(["env", &format!("{name}={}", value.escape_debug())]));
    }
    for port in &config.exposed_ports {
        rows.push(row(["port", &format!("{}/{}", port.number, port.protocol)]));
    }
    rows.extend(config.volumes.iter().map(|at| row(["volume", at])));
    for (name, value) in &config.labels {
        let (name, value) = (name.escape_debug(), value.escape_debug());
        rows.push(row(["label", &format!("{name}={value}")]));
    }
    for layer in &pulled.manifest.layers {
        let text = format!("{}  {}", layer.digest, bytes(layer.size));
        rows.push(row(["layer", &text]));
    }
    Ok(columns(&rows))
}

/// As a shell would read it.
fn words(words: &[String]) -> String {
    match words.is_empty() {
        true => "-".to_owned(),
        false => format!("{words:?}"),
    }
}

fn who(user: &image::User) -> String {
    let id = |id: &image::Id| match id {
        image::Id::Number(number) => number.to_string(),
        image::Id::Name(name) => name.clone(),
    };
    match &user.group {
        Some(group) => format!("{}:{}", id(&user.user), id(group)),
        None => id(&user.user),
    }
}

/// The documents as they are, with what leads to them.
fn document(images: &Images, pulled: &Pulled) -> Result<Value, Stop> {
    let read = |digest: &image::Digest| -> Result<Value, Stop> {
        let bytes = images.store.document(digest)?;
        let what = digest.to_string();
        serde_json::from_slice(&bytes).map_err(|source| image::Error::Json { what, source }.into())
    };
    Ok(json!({
        "name": pulled.record.name,
        "target": pulled.record.target,
        "platform": pulled.record.platform,
        "manifest": read(&pulled.record.manifest.digest)?,
        "config": read(&pulled.manifest.config.digest)?,
    }))
}

pub(super) fn history(images: &Images, name: &Reference, format: Format) -> Result<String, Stop> {
    let pulled = images.must(name)?;
    // A step that changed no file has no layer.
    let mut layers = pulled.manifest.layers.iter();
    let steps = pulled.config.history.iter().map(|step| {
        let layer = (!step.empty_layer).then(|| layers.next()).flatten();
        (step, layer)
    });
    let steps: Vec<_> = steps.collect();
    if format == Format::Json {
        let all = steps.iter().rev().map(|(step, layer)| {
            json!({
                "created": step.created,
                "createdBy": step.created_by,
                "comment": step.comment,
                "layer": layer.map(|layer| &layer.digest),
                "size": layer.map_or(0, |layer| layer.size),
            })
        });
        return Ok(pretty(&all.collect::<Vec<_>>()));
    }
    let mut rows = vec![row(["LAYER", "SIZE", "CREATED", "BY"])];
    for (step, layer) in steps.iter().rev() {
        let by = step.created_by.as_deref().or(step.comment.as_deref());
        rows.push(row([
            layer.map_or("-", |layer| layer.digest.short()).to_owned(),
            layer.map_or_else(|| "-".to_owned(), |layer| bytes(layer.size)),
            step.created
                .as_deref()
                .unwrap_or("-")
                .escape_debug()
                .to_string(),
            by.unwrap_or("-").escape_debug().to_string(),
        ]));
    }
    Ok(columns(&rows))
}

pub(super) fn usage(images: &Images, format: Format) -> Result<String, Stop> {
    let usage = images.store.usage()?;
    if format == Format::Json {
        let blobs = usage.blobs.iter().map(
            |blob| json!({ "digest": blob.digest, "size": blob.size, "holders": blob.holders }),
        );
        let layers = usage
            .layers
            .iter()
            .map(|layer| json!({ "chainId": layer.id.digest(), "size": layer.size, "holders": layer.holders }));
        return Ok(pretty(&json!({
            "blobs": blobs.collect::<Vec<_>>(),
            "layers": layers.collect::<Vec<_>>(),
            "partial": usage.partial,
            "damaged": usage.damaged,
        })));
    }
    let holders = |holders: &[Reference]| match holders {
        [] => "nobody: `ctr image prune` removes it".to_owned(),
        names => {
            let names: Vec<String> = names.iter().map(Reference::familiar).collect();
            names.join(", ")
        }
    };
    let mut rows = vec![row(["WHAT", "DIGEST", "SIZE", "HELD BY"])];
    for blob in &usage.blobs {
        let (digest, size) = (blob.digest.short(), bytes(blob.size));
        rows.push(row(["blob", digest, &size, &holders(&blob.holders)]));
    }
    for layer in &usage.layers {
        let (digest, size) = (layer.id.digest().short(), bytes(layer.size));
        rows.push(row(["layer", digest, &size, &holders(&layer.holders)]));
    }
    rows.push(row(["all", "-", &bytes(usage.on_disk()), "-"]));
    rows.push(row(["of these free", "-", &bytes(free(&usage)), "-"]));
    rows.push(row(["unfinished", "-", &bytes(usage.partial), "-"]));
    Ok(columns(&rows) + &damaged(&usage.damaged))
}

/// A line for each file that cannot be read.
pub(super) fn damaged(all: &[image::Damage]) -> String {
    let line = |damage: &image::Damage| {
        let of = damage.image.as_ref().map(Reference::familiar);
        let of = of.map_or_else(String::new, |name| format!(" of {name}"));
        format!("damaged{of}: {}: {}\n", damage.path.display(), damage.why)
    };
    all.iter().map(line).collect()
}

/// Bytes that no image holds.
fn free(usage: &image::Usage) -> u64 {
    let blobs = usage.blobs.iter().map(|blob| (blob.size, &blob.holders));
    let layers = usage
        .layers
        .iter()
        .map(|layer| (layer.size, &layer.holders));
    let free = blobs
        .chain(layers)
        .filter(|(_, holders)| holders.is_empty());
    free.map(|(size, _)| size).sum()
}
