//! Input that means harm: large, deep, random. Nothing may panic, hang, or overflow the stack.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{BASE, World};
use crate::diagnostic;

/// Every way an error can be shown, within a time that even a slow debug build keeps.
fn refused(world: &World, what: &str, text: &str) -> String {
    let start = Instant::now();
    let report = world.read(text).expect_err(what);
    let shown = report.render(false);
    assert!(report.render(true).contains('\u{1b}'), "{what}");
    let json = diagnostic::json([&*report]);
    serde_json::from_str::<serde_json::Value>(&json).expect("JSON");
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "{what}: {:?}",
        start.elapsed()
    );
    assert!(shown.len() < 1 << 20, "{what}: {} bytes", shown.len());
    shown
}

#[test]
fn deep_nesting_is_an_error_with_a_place_on_a_small_stack() {
    let cases = [
        (
            "arrays",
            format!("a = {}", "[".repeat(100_000)),
            "nested too deeply",
        ),
        (
            "closed arrays",
            format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000)),
            "nested too deeply",
        ),
        (
            "tables",
            format!("a = {}", "{a=".repeat(100_000)),
            "nested too deeply",
        ),
        (
            "dotted key",
            format!("x = 1\n{}b = 1", "a.".repeat(100_000)),
            "too many dots",
        ),
        (
            "dotted header",
            format!("[{}b]", "a.".repeat(100_000)),
            "too many dots",
        ),
    ];
    let small = std::thread::Builder::new().stack_size(512 << 10);
    let check = move || {
        let world = World::new();
        for (what, text, expected) in cases {
            let shown = refused(&world, what, &text);
            assert!(
                shown.contains(expected),
                "{what}: {}",
                &shown[..shown.len().min(2000)]
            );
        }
    };
    small
        .spawn(check)
        .expect("a thread")
        .join()
        .expect("no overflow");
}

#[test]
fn large_files_are_refused_with_a_bounded_report() {
    let world = World::new();
    let many = |line: fn(usize) -> String, n| (0..n).map(line).collect::<String>();
    let cases = [
        ("unknown keys", many(|i| format!("k{i} = 1\n"), 50_000)),
        ("junk", "=\n".repeat(100_000)),
        ("quotes", "\"".repeat(1_000_000)),
        ("twice", "a = 1\n".repeat(50_000)),
        ("one long line", format!("a = \"{}", "x".repeat(1_000_000))),
        (
            "mounts",
            many(
                |i| format!("[[mount]]\ntmpfs = \"1MiB\"\nat = \"/m{i}\"\n"),
                20_000,
            ),
        ),
        ("NUL bytes", "\0".repeat(10_000)),
        (
            "unclosed",
            format!("{BASE}args = [{}", "\"a\",".repeat(100_000)),
        ),
    ];
    for (what, text) in cases {
        let shown = refused(&world, what, &text);
        assert!(
            shown.matches("\nerror").count() < diagnostic::LIMIT,
            "{what}"
        );
    }
}

#[test]
fn the_environment_and_the_command_line_fit_the_kernel() {
    let world = World::new();
    let read = |text: String| world.read(&format!("rootfs = \"host\"\n{text}"));
    let long = "x".repeat(128 << 10);
    for text in [
        format!("command = [\"true\", \"{long}\"]"),
        format!("command = [\"true\"]\nenv = {{ A = \"{long}\" }}"),
        format!("command = [\"true\"]\nenv = {{ {long} = \"\" }}"),
    ] {
        let report = read(text).expect_err("too long");
        assert!(
            report.render(false).contains("128 KiB"),
            "{}",
            report.render(false)
        );
    }
    let env: String = (0..130_000).map(|i| format!("A{i} = \"\"\n")).collect();
    let report = read(format!("command = [\"true\"]\n[env]\n{env}")).expect_err("too much");
    assert!(
        report.render(false).contains("ARG_MAX"),
        "{}",
        report.render(false)
    );
    // The benign twin: many variables are fine.
    let env: String = (0..10_000).map(|i| format!("A{i} = \"\"\n")).collect();
    assert!(read(format!("command = [\"true\"]\n[env]\n{env}")).is_ok());
    // And dangerous-looking ones go to the container and nowhere else.
    assert!(
        read("command = [\"true\"]\nenv = { LD_PRELOAD = \"x\", PEM = \"a\\nb\" }".into()).is_ok()
    );
}

/// Pieces of manifests, right and wrong.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "name",
        "rootfs",
        "command",
        "env",
        "mount",
        "resources",
        "memory",
        "max",
        "security",
        "image",
        "sysctl",
        "user",
        "at",
        "bind",
        "host",
        "stop",
        "\"256MiB\"",
        "\"host\"",
        "\"/x\"",
        "[\"sh\"]",
        "{ max = 1 }",
        "0",
        "-1",
        "nan",
        "1e400",
        "true",
        "2026-11-24",
        "\u{0}",
        "\"\\u0000\"",
        "'''",
        "\"\"\"",
        "ä",
        "\u{feff}",
        "\r\n",
        "\n",
        "\t",
        " ",
        "=",
        ".",
        ",",
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "#",
        "\"",
        "\\",
    ];
    prop_oneof![
        8 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => ".{0,8}",
        1 => "[a-z.]{1,12} = \"[^\"]{0,12}\"\n",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        if let Err(report) = World::new().read(&text) {
            let _ = report.render(true);
            let _ = diagnostic::json([&*report]);
        }
    }

    #[test]
    fn no_mixture_of_pieces_panics(pieces in proptest::collection::vec(piece(), 0..60)) {
        let world = World::new();
        for text in [pieces.concat(), pieces.join(" "), format!("{BASE}{}", pieces.join("\n"))] {
            if let Err(report) = world.read(&text) {
                prop_assert!(!report.diagnostics.is_empty());
                let _ = report.render(false);
                let _ = diagnostic::json([&*report]);
            }
        }
    }

    #[test]
    fn no_value_of_any_string_key_panics(index in 0..super::effect::KEYS.len(), value in ".{0,40}") {
        let value = toml_string(&value);
        if let Err(report) = World::new().read(&super::effect::KEYS[index].manifest(Some(&value))) {
            let _ = report.render(false);
        }
    }
}

/// A TOML basic string with any characters.
fn toml_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        if c == '"' || c == '\\' || c.is_control() {
            out.push_str(&format!("\\U{:08X}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out.push('"');
    out
}
