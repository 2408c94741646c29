//! `ctr run`: a container in the foreground, from its manifest to its exit report.

use std::path::PathBuf;

use engine::report::{ExitReport, Outcome};

use crate::args::Global;
use crate::commands::{image, problems};
use crate::exit::{CommandResult, Error};
use crate::{manifest, output};

/// Arguments of `ctr run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The manifest
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,
    /// Write how the container ended to FILE, as JSON
    #[arg(long, value_name = "FILE")]
    exit_report: Option<PathBuf>,
    /// Take nothing but the image that `ctr.lock` beside the manifest names
    #[arg(long)]
    locked: bool,
    /// Appended to the manifest's `args`
    #[arg(
        value_name = "ARGS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    args: Vec<String>,
}

impl Args {
    /// Only a manifest.
    pub(super) fn of(manifest: PathBuf) -> Self {
        Self {
            manifest,
            exit_report: None,
            locked: false,
            args: Vec::new(),
        }
    }
}

pub(super) fn run(args: &Args, global: &Global) -> CommandResult {
    let root = global.root.as_deref();
    let loaded = match manifest::load(&args.manifest, &manifest::Options::of_host(root)) {
        Ok(loaded) => loaded,
        Err(report) => return Ok(problems::bad_manifest(&report)),
    };
    let options = engine::Options::of_caller(root);
    // Held until the container has ended, so that nobody removes its layers.
    let image = match image::ready(&loaded, &options, args.locked, global.quiet) {
        Ok(image) => image,
        Err(code) => return Ok(code),
    };
    let spec = match loaded.spec(&args.args, image.as_ref().map(image::Held::image).as_ref()) {
        Ok(spec) => spec,
        Err(report) => return Ok(problems::bad_manifest(&report)),
    };
    match engine::run(&spec, &options) {
        Ok(report) => ended(&report, args, global),
        Err(error) => {
            problems::show(&loaded.source, &spec.name.value, &error);
            Ok(error.exit_code())
        }
    }
}

/// The container has ended: say why, unless it simply did its work.
fn ended(report: &ExitReport, args: &Args, global: &Global) -> CommandResult {
    let clean = matches!(report.outcome, Outcome::Exited { code: 0 });
    let silent = global.quiet || clean && report.notes.is_empty();
    if !silent {
        let name = &report.facts.name;
        let mut lines = format!("ctr: `{name}` {}\n", report.cause);
        for note in &report.notes {
            lines.push_str(&format!("ctr: `{name}`: {note}\n"));
        }
        output::stderr(&lines);
    }
    if let Some(path) = &args.exit_report {
        let mut json = serde_json::to_vec_pretty(report).map_err(|source| Error::Write {
            path: path.clone(),
            source: source.into(),
        })?;
        json.push(b'\n');
        std::fs::write(path, json).map_err(|source| Error::Write {
            path: path.clone(),
            source,
        })?;
    }
    Ok(report.exit_code)
}
