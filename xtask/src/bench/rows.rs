//! Starts: the stopwatch's command line, and from its laps to medians.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::programs::Program;

/// One program's figures. Times from before the spawn to after the wait.
#[derive(Debug, Serialize, Deserialize)]
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
    /// All, in rising order.
    #[serde(skip)]
    pub(super) laps_us: Vec<f64>,
}

/// The command line that runs `programs` in turn.
pub(super) fn stopwatch(
    stopwatch: String,
    runs: u32,
    warm_up: u32,
    programs: &[Program],
) -> Vec<String> {
    let mut argv = vec![stopwatch, runs.to_string(), warm_up.to_string()];
    for program in programs {
        argv.extend(["--".into(), program.name.into()]);
        if !program.before.is_empty() {
            argv.extend(program.before.iter().cloned());
            argv.push(";".into());
        }
        argv.extend(program.argv.iter().cloned());
    }
    argv
}

/// Reads what it wrote.
///
/// # Errors
///
/// A line is garbled; a program has none.
pub(super) fn read(programs: &[Program], laps: &str) -> Result<Vec<Row>> {
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
    Ok(rows)
}

impl Row {
    fn new(program: &Program, times: &mut [u64], peak_kib: u64) -> Self {
        times.sort_unstable();
        let laps_us: Vec<f64> = times.iter().map(|time| *time as f64 / 1000.0).collect();
        let at = |share: f64| laps_us[(share * (laps_us.len() - 1) as f64).round() as usize];
        Self {
            name: program.name.into(),
            note: program.note.into(),
            runs: laps_us.len(),
            median_us: at(0.5),
            p90_us: at(0.9),
            min_us: at(0.0),
            peak_kib,
            by_limit: None,
            laps_us,
        }
    }
}

/// The median of the program called `name`, if it was measured.
pub(super) fn median(rows: &[Row], name: &str) -> Option<f64> {
    rows.iter()
        .find(|row| row.name == name)
        .map(|row| row.median_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_garbled_lap_is_an_error() {
        let programs = [Program::new("limit", "", vec![])];
        for (laps, error) in [
            ("limit\t5\n", "stopwatch wrote \"limit\\t5\""),
            ("limit\tx\t6\n", "time in \"limit\\tx\\t6\""),
            ("", "no laps of limit"),
        ] {
            let said = read(&programs, laps).expect_err("garbled").to_string();
            assert_eq!(said, error);
        }
    }

    #[test]
    fn figures_are_of_sorted_laps() {
        let programs = [Program::new("limit", "", vec![])];
        let laps = "limit\t3000\t6\nlimit\t1000\t9\nlimit\t2000\t7\n";
        let rows = read(&programs, laps).expect("rows");
        assert_eq!(rows[0].laps_us, [1.0, 2.0, 3.0]);
        assert_eq!((rows[0].median_us, rows[0].p90_us), (2.0, 3.0));
        assert_eq!((rows[0].min_us, rows[0].peak_kib), (1.0, 9));
        assert_eq!(rows[0].by_limit, Some(1.0));
    }

    #[test]
    fn what_comes_before_a_lap_is_told_to_the_stopwatch() {
        let mut program = Program::new("a", "", vec!["run".into()]);
        program.before = vec!["rm".into(), "x".into()];
        let argv = stopwatch("watch".into(), 3, 1, &[program]);
        assert_eq!(argv, ["watch", "3", "1", "--", "a", "rm", "x", ";", "run"]);
    }
}
