//! The result as people read it.

use std::fmt::Write as _;

use super::result::Outcome;

/// The table, the requirements, the warnings.
pub(super) fn render(outcome: &Outcome) -> String {
    let mut text = format!(
        "Linux {}; microseconds from spawn to wait\n\n{:<14}{:>9}{:>9}{:>9}{:>8}{:>10}  {}\n",
        outcome.kernel, "", "median", "p90", "min", "×limit", "peak KiB", "what"
    );
    let mut line = |line: String| {
        let _infallible = writeln!(text, "{}", line.trim_end());
    };
    for row in &outcome.programs {
        let by_limit = row
            .by_limit
            .map_or("-".into(), |ratio| format!("{ratio:.2}"));
        line(format!(
            "{:<14}{:>9.0}{:>9.0}{:>9.0}{:>8}{:>10}  {}",
            row.name, row.median_us, row.p90_us, row.min_us, by_limit, row.peak_kib, row.note
        ));
    }
    line(String::new());
    for requirement in &outcome.requirements {
        let digits = if requirement.required < 100.0 { 2 } else { 0 };
        let measured = requirement
            .measured
            .map_or("not measured".into(), |m| format!("{m:.digits$}"));
        let verdict = match requirement.met {
            Some(true) => "ok",
            Some(false) | None => "MISSED",
        };
        line(format!(
            "{verdict:<8}{}: {measured}, required at most {:.digits$}",
            requirement.what, requirement.required
        ));
    }
    for warning in &outcome.warnings {
        line(format!("warning: {warning}"));
    }
    text
}
