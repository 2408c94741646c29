//! The surroundings of one test.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oracle::{Oracle, Places};

use crate::outcome::{Outcome, Started, patience};
use crate::space::wait_for;

/// Who calls `ctr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// uid 0 with every capability.
    Root,
    /// uid 1000, who has subordinate ids and newuidmap.
    User,
    /// uid 4711, who has nothing but one id.
    Nobody,
}

impl Who {
    /// Its uid and gid.
    #[must_use]
    pub fn id(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::User => 1000,
            Self::Nobody => 4711,
        }
    }
}

/// A directory of its own, a caller, and the way to call `ctr`.
pub struct Case {
    dir: PathBuf,
    who: Who,
    manifests: Cell<u32>,
}

/// Runs `test` as `who` and fails when it leaves anything behind on the machine.
///
/// # Panics
/// When the test does, or something is left behind.
pub fn case(who: Who, test: impl FnOnce(&Case)) {
    let case = Case::new(who);
    // What all containers share stays, so it is made before: directories, the default network. A start
    // that ends is enough, however it ends.
    let _ = case.run("rootfs = \"host\"\ncommand = [\"true\"]\n");
    wait_for("the last of that container goes", || {
        let links = fs::read_to_string("/proc/net/dev").expect("/proc/net/dev");
        (!links.contains("ctrv") && !runs("ctr")).then_some(())
    });
    let oracle = Oracle::start(Places::machine());
    test(&case);
    if let Err(difference) = oracle.finish(patience(5)) {
        panic!("not as it was before:\n{difference}");
    }
    fs::remove_dir_all(&case.dir).expect("remove the test's directory");
}

/// Whether a process of this name is there, be it a zombie.
fn runs(name: &str) -> bool {
    let comm = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("comm")).ok();
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(comm).any(|comm| comm.trim_end() == name)
}

impl Case {
    fn new(who: Who) -> Self {
        // Not where the oracle looks for temporary files.
        let parent = std::env::var_os("CTR_TEST_SCRATCH").unwrap_or_else(|| "/opt".into());
        let dir = Path::new(&parent).join(format!("case-{}", std::process::id()));
        fs::create_dir(&dir).unwrap_or_else(|e| panic!("mkdir {}: {e}", dir.display()));
        let case = Self {
            dir,
            who,
            manifests: Cell::new(0),
        };
        case.give(&case.dir);
        if who != Who::Root {
            case.runtime_dir();
        }
        case
    }

    /// The test's directory, the caller's own.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Who calls.
    #[must_use]
    pub fn who(&self) -> Who {
        self.who
    }

    /// Makes `path` the caller's.
    ///
    /// # Panics
    /// When it cannot.
    pub fn give(&self, path: &Path) {
        let id = Some(self.who.id());
        chown(path, id, id).unwrap_or_else(|e| panic!("chown {}: {e}", path.display()));
    }

    /// `$XDG_RUNTIME_DIR`, as a login makes it.
    fn runtime_dir(&self) -> PathBuf {
        let dir = PathBuf::from(format!("/run/user/{}", self.who.id()));
        if !dir.exists() {
            fs::create_dir_all(&dir).expect("mkdir XDG_RUNTIME_DIR");
            self.give(&dir);
        }
        dir
    }

    /// Writes a file of the caller's into the test's directory.
    ///
    /// # Panics
    /// When it cannot.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, text).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        self.give(&path);
        path
    }

    /// Makes a directory of the caller's in the test's directory.
    ///
    /// # Panics
    /// When it cannot.
    pub fn mkdir(&self, name: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::create_dir_all(&path).unwrap_or_else(|e| panic!("mkdir {}: {e}", path.display()));
        self.give(&path);
        path
    }

    /// Writes a manifest. Without a `name` it has the name of the file: `case-N`.
    pub fn manifest(&self, text: &str) -> PathBuf {
        self.manifests.set(self.manifests.get() + 1);
        self.write(&format!("case-{}.toml", self.manifests.get()), text)
    }

    /// `program` as the caller runs it: of the environment only what a login gives.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        );
        command.current_dir(&self.dir).stdin(Stdio::null());
        if self.who != Who::Root {
            command.env("XDG_RUNTIME_DIR", self.runtime_dir());
            command.uid(self.who.id()).gid(self.who.id());
        }
        command
    }

    /// `ctr` with these arguments.
    pub fn ctr<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = self.command(program("ctr"));
        command.args(arguments);
        command
    }

    /// `ctr run` of a manifest with this text, to its end.
    pub fn run(&self, manifest: &str) -> Outcome {
        let manifest = self.manifest(manifest);
        Outcome::of(&mut self.ctr(&["run".as_ref(), manifest.as_os_str()]))
    }

    /// `ctr run` of a manifest with this text, and go on.
    pub fn start(&self, manifest: &str) -> Started {
        let manifest = self.manifest(manifest);
        Started::new(&mut self.ctr(&["run".as_ref(), manifest.as_os_str()]))
    }
}

/// A program of ours, in `$CTR_BIN`.
///
/// # Panics
/// When that is not set.
pub(crate) fn program(name: &str) -> PathBuf {
    let dir = std::env::var_os("CTR_BIN").expect("CTR_BIN names the directory of ctr, probe, true");
    Path::new(&dir).join(name)
}
