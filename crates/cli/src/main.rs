//! The `ctr` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::args::main(std::env::args_os())
}
