//! `cargo xtask fuzz`: what outsiders write, tried with what nobody would write. The targets are in `fuzz/`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::failure::Failure;
use crate::workspace::{Workspace, cargo};
use crate::{cmd, tools};

/// Bytes of an input: more than that says nothing new, and is slow.
const MAX_LENGTH: u32 = 16 * 1024;

/// What `fuzz` can be told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// For each target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only these targets.
    targets: Vec<String>,
}

/// Runs the targets one after another, all of them even after one has found something.
///
/// # Errors
///
/// There is no nightly compiler, a target is unknown, or one has found something: the input lies in
/// `fuzz/artifacts/TARGET` then.
pub(crate) fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::load()?;
    let directory = workspace.root.join("fuzz");
    if !has_nightly() {
        let way_out = "rustup toolchain install nightly --profile minimal";
        let why = format!("fuzzing needs a nightly compiler: `{way_out}`");
        return Err(Failure::Machine(why).into());
    }
    let program = tools::have(&workspace, "cargo-fuzz@0.13.2")?;
    let list = cmd::output(fuzz(&program, &directory).arg("list"))?;
    let known: Vec<&str> = list.split_whitespace().collect();
    if let Some(other) = args
        .targets
        .iter()
        .find(|name| !known.contains(&name.as_str()))
    {
        bail!("no target `{other}`; there are {}", known.join(", "));
    }
    let is_wanted =
        |name: &&str| args.targets.is_empty() || args.targets.iter().any(|one| one == name);
    let wanted: Vec<&str> = known.into_iter().filter(is_wanted).collect();
    let mut seeds = cargo();
    seeds.args(["run", "--quiet", "--bin", "seeds", "--", "corpus"]);
    cmd::run(seeds.args(&wanted).current_dir(&directory))?;
    let mut found = Vec::new();
    for target in wanted {
        println!("== fuzz {target}");
        // By its own: what does not build is no finding.
        cmd::run(fuzz(&program, &directory).args(["build", target]))?;
        let mut command = fuzz(&program, &directory);
        command.args(["run", target, "--", "-timeout=20", "-print_final_stats=1"]);
        command.arg(format!("-max_total_time={}", args.seconds));
        command.arg(format!("-max_len={MAX_LENGTH}"));
        if let Err(error) = cmd::run(&mut command) {
            println!("== fuzz {target}: FAILED: {error:#}");
            found.push(target);
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    println!("found something: {}", found.join(", "));
    Err(Failure::Tests).context("fuzz")
}

fn has_nightly() -> bool {
    let mut command = Command::new("rustup");
    cmd::output(command.args(["run", "nightly", "rustc", "--version"])).is_ok()
}

/// cargo-fuzz with the nightly compiler, whatever compiler built us.
fn fuzz(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly"]).arg(program);
    command.current_dir(directory).env_remove("CARGO");
    command
}
