//! Sizes: `"256MiB"`. Binary units only, so that a size is what the kernel's file shows.

use engine::spec::Limit;

use crate::diagnostic::quoted;
use crate::manifest::walk::Rule;

const UNITS: [(&str, u32); 6] = [
    ("B", 0),
    ("KiB", 10),
    ("MiB", 20),
    ("GiB", 30),
    ("TiB", 40),
    ("PiB", 50),
];

/// Above it the kernel's own arithmetic turns a limit into "no limit".
const LARGEST: u64 = 1 << 60;

/// Smallest `memory.max`: below it a container is killed before its program runs.
pub(crate) const MEMORY_FLOOR: u64 = 6 << 20;

/// A number of bytes.
pub(crate) fn size(text: &str) -> Result<u64, Rule> {
    if text == "0" {
        return Ok(0);
    }
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let Some((_, shift)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(unknown_unit(text, number, unit));
    };
    let Ok(number) = number.parse::<u64>() else {
        return Err(if number.is_empty() {
            no_size(text)
        } else {
            too_large()
        });
    };
    match number.checked_mul(1 << shift) {
        Some(bytes) if bytes <= LARGEST => Ok(bytes),
        _ => Err(too_large()),
    }
}

/// A number of bytes, or `max`.
pub(crate) fn limit(text: &str) -> Result<Limit, Rule> {
    if text == "max" {
        Ok(Limit::Max)
    } else {
        size(text).map(Limit::Value)
    }
}

/// A `memory.max` or `memory.high` that something can run under.
pub(crate) fn memory_limit(text: &str) -> Result<Limit, Rule> {
    match limit(text)? {
        Limit::Value(bytes) if bytes < MEMORY_FLOOR => {
            Err("below 6MiB nothing can be started".into())
        }
        limit => Ok(limit),
    }
}

/// Bytes a second: `"20MiB/s"`.
pub(crate) fn rate(text: &str) -> Result<u64, Rule> {
    let Some(bytes) = text.strip_suffix("/s") else {
        return Err(match size(text) {
            Ok(_) => Rule::from(format!(
                "a rate is per second: write {}",
                quoted(&format!("{text}/s"))
            )),
            Err(_) => Rule::from("not a rate like \"20MiB/s\""),
        });
    };
    match size(bytes)? {
        0 => Err("0 would stop the device; leave the key out for no limit".into()),
        bytes => Ok(bytes),
    }
}

/// The bytes of a tmpfs. The kernel takes 0 as "no limit".
pub(crate) fn tmpfs(text: &str) -> Result<u64, Rule> {
    match size(text)? {
        bytes if bytes < 4096 => Err("a tmpfs has at least one page, 4KiB".into()),
        bytes => Ok(bytes),
    }
}

fn no_size(text: &str) -> Rule {
    let rule = Rule::from("not a size like \"256MiB\"");
    if text.starts_with('-') {
        rule.help("for no limit leave the key out, or write \"max\"")
    } else {
        rule
    }
}

fn too_large() -> Rule {
    "more than any machine has; for no limit leave the key out, or write \"max\"".into()
}

fn unknown_unit(text: &str, number: &str, unit: &str) -> Rule {
    if number.is_empty() {
        return no_size(text);
    }
    if unit.is_empty() {
        return Rule::from("the unit is missing: B, KiB, MiB, GiB, TiB or PiB");
    }
    if unit.starts_with('.') {
        return Rule::from("whole numbers only")
            .help("write it in the next smaller unit: \"1536MiB\" instead of \"1.5GiB\"");
    }
    let first = unit
        .trim_start()
        .chars()
        .next()
        .map(|c| c.to_ascii_uppercase());
    let meant = UNITS.iter().find(|(name, _)| name.chars().next() == first);
    let close =
        unit.trim_start().len() <= 3 && unit.to_ascii_lowercase().trim_end_matches("ib").len() <= 3;
    match meant {
        Some((name, _)) if close => Rule::from(format!(
            "unknown unit; did you mean {}?",
            quoted(&format!("{number}{name}"))
        )),
        _ => Rule::from("unknown unit: there are B, KiB, MiB, GiB, TiB and PiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::value::tests::check;

    #[test]
    fn sizes_are_whole_numbers_with_binary_units() {
        check(
            size,
            &[
                ("0", Ok("0")),
                ("1B", Ok("1")),
                ("4KiB", Ok("4096")),
                ("256MiB", Ok("268435456")),
                ("1024PiB", Ok("1152921504606846976")),
                ("1025PiB", Err("more than any machine has")),
                ("18446744073709551616B", Err("more than any machine has")),
                ("99999999999999999999PiB", Err("more than any machine has")),
                ("256", Err("unit is missing")),
                ("256MB", Err("did you mean `256MiB`?")),
                ("256m", Err("did you mean `256MiB`?")),
                ("256 MiB", Err("did you mean `256MiB`?")),
                ("12XB", Err("unknown unit")),
                ("1e30", Err("unknown unit")),
                ("1.5GiB", Err("whole numbers only")),
                ("-1", Err("leave the key out")),
                ("", Err("not a size")),
                ("MiB", Err("not a size")),
                ("٣MiB", Err("not a size")),
            ],
        );
    }

    #[test]
    fn a_memory_limit_below_6_mib_is_refused() {
        check(
            memory_limit,
            &[
                ("max", Ok("Max")),
                ("6MiB", Ok("Value(6291456)")),
                ("6143KiB", Err("below 6MiB")),
                ("0", Err("below 6MiB")),
                ("1B", Err("below 6MiB")),
            ],
        );
    }

    #[test]
    fn rates_are_per_second_and_a_tmpfs_has_a_page() {
        check(
            rate,
            &[
                ("20MiB/s", Ok("20971520")),
                ("20MiB", Err("`20MiB/s`")),
                ("0B/s", Err("leave the key out")),
                ("fast", Err("not a rate")),
            ],
        );
        check(
            tmpfs,
            &[
                ("64MiB", Ok("67108864")),
                ("0", Err("4KiB")),
                ("1KiB", Err("4KiB")),
            ],
        );
    }
}
