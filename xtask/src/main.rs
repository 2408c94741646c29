//! Build, test and measure the workspace: `cargo xtask --help`.
//!
//! Exit status: 0 when all is well, 1 when a test or a check failed, 2 for a wrong command line,
//! 69 (`EX_UNAVAILABLE`) when the machinery failed and so nothing is known about the tests.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program"
)]

mod bench;
mod cmd;
mod failure;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use crate::failure::{Failure, exit_code};

/// Build, test and measure the workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version = None::<&str>)]
enum Xtask {
    /// Measure what starting a container costs, beside the limit and other engines.
    Bench(bench::Args),
    /// Run the privileged tests in a virtual machine, one process each.
    TestVm(vm::Args),
}

fn main() -> ExitCode {
    let result = match Xtask::parse() {
        Xtask::Bench(args) => bench::run(&args),
        Xtask::TestVm(args) => vm::run(&args).and_then(|counts| counts.finish()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A plain "tests failed" has already been said by the counts.
            if !matches!(error.downcast_ref(), Some(Failure::Tests)) {
                eprintln!("xtask: {error:#}");
            }
            exit_code(&error)
        }
    }
}
