//! Names that come near a misspelt one.

/// At most this many suggestions.
const MOST: usize = 3;

/// The names most like `wrong`, best first; empty when none is much like it.
pub(crate) fn names(
    wrong: &str,
    known: impl IntoIterator<Item = &'static str>,
) -> Vec<&'static str> {
    let mut scored: Vec<(f64, &'static str)> = known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|&(score, _)| score > 0.85)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.dedup_by_key(|entry| entry.1);
    scored.truncate(MOST);
    scored.into_iter().map(|(_, name)| name).collect()
}
