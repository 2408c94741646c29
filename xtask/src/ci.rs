//! `cargo xtask ci`: everything that can be said about the source without running it as root.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::cmd;
use crate::workspace::{Workspace, cargo};
use crate::{api, tidy, tools};

/// What `ci` can be told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the steps whose name is given here: fmt, clippy, doc, doctests, alone, tidy, api, deny.
    steps: Vec<String>,
}

type Step = (&'static str, fn(&Workspace) -> Result<()>);

const STEPS: &[Step] = &[
    ("fmt", |workspace| {
        cmd::run(cargo().args(["fmt", "--all", "--", "--check"]))?;
        let mut command = cargo();
        command.args(["fmt", "--", "--check"]);
        cmd::run(command.current_dir(workspace.root.join("fuzz")))
    }),
    ("tidy", tidy::check),
    ("api", |workspace| api::check(workspace, false)),
    ("clippy", |_| {
        let all = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ];
        cmd::run(cargo().args(all))
    }),
    ("doc", |_| {
        let mut command = cargo();
        command.args(["doc", "--workspace", "--no-deps"]);
        cmd::run(command.env("RUSTDOCFLAGS", "-D warnings"))
    }),
    ("doctests", |_| {
        cmd::run(cargo().args(["test", "--workspace", "--doc"]))
    }),
    ("alone", alone),
    ("deny", deny),
];

/// Runs the steps, all of them even after one has failed.
///
/// # Errors
///
/// Names the steps that failed; each has said why.
pub(crate) fn run(args: &Args) -> Result<()> {
    let known = |name: &String| STEPS.iter().any(|(step, _)| step == name);
    if let Some(unknown) = args.steps.iter().find(|name| !known(name)) {
        let names: Vec<_> = STEPS.iter().map(|(name, _)| *name).collect();
        bail!("no step `{unknown}`; there are {}", names.join(", "));
    }
    let workspace = Workspace::load()?;
    let mut failed = Vec::new();
    for (name, step) in STEPS {
        if !args.steps.is_empty() && !args.steps.iter().any(|wanted| wanted == name) {
            continue;
        }
        println!("== {name}");
        let started = Instant::now();
        let result = step(&workspace);
        let seconds = started.elapsed().as_secs();
        match result {
            Ok(()) => println!("== {name}: ok ({seconds} s)"),
            Err(error) => {
                println!("== {name}: FAILED ({seconds} s): {error:#}");
                failed.push(*name);
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!(
        "failed: {}; run one again with `cargo xtask ci STEP`",
        failed.join(", ")
    )
}

/// Each kernel crate compiles without what its siblings switch on in shared dependencies.
fn alone(workspace: &Workspace) -> Result<()> {
    for name in tidy::KERNEL_CRATES {
        if workspace
            .packages
            .iter()
            .any(|package| package.name == name)
        {
            cmd::run(cargo().args(["check", "--quiet", "--all-targets", "--package", name]))?;
        }
    }
    Ok(())
}

/// Licences, sources and duplicates of the dependencies, by `deny.toml`.
fn deny(workspace: &Workspace) -> Result<()> {
    let mut command = Command::new(tools::have(workspace, "cargo-deny")?);
    command.args(["check", "bans", "licenses", "sources"]);
    cmd::run(command.current_dir(&workspace.root))
}
