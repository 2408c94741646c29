//! The schema says what the walk does.

use std::collections::BTreeSet;

use serde_json::Value;

use super::World;
use super::effect::KEYS;
use crate::diagnostic::Code;
use crate::manifest::schema;
use crate::manifest::value::privilege::RLIMITS;

/// Every property as a dotted path, and every word that a property lists.
#[derive(Default)]
struct Found {
    paths: BTreeSet<String>,
    words: BTreeSet<(String, String)>,
    closed: bool,
}

fn walk(root: &Value, schema: &Value, path: &str, found: &mut Found) {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = root
            .pointer(reference.trim_start_matches('#'))
            .expect("a definition");
        return walk(root, target, path, found);
    }
    for word in schema
        .get("enum")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        found
            .words
            .insert((path.to_owned(), word.as_str().expect("a word").to_owned()));
    }
    if let Some(word) = schema.get("const").and_then(Value::as_str) {
        found.words.insert((path.to_owned(), word.to_owned()));
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        found.closed &= schema.get("additionalProperties") == Some(&Value::Bool(false));
        for (key, property) in properties {
            let inner = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            found.paths.insert(inner.clone());
            walk(root, property, &inner, found);
        }
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(name).filter(|s| s.is_object()) {
            walk(root, inner, path, found);
        }
    }
    for name in ["anyOf", "oneOf", "allOf"] {
        for inner in schema
            .get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            walk(root, inner, path, found);
        }
    }
}

fn found() -> Found {
    let root: Value = serde_json::from_str(&schema::text()).expect("JSON");
    let mut found = Found {
        closed: true,
        ..Found::default()
    };
    walk(&root, &root, "", &mut found);
    found
}

#[test]
fn the_schema_has_exactly_the_keys_the_walk_takes() {
    let found = found();
    assert!(found.closed, "a table of the schema is open to other keys");
    let rlimits = RLIMITS
        .iter()
        .map(|name| format!("security.rlimits.{name}"));
    // The maps of uids and of gids are one place to the walk.
    let maps = ["uids", "gids"].iter().flat_map(|ids| {
        ["inside", "outside", "count"]
            .iter()
            .map(move |key| format!("security.user-namespace.{ids}.{key}"))
    });
    let known: BTreeSet<String> = KEYS
        .iter()
        .map(|key| key.path.to_owned())
        .filter(|path| {
            !["inside", "outside", "count"]
                .iter()
                .any(|k| path.ends_with(k))
        })
        .chain(rlimits)
        .chain(maps)
        .collect();
    assert_eq!(found.paths, known);
}

#[test]
fn every_word_the_schema_offers_is_taken() {
    let world = World::new();
    let words = found().words;
    assert!(words.len() >= 8, "{words:?}");
    for (path, word) in words {
        let key = KEYS
            .iter()
            .find(|key| key.path == path)
            .expect("a known key");
        let manifest = key.manifest(Some(&format!("\"{word}\"")));
        if let Err(report) = world.read(&manifest) {
            panic!("{manifest}\n{}", report.render(false));
        }
    }
}

#[test]
fn the_committed_schema_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/ctr.schema.json");
    if std::env::var_os("CTR_BLESS").is_some() {
        std::fs::write(path, schema::text()).expect("write");
    }
    let committed = std::fs::read_to_string(path).expect("the committed schema");
    assert_eq!(
        committed,
        schema::text(),
        "write it anew: ctr schema > crates/cli/ctr.schema.json"
    );
}

#[test]
fn an_optional_key_is_absent_never_null() {
    assert!(!schema::text().contains("\"null\""));
}

#[test]
fn the_reference_names_every_key_and_its_snippets_are_right() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/manifest.md");
    let reference = std::fs::read_to_string(path).expect("the reference");
    for path in found().paths {
        let key = path.rsplit('.').next().unwrap_or_default();
        let named = [
            format!("`{key}`"),
            format!(".{key}`"),
            format!("{key} ="),
            format!("[{key}]"),
        ];
        assert!(
            named.iter().any(|n| reference.contains(n.as_str())),
            "{path}"
        );
    }
    let world = World::new();
    let blocks = reference
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next());
    for block in blocks.flatten() {
        let base = if block.contains("rootfs ") {
            ""
        } else {
            super::BASE
        };
        let Err(report) = world.read(&format!("{base}{block}")) else {
            continue;
        };
        // Only what the host of the reader would have may be missing.
        let wrong = report.diagnostics.iter().any(|d| d.code != Code::NotFound);
        assert!(!wrong, "{block}\n{}", report.render(false));
    }
}
