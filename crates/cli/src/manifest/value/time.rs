//! Times: `"10s"`, `"200ms"`.

use std::time::Duration;

use crate::diagnostic::quoted;
use crate::manifest::walk::Rule;

const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A length of time.
pub(crate) fn time(text: &str) -> Result<Duration, Rule> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("not a time like \"10s\"".into());
    }
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" => {
            return Err(Rule::from(format!(
                "the unit is missing; did you mean {}?",
                quoted(&format!("{number}s"))
            )));
        }
        _ => return Err("unknown unit: one whole number and one of ms, s, m, h".into()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(milliseconds))
        .map(Duration::from_millis)
        .filter(|time| *time <= LONGEST)
        .ok_or_else(|| "more than a year".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::value::tests::check;

    #[test]
    fn times_have_one_number_and_one_unit() {
        check(
            time,
            &[
                ("0s", Ok("0ns")),
                ("200ms", Ok("200ms")),
                ("10s", Ok("10s")),
                ("5m", Ok("300s")),
                ("1h", Ok("3600s")),
                ("10", Err("did you mean `10s`?")),
                ("1m30s", Err("one whole number")),
                ("1.5s", Err("one whole number")),
                ("10 s", Err("one whole number")),
                ("-1s", Err("not a time")),
                ("", Err("not a time")),
                ("9999h", Err("more than a year")),
                ("99999999999999999999s", Err("more than a year")),
            ],
        );
    }
}
