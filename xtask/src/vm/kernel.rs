//! Finds a kernel: Debian's cloud kernels, downloaded with apt and never installed, or a given file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{cmd, debs};

/// A kernel and its modules.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// How it is called in the output: `6.1`, or the file name of a given image.
    pub(crate) label: String,
    /// The bzImage.
    pub(crate) image: PathBuf,
    /// The directory that holds `modules.builtin` and `kernel/`.
    pub(crate) modules: PathBuf,
}

/// Finds the kernel of a version, or the one at a path.
///
/// # Errors
///
/// Nothing is there, or apt does not offer it.
pub(crate) fn find(name: &str, cache: &Path) -> Result<Kernel> {
    if name.contains('/') {
        return given(Path::new(name));
    }
    let directory = cache.join("kernels").join(name);
    let root = if directory.join("root").is_dir() {
        directory.join("root")
    } else {
        let package = package(name)?;
        debs::unpacked(&[&package], &directory)
            .with_context(|| format!("download kernel {name}"))?
    };
    let mut kernel = beside(&root.join("boot"))?;
    kernel.label = name.to_owned();
    Ok(kernel)
}

/// The real package behind Debian's name for the newest kernel of a version.
fn package(version: &str) -> Result<String> {
    // The distribution's own version has the plain name, others carry it.
    for meta in [
        format!("linux-image-{version}-cloud-amd64"),
        "linux-image-cloud-amd64".to_owned(),
    ] {
        // Fails for an unknown name; then the next one is tried, and the last error is ours.
        let Ok(text) = cmd::output(Command::new("apt-cache").args(["depends", &meta])) else {
            continue;
        };
        let prefix = format!("Depends: linux-image-{version}.");
        let line = text
            .lines()
            .map(str::trim)
            .find(|line| line.starts_with(&prefix));
        if let Some(line) = line {
            return Ok(line.trim_start_matches("Depends: ").to_owned());
        }
    }
    bail!(
        "apt offers no cloud kernel {version}; on Debian 12, 6.1 and 6.12 come from bookworm and \
         bookworm-security or bookworm-backports (add the source and run `apt-get update`), or \
         give one as `--kernel PATH`"
    )
}

fn given(image: &Path) -> Result<Kernel> {
    let image = image
        .canonicalize()
        .with_context(|| format!("no kernel at {image:?}"))?;
    let directory = image.parent().context("a file has a directory")?;
    let modules = modules_beside(directory)?;
    let label = image
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok(Kernel {
        label,
        image,
        modules,
    })
}

fn beside(boot: &Path) -> Result<Kernel> {
    let image = only(boot, "vmlinuz-")?;
    Ok(Kernel {
        label: String::new(),
        image,
        modules: modules_beside(boot)?,
    })
}

fn modules_beside(directory: &Path) -> Result<PathBuf> {
    let plain = directory.join("modules");
    if plain.join("modules.builtin").is_file() {
        return Ok(plain);
    }
    let up = directory.parent().unwrap_or(directory);
    for base in [directory, up] {
        for place in ["lib/modules", "usr/lib/modules"] {
            let place = base.join(place);
            if place.is_dir() {
                return only(&place, "");
            }
        }
    }
    bail!("no modules/ or lib/modules/VERSION/ beside the kernel in {directory:?}")
}

/// The one entry of a directory whose name starts so.
fn only(directory: &Path, prefix: &str) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("read {directory:?}"))? {
        let entry = entry.with_context(|| format!("read {directory:?}"))?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        _ => bail!(
            "expected one {prefix}* in {directory:?}, found {}",
            found.len()
        ),
    }
}
