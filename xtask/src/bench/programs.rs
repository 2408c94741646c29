//! What is measured, and in what the programs differ.

use std::path::Path;

use super::{Built, oci};
use crate::cmd;

/// One program that is measured.
pub(super) struct Program {
    /// In the table, the JSON, the requirements.
    pub(super) name: &'static str,
    /// What it does that the others do not, or does not do that they do.
    pub(super) note: &'static str,
    /// Run before each lap, outside of its time; or empty.
    pub(super) before: Vec<String>,
    /// `{n}` becomes the number of the run.
    pub(super) argv: Vec<String>,
}

impl Program {
    /// One with nothing before its laps.
    pub(super) fn new(name: &'static str, note: &'static str, argv: Vec<String>) -> Self {
        Self {
            name,
            note,
            before: Vec::new(),
            argv,
        }
    }
}

/// `ctr` with its defaults, but no network.
pub(super) const MANIFEST: &str = r#"name = "bench"
rootfs = "./root"
command = ["/bin/true"]
network = { mode = "none" }
"#;

/// The same on the default network, with a port.
pub(super) const BRIDGE_MANIFEST: &str = r#"name = "bench-bridge"
rootfs = "./root"
command = ["/bin/true"]
network = { publish = ["8080:80"] }
"#;

/// The same on a network that nobody has made yet.
pub(super) const FIRST_MANIFEST: &str = r#"name = "bench-first"
rootfs = "./root"
command = ["/bin/true"]
network = { mode = "first", publish = ["8081:80"] }
networks = { first = {} }
"#;

/// Removes that network, unless this is the first time.
const REMOVE_FIRST: &str =
    r#"if [ -e /var/lib/ctr/networks/first.json ]; then exec "$0" network rm first; fi"#;

/// Everything, in the order of the table.
pub(super) fn all(built: &Built, place: &Path) -> Vec<Program> {
    let path = |path: &Path| path.display().to_string();
    let ctr_run =
        |manifest: &str| vec![path(&built.ctr), "run".into(), path(&place.join(manifest))];
    let mut first = Program::new(
        "ctr first",
        "the same as the first of its network, which is removed outside of the time: bridge, description, \
         elements of the tables",
        ctr_run("ctr-first.toml"),
    );
    first.before = vec![
        installed("sh"),
        "-c".into(),
        REMOVE_FIRST.into(),
        path(&built.ctr),
    ];
    let mut programs = vec![
        Program::new(
            "spawn",
            "the same program without any container: what all others contain",
            vec![path(&built.nothing)],
        ),
        Program::new(
            "limit",
            "seven namespaces, ids, bind, proc, tmpfs on /dev, pivot_root, exec; nothing else",
            vec![path(&built.limit), path(&place.join("root"))],
        ),
        Program::new(
            "ctr",
            "`ctr run` with its defaults, network none: cgroup, all mounts and masks, capabilities, \
             no_new_privs, rlimits, seccomp, init, state, exit report",
            ctr_run("ctr.toml"),
        ),
        Program::new(
            "ctr bridge",
            "the same on the default network with one published port: bridge and tables are there; \
             two addresses, a name, a veth pair",
            ctr_run("ctr-bridge.toml"),
        ),
        first,
        Program::new(
            "bwrap",
            "the same namespaces and mounts; no cgroup, seccomp, masks; one id",
            bwrap(place),
        ),
    ];
    programs.extend(
        oci::BUNDLES
            .iter()
            .map(|bundle| Program::new(bundle.name, bundle.note, oci::argv(bundle, place))),
    );
    programs
}

/// `--unshare-user` besides `--unshare-all`, whose own is a "try".
fn bwrap(place: &Path) -> Vec<String> {
    let root = place.join("root").display().to_string();
    let bwrap = installed("bwrap");
    [
        bwrap.as_str(),
        "--unshare-user",
        "--unshare-all",
        "--bind",
        &root,
        "/",
        "--proc",
        "/proc",
    ]
    .into_iter()
    .chain([
        "--dev",
        "/dev",
        "--mqueue",
        "/dev/mqueue",
        "--die-with-parent",
        "--new-session",
    ])
    .chain(["--cap-drop", "ALL", "--hostname", "bench", "/bin/true"])
    .map(str::to_owned)
    .collect()
}

/// The program's path. One that is not there keeps its name, and the attempt to run it says so.
pub(super) fn installed(program: &str) -> String {
    cmd::which(program).map_or(program.into(), |path| path.display().to_string())
}
