//! What of the host a manifest is read against.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// How a manifest is read.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directories of the engine that no container may see.
    pub(crate) state: Vec<StateDir>,
    /// Looks up `{ host = "NAME" }`.
    pub(crate) variable: fn(&str) -> Option<OsString>,
}

/// A directory of the engine's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateDir {
    pub(crate) path: PathBuf,
    /// Whether a directory above it is refused as well. An ordinary user's state lies in their home,
    /// beside files that give a program as much power over them; root's does not.
    pub(crate) guard_parents: bool,
}

impl Options {
    /// Those of this process: its user, environment, and `--root`.
    #[must_use]
    pub fn of_host(root: Option<&Path>) -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let variable = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|p| p.is_absolute())
        };
        let mut paths = vec![PathBuf::from("/run/ctr"), PathBuf::from("/var/lib/ctr")];
        if uid != 0 {
            let data = variable("XDG_DATA_HOME")
                .or_else(|| variable("HOME").map(|home| home.join(".local/share")));
            paths.extend(data.map(|dir| dir.join("ctr")));
            paths.extend(variable("XDG_RUNTIME_DIR").map(|dir| dir.join("ctr")));
            paths.push(PathBuf::from(format!("/tmp/ctr-{uid}")));
        }
        paths.extend(root.and_then(|root| std::path::absolute(root).ok()));
        let state = paths
            .into_iter()
            .map(|path| StateDir {
                path,
                guard_parents: uid == 0,
            })
            .collect();
        Self {
            state,
            variable: |name| std::env::var_os(name),
        }
    }
}

impl StateDir {
    /// Where it is without symbolic links, when it is there. Looked up only when a manifest names a
    /// path of the host: most starts need not know.
    pub(crate) fn canonical(&self) -> PathBuf {
        std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone())
    }
}

/// The host as one manifest sees it.
#[derive(Debug)]
pub(crate) struct Host<'a> {
    /// The manifest's folder, absolute.
    pub(crate) folder: &'a Path,
    pub(crate) options: &'a Options,
}
