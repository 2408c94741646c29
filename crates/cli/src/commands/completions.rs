//! `ctr completions`: what a shell needs to complete `ctr`.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::args::Cli;
use crate::exit::{self, CommandResult};
use crate::output;

/// Arguments of `ctr completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &Args) -> CommandResult {
    // Into memory first: the generator panics when its writer fails.
    let mut text = Vec::new();
    generate(args.shell, &mut Cli::command(), "ctr", &mut text);
    output::stdout(&String::from_utf8_lossy(&text))?;
    Ok(exit::SUCCESS)
}
