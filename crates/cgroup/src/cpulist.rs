//! Lists of CPUs and memory nodes, `0-2,4` ([`cpuset(7)`], "List format").
//!
//! [`cpuset(7)`]: https://man7.org/linux/man-pages/man7/cpuset.7.html

use std::fmt;

/// No kernel has more CPUs (`CONFIG_NR_CPUS`, `MAX_NUMNODES`) than fit below this.
const HIGHEST: u32 = 65_535;

/// A list of CPUs, or of memory nodes, sorted and without overlaps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CpuList {
    ranges: Vec<(u32, u32)>,
}

impl CpuList {
    /// Reads `0-2,4`; an empty text is the empty list. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_ascii();
        if text.is_empty() {
            return Some(Self::default());
        }
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        Some(Self::from_ranges(ranges?))
    }

    fn from_ranges(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(previous) if first <= previous.1 + 1 => previous.1 = previous.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self { ranges: merged }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ranges
            .iter()
            .map(|(first, last)| (last - first) as usize + 1)
            .sum()
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.ranges.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// Whether all of these are in `other` as well.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.ranges.iter().all(|(first, last)| {
            other
                .ranges
                .iter()
                .any(|(from, to)| from <= first && last <= to)
        })
    }
}

fn range(text: &str) -> Option<(u32, u32)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| -> Option<u32> {
        (!text.starts_with('+'))
            .then(|| text.parse().ok())
            .flatten()
            .filter(|n| *n <= HIGHEST)
    };
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.ranges.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            if first == last {
                write!(f, "{first}")?;
            } else {
                write!(f, "{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_are_sorted_and_merged() {
        for (text, expected) in [
            ("", Some("")),
            ("\n", Some("")),
            ("0", Some("0")),
            ("0-3,2-5,9", Some("0-5,9")),
            ("4,3,2", Some("2-4")),
            ("3-2", None),
            ("0,", None),
            ("a", None),
            ("-1", None),
            ("+1", None),
            ("0-15:2/4", None),
            ("0-4294967295", None),
        ] {
            let list = CpuList::parse(text).map(|l| l.to_string());
            assert_eq!(list.as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_subset_may_span_parts_of_ranges() {
        let list = |text| CpuList::parse(text).expect(text);
        assert!(list("1-2,6").is_subset(&list("0-3,5-7")));
        assert!(!list("3-5").is_subset(&list("0-3,5-7")));
        assert!(list("").is_subset(&list("0")));
        assert_eq!(list("0-3,7").len(), 5);
        assert_eq!(list("1-2,6").iter().collect::<Vec<_>>(), [1, 2, 6]);
    }

    proptest! {
        #[test]
        fn a_list_survives_its_own_spelling(cpus in proptest::collection::vec(0u32..=200, 0..40)) {
            let text = cpus.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
            let list = CpuList::parse(&text).expect("a list of numbers");
            prop_assert_eq!(CpuList::parse(&list.to_string()), Some(list.clone()));
            let mut expected = cpus;
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(list.iter().collect::<Vec<_>>(), expected);
        }

        #[test]
        fn any_text_is_read_without_panic(text in "[0-9,+ -]{0,60}") {
            let _ = CpuList::parse(&text).map(|l| l.len());
        }
    }
}
