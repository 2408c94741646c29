//! Subordinate ids of ordinary users: `/etc/subuid` and `/etc/subgid`, [`subuid(5)`].
//!
//! Text to ranges, without NSS: what an `nsswitch.conf` line `subid:` would bring is not seen.
//!
//! [`subuid(5)`]: https://man7.org/linux/man-pages/man5/subuid.5.html

/// One line: a range of ids a user may map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubId {
    /// Login name or numeric uid, as written. In `subgid` too it names a user.
    pub owner: String,
    /// First id.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl SubId {
    /// `true`: the line names the user by login name or by number.
    #[must_use]
    pub fn belongs_to(&self, name: Option<&str>, uid: u32) -> bool {
        name == Some(self.owner.as_str()) || self.owner.parse() == Ok(uid)
    }
}

/// The lines of a file, in order. As newuidmap(1) does, lines that are no ranges are passed over:
/// comments, empty ranges, numbers past the last id.
#[must_use]
pub fn parse(text: &str) -> Vec<SubId> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<SubId> {
    let mut fields = line.split(':');
    let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
    let (first, count): (u32, u32) = (first.parse().ok()?, count.parse().ok()?);
    let whole = fields.next().is_none() && !owner.is_empty() && !owner.starts_with('#');
    (whole && count > 0 && first.checked_add(count).is_some()).then(|| SubId {
        owner: owner.to_owned(),
        first,
        count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let ranges = parse("alice:100000:65536\n1001:165536:65536\nalice:300000:1\n");
        let of = |name, uid| -> Vec<u32> {
            let mine = ranges.iter().filter(|range| range.belongs_to(name, uid));
            mine.map(|range| range.first).collect()
        };
        assert_eq!(of(Some("alice"), 1000), [100_000, 300_000]);
        assert_eq!(of(Some("bob"), 1001), [165_536]);
        assert_eq!(of(None, 1001), [165_536]);
        assert_eq!(of(None, 1000), [0; 0]);
    }

    #[test]
    fn lines_that_are_no_ranges_are_passed_over() {
        for bad in [
            "",
            "#alice:1:1",
            "alice",
            "alice:1",
            "alice:x:1",
            "alice:1:0",
            ":1:1",
            "alice:-1:5",
            "alice:1:1:1",
            "alice:4294967295:1",
            "alice:1:4294967296",
        ] {
            assert_eq!(parse(bad), [], "{bad:?}");
        }
        assert_eq!(parse("bad\nalice:7:9").len(), 1, "the rest counts");
    }
}
