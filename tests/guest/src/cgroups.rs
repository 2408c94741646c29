//! The cgroup2 hierarchy of the VM: PID 1 and each test in groups of their own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

const MOUNT: &str = "/sys/fs/cgroup";
const INIT: &str = "/sys/fs/cgroup/init";

/// Enables every controller for the groups below the root, and moves PID 1 out of the way.
pub(crate) fn enable_all() -> Result<()> {
    fs::create_dir(INIT).with_context(|| format!("mkdir({INIT:?})"))?;
    write(Path::new(INIT).join("cgroup.procs"), "1")?;
    let file = Path::new(MOUNT).join("cgroup.controllers");
    let controllers = fs::read_to_string(&file).with_context(|| format!("read {file:?}"))?;
    for controller in controllers.split_whitespace() {
        write(
            Path::new(MOUNT).join("cgroup.subtree_control"),
            &format!("+{controller}"),
        )?;
    }
    Ok(())
}

/// Makes the group of one test.
pub(crate) fn create(number: usize) -> Result<PathBuf> {
    let group = Path::new(MOUNT).join(format!("test-{number}"));
    fs::create_dir(&group).with_context(|| format!("mkdir({group:?})"))?;
    Ok(group)
}

/// Moves the calling process into a group.
pub(crate) fn enter(group: &Path) -> Result<()> {
    write(group.join("cgroup.procs"), "0")
}

/// Removes every group but PID 1's; all processes in them are dead by now.
///
/// # Errors
///
/// The first group that stays.
pub(crate) fn remove_leftovers() -> Result<()> {
    for entry in fs::read_dir(MOUNT).with_context(|| format!("read {MOUNT:?}"))? {
        let path = entry.with_context(|| format!("read {MOUNT:?}"))?.path();
        if path.is_dir() && path != Path::new(INIT) {
            remove_tree(&path)?;
        }
    }
    Ok(())
}

fn remove_tree(group: &Path) -> Result<()> {
    for entry in fs::read_dir(group).with_context(|| format!("read {group:?}"))? {
        let path = entry.with_context(|| format!("read {group:?}"))?.path();
        if path.is_dir() {
            remove_tree(&path)?;
        }
    }
    // A frozen group keeps its dead members until it thaws.
    write(group.join("cgroup.freeze"), "0")?;
    fs::remove_dir(group).with_context(|| format!("rmdir({group:?})"))
}

fn write(file: PathBuf, value: &str) -> Result<()> {
    fs::write(&file, value).with_context(|| format!("write({file:?}, {value:?})"))
}
