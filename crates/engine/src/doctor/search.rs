//! Where a command is looked for, as [`execvp(3)`] looks for it.
//!
//! [`execvp(3)`]: https://man7.org/linux/man-pages/man3/exec.3.html

use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::inspect::Inspector;
use super::near::near;
use super::{Diagnosis, Request};

/// Directories of `PATH` that are looked into.
const MAX_DIRECTORIES: usize = 64;

/// What a search led to.
pub(super) enum Located {
    /// The path that execve was given, or that of the first candidate with something wrong.
    At(PathBuf),
    /// Nothing to look at.
    Nowhere(Diagnosis),
}

pub(super) fn locate(request: &Request<'_>, inspector: &Inspector<'_>, name: &str) -> Located {
    if name.contains('/') {
        return Located::At(request.workdir.join(name));
    }
    let path = request
        .env
        .iter()
        .rev()
        .find(|(name, _)| name == "PATH")
        .map(|(_, path)| path.as_str());
    let directories: Vec<PathBuf> = path
        .map(|path| {
            path.split(':')
                .take(MAX_DIRECTORIES)
                .map(|dir| request.workdir.join(dir))
                .collect()
        })
        .unwrap_or_default();
    let candidates = directories.iter().map(|directory| directory.join(name));
    let mut files: Vec<PathBuf> = Vec::new();
    let mut others: Vec<PathBuf> = Vec::new();
    for candidate in candidates {
        match inspector.kind(&candidate) {
            Some(FileType::RegularFile) => files.push(candidate),
            Some(_) => others.push(candidate),
            None => {}
        }
    }
    // execvp goes on after ENOENT and EACCES, so the one to explain is the first that is broken.
    let broken = files.iter().find(|file| inspector.inspect(file).is_some());
    match broken.or(files.first()).or(others.first()) {
        Some(found) => Located::At(found.clone()),
        None => Located::Nowhere(not_on_path(request, inspector, name, path, &directories)),
    }
}

fn not_on_path(
    request: &Request<'_>,
    inspector: &Inspector<'_>,
    name: &str,
    path: Option<&str>,
    directories: &[PathBuf],
) -> Diagnosis {
    let is_directory = |path: &&PathBuf| inspector.kind(path) == Some(FileType::Directory);
    let there: Vec<&PathBuf> = directories.iter().filter(is_directory).collect();
    let names: Vec<String> = there
        .iter()
        .flat_map(|dir| inspector.tree.names(dir))
        .collect();
    Diagnosis::NotOnPath {
        name: name.to_owned(),
        path: path.map(str::to_owned),
        directories: there.len(),
        near: near(name, names.iter().map(String::as_str)),
        advice: advice(request.workdir, inspector, name, &names),
    }
}

/// The two mistakes that are made most, besides mistyping.
fn advice(
    workdir: &Path,
    inspector: &Inspector<'_>,
    name: &str,
    names: &[String],
) -> Option<String> {
    if inspector.kind(&workdir.join(name)) == Some(FileType::RegularFile) {
        let written = format!("./{name}");
        return Some(format!(
            "it is in the working directory {workdir:?}: write {written:?}"
        ));
    }
    let words: Vec<&str> = name.split_whitespace().collect();
    let first_is_there = words.len() > 1 && names.iter().any(|name| name == words[0]);
    first_is_there.then(|| {
        format!("it is taken for one word; the command is a list, and may be meant as {words:?}")
    })
}
