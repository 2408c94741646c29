//! Images: what a pull costs from a registry on this machine ([`pulls`]), and what a start from an image costs beside one
//! from a directory.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::inside::{Found, Series, Tools};
use super::programs::Program;
use super::pulls;
use super::running::{Running, command, words};
use crate::cmd;

const SCRIPT: &str = include_str!("images.sh");

const RUNS: u32 = 100;
const WARM_UP: u32 = 5;

/// The series' names.
pub(super) const ONE: &str = "an image of 300 MB in one layer";
pub(super) const SIX: &str = "an image of 300 MB in six layers";
pub(super) const SMALL: &str = "an image of 100,000 small files";
pub(super) const ON_DISK: &str = "an image of 300 MB in six layers, to a disk";
pub(super) const PRESENT: &str = "a pull of what is here";
pub(super) const START: &str = "start without a network";
/// Who pulls.
pub(super) const CTR: &str = "ctr image pull";
pub(super) const PIPE: &str = "curl | gunzip | tar x";
pub(super) const UMOCI: &str = "skopeo and umoci";
pub(super) const PODMAN: &str = "podman pull";
pub(super) const CONTAINERD: &str = "containerd";
/// What is started.
pub(super) const DIRECTORY: &str = "from a directory";
pub(super) const LAYERS: [(&str, &str); 2] = [
    ("from an image of one layer", "start1"),
    ("from an image of twenty layers", "start20"),
];

pub(super) const REGISTRY: &str = "127.0.0.1:5000";

/// Makes the images, pulls and starts them.
///
/// # Errors
///
/// A program is missing or fails.
pub(super) fn measure(tools: &Tools) -> Result<Found> {
    for program in ["docker-registry", "skopeo", "umoci", "curl"] {
        cmd::which(program)
            .with_context(|| format!("no `{program}` here: `apt-get install {program}`"))?;
    }
    let place = tools.place.display().to_string();
    cmd::output(Command::new("sh").args(["-c", SCRIPT, "sh", &place]))?;
    let registry = words("docker-registry serve /run/images/registry.yml");
    let _registry = Running::start(&registry, Path::new("/run/images/registry.log"))?;
    listening()?;
    let mut found = Found::default();
    found.series = pulls::measure(tools, &mut found.missing)?;
    found.series.push(present(tools)?);
    found.series.extend(starts(tools)?);
    Ok(found)
}

fn listening() -> Result<()> {
    let begun = Instant::now();
    while std::net::TcpStream::connect(REGISTRY).is_err() {
        ensure!(
            begun.elapsed().as_secs() < 30,
            "docker-registry does not listen"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Ok(())
}

fn present(tools: &Tools) -> Result<Series> {
    let argv = pulls::ctr(tools, "/run/present", "six");
    cmd::output(&mut command(&argv))?;
    let values = (0..20)
        .map(|_| pulls::timed(&argv))
        .collect::<Result<_>>()?;
    fs::remove_dir_all("/run/present").context("remove /run/present")?;
    Ok(pulls::series(PRESENT, CTR, values))
}

fn starts(tools: &Tools) -> Result<Vec<Series>> {
    let mut programs = vec![Program::new(DIRECTORY, "", tools.ctr_run("ctr.toml"))];
    for (who, image) in LAYERS {
        let file = format!("{image}.toml");
        let path = tools.place.join(&file);
        let manifest = format!(
            "image = \"{REGISTRY}/{image}:1\"\ncommand = [\"/bin/true\"]\nnetwork.mode = \"none\"\n"
        );
        fs::write(&path, manifest).with_context(|| format!("write {file}"))?;
        let argv = tools.ctr_run(&file);
        cmd::output(&mut command(&argv))?;
        programs.push(Program::new(who, "", argv));
    }
    let rows = tools.time(RUNS, WARM_UP, &programs)?;
    let in_ms = |laps: Vec<f64>| laps.into_iter().map(|us| us / 1000.0).collect();
    Ok(rows
        .into_iter()
        .map(|row| pulls::series(START, &row.name, in_ms(row.laps_us)))
        .collect())
}
