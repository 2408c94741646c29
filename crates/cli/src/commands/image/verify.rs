//! Whether the content that is here is still what its names say.

use image::{Record, Verified};
use serde_json::json;

use super::super::shown::{Format, columns, pretty};
use super::{Stop, Verify};
use crate::images::{Images, bytes};
use crate::{exit, output};

pub(super) fn verify(images: &Images, asked: &Verify) -> Result<String, Stop> {
    let records = match asked.names.is_empty() {
        true => images.store.images()?,
        false => {
            let records = asked.names.iter().map(|name| images.record(name));
            records.collect::<Result<_, _>>()?
        }
    };
    let mut all = Vec::new();
    for record in records {
        let verified = images.store.verify_image(&record)?;
        if asked.remove {
            images.store.remove_damaged(&verified.damaged)?;
        }
        all.push((record, verified));
    }
    let text = match asked.shown.format {
        Format::Json => as_json(&all),
        Format::Text => as_text(&all),
    };
    if all.iter().all(|(_, verified)| verified.is_good()) {
        return Ok(text);
    }
    output::stdout(&text).map_err(Stop::Other)?;
    if asked.shown.format == Format::Text {
        output::stderr(match asked.remove {
            true => "  help: `ctr image pull IMAGE` brings what is missing\n",
            false => "  help: `ctr image verify --remove`, then `ctr image pull IMAGE`\n",
        });
    }
    Err(Stop::Said(exit::ENGINE))
}

fn as_json(all: &[(Record, Verified)]) -> String {
    let all = all.iter().map(|(record, verified)| {
        json!({
            "name": record.name,
            "good": verified.is_good(),
            "blobs": verified.blobs,
            "bytes": verified.bytes,
            "damaged": verified.damaged,
            "absent": verified.absent,
        })
    });
    pretty(&all.collect::<Vec<_>>())
}

fn as_text(all: &[(Record, Verified)]) -> String {
    let row = |cells: [String; 4]| cells.to_vec();
    let mut rows = vec![row(["IMAGE", "BLOBS", "SIZE", "STATE"].map(str::to_owned))];
    for (record, verified) in all {
        let lists = [("damaged", &verified.damaged), ("absent", &verified.absent)];
        let bad = lists.iter().flat_map(|(what, list)| {
            list.iter()
                .map(move |one| format!("{} {what}", one.short()))
        });
        let bad: Vec<String> = bad.collect();
        rows.push(row([
            record.name.familiar(),
            verified.blobs.to_string(),
            bytes(verified.bytes),
            match bad.is_empty() {
                true => "good".to_owned(),
                false => bad.join(", "),
            },
        ]));
    }
    columns(&rows)
}
