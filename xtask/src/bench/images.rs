//! Images: what a pull costs from a registry on this machine, with everything in memory, beside a pipe of curl, gunzip
//! and tar, and beside skopeo with umoci; and what a start from an image costs beside one from a directory.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::inside::{Found, Series, Tools};
use super::programs::Program;
use super::running::{Running, command, words};
use crate::cmd;

const SCRIPT: &str = include_str!("images.sh");

/// Pulls of each kind that count: they take a second each.
const PULLS: usize = 5;
const RUNS: u32 = 100;
const WARM_UP: u32 = 5;

/// The series' names.
pub(super) const ONE: &str = "an image of 300 MB in one layer";
pub(super) const SIX: &str = "an image of 300 MB in six layers";
pub(super) const PRESENT: &str = "a pull of what is here";
pub(super) const START: &str = "start without a network";
/// Who pulls.
pub(super) const CTR: &str = "ctr image pull";
pub(super) const PIPE: &str = "curl | gunzip | tar x";
pub(super) const UMOCI: &str = "skopeo and umoci";
/// What is started.
pub(super) const DIRECTORY: &str = "from a directory";
pub(super) const LAYERS: [(&str, &str); 2] = [
    ("from an image of one layer", "start1"),
    ("from an image of twenty layers", "start20"),
];

const REGISTRY: &str = "127.0.0.1:5000";

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
    for (what, image) in [(ONE, "one"), (SIX, "six")] {
        found.series.extend(pulls(tools, what, image)?);
    }
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

/// The wall time of a command, in milliseconds, and then nothing is left of what it made in `/run/out`.
fn timed(argv: &[String]) -> Result<f64> {
    let out = Path::new("/run/out");
    fs::create_dir(out).context("mkdir /run/out")?;
    let begun = Instant::now();
    let done = cmd::output(&mut command(argv));
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    fs::remove_dir_all(out).context("remove /run/out")?;
    done.map(|_| took)
}

fn series(what: &str, who: &str, values: Vec<f64>) -> Series {
    Series {
        what: what.into(),
        who: who.into(),
        unit: "ms".into(),
        values,
    }
}

fn pull(tools: &Tools, root: &str, image: &str) -> Vec<String> {
    let ctr = tools.ctr.display();
    words(&format!(
        "{ctr} -q --root {root} image pull {REGISTRY}/{image}:1"
    ))
}

/// Each in turn, so that a machine that becomes slower does so for all.
fn pulls(tools: &Tools, what: &str, image: &str) -> Result<Vec<Series>> {
    let shell = |script: String| vec!["sh".to_owned(), "-ec".to_owned(), script];
    let url = format!("http://{REGISTRY}/v2/{image}");
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json";
    let manifest = cmd::output(Command::new("curl").args([
        "-fsS",
        "-H",
        accept,
        &format!("{url}/manifests/1"),
    ]))?;
    let manifest: serde_json::Value = serde_json::from_str(&manifest).context("a manifest")?;
    let layers = manifest["layers"].as_array().context("layers")?;
    let one = |layer: &serde_json::Value| {
        let digest = layer["digest"].as_str().unwrap_or_default();
        format!("curl -fsS {url}/blobs/{digest} | gunzip | tar x -C /run/out\n")
    };
    let pipe = shell(layers.iter().map(one).collect());
    let umoci = shell(format!(
        "skopeo copy -q --insecure-policy --src-tls-verify=false docker://{REGISTRY}/{image}:1 oci:/run/out/l:1\n\
         umoci unpack --image /run/out/l:1 /run/out/b >/dev/null 2>&1"
    ));
    let ours = pull(tools, "/run/out/ctr", image);
    let all = [(CTR, ours), (PIPE, pipe), (UMOCI, umoci)];
    let mut values = [const { Vec::new() }; 3];
    for _ in 0..PULLS {
        for ((_, argv), values) in all.iter().zip(&mut values) {
            values.push(timed(argv)?);
        }
    }
    Ok(all
        .iter()
        .zip(values)
        .map(|((who, _), values)| series(what, who, values))
        .collect())
}

fn present(tools: &Tools) -> Result<Series> {
    let argv = pull(tools, "/run/present", "six");
    cmd::output(&mut command(&argv))?;
    let values = (0..20).map(|_| timed(&argv)).collect::<Result<_>>()?;
    fs::remove_dir_all("/run/present").context("remove /run/present")?;
    Ok(series(PRESENT, CTR, values))
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
        .map(|row| series(START, &row.name, in_ms(row.laps_us)))
        .collect())
}
