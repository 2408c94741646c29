//! `cargo xtask test-vm`: the privileged tests in a throw-away VM.

mod build;
mod console;
mod image;
mod initramfs;
mod kernel;
mod modules;
mod qemu;

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::failure::{Counts, Failure};
use crate::workspace::Workspace;
pub(crate) use build::build;

/// The kernels that the project supports: the oldest, and the newest that Debian 12 offers.
const KERNELS: [&str; 2] = ["6.1", "6.12"];

/// What `test-vm` can be told.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// 6.1, 6.12 (Debian's cloud kernels), or the path of a bzImage with `modules/` or
    /// `lib/modules/*/` beside it; without it both are run, side by side.
    #[arg(long)]
    kernel: Vec<String>,
    /// Build and run only the tests of this package; may be repeated.
    #[arg(short, long)]
    package: Vec<String>,
    /// Time limit of one test in seconds; the VM is emulated, about 16 times slower than native.
    #[arg(long, default_value_t = 120)]
    test_limit: u64,
    /// Time limit of one VM in seconds.
    #[arg(long, default_value_t = 1200)]
    limit: u64,
    /// Run only tests whose `package-target::name` contains this.
    filter: Option<String>,
}

impl Args {
    /// All tests on all kernels.
    pub(crate) fn everything() -> Self {
        Self {
            test_limit: 120,
            limit: 1200,
            ..Self::default()
        }
    }
}

/// Builds, boots and judges.
///
/// # Errors
///
/// [`Failure::Machine`] when nothing is known about the tests; a test that failed is in the counts.
pub(crate) fn run(args: &Args) -> Result<Counts> {
    let workspace = Workspace::load()?;
    let built = build(&workspace, &args.package)?;
    if built.tests.is_empty() {
        anyhow::bail!("no test target named `vm` or `user` in {:?}", args.package);
    }
    let wanted: Vec<String> = match args.kernel.as_slice() {
        [] => KERNELS.map(str::to_owned).to_vec(),
        given => given.to_vec(),
    };
    machine("prepare the VM", || {
        let cache = workspace.root.join("target/vm");
        let accel = qemu::accelerator(&kernel::find(&wanted[0], &cache)?)?;
        let disks = image::disks(&workspace, &built)?;
        let mut runs = Vec::new();
        for name in &wanted {
            let kernel = kernel::find(name, &cache)?;
            let directory = workspace.target.join("vm").join(&kernel.label);
            std::fs::create_dir_all(&directory).with_context(|| format!("mkdir({directory:?})"))?;
            let config = image::config(&kernel, &disks, &built, args);
            let initramfs = directory.join("initramfs.cpio");
            initramfs::write(&initramfs, &kernel, &config, &built.guest)?;
            runs.push(qemu::Run {
                label: kernel.label,
                image: kernel.image,
                initramfs,
                disks: disks.clone(),
                accel,
                directory,
                limit: Duration::from_secs(args.limit),
                silence: Duration::from_secs(args.test_limit * 2 + 60),
            });
        }
        all(&runs)
    })
}

/// Boots all machines at once and adds up what they say.
fn all(runs: &[qemu::Run]) -> Result<Counts> {
    let verdicts = thread::scope(|scope| {
        let threads: Vec<_> = runs
            .iter()
            .map(|run| scope.spawn(|| qemu::boot(run)))
            .collect();
        threads
            .into_iter()
            .map(|t| t.join().expect("qemu::boot does not panic"))
            .collect::<Vec<_>>()
    });
    let mut counts = Counts::default();
    let mut troubles = Vec::new();
    for (run, verdict) in runs.iter().zip(verdicts) {
        let verdict = verdict?;
        for failed in &verdict.failed {
            println!("{} {failed} FAILED", run.label);
        }
        println!(
            "{}: {} passed, {} failed",
            run.label,
            verdict.passed,
            verdict.failed.len()
        );
        troubles.extend(
            verdict
                .troubles
                .iter()
                .map(|t| format!("kernel {}: {t}", run.label)),
        );
        counts += Counts {
            passed: verdict.passed,
            failed: verdict.failed.len(),
        };
    }
    if troubles.is_empty() {
        return Ok(counts);
    }
    Err(Failure::Machine(troubles.join("\n")).into())
}

/// Marks whatever fails in `work` as a failure of the machine.
fn machine<T>(what: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    work().map_err(|error| match error.downcast::<Failure>() {
        Ok(failure) => failure.into(),
        Err(error) => Failure::Machine(format!("{what}: {error:#}")).into(),
    })
}

/// The directory of a Debian root file system for the end-to-end tests, made by `cargo xtask fixtures`.
pub(crate) fn debian_fixture(workspace: &Workspace) -> PathBuf {
    workspace.root.join("target/fixtures/debian")
}
