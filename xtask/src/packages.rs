//! Programs and libraries that come from the distribution.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use rustix::process::geteuid;

use crate::cmd;
use crate::failure::Failure;

/// What can be missing, how to see that, and the package of Debian and Ubuntu that brings it.
struct Need {
    package: &'static str,
    is_there: fn() -> bool,
}

fn program(name: &str) -> bool {
    cmd::which(name).is_some()
}

/// For the test binaries, the VM and the fixtures.
const FOR_TESTS: &[Need] = &[
    Need {
        package: "qemu-system-x86",
        is_there: || program("qemu-system-x86_64"),
    },
    Need {
        package: "busybox-static",
        is_there: has_static_busybox,
    },
    Need {
        package: "uidmap",
        is_there: || program("newuidmap") && program("newgidmap"),
    },
    Need {
        package: "e2fsprogs",
        is_there: || program("mke2fs"),
    },
    Need {
        package: "debootstrap",
        is_there: || program("debootstrap"),
    },
    Need {
        package: "nftables",
        is_there: || program("nft"),
    },
    Need {
        package: "passt",
        is_there: || program("pasta"),
    },
    Need {
        package: "libseccomp-dev",
        is_there: has_static_libseccomp,
    },
    Need {
        package: "docker-registry",
        is_there: || program("docker-registry"),
    },
    Need {
        package: "skopeo",
        is_there: || program("skopeo"),
    },
    Need {
        package: "umoci",
        is_there: || program("umoci"),
    },
    Need {
        package: "strace",
        is_there: || program("strace"),
    },
    Need {
        package: "iproute2",
        is_there: || program("ip"),
    },
];

/// Installs what the tests need and is not there.
///
/// # Errors
///
/// [`Failure::Machine`] with the command line to run, when this is not root or not Debian.
pub(crate) fn ensure_for_tests() -> Result<()> {
    ensure_lists()?;
    let missing: Vec<_> = FOR_TESTS
        .iter()
        .filter(|need| !(need.is_there)())
        .map(|need| need.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!(
        "apt-get install -y --no-install-recommends {}",
        missing.join(" ")
    );
    if !program("apt-get") {
        let what = format!("missing here, by their Debian names: {}", missing.join(" "));
        return Err(Failure::Machine(what).into());
    }
    println!("$ {line}");
    if !geteuid().is_root() {
        return Err(Failure::Machine(format!("run as root: {line}")).into());
    }
    if install(&missing).is_err() {
        // Lists that are older than the archive name files that are gone.
        update()?;
        install(&missing).map_err(|error| Failure::Machine(format!("{error:#}")))?;
    }
    Ok(())
}

/// Fetches the package lists when there are none: `apt-get download` of the kernels follows them too.
fn ensure_lists() -> Result<()> {
    if program("apt-get") && geteuid().is_root() && !has_package_lists()? {
        update()?;
    }
    Ok(())
}

fn update() -> Result<()> {
    println!("$ apt-get update");
    cmd::run(&mut apt(&["update"])).map_err(|error| Failure::Machine(format!("{error:#}")).into())
}

fn install(packages: &[&str]) -> Result<()> {
    cmd::run(apt(&["install", "-y", "--no-install-recommends"]).args(packages))
}

fn apt(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .arg("-q")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn has_package_lists() -> Result<bool> {
    let lists = Path::new("/var/lib/apt/lists");
    let entries = fs::read_dir(lists).with_context(|| format!("read {lists:?}"))?;
    Ok(entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().contains("_Packages")))
}

/// The package `busybox` brings one that needs the host's libraries.
fn has_static_busybox() -> bool {
    cmd::which("busybox").is_some_and(|path| is_static(&path))
}

/// The oracle of the seccomp compiler's tests; all our programs are linked statically.
fn has_static_libseccomp() -> bool {
    // Debian keeps libraries one level down, by architecture.
    let below = fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    ["/usr/lib", "/usr/lib64", "/usr/local/lib"]
        .into_iter()
        .map(PathBuf::from)
        .chain(below)
        .any(|directory| directory.join("libseccomp.a").is_file())
}

/// Whether an executable asks for no dynamic linker.
pub(crate) fn is_static(path: &Path) -> bool {
    const LINKER: &[u8] = b"/ld-linux";
    fs::read(path).is_ok_and(|bytes| !bytes.windows(LINKER.len()).any(|window| window == LINKER))
}
