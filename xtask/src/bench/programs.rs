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
    /// `{n}` becomes the number of the run.
    pub(super) argv: Vec<String>,
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

/// Everything, in the order of the table.
pub(super) fn all(built: &Built, place: &Path) -> Vec<Program> {
    let path = |path: &Path| path.display().to_string();
    let mut programs = vec![
        Program {
            name: "spawn",
            note: "the same program without any container: what all others contain",
            argv: vec![path(&built.nothing)],
        },
        Program {
            name: "limit",
            note: "seven namespaces, ids, bind, proc, tmpfs on /dev, pivot_root, exec; nothing else",
            argv: vec![path(&built.limit), path(&place.join("root"))],
        },
        Program {
            name: "ctr",
            note: "`ctr run` with its defaults, network none: cgroup, all mounts and masks, capabilities, \
                   no_new_privs, rlimits, seccomp, init, state, exit report",
            argv: vec![
                path(&built.ctr),
                "run".into(),
                path(&place.join("ctr.toml")),
            ],
        },
        Program {
            name: "ctr bridge",
            note: "the same on the default network with one published port: bridge and tables are there; \
                   two addresses, a name, a veth pair",
            argv: vec![
                path(&built.ctr),
                "run".into(),
                path(&place.join("ctr-bridge.toml")),
            ],
        },
        Program {
            name: "bwrap",
            note: "the same namespaces and mounts; no cgroup, seccomp, masks; one id",
            argv: bwrap(place),
        },
    ];
    programs.extend(oci::BUNDLES.iter().map(|bundle| Program {
        name: bundle.name,
        note: bundle.note,
        argv: oci::argv(bundle, place),
    }));
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
