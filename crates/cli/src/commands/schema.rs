//! `ctr schema`: the JSON schema of the manifest.

use crate::exit::{self, CommandResult};
use crate::{manifest, output};

/// Arguments of `ctr schema`.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(super) fn run(Args {}: &Args) -> CommandResult {
    output::stdout(&manifest::schema::text())?;
    Ok(exit::SUCCESS)
}
