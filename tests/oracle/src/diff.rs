//! Comparing two inventories.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use crate::{Inventory, Places};

/// An inventory taken beforehand.
#[derive(Debug)]
pub struct Oracle {
    places: Places,
    before: Inventory,
}

impl Oracle {
    /// Take the inventory to compare with.
    #[must_use]
    pub fn start(places: Places) -> Self {
        let before = Inventory::take(&places);
        Self { places, before }
    }

    /// Take it again, until it is the same or the time is over.
    ///
    /// # Errors
    /// What differs at the end of the time, as text.
    pub fn finish(&self, settle: Duration) -> Result<(), Difference> {
        let deadline = Instant::now() + settle;
        loop {
            let difference = self.difference();
            if difference.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(difference);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What differs now.
    #[must_use]
    pub fn difference(&self) -> Difference {
        Difference::between(&self.before, &Inventory::take(&self.places))
    }
}

/// Lines that one inventory has and the other has not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// (kind, line): there afterwards, not before.
    pub left_behind: Vec<(&'static str, String)>,
    /// (kind, line): there before, not afterwards.
    pub gone: Vec<(&'static str, String)>,
}

impl Difference {
    /// From one inventory to the other.
    #[must_use]
    pub fn between(before: &Inventory, after: &Inventory) -> Self {
        let only_in = |one: &Inventory, other: &Inventory| {
            one.lines()
                .filter(|(kind, line)| !other.has(kind, line))
                .map(|(kind, line)| (kind, line.to_owned()))
                .collect()
        };
        Self {
            left_behind: only_in(after, before),
            gone: only_in(before, after),
        }
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left_behind.is_empty() && self.gone.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, line) in &self.left_behind {
            writeln!(f, "left behind: {kind}: {line}")?;
        }
        for (kind, line) in &self.gone {
            writeln!(f, "gone: {kind}: {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Difference {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_is_named() {
        let before = Inventory::of([("process", vec!["7 sh".to_owned()]), ("mount", vec![])]);
        let after = Inventory::of([("process", vec![]), ("mount", vec!["/x".to_owned()])]);
        let difference = Difference::between(&before, &after);
        assert_eq!(
            difference.to_string(),
            "left behind: mount: /x\ngone: process: 7 sh\n"
        );
        assert!(Difference::between(&before, &before).is_empty());
    }
}
