//! Paths inside the container.

use std::path::{Path, PathBuf};

use crate::manifest::walk::Rule;

/// Kernel file systems that are always the engine's own. A mount on them once let images fake
/// `/proc/self/attr` (CVE-2019-16884) and plant files through `/dev`.
const OURS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// An absolute path in its one spelling.
pub(crate) fn absolute(text: &str) -> Result<PathBuf, Rule> {
    if !text.starts_with('/') {
        return Err("a path in the container is absolute: it starts with `/`".into());
    }
    if text.len() >= 4096 || text.split('/').any(|part| part.len() > 255) {
        return Err("longer than the kernel takes: 4095 bytes, 255 in each part".into());
    }
    if text.split('/').any(|part| part == "." || part == "..") {
        return Err("a path in the container has no `.` and no `..`".into());
    }
    if text != "/" && (text.contains("//") || text.ends_with('/')) {
        let rest: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
        let meant = crate::diagnostic::quoted(&format!("/{}", rest.join("/")));
        return Err(
            format!("one slash between names, none at the end: did you mean {meant}?").into(),
        );
    }
    Ok(PathBuf::from(text))
}

/// Where a mount may go.
pub(crate) fn mount_target(text: &str) -> Result<PathBuf, Rule> {
    let path = absolute(text)?;
    if path == Path::new("/") {
        return Err(Rule::from("the root is `rootfs`, not a mount"));
    }
    match OURS.iter().find(|ours| path.starts_with(ours)) {
        Some(ours) => Err(Rule::from(format!(
            "`{ours}` is always the engine's own, with all that is below it"
        ))),
        None => Ok(path),
    }
}

/// A working directory. Below `/proc` it could name a directory of the host (CVE-2024-21626).
pub(crate) fn workdir(text: &str) -> Result<PathBuf, Rule> {
    let path = absolute(text)?;
    if path.starts_with("/proc") {
        return Err("a working directory cannot be below `/proc`".into());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::value::tests::check;

    #[test]
    fn container_paths_have_one_spelling() {
        let long = format!("/{}", "a".repeat(256));
        let longer = "/a".repeat(2048);
        check(
            absolute,
            &[
                ("/", Ok("\"/\"")),
                ("/srv/x", Ok("\"/srv/x\"")),
                ("/...", Ok("\"/...\"")),
                ("srv", Err("starts with `/`")),
                ("", Err("starts with `/`")),
                ("~/x", Err("starts with `/`")),
                ("/a/../b", Err("no `..`")),
                ("/a/.", Err("no `.`")),
                ("/a//b", Err("did you mean `/a/b`?")),
                ("/a/", Err("did you mean `/a`?")),
                (&long, Err("255")),
                (&longer, Err("4095")),
            ],
        );
    }

    #[test]
    fn kernel_file_systems_are_no_mount_targets() {
        check(
            mount_target,
            &[
                ("/srv", Ok("\"/srv\"")),
                ("/processes", Ok("\"/processes\"")),
                ("/", Err("`rootfs`")),
                ("/proc", Err("engine's own")),
                ("/proc/self/attr", Err("engine's own")),
                ("/dev/shm", Err("engine's own")),
                ("/sys/fs/cgroup", Err("engine's own")),
            ],
        );
        check(
            workdir,
            &[
                ("/srv", Ok("\"/srv\"")),
                ("/proc/self/fd/7", Err("`/proc`")),
            ],
        );
    }
}
