//! What no lint checks: module heads, what a crate must bring along, the directions of dependencies,
//! the size of files, marks of unfinished work.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::workspace::{Package, Workspace};

/// The crates below `engine`: each is worth using alone, and knows none of the others.
pub(crate) const KERNEL_CRATES: [&str; 6] = ["cgroup", "confine", "image", "netns", "ns", "rootfs"];
/// Only `cli` and `oci` know these.
const FRONT_END_ONLY: [&str; 7] = [
    "annotate-snippets",
    "clap",
    "indicatif",
    "oci-spec",
    "toml",
    "toml_edit",
    "tracing-subscriber",
];
/// Lines of a file, its `#[cfg(test)]` part not counted.
const MAX_LINES: usize = 600;
/// Directories that hold nothing of the project's text.
const NOT_OURS: [&str; 3] = [".git", "target", "node_modules"];
const TEXT: [&str; 8] = ["json", "md", "rs", "sh", "toml", "txt", "yaml", "yml"];
/// Cut in two, so that this file does not find itself.
const FORBIDDEN: [(&str, &str); 7] = [
    (concat!("todo", "!("), "unfinished work"),
    (concat!("unimplemented", "!("), "unfinished work"),
    (concat!("TO", "DO"), "unfinished work"),
    (concat!("FIX", "ME"), "unfinished work"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/tmp/", "target-"), "a path of one machine"),
    (concat!("/root/", ".cargo"), "a path of one machine"),
];

/// Checks the whole workspace.
///
/// # Errors
///
/// One that lists every complaint.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut complaints = Vec::new();
    for package in &workspace.packages {
        edges(package, &mut complaints);
    }
    for name in KERNEL_CRATES {
        let directory = workspace.root.join("crates").join(name);
        if directory.is_dir() {
            belongings(name, &directory, &mut complaints)?;
        }
    }
    let mut files = Vec::new();
    walk(&workspace.root, &mut files)?;
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("read {file:?}"))?;
        let shown = file.strip_prefix(&workspace.root).unwrap_or(&file);
        complaints.extend(forbidden(shown, &text));
        if shown.extension().is_some_and(|extension| extension == "rs") {
            complaints.extend(source(shown, &text));
        }
    }
    if complaints.is_empty() {
        return Ok(());
    }
    complaints.sort();
    bail!("tidy has complaints:\n{}", complaints.join("\n"))
}

fn edges(package: &Package, complaints: &mut Vec<String>) {
    let kernel = KERNEL_CRATES.contains(&package.name.as_str());
    if !kernel && package.name != "engine" {
        return;
    }
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        let up = match package.name.as_str() {
            "engine" => ["cli", "oci"].contains(&name),
            _ => KERNEL_CRATES.contains(&name) || ["engine", "cli", "oci"].contains(&name),
        };
        // The image crate reads what registries serve, in the types made for that.
        let front_end = FRONT_END_ONLY.contains(&name)
            && dependency.kind.is_none()
            && !(package.name == "image" && name == "oci-spec");
        if up || front_end {
            complaints.push(format!("{}: must not depend on `{name}`", package.name));
        }
    }
}

/// A kernel crate comes with what a stranger needs to use it.
fn belongings(name: &str, directory: &Path, complaints: &mut Vec<String>) -> Result<()> {
    for file in ["README.md", "CHANGELOG.md"] {
        if !directory.join(file).is_file() {
            complaints.push(format!("crates/{name}: has no {file}"));
        }
    }
    for (place, what) in [("examples", "example"), ("tests", "integration test")] {
        let mut files = Vec::new();
        if directory.join(place).is_dir() {
            walk(&directory.join(place), &mut files)?;
        }
        if !files
            .iter()
            .any(|file| file.extension().is_some_and(|e| e == "rs"))
        {
            complaints.push(format!("crates/{name}: has no {what}"));
        }
    }
    Ok(())
}

fn source(path: &Path, text: &str) -> Vec<String> {
    let shown = path.display();
    let mut complaints = Vec::new();
    if !text.trim_start().starts_with("//!") {
        complaints.push(format!(
            "{shown}: does not start with a module head (`//!`)"
        ));
    }
    // Beside crates there are crates below tests/, whose sources are sources like any other.
    let inside = path.strip_prefix("tests").unwrap_or(path);
    let is_test = inside.ends_with("tests.rs") || inside.iter().any(|part| part == "tests");
    let lines = text
        .lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .count();
    if lines > MAX_LINES && !is_test {
        complaints.push(format!(
            "{shown}: {lines} lines without tests, more than {MAX_LINES}"
        ));
    }
    for (number, line) in text.lines().enumerate() {
        let attribute = line.trim_start();
        // The VM runs what is ignored in `vm` and `user`; elsewhere nothing would.
        if attribute.starts_with("#[ignore") && !(is_test && attribute.contains(" = \"")) {
            let number = number + 1;
            let rule = "a test is ignored only in tests/, and says why";
            complaints.push(format!("{shown}:{number}: {rule}"));
        }
    }
    complaints
}

fn forbidden(path: &Path, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (word, why) in FORBIDDEN {
            if line.contains(word) {
                let (shown, number) = (path.display(), number + 1);
                complaints.push(format!("{shown}:{number}: `{word}` is {why}"));
            }
        }
    }
    complaints
}

/// The text files below a directory.
fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("read {directory:?}"))? {
        let entry = entry.with_context(|| format!("read {directory:?}"))?;
        let path = entry.path();
        let kind = entry
            .file_type()
            .with_context(|| format!("stat {path:?}"))?;
        if kind.is_dir() {
            let name = entry.file_name();
            if !NOT_OURS.iter().any(|other| name == *other) {
                walk(&path, files)?;
            }
        } else if kind.is_file() && is_text(&path) {
            files.push(path);
        }
    }
    Ok(())
}

fn is_text(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| TEXT.contains(&extension))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    #[test]
    fn the_workspace_is_tidy() {
        let workspace = Workspace::load().expect("cargo metadata works in a test");
        if let Err(complaints) = check(&workspace) {
            panic!("{complaints}");
        }
    }

    fn package(name: &str, dependency: &str, kind: Option<&str>) -> Package {
        Package {
            name: name.into(),
            id: String::new(),
            manifest_path: PathBuf::new(),
            targets: vec![],
            dependencies: vec![Dependency {
                name: dependency.into(),
                kind: kind.map(str::to_owned),
            }],
        }
    }

    #[test]
    fn arrows_go_one_way() {
        let complaints = |name: &str, dependency: &str, kind: Option<&str>| {
            let mut complaints = Vec::new();
            edges(&package(name, dependency, kind), &mut complaints);
            complaints.len()
        };
        assert_eq!(complaints("rootfs", "ns", None), 1);
        assert_eq!(complaints("rootfs", "ns", Some("dev")), 1);
        assert_eq!(complaints("ns", "engine", None), 1);
        assert_eq!(complaints("ns", "toml", None), 1);
        assert_eq!(complaints("engine", "clap", None), 1);
        assert_eq!(complaints("engine", "cli", None), 1);
        assert_eq!(complaints("engine", "ns", None), 0);
        assert_eq!(complaints("image", "oci-spec", None), 0);
        assert_eq!(complaints("ns", "oci-spec", None), 1);
        assert_eq!(complaints("cli", "toml", None), 0);
    }

    #[test]
    fn a_file_needs_a_head_and_a_seam() {
        let complaints = |path: &str, text: &str| source(Path::new(path), text).len();
        assert_eq!(complaints("crates/a/src/b.rs", "//! Head.\n"), 0);
        assert_eq!(complaints("crates/a/src/b.rs", "use std::fs;\n"), 1);
        let long = format!("//! Head.\n{}", "fn f() {}\n".repeat(MAX_LINES));
        assert_eq!(complaints("crates/a/src/b.rs", &long), 1);
        assert_eq!(complaints("tests/a/src/b.rs", &long), 1);
        for tests in [
            "crates/a/tests/b.rs",
            "crates/a/src/b/tests.rs",
            "tests/a/tests/b.rs",
        ] {
            assert_eq!(complaints(tests, &long), 0, "{tests}");
        }
        let tests = format!(
            "//! Head.\n#[cfg(test)]\n{}",
            "fn f() {}\n".repeat(MAX_LINES)
        );
        assert_eq!(complaints("crates/a/src/b.rs", &tests), 0);
    }

    #[test]
    fn an_ignored_test_says_why_and_is_one_that_the_vm_runs() {
        let complaints =
            |path: &str, line: &str| source(Path::new(path), &format!("//! Head.\n{line}\n")).len();
        assert_eq!(
            complaints("crates/a/tests/vm.rs", "#[ignore = \"vm: needs root\"]"),
            0
        );
        assert_eq!(complaints("crates/a/tests/vm.rs", "#[ignore]"), 1);
        assert_eq!(
            complaints("crates/a/src/lib.rs", "    #[ignore = \"slow\"]"),
            1
        );
    }

    #[test]
    fn unfinished_work_is_found_with_its_line() {
        let text = format!("one\n{}\n", concat!("todo", "!()"));
        let complaints = forbidden(Path::new("a.rs"), &text);
        assert_eq!(complaints.len(), 1);
        assert!(complaints[0].starts_with("a.rs:2: "), "{complaints:?}");
    }
}
