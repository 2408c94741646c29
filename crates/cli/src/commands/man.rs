//! `ctr man`: the manual pages, one for each command.

use std::path::PathBuf;

use clap::CommandFactory;

use crate::args::Cli;
use crate::exit::{self, CommandResult, Error};

/// Arguments of `ctr man`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An existing directory, such as /usr/local/share/man/man1
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn run(args: &Args) -> CommandResult {
    clap_mangen::generate_to(Cli::command(), &args.dir).map_err(|source| Error::Write {
        path: args.dir.clone(),
        source,
    })?;
    Ok(exit::SUCCESS)
}
