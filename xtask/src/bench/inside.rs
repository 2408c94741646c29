//! The parts of the bench that need more than one program after the other: other engines' daemons, a crowd of
//! containers, traffic. Each is a run of xtask itself in private namespaces (`cargo xtask bench-inside`, which
//! is not for people), and what it found goes back as JSON on standard output.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::engines::{Docker, Engines};
use super::programs::Program;
use super::rows::{self, Row};
use super::running::command;
use super::{crowd, images, network};
use crate::cmd;

/// Runs of each engine that count. Few: a start of theirs takes a hundred times as long as ctr's.
const RUNS: u32 = 20;
const WARM_UP: u32 = 2;

/// What to do, and with what.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    stage: Stage,
    /// `target/bench`, with a file `inside.json`
    place: PathBuf,
}

/// One run in private namespaces.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum Stage {
    /// Starts beside podman and Docker.
    Engines,
    /// Starts beside 199 containers and 1,000 ports.
    Crowd,
    /// Traffic over the bridge and through a port.
    Traffic,
    /// Pulls, and starts from images.
    Images,
}

impl Stage {
    /// In the order of the output.
    pub(super) const ALL: [Self; 4] = [Self::Engines, Self::Crowd, Self::Traffic, Self::Images];

    /// As the command line has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Engines => "engines",
            Self::Crowd => "crowd",
            Self::Traffic => "traffic",
            Self::Images => "images",
        }
    }
}

/// What was built and downloaded.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Tools {
    pub(super) place: PathBuf,
    pub(super) ctr: PathBuf,
    pub(super) peer: PathBuf,
    pub(super) stopwatch: PathBuf,
    /// The unpacked packages of [`super::engines::PACKAGES`], if they could be had.
    pub(super) engines: Option<PathBuf>,
    /// A root file system with iperf3, if it could be had.
    pub(super) iperf: Option<PathBuf>,
}

impl Tools {
    /// Writes what [`run`] reads.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(super) fn write(&self) -> Result<()> {
        let path = self.place.join("inside.json");
        fs::write(&path, serde_json::to_string(self)?)
            .with_context(|| format!("write {}", path.display()))
    }

    fn read(place: &Path) -> Result<Self> {
        let path = place.join("inside.json");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))
    }

    /// `ctr run` of one of the bench's manifests.
    pub(super) fn ctr_run(&self, manifest: &str) -> Vec<String> {
        let manifest = self.place.join(manifest).display().to_string();
        vec![self.ctr.display().to_string(), "run".into(), manifest]
    }

    /// Starts of `programs` in turn, timed.
    ///
    /// # Errors
    ///
    /// One does not exit with 0.
    pub(super) fn time(&self, runs: u32, warm_up: u32, programs: &[Program]) -> Result<Vec<Row>> {
        let stopwatch = self.stopwatch.display().to_string();
        let argv = rows::stopwatch(stopwatch, runs, warm_up, programs);
        rows::read(programs, &cmd::output(&mut command(&argv))?)
    }
}

/// Several values of the same thing.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Series {
    pub(super) what: String,
    pub(super) who: String,
    pub(super) unit: String,
    pub(super) values: Vec<f64>,
}

impl Series {
    /// The middle one, or the mean of the two in the middle.
    pub(super) fn median(&self) -> Option<f64> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = sorted[(sorted.len() - 1) / 2];
        Some(f64::midpoint(lower, upper))
    }
}

/// What one stage found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Found {
    /// Starts.
    pub(super) rows: Vec<Row>,
    /// Everything else.
    pub(super) series: Vec<Series>,
    /// What could not be measured, and what was seen instead.
    pub(super) missing: Vec<String>,
}

/// One stage, inside.
///
/// # Errors
///
/// Nothing of it could be measured. What was missing for a part is in the output.
pub(crate) fn run(args: &Args) -> Result<()> {
    let tools = Tools::read(&args.place)?;
    let found = match args.stage {
        Stage::Engines => engines(&tools)?,
        Stage::Crowd => crowd::measure(&tools)?,
        Stage::Traffic => network::measure(&tools)?,
        Stage::Images => images::measure(&tools)?,
    };
    println!("{}", serde_json::to_string(&found)?);
    Ok(())
}

fn engines(tools: &Tools) -> Result<Found> {
    let mut found = Found::default();
    let Some(root) = &tools.engines else {
        return Ok(found);
    };
    let mut programs = vec![
        Program::new("ctr", "`ctr run`, network none", tools.ctr_run("ctr.toml")),
        Program::new(
            "ctr bridge",
            "`ctr run` on the default network with one published port",
            tools.ctr_run("ctr-bridge.toml"),
        ),
    ];
    let engines = Engines::new(root, &tools.place.join("engines"));
    match engines.podman_starts() {
        Ok(([none, bridge], cgroups)) => {
            let note = if cgroups {
                "`podman run --rm --network=none`, crun, without a daemon"
            } else {
                "`podman run --rm --network=none --cgroups=disabled` (crun could not make one with a \
                 device filter)"
            };
            programs.push(Program::new("podman", note, none));
            let note = "the same with netavark's bridge and one published port";
            programs.push(Program::new("podman bridge", note, bridge));
        }
        Err(error) => found.missing.push(format!("podman: {error:#}")),
    }
    let docker = Docker::start(&engines, &[]);
    match docker.as_ref().map(Docker::starts) {
        Ok(Ok([none, bridge])) => {
            let note = "`docker run --rm --network=none`, runc; memory is the client's alone";
            programs.push(Program::new("docker", note, none));
            let note = "the same with the default bridge and one published port";
            programs.push(Program::new("docker bridge", note, bridge));
        }
        Ok(Err(error)) => found.missing.push(format!("docker: {error:#}")),
        Err(error) => found.missing.push(format!("docker: {error:#}")),
    }
    found.rows = tools.time(RUNS, WARM_UP, &programs)?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_of_any_order() {
        let of = |values: &[f64]| {
            Series {
                what: "a".into(),
                who: "b".into(),
                unit: "c".into(),
                values: values.to_vec(),
            }
            .median()
        };
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(of(&[4.0, 1.0, 2.0, 30.0]), Some(3.0));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_stage_is_called_as_its_command_line_says() {
        use clap::ValueEnum as _;
        for stage in Stage::ALL {
            let value = stage.to_possible_value().expect("a value");
            assert_eq!(value.get_name(), stage.name());
        }
    }
}
