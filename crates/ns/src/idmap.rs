//! Which ids a user namespace has, [`user_namespaces(7)`]. Pure; [`crate::write_maps`] writes them.
//!
//! [`user_namespaces(7)`]: https://man7.org/linux/man-pages/man7/user_namespaces.7.html

use std::fmt::Write as _;

use crate::error::{Error, Result};

/// Lines that a map can have, since Linux 4.15.
const MAX_LINES: usize = 340;
/// A map is written in one write(2) below the page size; 4096 is the smallest there is.
const MAX_BYTES: usize = 4095;

/// One line: `count` ids from `inside` are `outside` and up in the parent namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdMap {
    /// First id in the new namespace.
    pub inside: u32,
    /// First id in the namespace of who writes the map.
    pub outside: u32,
    /// How many, at least 1.
    pub count: u32,
}

impl IdMap {
    /// What `id` in the new namespace is outside.
    #[must_use]
    pub fn to_outside(self, id: u32) -> Option<u32> {
        let offset = id
            .checked_sub(self.inside)
            .filter(|offset| *offset < self.count)?;
        self.outside.checked_add(offset)
    }
}

/// The maps of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdMaps {
    /// `uid_map`.
    pub uids: Vec<IdMap>,
    /// `gid_map`.
    pub gids: Vec<IdMap>,
}

impl IdMaps {
    /// One id each, as anybody may map without further rights: `uid` and `gid` of the caller.
    #[must_use]
    pub fn own(inside: (u32, u32), outside: (u32, u32)) -> Self {
        let one = |inside, outside| {
            vec![IdMap {
                inside,
                outside,
                count: 1,
            }]
        };
        Self {
            uids: one(inside.0, outside.0),
            gids: one(inside.1, outside.1),
        }
    }

    /// Check what the kernel would refuse with a bare EINVAL.
    ///
    /// # Errors
    ///
    /// [`Error::IdMap`]: no line, or more than 340, or more text than a page; a line of no ids, or
    /// past 2³² − 1 (which is "no id"); two lines that share ids inside or outside.
    pub fn validate(&self) -> Result<()> {
        for (file, maps) in [("uid_map", &self.uids), ("gid_map", &self.gids)] {
            check(maps).map_err(|reason| Error::IdMap { file, reason })?;
        }
        Ok(())
    }
}

fn check(maps: &[IdMap]) -> Result<(), String> {
    if maps.is_empty() {
        return Err("no line".into());
    }
    if maps.len() > MAX_LINES {
        return Err(format!(
            "{} lines are more than the kernel's {MAX_LINES}",
            maps.len()
        ));
    }
    for map in maps {
        let IdMap {
            inside,
            outside,
            count,
        } = *map;
        if count == 0 {
            return Err(format!("`{inside} {outside} 0` maps nothing"));
        }
        for first in [inside, outside] {
            // The last id, 4294967295, is (uid_t) -1 and means "none".
            if first.checked_add(count).is_none() {
                return Err(format!(
                    "`{inside} {outside} {count}` goes past the last id"
                ));
            }
        }
    }
    overlap(maps, "inside", |map| map.inside)?;
    overlap(maps, "outside", |map| map.outside)?;
    let bytes = text(maps).len();
    if bytes > MAX_BYTES {
        return Err(format!(
            "{bytes} bytes are more than one write takes ({MAX_BYTES})"
        ));
    }
    Ok(())
}

fn overlap(maps: &[IdMap], side: &str, first: impl Fn(&IdMap) -> u32) -> Result<(), String> {
    let mut ranges: Vec<(u32, u32)> = maps.iter().map(|map| (first(map), map.count)).collect();
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        if let [(a, count), (b, _)] = *pair
            && b - a < count
        {
            return Err(format!("id {b} {side} is mapped twice"));
        }
    }
    Ok(())
}

/// What is written to the file.
pub(crate) fn text(maps: &[IdMap]) -> String {
    maps.iter().fold(
        String::new(),
        |mut text,
         IdMap {
             inside,
             outside,
             count,
         }| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{inside} {outside} {count}");
            text
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(inside: u32, outside: u32, count: u32) -> IdMap {
        IdMap {
            inside,
            outside,
            count,
        }
    }

    fn refused(maps: Vec<IdMap>) -> String {
        let maps = IdMaps {
            uids: maps.clone(),
            gids: maps,
        };
        match maps.validate() {
            Err(Error::IdMap {
                file: "uid_map",
                reason,
            }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn good_maps_pass() {
        let uids = vec![
            map(0, 100_000, 1000),
            map(1000, 1000, 1),
            map(1001, 101_000, 64_535),
        ];
        let gids = vec![map(0, 0, u32::MAX)];
        IdMaps { uids, gids }
            .validate()
            .expect("as rootless engines write them");
        IdMaps::own((0, 0), (1000, 1000))
            .validate()
            .expect("the simplest one");
    }

    #[test]
    fn what_the_kernel_would_refuse_is_named() {
        for (maps, reason) in [
            (vec![], "no line"),
            (vec![map(0, 5, 0)], "`0 5 0` maps nothing"),
            (
                vec![map(1, 0, u32::MAX)],
                "`1 0 4294967295` goes past the last id",
            ),
            (
                vec![map(0, 10, 10), map(9, 100, 1)],
                "id 9 inside is mapped twice",
            ),
            (
                vec![map(0, 10, 10), map(50, 19, 1)],
                "id 19 outside is mapped twice",
            ),
            (
                vec![map(0, 1, 1); 341],
                "341 lines are more than the kernel's 340",
            ),
        ] {
            assert_eq!(refused(maps), reason);
        }
        let long = (0..200)
            .map(|n| map(4_000_000_000 + n, 4_100_000_000 + n, 1))
            .collect();
        assert_eq!(
            refused(long),
            "4800 bytes are more than one write takes (4095)"
        );
    }

    #[test]
    fn neighbours_do_not_overlap() {
        let maps = vec![map(10, 20, 10), map(0, 0, 10), map(20, 10, 10)];
        IdMaps {
            uids: maps.clone(),
            gids: maps,
        }
        .validate()
        .expect("side by side");
    }

    #[test]
    fn ids_are_translated_outwards() {
        let line = map(10, 1000, 3);
        assert_eq!(line.to_outside(9), None);
        assert_eq!(line.to_outside(12), Some(1002));
        assert_eq!(line.to_outside(13), None);
    }

    #[test]
    fn the_text_has_one_line_per_map() {
        assert_eq!(text(&[map(0, 1, 2), map(3, 4, 5)]), "0 1 2\n3 4 5\n");
    }
}
