//! Builds the test binaries and the programs they need, and finds them in cargo's messages.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::cmd;
use crate::workspace::{Package, Workspace, cargo};

/// The packages whose programs the end-to-end tests run.
const PROGRAMS: [&str; 3] = ["crates/cli", "crates/oci", "tests"];

/// A test binary.
#[derive(Debug, Clone)]
pub(crate) struct TestBinary {
    /// `package-target`.
    pub(crate) name: String,
    /// Where cargo put it.
    pub(crate) path: PathBuf,
    /// Runs as an ordinary user.
    pub(crate) unprivileged: bool,
}

/// What goes into the VM.
#[derive(Debug)]
pub(crate) struct Built {
    /// The guest's init.
    pub(crate) guest: PathBuf,
    /// The tests.
    pub(crate) tests: Vec<TestBinary>,
    /// `ctr` and its kind.
    pub(crate) programs: Vec<(String, PathBuf)>,
}

/// Builds the guest, and the tests and programs of the packages (all of them when none is named).
///
/// # Errors
///
/// The build fails, or a package is not there.
pub(crate) fn build(workspace: &Workspace, only: &[String]) -> Result<Built> {
    for name in only {
        if !workspace
            .packages
            .iter()
            .any(|package| package.name == *name)
        {
            bail!("no package named `{name}` in the workspace");
        }
    }
    let wanted = |package: &Package| only.is_empty() || only.contains(&package.name);
    let mut program_packages = vec!["guest"];
    // The end-to-end tests are what runs the programs; a kernel crate's tests need none.
    if only.is_empty() || only.iter().any(|name| name == "e2e") {
        program_packages.extend(PROGRAMS.iter().flat_map(|directory| {
            let packages = workspace
                .packages_in(directory)
                .filter(|p| p.name != "guest");
            packages
                .filter(|p| p.targets_of("bin").next().is_some())
                .map(|p| p.name.as_str())
        }));
    }
    let mut programs = self::programs(workspace, &program_packages)?;
    let guest = programs.iter().position(|(name, _)| name == "guest");
    let (_, guest) = programs.swap_remove(guest.context("cargo built no program `guest`")?);
    let chosen = |package: &Package, target: &str| wanted(package) && runs_in_vm(package, target);
    Ok(Built {
        guest,
        tests: tests(workspace, &chosen)?,
        programs,
    })
}

/// Builds the guest and some test targets of one package.
///
/// # Errors
///
/// The build fails.
pub(crate) fn targets(workspace: &Workspace, package: &str, names: &[&str]) -> Result<Built> {
    let mut programs = programs(workspace, &["guest"])?;
    let (_, guest) = programs.pop().context("cargo built no program `guest`")?;
    let chosen = |of: &Package, target: &str| of.name == package && names.contains(&target);
    Ok(Built {
        guest,
        tests: tests(workspace, &chosen)?,
        programs,
    })
}

fn programs(workspace: &Workspace, packages: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let mut command = cargo();
    command.args(["build", "--bins"]);
    for name in packages {
        command.args(["-p", name]);
    }
    let programs = artifacts(workspace, &mut command, &["bin"])?;
    Ok(programs
        .into_iter()
        .map(|artifact| (artifact.target, artifact.path))
        .collect())
}

fn tests(
    workspace: &Workspace,
    chosen: &dyn Fn(&Package, &str) -> bool,
) -> Result<Vec<TestBinary>> {
    let mut command = cargo();
    command.args(["test", "--no-run"]);
    let mut any = false;
    for package in &workspace.packages {
        for target in package
            .targets_of("test")
            .filter(|target| chosen(package, target))
        {
            command.args(["-p", &package.name, "--test", target]);
            any = true;
        }
    }
    if !any {
        return Ok(Vec::new());
    }
    let mut tests: Vec<_> = artifacts(workspace, &mut command, &["test"])?
        .into_iter()
        .map(|artifact| TestBinary {
            name: format!("{}-{}", artifact.package, artifact.target),
            unprivileged: artifact.target == "user",
            path: artifact.path,
        })
        .collect();
    tests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tests)
}

fn runs_in_vm(package: &Package, target: &str) -> bool {
    package.name == "e2e" || target == "vm" || target == "user"
}

/// A program that cargo built.
struct Artifact {
    package: String,
    target: String,
    path: PathBuf,
}

/// Runs a build and collects its executables of these kinds.
fn artifacts(
    workspace: &Workspace,
    command: &mut Command,
    kinds: &[&str],
) -> Result<Vec<Artifact>> {
    #[derive(Deserialize)]
    struct Message {
        package_id: Option<String>,
        target: Option<crate::workspace::Target>,
        executable: Option<PathBuf>,
    }
    command
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit());
    let text = cmd::output(command)?;
    let mut artifacts = Vec::new();
    for line in text.lines() {
        let message: Message = serde_json::from_str(line)
            .with_context(|| format!("understand cargo's message {line:?}"))?;
        let (Some(id), Some(target), Some(path)) =
            (message.package_id, message.target, message.executable)
        else {
            continue;
        };
        let package = workspace.packages.iter().find(|package| package.id == id);
        if target
            .kind
            .iter()
            .any(|kind| kinds.contains(&kind.as_str()))
        {
            artifacts.push(Artifact {
                package: package
                    .context("an executable of a foreign package")?
                    .name
                    .clone(),
                target: target.name,
                path,
            });
        }
    }
    Ok(artifacts)
}
