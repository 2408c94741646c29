//! Lists of CPUs and memory nodes: `"0-3,8"`, the list format of [`cpuset(7)`].
//!
//! [`cpuset(7)`]: https://man7.org/linux/man-pages/man7/cpuset.7.html

use crate::manifest::walk::Rule;

/// More than any kernel is built for (`NR_CPUS` and `MAX_NUMNODES` end at 8192 and 1024).
const HIGHEST: u32 = 8191;

/// A list, as it was written.
pub(crate) fn list(text: &str) -> Result<String, Rule> {
    if text.is_empty() {
        return Err("not a list like \"0-3,8\"".into());
    }
    let mut end = None;
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => number(part).map(|n| (n, n))?,
        };
        if last < first {
            return Err(format!("the range {first}-{last} runs backwards").into());
        }
        if end.is_some_and(|end| first <= end) {
            return Err(format!(
                "{first} is out of order or there twice; write the list ascending"
            )
            .into());
        }
        end = Some(last);
    }
    Ok(text.to_owned())
}

fn number(text: &str) -> Result<u32, Rule> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("not a list like \"0-3,8\"".into());
    }
    match text.parse() {
        Ok(n) if n <= HIGHEST => Ok(n),
        _ => Err(format!("numbers end at {HIGHEST}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::value::tests::check;

    #[test]
    fn lists_are_ascending_ranges() {
        check(
            list,
            &[
                ("0", Ok("\"0\"")),
                ("0-3,8", Ok("\"0-3,8\"")),
                ("", Err("not a list")),
                ("all", Err("not a list")),
                ("0,", Err("not a list")),
                ("0 - 1", Err("not a list")),
                ("-1", Err("not a list")),
                ("3-1", Err("backwards")),
                ("1,0", Err("ascending")),
                ("0-2,2", Err("ascending")),
                ("8192", Err("end at 8191")),
                ("99999999999", Err("end at 8191")),
                ("0\n1", Err("not a list")),
            ],
        );
    }
}
