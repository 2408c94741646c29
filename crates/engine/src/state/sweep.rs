//! Cleaning up after containers whose supervisor was killed.

use rustix::fs::{self, AtFlags, OFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::{NEW, Occupant, Record, Store, entries, is_ours, lock_slot, unlink};
use crate::error::{StateError, StateResult};

impl Store {
    /// Clean up after every container whose supervisor died: `recover` gets each one's record
    /// before its directory goes.
    ///
    /// # Errors
    /// The first failing call; the others were tried all the same.
    pub fn sweep(&self, most: usize, mut recover: impl FnMut(&Record)) -> StateResult<()> {
        let mut first = self.sweep_ids(most);
        let names = entries(&self.dir).map_err(self.call("getdents64", ""))?;
        for name in some_of(names, most) {
            let Some(name) = name.to_str() else { continue };
            if is_ours(name) || half_made_by_a_living_process(name) {
                continue;
            }
            let swept = match self.occupant(name) {
                Ok(Occupant::Dead { _lock, record }) => {
                    // Nothing is made before the record has its name: what a half-made one tells of is another's,
                    // perhaps our own.
                    let published = !name.starts_with(NEW);
                    if let Some(record) = record.as_ref().filter(|_| published) {
                        recover(record);
                    }
                    self.delete(name)
                }
                Ok(Occupant::Nobody | Occupant::Alive) => Ok(()),
                Err(error) => Err(error),
            };
            first = first.and(swept);
        }
        first
    }

    /// Unlink the claims of dead containers.
    fn sweep_ids(&self, most: usize) -> StateResult<()> {
        let dir = match self.open_dir("ids") {
            Err(StateError::Call {
                errno: Errno::NOENT,
                ..
            }) => return Ok(()),
            other => other?,
        };
        let names = entries(&dir).map_err(self.call("getdents64", "ids"))?;
        for name in some_of(names, most) {
            let Some(slot) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // Ours only while we hold it: unlinked under the lock, as its owner would have.
            if let Some(_file) =
                lock_slot(&dir, slot, OFlags::empty()).map_err(self.call("flock", "ids"))?
            {
                unlink(&dir, &name, AtFlags::empty()).map_err(self.call("unlinkat", "ids"))?;
            }
        }
        Ok(())
    }

    /// How many containers this start looks at in search of dead ones, chosen by chance. To choose some, all names are
    /// listed: beside many others that is done by few starts, so that nearly all cost the same as the first. What
    /// needs a name, an address or a port of a dead one looks at all.
    #[must_use]
    pub fn share(&self) -> usize {
        // Where directories do not count what is in them, they have one link.
        let links = fs::fstat(&self.dir).map_or(0, |dir| dir.st_nlink);
        let now = clock_gettime(ClockId::Monotonic).tv_nsec.unsigned_abs();
        // The lowest bits of some clocks do not change.
        share(links, now >> 10)
    }
}

/// Between its mkdir and its flock.
fn half_made_by_a_living_process(name: &str) -> bool {
    name.strip_prefix(NEW)
        .and_then(|rest| rest.split_once('.'))
        .and_then(|(pid, _)| pid.parse::<i32>().ok())
        .and_then(rustix::process::Pid::from_raw)
        .is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(Errno::SRCH))
}

/// Each start looks at so many containers, in all.
const SHARE: usize = 16;
/// While there are no more than these.
const FEW: u64 = 32;
/// Beside more, one start of so many looks for all of them.
const STARTS: u64 = 16;

/// What [`Store::share`] says, where there are `containers`, and chance is `chance`.
fn share(containers: u64, chance: u64) -> usize {
    if containers <= FEW {
        SHARE
    } else if chance.is_multiple_of(STARTS) {
        SHARE * STARTS as usize
    } else {
        0
    }
}

/// `most` of them, neighbours, from a place that the clock chooses.
fn some_of<T>(mut all: Vec<T>, most: usize) -> Vec<T> {
    if all.len() > most {
        let now = clock_gettime(ClockId::Monotonic).tv_nsec.unsigned_abs();
        let place = now % all.len() as u64;
        all.rotate_left(place as usize);
        all.truncate(most);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_look_at_sixteen_each_or_one_of_them_for_all() {
        for containers in [1, 3, FEW, FEW + 1, 1000] {
            let looked: usize = (0..160).map(|chance| share(containers, chance)).sum();
            assert_eq!(looked, 160 * SHARE, "{containers}");
        }
        assert_eq!(share(3, 1), SHARE);
        assert_eq!(share(1000, 1), 0);
        let root = tempfile::tempdir().expect("a directory");
        let store = Store::open(&root.path().join("run")).expect("a store");
        assert_eq!(store.share(), SHARE);
    }

    #[test]
    fn a_sweep_of_some_looks_at_no_more_and_comes_to_all_in_time() {
        let all: Vec<usize> = (0..100).collect();
        assert_eq!(some_of(all.clone(), 100), all);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..10_000 {
            let some = some_of(all.clone(), 16);
            assert_eq!(some.len(), 16);
            seen.extend(some);
        }
        assert_eq!(seen.len(), 100);
    }
}
