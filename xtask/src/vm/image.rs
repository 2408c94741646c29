//! The disks of the VM, made without mounting anything, and the guest's orders.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use guest::{Config, Disk, Suite};

use crate::cmd;
use crate::vm::Args;
use crate::vm::build::Built;
use crate::vm::kernel::Kernel;
use crate::workspace::Workspace;

const MIB: u64 = 1024 * 1024;
const SCRATCH_BYTES: u64 = 1024 * MIB;

/// Root file systems that `cargo xtask fixtures` makes; a test finds `debian` by `CTR_TEST_DEBIAN`.
const FIXTURES: [&str; 5] = ["debian", "debian-user", "services", "tiny", "images"];

/// What `require!`-like checks of the tests may count on. A test that finds one of these missing
/// fails instead of skipping.
const FEATURES: &str = "root,userns,subids,cgroup2,overlay,idmapped-ext4,ext4-scratch,fuse,veth,\
                        bridge,vlan,macvlan,ipvlan,ifb,tbf,tun,nftables,conntrack,landlock,seccomp,\
                        psi,time-namespaces";

/// A disk image and where the guest mounts it.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// The file.
    pub(crate) path: PathBuf,
    /// Its place in the guest.
    pub(crate) disk: Disk,
}

/// Makes the disks: tests and programs, an empty one to write on, and the fixtures that are
/// there.
///
/// # Errors
///
/// `mke2fs` is missing or fails.
pub(crate) fn disks(workspace: &Workspace, built: &Built) -> Result<Vec<Image>> {
    let directory = workspace.target.join("vm");
    let stage = directory.join("stage");
    if stage.exists() {
        fs::remove_dir_all(&stage).with_context(|| format!("remove {stage:?}"))?;
    }
    for (name, path) in &built.programs {
        place(path, &stage.join("bin").join(name))?;
    }
    for test in &built.tests {
        place(&test.path, &stage.join("tests").join(&test.name))?;
    }
    let image = |serial: &str, at: &str, read_only: bool| Image {
        path: directory.join(format!("{serial}.ext4")),
        disk: Disk {
            serial: serial.to_owned(),
            at: at.to_owned(),
            read_only,
        },
    };
    let tests = image("ctr-tests", "/ctr", true);
    format(&tests.path, Some(&stage), size_of(&stage)?)?;
    let scratch = image("ctr-scratch", "/scratch", false);
    format(&scratch.path, None, SCRATCH_BYTES)?;
    let mut images = vec![tests, scratch];
    for fixture in FIXTURES {
        let tree = workspace.root.join("target/fixtures").join(fixture);
        // Written last, so that a tree with it is whole.
        let marker = tree.join("etc/ctr-fixture");
        if marker.is_file() {
            let image = image(
                &format!("ctr-{fixture}"),
                &format!("/fixtures/{fixture}"),
                true,
            );
            if !is_newer(&image.path, &marker) {
                format(&image.path, Some(&tree), size_of(&tree)?)?;
            }
            images.push(image);
        }
    }
    Ok(images)
}

/// The guest's orders, but for the modules.
pub(crate) fn config(kernel: &Kernel, disks: &[Image], built: &Built, args: &Args) -> Config {
    let mut env = vec![
        ("CTR_VM".to_owned(), "1".to_owned()),
        ("CTR_VM_KERNEL".to_owned(), kernel.label.clone()),
        ("CTR_VM_FEATURES".to_owned(), FEATURES.to_owned()),
        ("CTR_BIN".to_owned(), "/ctr/bin".to_owned()),
        ("CTR_TEST_SCRATCH".to_owned(), "/scratch".to_owned()),
    ];
    for disk in disks.iter().map(|image| &image.disk) {
        if let Some(fixture) = disk.at.strip_prefix("/fixtures/") {
            let name = fixture.to_uppercase().replace('-', "_");
            env.push((format!("CTR_TEST_{name}"), disk.at.clone()));
        }
    }
    let suites = built.tests.iter().map(|test| Suite {
        name: test.name.clone(),
        unprivileged: test.unprivileged,
    });
    Config {
        modules: Vec::new(),
        disks: disks.iter().map(|image| image.disk.clone()).collect(),
        suites: suites.collect(),
        env,
        filter: args.filter.clone(),
        test_limit: Duration::from_secs(args.test_limit),
    }
}

/// A hard link where possible: a test binary has tens of megabytes.
fn place(from: &Path, to: &Path) -> Result<()> {
    let parent = to.parent().context("a staged file has a directory")?;
    fs::create_dir_all(parent).with_context(|| format!("mkdir({parent:?})"))?;
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).with_context(|| format!("copy {from:?} to {to:?}"))?;
    }
    Ok(())
}

/// Writes an ext4 file system, with the content of `tree`, into a sparse file.
fn format(image: &Path, tree: Option<&Path>, bytes: u64) -> Result<()> {
    let mke2fs = cmd::which("mke2fs").context("no `mke2fs` here: `apt-get install e2fsprogs`")?;
    // A new file under a temporary name: another run may still read the old one.
    let new = image.with_extension("new");
    File::create(&new)
        .and_then(|file| file.set_len(bytes))
        .with_context(|| format!("make a file of {bytes} bytes at {new:?}"))?;
    let mut command = Command::new(mke2fs);
    command.args([
        "-q",
        "-F",
        "-t",
        "ext4",
        "-m",
        "0",
        "-E",
        "root_owner=0:0,lazy_itable_init=1",
    ]);
    if let Some(tree) = tree {
        command.arg("-d").arg(tree);
    }
    cmd::output(command.arg(&new))?;
    fs::rename(&new, image).with_context(|| format!("rename {new:?}"))
}

/// Room for a tree, its metadata and its many small files.
fn size_of(tree: &Path) -> Result<u64> {
    let text = cmd::output(
        Command::new("du")
            .args(["-s", "-k", "--apparent-size"])
            .arg(tree),
    )?;
    let blocks = cmd::output(Command::new("du").args(["-s", "-k"]).arg(tree))?;
    let kib = |text: &str| -> Result<u64> {
        let word = text.split_whitespace().next().context("du prints a size")?;
        word.parse().with_context(|| format!("du printed {word:?}"))
    };
    let bytes = kib(&text)?.max(kib(&blocks)?) * 1024;
    Ok(bytes + bytes / 5 + 64 * MIB)
}

fn is_newer(image: &Path, tree: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    match (modified(image), modified(tree)) {
        (Ok(image), Ok(tree)) => image > tree,
        _ => false,
    }
}
