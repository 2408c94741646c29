//! Values written as strings, each with the one function that understands it.
//!
//! A function takes the text and returns the value or the [`Rule`](super::walk::Rule) it breaks.
//! Nothing here touches the host, but for `host_path`.

pub(crate) mod host_path;
pub(crate) mod list;
pub(crate) mod name;
pub(crate) mod net;
pub(crate) mod path;
pub(crate) mod privilege;
pub(crate) mod size;
pub(crate) mod sysctl;
pub(crate) mod time;
pub(crate) mod user;

#[cfg(test)]
pub(crate) mod tests {
    use crate::manifest::walk::Rule;

    /// One table test for every parser: `Ok` is the value's `Debug`, `Err` a part of the rule.
    pub(crate) fn check<T: std::fmt::Debug>(
        parse: impl Fn(&str) -> Result<T, Rule>,
        cases: &[(&str, Result<&str, &str>)],
    ) {
        for (text, expected) in cases {
            match (parse(text), expected) {
                (Ok(value), Ok(debug)) => assert_eq!(format!("{value:?}"), *debug, "{text:?}"),
                (Err(rule), Err(part)) => {
                    let said = format!("{} {}", rule.label, rule.help.unwrap_or_default());
                    assert!(said.contains(part), "{text:?}: {said:?} lacks {part:?}");
                }
                (got, _) => panic!("{text:?}: got {got:?}, expected {expected:?}"),
            }
        }
    }
}
