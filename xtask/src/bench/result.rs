//! From laps to medians, ratios and requirements.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::Serialize;

use super::programs::Program;

/// What is required: (what, against what, at most this ratio).
const RATIOS: [(&str, f64); 4] = [
    ("limit", 1.6),
    ("bwrap", 1.0),
    ("crun", 0.4),
    ("runc", 0.25),
];

/// What the default network with one published port may add to a start, in microseconds.
const BRIDGE_US: f64 = 1500.0;

/// Peak resident memory of `ctr run`, at most.
const PEAK_KIB: u64 = 6 * 1024;

/// The whole result.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) kernel: String,
    pub(super) programs: Vec<Row>,
    pub(super) requirements: Vec<Requirement>,
    pub(super) warnings: Vec<String>,
}

/// One program's figures. Times from before the spawn to after the wait.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) note: String,
    pub(super) runs: usize,
    pub(super) median_us: f64,
    pub(super) p90_us: f64,
    pub(super) min_us: f64,
    pub(super) peak_kib: u64,
    /// Median by the limit's.
    pub(super) by_limit: Option<f64>,
}

/// One requirement on `ctr`.
#[derive(Debug, Serialize)]
pub(super) struct Requirement {
    pub(super) what: String,
    pub(super) required: f64,
    /// `None`: one of the two was not measured.
    pub(super) measured: Option<f64>,
    pub(super) met: Option<bool>,
}

impl Outcome {
    /// Reads what `stopwatch` wrote.
    pub(super) fn new(
        programs: &[Program],
        laps: &str,
        warnings: Vec<String>,
    ) -> anyhow::Result<Self> {
        let mut taken: BTreeMap<&str, (Vec<u64>, u64)> = BTreeMap::new();
        for line in laps.lines() {
            let mut fields = line.split('\t');
            let mut next = || {
                fields
                    .next()
                    .with_context(|| format!("stopwatch wrote {line:?}"))
            };
            let name = next()?;
            let nanoseconds = next()?
                .parse()
                .with_context(|| format!("time in {line:?}"))?;
            let peak: u64 = next()?
                .parse()
                .with_context(|| format!("memory in {line:?}"))?;
            let (times, most) = taken.entry(name).or_default();
            times.push(nanoseconds);
            *most = peak.max(*most);
        }
        let mut rows = Vec::new();
        for program in programs {
            let (mut times, peak) = taken
                .remove(program.name)
                .with_context(|| format!("no laps of {}", program.name))?;
            rows.push(Row::new(program, &mut times, peak));
        }
        let limit = median(&rows, "limit");
        for row in &mut rows {
            row.by_limit = limit.map(|limit| row.median_us / limit);
        }
        let kernel = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        Ok(Self {
            kernel,
            requirements: requirements(&rows),
            programs: rows,
            warnings,
        })
    }
}

impl Row {
    fn new(program: &Program, times: &mut [u64], peak_kib: u64) -> Self {
        times.sort_unstable();
        let at = |share: f64| {
            let index = (share * (times.len() - 1) as f64).round() as usize;
            times[index] as f64 / 1000.0
        };
        Self {
            name: program.name.into(),
            note: program.note.into(),
            runs: times.len(),
            median_us: at(0.5),
            p90_us: at(0.9),
            min_us: at(0.0),
            peak_kib,
            by_limit: None,
        }
    }
}

fn median(rows: &[Row], name: &str) -> Option<f64> {
    rows.iter()
        .find(|row| row.name == name)
        .map(|row| row.median_us)
}

fn requirements(rows: &[Row]) -> Vec<Requirement> {
    let ctr = median(rows, "ctr");
    let ratios = RATIOS.iter().map(|(other, required)| {
        let measured = ctr.zip(median(rows, other)).map(|(ctr, other)| ctr / other);
        Requirement {
            what: format!("median of ctr / median of {other}"),
            required: *required,
            measured,
            met: measured.map(|ratio| ratio <= *required),
        }
    });
    let added = ctr
        .zip(median(rows, "ctr bridge"))
        .map(|(ctr, bridge)| bridge - ctr);
    let bridge = Requirement {
        what: "median of ctr bridge - median of ctr, microseconds".into(),
        required: BRIDGE_US,
        measured: added,
        met: added.map(|added| added <= BRIDGE_US),
    };
    let peak = rows
        .iter()
        .find(|row| row.name == "ctr")
        .map(|row| row.peak_kib);
    let memory = Requirement {
        what: "peak resident memory of `ctr run`, KiB".into(),
        required: PEAK_KIB as f64,
        measured: peak.map(|peak| peak as f64),
        met: peak.map(|peak| peak <= PEAK_KIB),
    };
    ratios.chain([bridge, memory]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(ctr_ns: u64, bridge_ns: u64, peak: u64) -> Outcome {
        let names = ["limit", "ctr", "ctr bridge", "bwrap", "crun", "runc"];
        let programs = names.map(|name| Program {
            name,
            note: "",
            argv: vec![],
        });
        let mut laps = String::new();
        for run in 0..9 {
            for (name, ns, kib) in [
                ("limit", 1_000_000, 900),
                ("ctr", ctr_ns, peak),
                ("ctr bridge", bridge_ns, 900),
                ("bwrap", 2_000_000, 900),
                ("crun", 5_000_000, 900),
                ("runc", 20_000_000, 900),
            ] {
                laps += &format!("{name}\t{}\t{kib}\n", ns + run * 1000 - 4000);
            }
        }
        Outcome::new(&programs, &laps, vec![]).expect("an outcome")
    }

    fn met(outcome: &Outcome) -> Vec<bool> {
        outcome
            .requirements
            .iter()
            .map(|r| r.met.expect("measured"))
            .collect()
    }

    #[test]
    fn requirements_are_held_against_medians() {
        let good = outcome(1_500_000, 3_000_000, 5000);
        assert_eq!(good.programs[1].median_us, 1500.0);
        assert_eq!(met(&good), [true; 6]);
        assert_eq!(
            met(&outcome(1_700_000, 3_300_000, 7000)),
            [false, true, true, true, false, false]
        );
        assert_eq!(
            met(&outcome(6_000_000, 6_500_000, 5000)),
            [false, false, false, false, true, true]
        );
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        let programs = [Program {
            name: "limit",
            note: "",
            argv: vec![],
        }];
        let outcome = Outcome::new(&programs, "limit\t5\t6\n", vec![]).expect("an outcome");
        assert!(outcome.requirements.iter().all(|r| r.met.is_none()));
    }

    #[test]
    fn a_garbled_lap_is_an_error() {
        let programs = [Program {
            name: "limit",
            note: "",
            argv: vec![],
        }];
        assert!(Outcome::new(&programs, "limit\t5\n", vec![]).is_err());
        assert!(Outcome::new(&programs, "", vec![]).is_err());
    }
}
