//! Build, test and measure the workspace: `cargo xtask --help`.
//!
//! Exit status: 0 when all is well, 1 when a test or a check failed, 2 for a wrong command line,
//! 69 (`EX_UNAVAILABLE`) when the machinery failed and so nothing is known about the tests.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program"
)]

mod api;
mod bench;
mod ci;
mod cmd;
mod debs;
mod failure;
mod fixtures;
mod fuzz;
mod packages;
mod test;
mod tidy;
mod tools;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use crate::failure::{Failure, exit_code};
use crate::workspace::Workspace;

/// Build, test and measure the workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version = None::<&str>)]
enum Xtask {
    /// Compare each library's public interface with its picture in xtask/api.
    Api {
        /// Write the pictures anew.
        #[arg(long)]
        bless: bool,
    },
    /// Measure what starting a container and its network cost, beside the limit and other engines.
    Bench(bench::Args),
    /// A part of `bench`, in the namespaces that it makes.
    #[command(hide = true)]
    BenchInside(bench::InsideArgs),
    /// Make the root file systems that the tests use, under target/fixtures.
    Fixtures(fixtures::Args),
    /// Try what outsiders write with what nobody would write; needs a nightly compiler.
    Fuzz(fuzz::Args),
    /// Check all that can be checked without running the tests: formatting, lints, docs, licences.
    Ci(ci::Args),
    /// Run all tests, here and in a VM; installs what they need.
    Test(test::Args),
    /// Run the privileged tests in a virtual machine, one process each.
    TestVm(vm::Args),
}

fn main() -> ExitCode {
    let result = match Xtask::parse() {
        Xtask::Api { bless } => Workspace::load().and_then(|w| api::check(&w, bless)),
        Xtask::Bench(args) => bench::run(&args),
        Xtask::BenchInside(args) => bench::run_inside(&args),
        Xtask::Fixtures(args) => fixtures::run(&args),
        Xtask::Fuzz(args) => fuzz::run(&args),
        Xtask::Ci(args) => ci::run(&args),
        Xtask::Test(args) => test::run(&args).and_then(|counts| counts.finish()),
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
