//! Debian's packages, downloaded with apt and unpacked into a directory: no script of theirs runs, nothing is
//! installed, no service starts.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::cmd;

/// Says from which packages a root was made.
const MARKER: &str = "packages";

/// `directory/root` with the contents of `packages`: of these alone, not of what they depend on. What is
/// there is kept, unless it was made from others.
///
/// # Errors
///
/// apt does not offer one of them, or cannot download it.
pub(crate) fn unpacked(packages: &[&str], directory: &Path) -> Result<PathBuf> {
    fs::create_dir_all(directory).with_context(|| format!("mkdir({directory:?})"))?;
    // Two runs may start at once; one of them downloads.
    let lock = File::create(directory.join("lock")).context("create the packages' lock")?;
    lock.lock().context("lock the packages")?;
    let root = directory.join("root");
    let marker = directory.join(MARKER);
    let made_from = packages.join(" ");
    if root.is_dir() && fs::read_to_string(&marker).is_ok_and(|text| text == made_from) {
        return Ok(root);
    }
    for stale in ["deb", "unpacking", "root"] {
        let stale = directory.join(stale);
        if stale.exists() {
            fs::remove_dir_all(&stale).with_context(|| format!("remove {stale:?}"))?;
        }
    }
    // Not to standard output: `bench --json` has that.
    eprintln!("download {made_from}");
    download(packages, directory)?;
    fs::write(&marker, made_from).with_context(|| format!("write {marker:?}"))?;
    // Last, so that a cut run leaves none.
    fs::rename(directory.join("unpacking"), &root).context("rename what was unpacked")?;
    Ok(root)
}

fn download(packages: &[&str], directory: &Path) -> Result<()> {
    let deb = directory.join("deb");
    fs::create_dir(&deb).with_context(|| format!("mkdir({deb:?})"))?;
    cmd::output(
        Command::new("apt-get")
            .args(["-q", "download"])
            .args(packages)
            .current_dir(&deb),
    )
    .context("download packages; are the package lists there (`apt-get update`)?")?;
    let archives: Vec<_> = fs::read_dir(&deb)
        .and_then(Iterator::collect::<Result<_, _>>)
        .with_context(|| format!("read {deb:?}"))?;
    ensure!(
        archives.len() == packages.len(),
        "apt-get left {} files for {} packages in {deb:?}",
        archives.len(),
        packages.len()
    );
    let unpacking = directory.join("unpacking");
    for archive in archives {
        cmd::output(
            Command::new("dpkg-deb")
                .arg("-x")
                .arg(archive.path())
                .arg(&unpacking),
        )?;
    }
    fs::remove_dir_all(&deb).context("remove the packages")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_unpacked_from_the_same_packages_is_kept() {
        let directory = std::env::temp_dir().join(format!("debs-{}", std::process::id()));
        let root = directory.join("root");
        fs::create_dir_all(&root).expect("a root");
        fs::write(directory.join(MARKER), "a-package another").expect("a marker");
        fs::write(root.join("kept"), "").expect("a file");
        let found = unpacked(&["a-package", "another"], &directory).expect("the root");
        assert_eq!(found, root);
        assert!(root.join("kept").exists());
        // No package has such a name: what was made from others is gone, and the error is apt's.
        let error = unpacked(&["no/such"], &directory).expect_err("no such package");
        assert!(!root.exists());
        assert!(
            format!("{error:#}").starts_with("download packages;"),
            "{error:#}"
        );
        fs::remove_dir_all(&directory).expect("remove the directory");
    }
}
