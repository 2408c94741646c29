//! The 200th container of a network: what a start costs when 199 others run there, one of which has 1,000
//! published ports.
//!
//! Containers cannot come and go between two laps, so this is not interleaved: a batch of starts on the empty
//! network, one on the full, and one on the empty again. If the machine became slower or faster meanwhile,
//! the two empty batches differ.

use std::fs;

use anyhow::{Context as _, Result};

use super::inside::{Found, Series, Tools};
use super::programs::Program;
use super::running::{self, Running};

/// Containers that run already.
const OTHERS: usize = 199;

const RUNS: u32 = 60;
const WARM_UP: u32 = 5;

/// The series' name.
pub(super) const WHAT: &str = "start on the default network";
/// The two empty batches, and the full one.
pub(super) const EMPTY: [&str; 2] = ["alone", "alone again"];
pub(super) const FULL: &str = "as the 200th";

/// The three batches.
///
/// # Errors
///
/// A container does not start.
pub(super) fn measure(tools: &Tools) -> Result<Found> {
    let mut found = Found::default();
    found.series.push(batch(tools, EMPTY[0])?);
    let others: Vec<Running> = (0..OTHERS)
        .map(|number| other(tools, number))
        .collect::<Result<_>>()?;
    found.series.push(batch(tools, FULL)?);
    // The one with the ports first: the others must not mind the rules that go with it.
    drop(others);
    found.series.push(batch(tools, EMPTY[1])?);
    Ok(found)
}

fn batch(tools: &Tools, who: &'static str) -> Result<Series> {
    let program = Program::new(who, "", tools.ctr_run("ctr-bridge.toml"));
    let rows = tools.time(RUNS, WARM_UP, &[program])?;
    Ok(Series {
        what: WHAT.into(),
        who: who.into(),
        unit: "µs".into(),
        values: rows.into_iter().flat_map(|row| row.laps_us).collect(),
    })
}

/// One that listens and is idle.
fn other(tools: &Tools, number: usize) -> Result<Running> {
    let name = format!("other-{number}");
    let file = format!("{name}.toml");
    let path = tools.place.join(&file);
    fs::write(&path, manifest(&name, number)).with_context(|| format!("write {file}"))?;
    let log = running::log(&tools.place, &name);
    Running::ready(&tools.ctr_run(&file), "listening", &log)
}

fn manifest(name: &str, number: usize) -> String {
    let publish = if number == 0 {
        r#""0.0.0.0:20000-20999:20000-20999""#
    } else {
        ""
    };
    format!(
        "name = \"{name}\"\nrootfs = \"./root\"\ncommand = [\"/bin/peer\", \"accept\", \"80\"]\n\
         network = {{ publish = [{publish}] }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_others_has_all_the_ports() {
        assert!(manifest("a", 0).contains("20000-20999:20000-20999"));
        assert!(manifest("a", 1).contains("publish = []"));
    }
}
