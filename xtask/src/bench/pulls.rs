//! Pulls from a registry on this machine, beside a pipe of curl, gunzip and tar, and beside what others pull with. All is in
//! memory, but for what goes to a disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::engines::Engines;
use super::images::{CONTAINERD, CTR, ON_DISK, ONE, PIPE, PODMAN, REGISTRY, SIX, SMALL, UMOCI};
use super::inside::{Series, Tools};
use super::running::{self, Running, command, words};
use crate::cmd;

/// Pulls of each kind that count: they take a second each.
const PULLS: usize = 5;

/// For containerd to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What everybody here writes to.
const OUT: &str = "/run/out";

/// One way to pull an image.
#[derive(Debug)]
struct Puller {
    who: &'static str,
    argv: Vec<String>,
    /// What takes away what [`OUT`] does not hold.
    clean: Option<Vec<String>>,
}

impl Puller {
    fn new(who: &'static str, argv: Vec<String>) -> Self {
        let clean = None;
        Self { who, argv, clean }
    }
}

/// All pulls; whose programs are not here is told in `missing`.
///
/// # Errors
///
/// Ours fails, or what it is measured by.
pub(super) fn measure(tools: &Tools, missing: &mut Vec<String>) -> Result<Vec<Series>> {
    let engines = tools
        .engines
        .as_ref()
        .map(|root| Engines::new(root, &tools.place.join("engines")));
    let containerd = engines.as_ref().and_then(|engines| {
        let started = containerd(engines);
        started
            .map_err(|error| missing.push(format!("{error:#}")))
            .ok()
    });
    let mut found = Vec::new();
    for (what, image) in [(ONE, "one"), (SIX, "six")] {
        let mut all = vec![
            Puller::new(CTR, ctr(tools, "/run/out/ctr", image)),
            Puller::new(PIPE, pipe(image, OUT)?),
            Puller::new(UMOCI, umoci(image)),
        ];
        let others = engines.as_ref().map(|engines| {
            let podman = podman(engines, image);
            [
                Some(podman),
                containerd.as_ref().map(|_| of_containerd(engines, image)),
            ]
        });
        for other in others.into_iter().flatten().flatten() {
            match once(&other) {
                Ok(_) => all.push(other),
                Err(error) => missing.push(format!("{}: {error:#}", other.who)),
            }
        }
        found.extend(in_turn(what, &all)?);
    }
    let small = [
        Puller::new(CTR, ctr(tools, "/run/out/ctr", "small")),
        Puller::new(PIPE, pipe("small", OUT)?),
    ];
    found.extend(in_turn(SMALL, &small)?);
    found.extend(on_disk(tools)?);
    Ok(found)
}

fn ctr_on(tools: &Tools, root: &Path, image: &str) -> Vec<String> {
    ctr(tools, &root.display().to_string(), image)
}

/// `ctr image pull` into a store of its own.
pub(super) fn ctr(tools: &Tools, root: &str, image: &str) -> Vec<String> {
    let ctr = tools.ctr.display();
    words(&format!(
        "{ctr} -q --root {root} image pull {REGISTRY}/{image}:1"
    ))
}

fn shell(script: String) -> Vec<String> {
    vec!["sh".to_owned(), "-ec".to_owned(), script]
}

/// The layers one after the other.
fn pipe(image: &str, to: &str) -> Result<Vec<String>> {
    let url = format!("http://{REGISTRY}/v2/{image}");
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json";
    let manifest = format!("{url}/manifests/1");
    let manifest = cmd::output(Command::new("curl").args(["-fsS", "-H", accept, &manifest]))?;
    let manifest: serde_json::Value = serde_json::from_str(&manifest).context("a manifest")?;
    let layers = manifest["layers"].as_array().context("layers")?;
    let one = |layer: &serde_json::Value| {
        let digest = layer["digest"].as_str().unwrap_or_default();
        format!("curl -fsS {url}/blobs/{digest} | gunzip | tar x -C {to}\n")
    };
    Ok(shell(layers.iter().map(one).collect()))
}

fn umoci(image: &str) -> Vec<String> {
    shell(format!(
        "skopeo copy -q --insecure-policy --src-tls-verify=false docker://{REGISTRY}/{image}:1 oci:{OUT}/l:1\n\
         umoci unpack --image {OUT}/l:1 {OUT}/b >/dev/null 2>&1"
    ))
}

fn podman(engines: &Engines, image: &str) -> Puller {
    let name = format!("{REGISTRY}/{image}:1");
    Puller {
        who: PODMAN,
        argv: engines.podman(&format!("pull --quiet --tls-verify=false {name}")),
        clean: Some(engines.podman(&format!("rmi --force {name}"))),
    }
}

/// Its own `ctr`, pulling and unpacking.
fn of_containerd(engines: &Engines, image: &str) -> Puller {
    let name = format!("{REGISTRY}/{image}:1");
    Puller {
        who: CONTAINERD,
        argv: engines.containerd_ctr(&format!("images pull --plain-http {name}")),
        clean: Some(engines.containerd_ctr(&format!("images rm --sync {name}"))),
    }
}

fn containerd(engines: &Engines) -> Result<Running> {
    let (argv, log) = engines.containerd();
    let mut daemon = Running::start(&argv, &log)?;
    let start = Instant::now();
    while cmd::output(&mut command(&engines.containerd_ctr("version"))).is_err() {
        if daemon.ended() || start.elapsed() > PATIENCE {
            bail!("containerd does not answer: {}", running::end_of(&log));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(daemon)
}

/// To where the bench's own files are, with what writing and syncing costs there.
fn on_disk(tools: &Tools) -> Result<Vec<Series>> {
    let place: PathBuf = tools.place.join("disk");
    let (store, plain) = (place.join("store"), place.join("plain"));
    let clean = |path: &Path| Some(shell(format!("rm -r {0}; mkdir {0}", path.display())));
    for path in [&store, &plain] {
        fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))?;
    }
    let all = [
        Puller {
            who: CTR,
            argv: ctr_on(tools, &store, "six"),
            clean: clean(&store),
        },
        Puller {
            who: PIPE,
            argv: pipe("six", &plain.display().to_string())?,
            clean: clean(&plain),
        },
    ];
    let measured = in_turn(ON_DISK, &all);
    fs::remove_dir_all(&place).with_context(|| format!("remove {}", place.display()))?;
    measured
}

/// Each in turn, so that a machine that becomes slower does so for all.
fn in_turn(what: &str, all: &[Puller]) -> Result<Vec<Series>> {
    let mut values = vec![Vec::new(); all.len()];
    for _ in 0..PULLS {
        for (puller, values) in all.iter().zip(&mut values) {
            values.push(once(puller)?);
        }
    }
    let named = all.iter().zip(values);
    Ok(named
        .map(|(puller, values)| series(what, puller.who, values))
        .collect())
}

/// Milliseconds; nothing is left of what was pulled.
fn once(puller: &Puller) -> Result<f64> {
    let took = timed(&puller.argv)?;
    if let Some(clean) = &puller.clean {
        cmd::output(&mut command(clean))?;
    }
    Ok(took)
}

/// The wall time of a command, in milliseconds, and then nothing is left of what it made in [`OUT`].
pub(super) fn timed(argv: &[String]) -> Result<f64> {
    fs::create_dir(OUT).context("mkdir /run/out")?;
    let begun = Instant::now();
    let done = cmd::output(&mut command(argv));
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    fs::remove_dir_all(OUT).context("remove /run/out")?;
    done.map(|_| took)
}

pub(super) fn series(what: &str, who: &str, values: Vec<f64>) -> Series {
    Series {
        what: what.into(),
        who: who.into(),
        unit: "ms".into(),
        values,
    }
}
