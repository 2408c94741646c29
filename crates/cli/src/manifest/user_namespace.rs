//! `user-namespace` of `[security]`.

use engine::spec::{IdMap, UserNamespace};

use super::keys;
use super::model::{Given, GivenIdMap};
use super::walk::{Reader, Rule, Section, Value};

/// Lines the kernel takes, user_namespaces(7).
const MOST_LINES: usize = 340;

const LIKE: &str = "a string: \"auto\" or \"host\", or a table of maps";

pub(super) fn read(r: &Reader, value: &Value<'_>) -> Option<Given<UserNamespace>> {
    if !value.is_table() {
        return value.parse(r, LIKE, |text| match text {
            "auto" => Ok(UserNamespace::Auto),
            "host" => Ok(UserNamespace::Host),
            _ => Err(Rule::from(
                "one of \"auto\", \"host\", or a table of maps: { uids = […], gids = […] }",
            )),
        });
    }
    let table = Section::open(r, &keys::USER_NAMESPACE, value, LIKE)?;
    let uids = table
        .require("uids", "the map of user ids")
        .and_then(|v| maps(r, &v));
    let gids = table
        .require("gids", "the map of group ids")
        .and_then(|v| maps(r, &v));
    Some(Given::new(
        UserNamespace::Explicit {
            uids: uids?,
            gids: gids?,
        },
        value.span(),
    ))
}

fn maps(r: &Reader, value: &Value<'_>) -> Option<Vec<IdMap>> {
    let like = "an array like [{ inside = 0, outside = 100000, count = 65536 }]";
    let entries = value.array(r, like)?;
    if entries.len() > MOST_LINES {
        value.bad(r, format!("the kernel takes at most {MOST_LINES} lines"));
        return None;
    }
    let maps: Vec<GivenIdMap> = entries.iter().filter_map(|entry| map(r, entry)).collect();
    if maps.len() < entries.len() {
        return None;
    }
    if !maps.iter().any(|m| m.value.inside == 0) {
        value.bad(r, "id 0 is not mapped; setting the container up needs it");
    }
    for (i, later) in maps.iter().enumerate() {
        for earlier in &maps[..i] {
            check_overlap(r, earlier, later);
        }
    }
    Some(maps.into_iter().map(|m| m.value).collect())
}

fn map(r: &Reader, value: &Value<'_>) -> Option<GivenIdMap> {
    let like = "a table like { inside = 0, outside = 100000, count = 65536 }";
    let table = Section::open(r, &keys::ID_MAP, value, like)?;
    let id = |v: Value<'_>, from: i64| {
        let like = format!("an integer from {from} to 4294967294");
        let number = v.integer(r, &like, from..=i64::from(u32::MAX) - 1)?;
        u32::try_from(number.value).ok()
    };
    let inside = table
        .require("inside", "the first id in the container")
        .and_then(|v| id(v, 0));
    let outside = table
        .require("outside", "the first id on the host")
        .and_then(|v| id(v, 0));
    let count = table
        .require("count", "how many ids")
        .and_then(|v| id(v, 1));
    let map = IdMap {
        inside: inside?,
        outside: outside?,
        count: count?,
    };
    let fits = |first: u32| first.checked_add(map.count).is_some();
    if !fits(map.inside) || !fits(map.outside) {
        value.bad(r, "the range goes beyond 4294967294, the last id");
    }
    Some(Given::new(map, value.span()))
}

fn check_overlap(r: &Reader, earlier: &GivenIdMap, later: &GivenIdMap) {
    let (a, b) = (&earlier.value, &later.value);
    let overlap = |x: u32, y: u32| {
        let (x, y) = (u64::from(x), u64::from(y));
        x < y + u64::from(b.count) && y < x + u64::from(a.count)
    };
    let side = if overlap(a.inside, b.inside) {
        "in the container"
    } else if overlap(a.outside, b.outside) {
        "on the host"
    } else {
        return;
    };
    let at = [(later.place(), ""), (earlier.place(), "this one")];
    r.conflict(
        "overlapping id maps".into(),
        format!("has ids {side} that another has"),
        at,
    );
}
