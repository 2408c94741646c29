//! `ctr plan`: the kernel operations a start would make, in order. Makes none of them.

use std::fmt::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use engine::plan::{Operation, Plan};
use engine::spec::Origin;
use serde::Serialize;

use crate::args::Global;
use crate::commands::{image, problems};
use crate::exit::{self, CommandResult};
use crate::{manifest, output};

/// Arguments of `ctr plan`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The manifest
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,
    /// How the plan is shown
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Appended to the manifest's `args`
    #[arg(
        value_name = "ARGS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    args: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn run(args: &Args, global: &Global) -> CommandResult {
    let root = global.root.as_deref();
    let loaded = match manifest::load(&args.manifest, &manifest::Options::of_host(root)) {
        Ok(loaded) => loaded,
        Err(report) => return Ok(problems::bad_manifest(&report)),
    };
    let options = engine::Options::of_caller(root);
    let image = match image::as_it_is(&loaded, &options) {
        Ok(image) => image,
        Err(code) => return Ok(code),
    };
    let spec = match loaded.spec(&args.args, image.as_ref().map(image::Held::image).as_ref()) {
        Ok(spec) => spec,
        Err(report) => return Ok(problems::bad_manifest(&report)),
    };
    match engine::explain(&spec, &options) {
        Ok(plan) => {
            output::stdout(&match args.format {
                Format::Text => text(&plan, loaded.source.name()),
                Format::Json => json(&plan),
            })?;
            if plan.unmet.is_empty() {
                return Ok(exit::SUCCESS);
            }
            problems::refused(&loaded.source, &plan.unmet);
            Ok(exit::ENGINE)
        }
        Err(problems) => {
            problems::refused(&loaded.source, &problems);
            Ok(engine::Error::Refused(problems).exit_code())
        }
    }
}

/// A heading for what belongs together, then a line an operation: place, process, call, and the line
/// of the manifest that asked for it, unless nobody did.
fn text(plan: &Plan, file: &str) -> String {
    let operations = plan.operations();
    let mut out = format!("{}: {} operations\n", plan.name, operations.len());
    let mut heading = "";
    for (index, operation) in operations.iter().enumerate() {
        let Operation {
            who,
            purpose,
            call,
            origin,
            undo,
        } = operation;
        let place = index + 1;
        if *purpose != heading {
            heading = purpose;
            let _ = writeln!(
                out,
                "
{heading}"
            );
        }
        // Writing to a String cannot fail.
        let _ = write!(out, "{place:4}  {:<8} {call}", who.name());
        let _ = match origin {
            Origin::Default => Ok(()),
            Origin::Line(line) => write!(out, "   # {file}:{line}"),
            Origin::Image => write!(out, "   # image"),
        };
        out.push('\n');
        if let Some(undo) = undo {
            let _ = writeln!(out, "{:15}undo: {undo}", "");
        }
    }
    for note in &plan.notes {
        let _ = match note.origin {
            Origin::Default => writeln!(out, "note: {}", note.text),
            Origin::Line(line) => writeln!(out, "note: {}   # {file}:{line}", note.text),
            Origin::Image => writeln!(out, "note: {}   # image", note.text),
        };
    }
    out
}

#[derive(Serialize)]
struct Document<'a> {
    name: &'a str,
    operations: Vec<Entry<'a>>,
    notes: Vec<NoteEntry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    process: &'static str,
    purpose: &'static str,
    call: &'a str,
    /// `default`, or the line.
    origin: OriginEntry,
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<&'a str>,
}

#[derive(Serialize)]
struct NoteEntry<'a> {
    text: &'a str,
    origin: OriginEntry,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum OriginEntry {
    Default,
    Line(u32),
    Image,
}

impl From<Origin> for OriginEntry {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Default => Self::Default,
            Origin::Line(line) => Self::Line(line),
            Origin::Image => Self::Image,
        }
    }
}

fn json(plan: &Plan) -> String {
    let operations = plan.operations();
    let entries = operations.iter().map(|operation| Entry {
        process: operation.who.name(),
        purpose: operation.purpose,
        call: &operation.call,
        origin: operation.origin.into(),
        undo: operation.undo.as_deref(),
    });
    let notes = plan.notes.iter().map(|note| NoteEntry {
        text: &note.text,
        origin: note.origin.into(),
    });
    let document = Document {
        name: &plan.name,
        operations: entries.collect(),
        notes: notes.collect(),
    };
    let mut text =
        serde_json::to_string_pretty(&document).expect("strings and numbers are always JSON");
    text.push('\n');
    text
}
