//! The result as people read it.

use std::fmt::Write as _;

use super::result::{Bound, Outcome, Requirement};
use super::rows::Row;

/// The tables, the requirements, the warnings.
pub(super) fn render(outcome: &Outcome) -> String {
    let mut text = format!(
        "Linux {}; microseconds from spawn to wait\n\n",
        outcome.kernel
    );
    let mut line = |line: String| {
        let _infallible = writeln!(text, "{}", line.trim_end());
    };
    starts(&outcome.programs, &mut line);
    if !outcome.engines.is_empty() {
        line(String::new());
        starts(&outcome.engines, &mut line);
        let added: Vec<String> = outcome
            .added()
            .iter()
            .map(|(engine, added)| format!("{engine} {added:.0}"))
            .collect();
        line(format!("a network with a port adds: {}", added.join(", ")));
    }
    if !outcome.series.is_empty() {
        line(format!(
            "\n{:<50}{:<32}{:>10}  {:<8}{:>5}",
            "", "", "median", "", "runs"
        ));
    }
    for summary in &outcome.series {
        let series = &summary.series;
        let median = summary
            .median
            .map_or("-".into(), |median| figure(median, median));
        line(format!(
            "{:<50}{:<32}{median:>10}  {:<8}{:>5}",
            series.what,
            series.who,
            series.unit,
            series.values.len()
        ));
    }
    line(String::new());
    for requirement in &outcome.requirements {
        line(verdict(requirement));
    }
    for warning in &outcome.warnings {
        line(format!("warning: {warning}"));
    }
    text
}

fn starts(rows: &[Row], line: &mut impl FnMut(String)) {
    line(format!(
        "{:<14}{:>9}{:>9}{:>9}{:>8}{:>10}  what",
        "", "median", "p90", "min", "×limit", "peak KiB"
    ));
    for row in rows {
        let by_limit = row
            .by_limit
            .map_or("-".into(), |ratio| format!("{ratio:.2}"));
        line(format!(
            "{:<14}{:>9.0}{:>9.0}{:>9.0}{:>8}{:>10}  {}",
            row.name, row.median_us, row.p90_us, row.min_us, by_limit, row.peak_kib, row.note
        ));
    }
}

fn verdict(requirement: &Requirement) -> String {
    let measured = requirement
        .measured
        .map_or("not measured".into(), |m| figure(m, requirement.required));
    let verdict = match requirement.met {
        Some(true) => "ok",
        Some(false) | None => "MISSED",
    };
    let bound = match requirement.bound {
        Bound::AtMost => "at most",
        Bound::AtLeast => "at least",
    };
    format!(
        "{verdict:<8}{}: {measured}, required {bound} {}",
        requirement.what,
        figure(requirement.required, requirement.required)
    )
}

/// With decimals if things of `size` need them.
fn figure(value: f64, size: f64) -> String {
    let digits = if size < 100.0 { 2 } else { 0 };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_says_on_which_side_it_has_to_be() {
        let requirement = |bound, measured| Requirement {
            what: "a / b".into(),
            bound,
            required: 0.95,
            measured,
            met: measured.map(|_| true),
        };
        assert_eq!(
            verdict(&requirement(Bound::AtLeast, Some(1.0))),
            "ok      a / b: 1.00, required at least 0.95"
        );
        assert_eq!(
            verdict(&requirement(Bound::AtMost, None)),
            "MISSED  a / b: not measured, required at most 0.95"
        );
    }
}
