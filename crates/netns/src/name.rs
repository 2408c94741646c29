//! Names of containers on a network: checked once, never cleaned up.

use std::fmt;
use std::net::IpAddr;

use crate::Error;

/// Longest name, in bytes: that of one DNS label.
const MAX: usize = 63;

/// A name or an alias of a container: `[a-z0-9][a-z0-9_.-]{0,62}`, and no IP address.
///
/// What is looked up by such a name is never a path, an option or an escape sequence of anything. An
/// address is refused because no resolver would ever ask for it: it is used as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameProblem {
    /// There is nothing.
    Empty,
    /// It has more than 63 bytes.
    TooLong,
    /// It starts with something other than `a`–`z` or `0`–`9`.
    Start,
    /// It holds something other than `a`–`z`, `0`–`9`, `_`, `.` and `-`.
    Character(char),
    /// Two dots follow each other or the last byte is one, so that DNS has no way to ask for it.
    Dots,
    /// It is an IP address.
    Address,
}

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] with what is wrong.
    pub fn new(name: &str) -> Result<Self, Error> {
        match problem(name) {
            None => Ok(Self(name.to_owned())),
            Some(problem) => Err(Error::Name {
                name: name.to_owned(),
                problem,
            }),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// What is wrong with `name`, if anything is.
pub(crate) fn problem(name: &str) -> Option<NameProblem> {
    let first = match name.chars().next() {
        None => return Some(NameProblem::Empty),
        Some(first) => first,
    };
    if name.len() > MAX {
        return Some(NameProblem::TooLong);
    }
    if !first.is_ascii_lowercase() && !first.is_ascii_digit() {
        return Some(NameProblem::Start);
    }
    let odd = name
        .chars()
        .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '_' | '.' | '-'));
    if let Some(odd) = odd {
        return Some(NameProblem::Character(odd));
    }
    if name.contains("..") || name.ends_with('.') {
        return Some(NameProblem::Dots);
    }
    if name.parse::<IpAddr>().is_ok() {
        return Some(NameProblem::Address);
    }
    None
}

impl fmt::Display for NameProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLong => write!(f, "it is longer than {MAX} bytes"),
            Self::Start => f.write_str("it must start with a-z or 0-9"),
            Self::Character(c) => write!(f, "{c:?} is none of a-z 0-9 _ . -"),
            Self::Dots => f.write_str("a dot must have something on both sides"),
            Self::Address => f.write_str("it is an IP address"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_not_cleaned() {
        for good in ["web", "0", "a_b-c.d", &"x".repeat(63)] {
            assert_eq!(Name::new(good).expect(good).as_str(), good);
        }
        for (bad, why) in [
            ("", NameProblem::Empty),
            (&*"x".repeat(64), NameProblem::TooLong),
            (".web", NameProblem::Start),
            ("-web", NameProblem::Start),
            ("Web", NameProblem::Start),
            ("weB", NameProblem::Character('B')),
            ("we b", NameProblem::Character(' ')),
            ("we\nb", NameProblem::Character('\n')),
            ("a/b", NameProblem::Character('/')),
            ("aé", NameProblem::Character('é')),
            ("a..b", NameProblem::Dots),
            ("a.", NameProblem::Dots),
            ("10.0.0.1", NameProblem::Address),
        ] {
            assert_eq!(problem(bad), Some(why), "{bad:?}");
        }
    }
}
