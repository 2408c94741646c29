//! Names that somebody may have meant.

/// At most this many suggestions.
const MOST: usize = 3;

/// Longer names are compared with nothing: what comes out of a container must not cost time.
const LONGEST: usize = 64;

/// Of `names`, up to three that are a typing mistake or two away from `wanted`, nearest first.
///
/// Costs at most a few hundred steps per name, so the caller bounds only how many there are.
pub(crate) fn near<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let allowed = if wanted.len() <= 4 { 1 } else { 2 };
    let mut found: Vec<(usize, &str)> = Vec::new();
    for name in names {
        let Some(distance) = distance(wanted, name, allowed) else {
            continue;
        };
        if distance > 0 && !found.iter().any(|(_, other)| *other == name) {
            found.push((distance, name));
            found.sort();
            found.truncate(MOST);
        }
    }
    found.into_iter().map(|(_, name)| name.to_owned()).collect()
}

/// Characters to insert, delete, replace or swap with their neighbour to get from `a` to `b`
/// (optimal string alignment); `None` when they are more than `allowed`.
fn distance(a: &str, b: &str, allowed: usize) -> Option<usize> {
    if a.len() > LONGEST || b.len() > LONGEST {
        return None;
    }
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    if a.len().abs_diff(b.len()) > allowed {
        return None;
    }
    // rows[i][j]: from the first i characters of `a` to the first j of `b`.
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        rows[i][0] = i;
        for j in 1..=b.len() {
            let differ = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j - 1] + differ)
                .min(rows[i - 1][j] + 1)
                .min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
        if rows[i].iter().min() > Some(&allowed) {
            return None;
        }
    }
    Some(rows[a.len()][b.len()]).filter(|distance| *distance <= allowed)
}

/// A name short enough to be shown.
pub(crate) fn clip(name: &str) -> String {
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// `; did you mean "a" or "b"?`, or nothing.
pub(crate) fn did_you_mean(names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    format!("; did you mean {}?", quoted.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: &str, names: &[&str], expected: &[&str]) {
        assert_eq!(near(wanted, names.iter().copied()), expected, "{wanted}");
    }

    #[test]
    fn typing_mistakes_are_near_and_other_words_are_not() {
        check("ngnix", &["nginx", "nobody", "root"], &["nginx"]);
        check("pyhton3", &["python3", "python3.11", "perl"], &["python3"]);
        check(
            "bsh",
            &["bash", "sh", "ash", "dash"],
            &["ash", "bash", "sh"],
        );
        check("sh", &["a", "su", "root"], &["su"]);
        check("postgres", &["postgres"], &[]);
        check("", &["a", "ab"], &["a"]);
        check("münchen", &["munchen"], &["munchen"]);
    }

    #[test]
    fn a_name_is_suggested_once_and_there_are_at_most_three() {
        check(
            "cat",
            &["bat", "bat", "rat", "hat", "mat"],
            &["bat", "hat", "mat"],
        );
    }

    #[test]
    fn suggestions_read_as_a_question() {
        assert_eq!(did_you_mean(&[]), "");
        assert_eq!(
            did_you_mean(&["a".into(), "b".into()]),
            r#"; did you mean "a" or "b"?"#
        );
    }

    proptest::proptest! {
        #[test]
        fn the_distance_is_symmetric_and_zero_only_between_equals(a in ".{0,8}", b in ".{0,8}") {
            assert_eq!(distance(&a, &b, 2), distance(&b, &a, 2));
            assert_eq!(distance(&a, &b, 2) == Some(0), a == b);
        }
    }
}
