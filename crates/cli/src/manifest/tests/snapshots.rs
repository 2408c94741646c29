//! Broken manifests and what is said about them, in `tests/broken.txt`:
//!
//! ```text
//! === name of the case
//! the manifest
//! ---
//! what is shown
//! ```
//!
//! `CTR_BLESS=1 cargo test -p cli` writes the file anew from its manifests.

use super::World;

struct Case {
    name: String,
    manifest: String,
    shown: String,
}

fn cases(text: &str) -> Vec<Case> {
    let case = |part: &str| {
        let (name, rest) = part.split_once('\n').expect("a name");
        let (manifest, shown) = match rest.strip_prefix("---\n") {
            Some(shown) => ("", shown),
            None => rest.split_at(rest.find("\n---\n").expect("---") + 1),
        };
        let (manifest, shown) = (manifest.to_owned(), shown.trim_start_matches("---\n"));
        Case {
            name: name.into(),
            manifest,
            shown: shown.trim_end().into(),
        }
    };
    text.split("=== ").skip(1).map(case).collect()
}

/// `\xNN;` in a manifest of the file stands for that character.
fn unescaped(manifest: &str) -> String {
    let mut parts = manifest.split("\\x");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (hex, rest) = part.split_once(';').expect("\\xNN;");
        out.extend(u32::from_str_radix(hex, 16).ok().and_then(char::from_u32));
        out.push_str(rest);
    }
    out
}

#[test]
fn broken_manifests_are_explained_as_recorded() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/broken.txt");
    let recorded = std::fs::read_to_string(path).expect("the recorded cases");
    let world = World::new();
    let root = world.root().to_string_lossy().into_owned();
    let (mut anew, mut different) = (String::new(), Vec::new());
    let cases = cases(&recorded);
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    for case in cases {
        let report = match world.read(&unescaped(&case.manifest)) {
            Ok(_) => panic!("`{}` is accepted", case.name),
            Err(report) => report,
        };
        let shown = report.render(false).replace(&root, "$ROOT");
        let shown = shown.trim_end();
        if shown != case.shown {
            different.push(format!("=== {}\n{shown}\n", case.name));
        }
        anew.push_str(&format!(
            "=== {}\n{}---\n{shown}\n\n",
            case.name, case.manifest
        ));
    }
    if std::env::var_os("CTR_BLESS").is_some() {
        std::fs::write(path, anew).expect("write");
    } else {
        assert!(
            different.is_empty(),
            "not as recorded:\n{}",
            different.concat()
        );
    }
}
