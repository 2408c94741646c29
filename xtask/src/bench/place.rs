//! What is built, written and downloaded before anything is measured.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use super::engines::{self, Engines};
use super::inside::Tools;
use super::{network, oci, programs};
use crate::workspace::{self, Workspace};
use crate::{cmd, debs};

/// What was built, and the target directory.
pub(super) struct Built {
    pub(super) ctr: PathBuf,
    pub(super) limit: PathBuf,
    pub(super) nothing: PathBuf,
    pub(super) stopwatch: PathBuf,
    pub(super) peer: PathBuf,
    pub(super) target: PathBuf,
}

/// Builds the release programs.
///
/// # Errors
///
/// cargo fails.
pub(super) fn build() -> anyhow::Result<Built> {
    let mut command = workspace::cargo();
    command
        .args([
            "build",
            "--release",
            "--message-format=json-render-diagnostics",
        ])
        .args(["--package=cli", "--package=limit", "--package=nothing"])
        .stderr(Stdio::inherit());
    let output = command.output().context("cargo build")?;
    ensure!(output.status.success(), "`{}` failed", cmd::spell(&command));
    let messages: Vec<serde_json::Value> = serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter()
        .collect::<Result<_, _>>()
        .context("cargo's messages")?;
    let find = |name: &str| -> anyhow::Result<PathBuf> {
        messages
            .iter()
            .filter(|message| message["target"]["name"] == name)
            .find_map(|message| message["executable"].as_str())
            .map(PathBuf::from)
            .with_context(|| format!("cargo built no program `{name}`"))
    };
    Ok(Built {
        ctr: find("ctr")?,
        limit: find("limit")?,
        nothing: find("true")?,
        stopwatch: find("stopwatch")?,
        peer: find("peer")?,
        target: Workspace::load()?.target,
    })
}

/// `target/bench` with the root directory, the manifests and the bundles.
///
/// # Errors
///
/// A file cannot be made, or container root could not get to it.
pub(super) fn prepare(built: &Built) -> anyhow::Result<PathBuf> {
    let place = built.target.join("bench");
    let root = place.join("root");
    if place.exists() {
        std::fs::remove_dir_all(&place).with_context(|| format!("remove {}", place.display()))?;
    }
    directories(&root)?;
    std::fs::copy(&built.nothing, root.join("bin/true")).context("copy true")?;
    std::fs::copy(&built.peer, root.join("bin/peer")).context("copy peer")?;
    write(&place.join("ctr.toml"), programs::MANIFEST)?;
    write(&place.join("ctr-bridge.toml"), programs::BRIDGE_MANIFEST)?;
    write(&place.join("ctr-first.toml"), programs::FIRST_MANIFEST)?;
    for bundle in oci::BUNDLES {
        let dir = place.join(bundle.name);
        std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        let config = serde_json::to_string_pretty(&oci::config(bundle, &root))?;
        write(&dir.join("config.json"), &config)?;
    }
    reachable(&root)?;
    Ok(place)
}

fn directories(root: &Path) -> anyhow::Result<()> {
    for dir in ["bin", "dev", "etc", "proc", "run", "sys", "tmp"] {
        let dir = root.join(dir);
        std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    }
    Ok(())
}

/// What the stages inside are given. Packages that cannot be had are a warning each.
///
/// # Errors
///
/// A file cannot be made.
pub(super) fn tools(
    built: &Built,
    place: &Path,
    warnings: &mut Vec<String>,
) -> anyhow::Result<Tools> {
    let mut unpacked = |what: &str, packages: &[&str]| {
        debs::unpacked(packages, &built.target.join("debs").join(what))
            .inspect_err(|error| {
                warnings.push(format!("{what} cannot be measured: {error:#}"));
            })
            .ok()
    };
    let engines = unpacked("engines", engines::PACKAGES);
    if let Some(root) = &engines {
        Engines::new(root, &place.join("engines")).prepare(&place.join("root"))?;
    }
    let iperf = unpacked("iperf3", network::PACKAGES)
        .map(|root| iperf(&root, place))
        .transpose()?;
    let tools = Tools {
        place: place.to_owned(),
        ctr: built.ctr.clone(),
        peer: built.peer.clone(),
        stopwatch: built.stopwatch.clone(),
        engines,
        iperf,
    };
    tools.write()?;
    Ok(tools)
}

/// A root file system for iperf3, which makes a file in /tmp for each stream.
fn iperf(unpacked: &Path, place: &Path) -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let root = place.join("iperf");
    cmd::run(Command::new("cp").arg("-a").arg(unpacked).arg(&root))?;
    directories(&root)?;
    std::fs::set_permissions(root.join("tmp"), std::fs::Permissions::from_mode(0o1777))
        .context("chmod tmp")?;
    Ok(root)
}

/// Container root is an ordinary user on the host: it must be able to get to the directory.
fn reachable(root: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    for dir in root.ancestors() {
        let mode = dir
            .metadata()
            .with_context(|| format!("stat {}", dir.display()))?
            .permissions()
            .mode();
        ensure!(
            mode & 0o001 != 0,
            "{} cannot be entered by others, so no container can be started below it; set CARGO_TARGET_DIR",
            dir.display()
        );
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
