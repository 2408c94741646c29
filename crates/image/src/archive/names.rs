//! Names: of entries, and of the images that an archive holds.

use std::collections::HashMap;

use super::refuse;
use crate::error::Error;
use crate::reference::Reference;

/// Bytes of an entry's name. Those that tools write have at most 140.
const MAX_NAME: usize = 255;
/// Names that an error lists.
const SHOWN: usize = 16;

/// The name of an entry without `.` and doubled slashes; empty for the root. Nobody needs `..` there, and readers
/// differ in when they resolve it.
pub(super) fn clean(path: &[u8]) -> Result<String, &'static str> {
    if path.split(|byte| *byte == b'/').any(|part| part == b"..") {
        return Err("contains ..");
    }
    follow("", path)
}

/// Where a symbolic link in the directory `from` leads to, by its text alone.
pub(super) fn follow(from: &str, target: &[u8]) -> Result<String, &'static str> {
    if target.len() > MAX_NAME {
        return Err("has more than 255 bytes");
    }
    let text = std::str::from_utf8(target).map_err(|_not_text| "is not in UTF-8")?;
    if text.contains(char::is_control) {
        return Err("has a control character");
    }
    if text.starts_with('/') {
        return Err("is absolute");
    }
    let mut parts: Vec<&str> = from.split('/').filter(|part| !part.is_empty()).collect();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_some() => {}
            ".." => return Err("leads out of the archive"),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// An image of an archive that nobody has asked for yet.
pub(super) struct Candidate<T> {
    /// Its full names.
    pub(super) names: Vec<Reference>,
    /// A name that is only a tag.
    pub(super) tag: Option<String>,
    pub(super) image: T,
}

/// Those that were asked for, each with its name. `document` holds them all, for errors.
///
/// Without a name these are all that have a full one. A name finds the image of that name, or the one that has
/// nothing but its tag, or the only one there is if that has no full name.
pub(super) fn choose<T: Clone>(
    document: &str,
    candidates: &[Candidate<T>],
    wanted: Option<&Reference>,
) -> Result<Vec<(Reference, T)>, Error> {
    let mut seen = HashMap::new();
    for (at, candidate) in candidates.iter().enumerate() {
        for name in &candidate.names {
            if seen.insert(name, at).is_some_and(|before| before != at) {
                let why = format!("has two images of the name {name}");
                return Err(refuse(document, why));
            }
        }
    }
    let Some(wanted) = wanted else {
        let named = candidates.iter().flat_map(|candidate| {
            let image = &candidate.image;
            let mut names = candidate.names.clone();
            names.dedup();
            names.into_iter().map(move |name| (name, image.clone()))
        });
        let named: Vec<_> = named.collect();
        return match named.is_empty() {
            false => Ok(named),
            true => Err(refuse(document, "has no image with a full name: give one")),
        };
    };
    let of = |candidate: &Candidate<T>| Ok(vec![(wanted.clone(), candidate.image.clone())]);
    if let Some(at) = seen.get(wanted) {
        return of(&candidates[*at]);
    }
    let nameless = |candidate: &&Candidate<T>| candidate.names.is_empty();
    let mut tagged = candidates
        .iter()
        .filter(nameless)
        .filter(|one| one.tag.is_some() && one.tag.as_deref() == wanted.tag());
    match (tagged.next(), tagged.next(), candidates) {
        (Some(one), None, _) => of(one),
        (None, None, [only]) if nameless(&only) => of(only),
        (Some(_), Some(_), _) => Err(refuse(document, format!("has two images for {wanted}"))),
        _ => Err(refuse(
            document,
            format!("has no image {wanted}; it has {}", list(candidates)),
        )),
    }
}

fn list<T>(candidates: &[Candidate<T>]) -> String {
    let names: Vec<String> = candidates
        .iter()
        .flat_map(|one| {
            let names = one.names.iter().map(Reference::to_string);
            names.chain(one.tag.iter().map(|tag| format!("{tag:?}")))
        })
        .collect();
    match names.len() {
        0 => "none with a name".to_owned(),
        count if count > SHOWN => {
            format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN)
        }
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_entries_stay_in_the_archive() {
        for (path, is) in [
            ("./blobs//sha256/a", Ok("blobs/sha256/a")),
            ("./", Ok("")),
            ("a/..", Err("contains ..")),
            ("...", Ok("...")),
            ("/a", Err("is absolute")),
            ("..", Err("contains ..")),
            ("a\n", Err("has a control character")),
            ("a\0b", Err("has a control character")),
        ] {
            assert_eq!(
                clean(path.as_bytes()).as_deref(),
                is.as_ref().copied(),
                "{path:?}"
            );
        }
        assert_eq!(follow("a/b", b"../c/x"), Ok("a/c/x".to_owned()));
        assert_eq!(follow("a", b"../../x"), Err("leads out of the archive"));
        assert_eq!(clean(&[b'x'; 256]), Err("has more than 255 bytes"));
        assert_eq!(clean(b"\xff"), Err("is not in UTF-8"));
    }

    fn candidate(names: &[&str], tag: Option<&str>, image: u8) -> Candidate<u8> {
        let names = names.iter().map(|name| name.parse().expect("a name"));
        Candidate {
            names: names.collect(),
            tag: tag.map(str::to_owned),
            image,
        }
    }

    #[track_caller]
    fn finds(candidates: &[Candidate<u8>], wanted: &str, found: Result<&[u8], &str>) {
        let wanted = (!wanted.is_empty()).then(|| wanted.parse().expect("a name"));
        match (choose("index.json", candidates, wanted.as_ref()), found) {
            (Ok(chosen), Ok(images)) => {
                let chosen: Vec<u8> = chosen.into_iter().map(|(_, image)| image).collect();
                assert_eq!(chosen, images);
            }
            (Err(error), Err(why)) => assert!(error.to_string().contains(why), "{error}"),
            (got, _) => panic!("{got:?}"),
        }
    }

    #[test]
    fn a_name_finds_one_image_and_none_finds_all_that_have_a_full_name() {
        let two = [
            candidate(&["a:1", "a:2"], None, 1),
            candidate(&[], Some("3"), 2),
        ];
        finds(&two, "", Ok(&[1, 1]));
        finds(&two, "docker.io/library/a:2", Ok(&[1]));
        finds(&two, "b:3", Ok(&[2]));
        finds(
            &two,
            "b:4",
            Err("library/a:1, docker.io/library/a:2, \"3\""),
        );
        let one = [candidate(&[], Some("3"), 2)];
        finds(&one, "b:4", Ok(&[2]));
        finds(&one, "", Err("give one"));
        finds(&[candidate(&["a"], None, 1)], "b", Err("has no image"));
        let same = [candidate(&["a"], None, 1), candidate(&["a"], None, 2)];
        finds(&same, "", Err("two images of the name"));
        let tags = [candidate(&[], Some("3"), 1), candidate(&[], Some("3"), 2)];
        finds(&tags, "b:3", Err("two images for"));
    }
}
