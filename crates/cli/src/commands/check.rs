//! `ctr check`: every error of a manifest in one pass. Creates nothing.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::args::Global;
use crate::diagnostic;
use crate::exit::{self, CommandResult};
use crate::{manifest, output};

/// Arguments of `ctr check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Manifests to check
    #[arg(required = true, value_name = "MANIFEST")]
    manifests: Vec<PathBuf>,
    /// How errors are shown: text on standard error, or a JSON array on standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn run(args: &Args, global: &Global) -> CommandResult {
    let options = manifest::Options::of_host(global.root.as_deref());
    let mut reports = Vec::new();
    for path in &args.manifests {
        match manifest::load(path, &options).and_then(|loaded| loaded.spec(&[], None).map(drop)) {
            Ok(()) if args.format == Format::Text && !global.quiet => {
                output::stdout(&format!("{}: ok\n", path.display()))?;
            }
            Ok(()) => {}
            Err(report) => reports.push(report),
        }
    }
    match args.format {
        Format::Json => output::stdout(&diagnostic::json(reports.iter().map(|r| &**r)))?,
        Format::Text => {
            let colour = output::colour_on_stderr();
            reports
                .iter()
                .for_each(|report| output::stderr(&report.render(colour)));
        }
    }
    Ok(if reports.is_empty() {
        exit::SUCCESS
    } else {
        exit::BAD_INPUT
    })
}
