//! Cargo's subcommands that are no part of it.

use std::path::PathBuf;

use anyhow::Result;

use crate::cmd;
use crate::workspace::{Workspace, cargo};

/// The program of the machine, or one that is built into `target/tools`; `package` may say a version after `@`.
///
/// # Errors
///
/// It cannot be built.
pub(crate) fn have(workspace: &Workspace, package: &str) -> Result<PathBuf> {
    let name = package.split('@').next().unwrap_or(package);
    if let Some(found) = cmd::which(name) {
        return Ok(found);
    }
    let tools = workspace.root.join("target/tools");
    let program = tools.join("bin").join(name);
    if !program.is_file() {
        println!("{name} is not here: building it into target/tools");
        let mut command = cargo();
        // Built without optimisation: it runs for a second, and would take minutes to build.
        let install = [
            "install", "--quiet", "--locked", "--debug", package, "--root",
        ];
        command.args(install).arg(&tools);
        // From `/` our own .cargo/config.toml, which asks for static programs, is not seen.
        cmd::run(command.current_dir("/").env_remove("CARGO_TARGET_DIR"))?;
    }
    Ok(program)
}
