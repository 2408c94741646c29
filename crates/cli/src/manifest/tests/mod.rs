//! Tests of the whole way from text to errors or a `Spec`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use engine::spec::Spec;

use super::host::StateDir;
use super::{Options, parse};
use crate::diagnostic::{Report, Source};

mod effect;
mod hostile;
mod image;
mod schema;
mod snapshots;
mod spec;

/// What every manifest needs, where a test is about something else.
const BASE: &str = "rootfs = \"host\"\ncommand = [\"true\"]\n";

/// A folder with what manifests name: a directory `site` with `sub` in it, a file `page`, a profile,
/// links; and beside it the engine's state.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().canonicalize().expect("it is there");
        for made in ["w/site/sub", "w/root/bin", "state/containers"] {
            std::fs::create_dir_all(root.join(made)).expect("mkdir");
        }
        let files = [
            ("w/page", "hello"),
            ("w/good.json", "{\"defaultAction\": \"SCMP_ACT_ERRNO\"}"),
            ("w/bad.json", "{\"defaultAction\": "),
        ];
        for (name, text) in files {
            std::fs::write(root.join(name), text).expect("write");
        }
        for (target, link) in [
            ("site", "w/link"),
            ("/proc", "w/proclink"),
            ("none", "w/dangling"),
        ] {
            std::os::unix::fs::symlink(target, root.join(link)).expect("symlink");
        }
        Self { dir }
    }

    fn folder(&self) -> PathBuf {
        self.root().join("w")
    }

    fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().expect("it is there")
    }

    fn options(&self) -> Options {
        let state = StateDir {
            path: self.root().join("state"),
            guard_parents: true,
        };
        Options {
            state: vec![state],
            variable,
        }
    }

    /// A manifest called `x.toml`.
    fn read(&self, text: &str) -> Result<Spec, Box<Report>> {
        let source = Source::new("x.toml".into(), text.into());
        parse(source, Path::new("x.toml"), &self.folder(), &self.options())?.spec(&[], None)
    }
}

fn variable(name: &str) -> Option<OsString> {
    use std::os::unix::ffi::OsStringExt;
    match name {
        "HOME" => Some("/home/me".into()),
        "BINARY" => Some(OsString::from_vec(vec![0xff])),
        _ => None,
    }
}
