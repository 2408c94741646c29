//! The commands. Each has a file with its arguments and a `run`; a variant here makes it known.

use clap::Subcommand;

use crate::args::Global;
use crate::exit::CommandResult;

mod changes;
mod check;
mod completions;
mod copy;
mod image;
mod info;
mod login;
mod man;
mod network;
mod plan;
mod problems;
mod run;
mod schema;
mod shown;

/// What `ctr` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a container in the foreground
    Run(run::Args),
    /// Print every kernel operation that a run would make, and make none of them
    Plan(plan::Args),
    /// Show what this machine has for containers, what is missing, and what to do
    Info(info::Args),
    /// Bring images here, look at them, send them away, remove them
    Image(image::Args),
    /// Keep a proof of identity for a registry, where Docker keeps it
    Login(login::Login),
    /// Forget it
    Logout(login::Logout),
    /// Show what a running container has changed of its image
    Diff(changes::DiffArgs),
    /// Make an image of a running container: its own, and a layer with what has changed
    Commit(changes::CommitArgs),
    /// Copy files between a running container and this machine
    Cp(copy::Args),
    /// Make, list, mend and explain networks
    Network(network::Args),
    /// Check manifests and report every error in them
    Check(check::Args),
    /// Print the JSON schema of the manifest, for editors
    Schema(schema::Args),
    /// Print the completions of a shell
    Completions(completions::Args),
    /// Write the manual pages into a directory
    Man(man::Args),
}

impl Command {
    /// `ctr run MANIFEST` without an option.
    #[must_use]
    pub fn run_of(manifest: std::path::PathBuf) -> Self {
        Self::Run(run::Args::of(manifest))
    }

    /// Do it.
    ///
    /// # Errors
    /// What the command says; errors of a manifest are shown by the command and are an exit code.
    pub fn run(&self, global: &Global) -> CommandResult {
        match self {
            Self::Run(args) => run::run(args, global),
            Self::Plan(args) => plan::run(args, global),
            Self::Info(args) => info::run(args, global),
            Self::Image(args) => image::run(args, global),
            Self::Login(args) => login::login(args),
            Self::Logout(args) => login::logout(args),
            Self::Diff(args) => changes::diff(args, global),
            Self::Commit(args) => changes::commit(args, global),
            Self::Cp(args) => copy::run(args, global),
            Self::Network(args) => network::run(args, global),
            Self::Check(args) => check::run(args, global),
            Self::Schema(args) => schema::run(args),
            Self::Completions(args) => completions::run(args),
            Self::Man(args) => man::run(args),
        }
    }
}
