//! From what was measured to what is required.

use serde::Serialize;

use super::inside::{Found, Series};
use super::rows::{Row, median};
use super::{crowd, images, network};

/// What is required of a start: (what, against what, at most this ratio).
const RATIOS: [(&str, f64); 4] = [
    ("limit", 1.6),
    ("bwrap", 1.0),
    ("crun", 0.4),
    ("runc", 0.25),
];

/// What a network with one published port may add to a start, in microseconds: one that is there, and one
/// that is not there yet.
const ADDED_US: [(&str, f64); 2] = [("ctr bridge", 1500.0), ("ctr first", 3000.0)];

/// Peak resident memory of `ctr run`, at most.
const PEAK_KIB: u64 = 6 * 1024;

/// The 200th start on a network by the first, at most.
const CROWD: f64 = 1.1;

/// Traffic by that of a network made by hand, or Docker's, at least.
const TRAFFIC: [(&str, &str, f64); 3] = [
    (network::BRIDGE, network::BY_HAND, 0.95),
    (network::PORT, network::BY_HAND, 0.95),
    (network::CONNECTIONS, network::DOCKER, 1.0),
];

/// What comes through where 1 Gbit/s is asked for: within a tenth.
const RATED: [(Bound, f64); 2] = [(Bound::AtLeast, 0.9), (Bound::AtMost, 1.1)];

/// Pulls by those of others, at most.
const PULLS: [(&str, &str, f64); 9] = [
    (images::ONE, images::PIPE, 0.6),
    (images::SIX, images::PIPE, 0.5),
    (images::ONE, images::UMOCI, 0.35),
    (images::SIX, images::UMOCI, 0.35),
    (images::ONE, images::PODMAN, 0.35),
    (images::SIX, images::PODMAN, 0.35),
    (images::ONE, images::CONTAINERD, 0.35),
    (images::SIX, images::CONTAINERD, 0.35),
    (images::SMALL, images::PIPE, 1.2),
];

/// A pull of what is here, in milliseconds, the question to the registry included.
const PRESENT_MS: f64 = 11.0;

/// What an image may add to a start from a directory, in milliseconds: of one layer, of twenty.
const LAYERS_MS: [f64; 2] = [0.5, 1.0];

/// The whole result.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) kernel: String,
    pub(super) programs: Vec<Row>,
    /// Beside other engines, in a run of their own.
    pub(super) engines: Vec<Row>,
    pub(super) series: Vec<Summary>,
    pub(super) requirements: Vec<Requirement>,
    pub(super) warnings: Vec<String>,
}

/// A series and its middle.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    #[serde(flatten)]
    pub(super) series: Series,
    pub(super) median: Option<f64>,
}

/// On which side of what is required a figure has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Bound {
    #[serde(rename = "at most")]
    AtMost,
    #[serde(rename = "at least")]
    AtLeast,
}

/// One requirement on `ctr`.
#[derive(Debug, Serialize)]
pub(super) struct Requirement {
    pub(super) what: String,
    pub(super) bound: Bound,
    pub(super) required: f64,
    /// `None`: one of the two was not measured.
    pub(super) measured: Option<f64>,
    pub(super) met: Option<bool>,
}

impl Requirement {
    fn new(what: String, bound: Bound, required: f64, measured: Option<f64>) -> Self {
        let met = measured.map(|measured| match bound {
            Bound::AtMost => measured <= required,
            Bound::AtLeast => measured >= required,
        });
        Self {
            what,
            bound,
            required,
            measured,
            met,
        }
    }
}

impl Outcome {
    /// `found` is what the stages inside found.
    pub(super) fn new(programs: Vec<Row>, found: Vec<Found>, warnings: Vec<String>) -> Self {
        let kernel = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        let mut engines = Vec::new();
        let mut series = Vec::new();
        for found in found {
            engines.extend(found.rows);
            series.extend(found.series);
        }
        let requirements = of_starts(&programs)
            .into_iter()
            .chain(of_networks(&series))
            .chain(of_images(&series))
            .collect();
        let series = series
            .into_iter()
            .map(|series| Summary {
                median: series.median(),
                series,
            })
            .collect();
        Self {
            kernel,
            programs,
            engines,
            series,
            requirements,
            warnings,
        }
    }

    /// What a network with one port adds to a start of each engine: (engine, microseconds).
    pub(super) fn added(&self) -> Vec<(&str, f64)> {
        let bridged = |row: &Row| median(&self.engines, &format!("{} bridge", row.name));
        self.engines
            .iter()
            .filter_map(|row| Some((row.name.as_str(), bridged(row)? - row.median_us)))
            .collect()
    }
}

fn of_starts(rows: &[Row]) -> Vec<Requirement> {
    let ctr = median(rows, "ctr");
    let against = |other: &str| ctr.zip(median(rows, other));
    let ratios = RATIOS.iter().map(|(other, required)| {
        Requirement::new(
            format!("median of ctr / median of {other}"),
            Bound::AtMost,
            *required,
            against(other).map(|(ctr, other)| ctr / other),
        )
    });
    let added = ADDED_US.iter().map(|(other, required)| {
        Requirement::new(
            format!("median of {other} - median of ctr, microseconds"),
            Bound::AtMost,
            *required,
            against(other).map(|(ctr, other)| other - ctr),
        )
    });
    let peak = rows
        .iter()
        .find(|row| row.name == "ctr")
        .map(|row| row.peak_kib as f64);
    let memory = Requirement::new(
        "peak resident memory of `ctr run`, KiB".into(),
        Bound::AtMost,
        PEAK_KIB as f64,
        peak,
    );
    ratios.chain(added).chain([memory]).collect()
}

fn find<'a>(series: &'a [Series], what: &str, who: &str) -> Option<&'a Series> {
    series
        .iter()
        .find(|series| series.what == what && series.who == who)
        .filter(|series| !series.values.is_empty())
}

fn of_images(series: &[Series]) -> Vec<Requirement> {
    let median = |what: &str, who: &str| find(series, what, who).and_then(Series::median);
    let at_most =
        |what, required, measured| Requirement::new(what, Bound::AtMost, required, measured);
    let pulls = PULLS.iter().map(|(what, other, required)| {
        let ratio = median(what, images::CTR).zip(median(what, other));
        let what = format!("{what}: {} / {other}", images::CTR);
        at_most(what, *required, ratio.map(|(ctr, other)| ctr / other))
    });
    let here = median(images::PRESENT, images::CTR);
    let here = at_most(
        format!("{}, milliseconds", images::PRESENT),
        PRESENT_MS,
        here,
    );
    let directory = median(images::START, images::DIRECTORY);
    let starts = images::LAYERS
        .iter()
        .zip(LAYERS_MS)
        .map(|((who, _), most)| {
            let added = median(images::START, who).zip(directory);
            let what = format!(
                "{} {who} - {}, milliseconds",
                images::START,
                images::DIRECTORY
            );
            at_most(
                what,
                most,
                added.map(|(image, directory)| image - directory),
            )
        });
    pulls.chain([here]).chain(starts).collect()
}

fn of_networks(series: &[Series]) -> Vec<Requirement> {
    let find = |what: &str, who: &str| find(series, what, who);
    let median = |what: &str, who: &str| find(what, who).and_then(Series::median);
    let empty = crowd::EMPTY.map(|who| find(crowd::WHAT, who));
    let empty = match empty {
        [Some(before), Some(after)] => Series {
            what: crowd::WHAT.into(),
            who: String::new(),
            unit: before.unit.clone(),
            values: [before.values.as_slice(), &after.values].concat(),
        }
        .median(),
        _ => None,
    };
    let crowded = Requirement::new(
        "the 200th start on a network that has 1,000 ports / the first".into(),
        Bound::AtMost,
        CROWD,
        median(crowd::WHAT, crowd::FULL)
            .zip(empty)
            .map(|(full, empty)| full / empty),
    );
    let traffic = TRAFFIC.iter().map(|(what, other, required)| {
        Requirement::new(
            format!("{what}: ctr / {other}"),
            Bound::AtLeast,
            *required,
            median(what, network::CTR)
                .zip(median(what, other))
                .map(|(ctr, other)| ctr / other),
        )
    });
    let rated = RATED.map(|(bound, required)| {
        let what = format!("{}, Gbit/s", network::RATED);
        Requirement::new(what, bound, required, median(network::RATED, network::CTR))
    });
    std::iter::once(crowded)
        .chain(traffic)
        .chain(rated)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::programs::Program;
    use crate::bench::rows;

    fn row(name: &'static str, us: f64, kib: u64) -> Row {
        let laps: String = (0..9)
            .map(|run| format!("{name}\t{}\t{kib}\n", us * 1000.0 + f64::from(run - 4)))
            .collect();
        let program = Program::new(name, "", vec![]);
        rows::read(&[program], &laps).expect("a row").remove(0)
    }

    fn starts(ctr: f64, bridge: f64, first: f64, peak: u64) -> Vec<Option<bool>> {
        let rows = [
            row("limit", 1000.0, 900),
            row("ctr", ctr, peak),
            row("ctr bridge", bridge, 900),
            row("ctr first", first, 900),
            row("bwrap", 2000.0, 900),
            row("crun", 5000.0, 900),
            row("runc", 20_000.0, 900),
        ];
        of_starts(&rows).iter().map(|r| r.met).collect()
    }

    fn series(what: &str, who: &str, values: &[f64]) -> Series {
        Series {
            what: what.into(),
            who: who.into(),
            unit: "1".into(),
            values: values.to_vec(),
        }
    }

    #[test]
    fn requirements_are_held_against_medians() {
        let [yes, no] = [Some(true), Some(false)];
        assert_eq!(starts(1500.0, 3000.0, 4500.0, 5000), [yes; 7]);
        assert_eq!(
            starts(1700.0, 3300.0, 4701.0, 7000),
            [no, yes, yes, yes, no, no, no]
        );
        assert_eq!(
            starts(6000.0, 6500.0, 6500.0, 5000),
            [no, no, no, no, yes, yes, yes]
        );
    }

    #[test]
    fn networks_are_held_against_the_empty_one_the_handmade_and_docker() {
        let met = |full: f64, bridge: f64, port: f64, connections: f64| -> Vec<Option<bool>> {
            let all = [
                series(crowd::WHAT, crowd::EMPTY[0], &[90.0, 100.0, 110.0]),
                series(crowd::WHAT, crowd::FULL, &[full, 1.0, 900.0]),
                series(crowd::WHAT, crowd::EMPTY[1], &[90.0, 100.0, 110.0]),
                series(network::BRIDGE, network::CTR, &[bridge]),
                series(network::BRIDGE, network::BY_HAND, &[100.0]),
                series(network::PORT, network::CTR, &[port]),
                series(network::PORT, network::BY_HAND, &[100.0]),
                series(network::CONNECTIONS, network::CTR, &[connections]),
                series(network::CONNECTIONS, network::BY_HAND, &[1000.0]),
                series(network::CONNECTIONS, network::DOCKER, &[100.0]),
            ];
            let found = of_networks(&all);
            found[..4].iter().map(|r| r.met).collect()
        };
        let [yes, no] = [Some(true), Some(false)];
        assert_eq!(met(109.0, 95.0, 96.0, 100.0), [yes; 4]);
        assert_eq!(met(111.0, 94.0, 96.0, 101.0), [no, no, yes, yes]);
        assert_eq!(met(100.0, 95.0, 94.0, 99.0), [yes, yes, no, no]);
    }

    #[test]
    fn a_rate_is_held_within_a_tenth() {
        let met = |rate: f64| -> Vec<Option<bool>> {
            let found = of_networks(&[series(network::RATED, network::CTR, &[rate])]);
            found[4..].iter().map(|r| r.met).collect()
        };
        assert_eq!(met(0.95), [Some(true), Some(true)]);
        assert_eq!(met(0.89), [Some(false), Some(true)]);
        assert_eq!(met(1.11), [Some(true), Some(false)]);
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        let limit = vec![row("limit", 5.0, 6)];
        let empty = Found {
            series: vec![
                series(network::PORT, network::CTR, &[5.0]),
                series(network::PORT, network::BY_HAND, &[]),
                series(crowd::WHAT, crowd::EMPTY[0], &[5.0]),
                series(crowd::WHAT, crowd::FULL, &[5.0]),
            ],
            ..Found::default()
        };
        let outcome = Outcome::new(limit, vec![empty], vec![]);
        // Memory; the crowd; the pull of what is here.
        let others = 3;
        let of_starts = RATIOS.len() + ADDED_US.len();
        let of_networks = TRAFFIC.len() + RATED.len();
        let of_images = PULLS.len() + LAYERS_MS.len();
        let all = of_starts + of_networks + of_images + others;
        assert_eq!(outcome.requirements.len(), all);
        assert!(outcome.requirements.iter().all(|r| r.met.is_none()));
    }

    #[test]
    fn what_a_network_adds_is_told_of_engines_measured_with_and_without() {
        let found = Found {
            rows: vec![
                row("ctr", 1000.0, 1),
                row("ctr bridge", 2500.0, 1),
                row("docker", 9.0, 1),
            ],
            ..Found::default()
        };
        let outcome = Outcome::new(vec![], vec![found], vec![]);
        assert_eq!(outcome.added(), [("ctr", 1500.0)]);
    }
}
