//! Quantities in their units, as the kernel writes them into and reads them from cgroup files.

use std::fmt;

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl From<u64> for $name {
            fn from(value: u64) -> Self {
                Self(value)
            }
        }

        /// The bare number, which is what the kernel reads and writes.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

quantity! {
    /// Bytes.
    Bytes
}
quantity! {
    /// Microseconds.
    Micros
}

/// Hundredths of a percent: `Percent(1250)` is 12.5 %. What `cpu.uclamp.*` and pressure averages
/// are made of, without the rounding of a float.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Percent(pub u32);

impl Percent {
    /// 100 %.
    pub const FULL: Self = Self(10_000);

    /// Reads `12`, `12.5` or `12.50`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || fraction.len() > 2 || !digits(whole) || !digits(fraction) {
            return None;
        }
        let hundredths = match fraction.len() {
            0 => 0,
            1 => fraction.parse::<u32>().ok()? * 10,
            _ => fraction.parse::<u32>().ok()?,
        };
        whole
            .parse::<u32>()
            .ok()?
            .checked_mul(100)?
            .checked_add(hundredths)
            .map(Self)
    }
}

/// Two decimals and no sign: `12.50`.
impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// A bound, or `max`: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit<T> {
    /// No limit.
    Max,
    /// At most (or, for `low` and `min`, at least) this.
    Value(T),
}

impl<T> Limit<T> {
    /// The bound, if there is one.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Max => None,
            Self::Value(value) => Some(value),
        }
    }

    /// Reads `max` or whatever `number` reads.
    pub(crate) fn parse_with(text: &str, number: impl FnOnce(&str) -> Option<T>) -> Option<Self> {
        match text {
            "max" => Some(Self::Max),
            other => number(other).map(Self::Value),
        }
    }
}

impl<T: From<u64>> Limit<T> {
    /// Reads `max` or a decimal number.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::parse_with(text, |number| parse_u64(number).map(T::from))
    }
}

impl<T: fmt::Display> fmt::Display for Limit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Value(value) => value.fmt(f),
        }
    }
}

/// A decimal number without the sign that `str::parse` would allow.
pub(crate) fn parse_u64(text: &str) -> Option<u64> {
    if text.starts_with('+') {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percent_reads_up_to_two_decimals_and_refuses_the_rest() {
        for (text, expected) in [
            ("0.00", Some(0)),
            ("12.5", Some(1250)),
            ("12.05", Some(1205)),
            ("100", Some(10_000)),
            ("", None),
            (".5", None),
            ("1.234", None),
            ("-1", None),
            ("+1", None),
            ("1.+1", None),
            ("99999999999", None),
        ] {
            assert_eq!(Percent::parse(text), expected.map(Percent), "{text:?}");
        }
    }

    #[test]
    fn a_limit_is_spelled_as_the_kernel_spells_it() {
        assert_eq!(Limit::<Bytes>::Max.to_string(), "max");
        assert_eq!(Limit::Value(Bytes(4096)).to_string(), "4096");
        assert_eq!(Limit::<u64>::parse("+1"), None);
        assert_eq!(Limit::<u64>::parse("maximum"), None);
    }

    proptest! {
        #[test]
        fn percent_survives_a_round_trip(hundredths in 0u32..=10_000_000) {
            let percent = Percent(hundredths);
            prop_assert_eq!(Percent::parse(&percent.to_string()), Some(percent));
        }

        #[test]
        fn limits_of_any_text_never_panic(text in "\\PC{0,40}") {
            let _ = Limit::<Bytes>::parse(&text);
            let _ = Percent::parse(&text);
        }
    }
}
