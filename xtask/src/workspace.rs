//! Where things are: what `cargo metadata` says, as far as it is used here.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::cmd;

/// The workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    /// The directory with the workspace's `Cargo.toml`.
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    /// `target/`, or what `CARGO_TARGET_DIR` says.
    #[serde(rename = "target_directory")]
    pub(crate) target: PathBuf,
    /// The members.
    pub(crate) packages: Vec<Package>,
}

/// A member of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    /// The name in its `Cargo.toml`.
    pub(crate) name: String,
    /// What cargo calls it in its messages.
    pub(crate) id: String,
    /// Its `Cargo.toml`.
    pub(crate) manifest_path: PathBuf,
    /// What it builds.
    pub(crate) targets: Vec<Target>,
    /// What it asks for.
    pub(crate) dependencies: Vec<Dependency>,
}

/// Something a package builds.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: String,
    /// `bin`, `lib`, `test`, …
    pub(crate) kind: Vec<String>,
}

/// A dependency as a package states it.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    /// The package's name.
    pub(crate) name: String,
    /// `None` for a normal one, else `dev` or `build`.
    pub(crate) kind: Option<String>,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Self> {
        let text = cmd::output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
        serde_json::from_str(&text).context("understand `cargo metadata`")
    }

    /// The packages whose directory lies in `directory` of the workspace.
    pub(crate) fn packages_in(&self, directory: &str) -> impl Iterator<Item = &Package> {
        let directory = self.root.join(directory);
        self.packages
            .iter()
            .filter(move |package| package.manifest_path.starts_with(&directory))
    }
}

impl Package {
    /// The names of its targets of a kind.
    pub(crate) fn targets_of(&self, kind: &str) -> impl Iterator<Item = &str> {
        let has = move |target: &&Target| target.kind.iter().any(|k| k == kind);
        self.targets
            .iter()
            .filter(has)
            .map(|target| target.name.as_str())
    }
}

/// The cargo that started us.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
