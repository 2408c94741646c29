//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

use crate::commands::Command;
use crate::{exit, logging, output};

/// Run containers from a manifest: no daemon, one binary.
#[derive(Debug, Parser)]
#[command(
    name = "ctr",
    bin_name = "ctr",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "Exit codes: 2 bad command line or manifest (nothing was created), 125 ctr itself failed; \
                  every other code is the container's."
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// Keep all state below DIR instead of the usual places
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Say what is being done; twice: say everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Format of log lines on standard error
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<logging::Format>,
}

/// Read the command line, do what it says, and give the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match common(&args).map_or_else(|| Cli::try_parse_from(&args), Ok) {
        Ok(cli) => cli,
        Err(e) => return usage(&e),
    };
    logging::start(cli.global.verbose, cli.global.log_format);
    match cli.command.run(&cli.global) {
        Ok(code) => code,
        Err(e) => {
            if e.code() != exit::BROKEN_PIPE {
                output::error(&e);
            }
            e.code()
        }
    }
}

/// `ctr run MANIFEST` and nothing else, read without building the parser: that takes some 100 µs,
/// a twentieth of a start.
fn common(args: &[OsString]) -> Option<Cli> {
    let [_, run, manifest] = args else {
        return None;
    };
    if run != "run" || manifest.is_empty() || manifest.as_encoded_bytes().starts_with(b"-") {
        return None;
    }
    Some(Cli {
        global: Global {
            root: None,
            verbose: 0,
            quiet: false,
            log_format: None,
        },
        command: Command::run_of(manifest.into()),
    })
}

/// Help and version are answers (0), everything else is a mistake (2).
fn usage(error: &clap::Error) -> u8 {
    // A reader who is gone cannot be told.
    let _ = error.print();
    if error.use_stderr() {
        exit::BAD_INPUT
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_common_form_is_read_as_the_parser_reads_it() {
        let short = common(&words("ctr run web.toml")).expect("the common form");
        let parsed = Cli::try_parse_from(words("ctr run web.toml")).expect("good arguments");
        assert_eq!(format!("{short:?}"), format!("{parsed:?}"));
    }

    #[test]
    fn every_other_form_is_the_parsers() {
        for line in [
            "ctr run -v",
            "ctr run --help",
            "ctr run",
            "ctr check a",
            "ctr run a b",
            "ctr run ",
        ] {
            assert!(common(&words(line)).is_none(), "{line:?}");
        }
    }
}
