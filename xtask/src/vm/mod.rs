//! `cargo xtask test-vm`: the privileged tests in a throw-away VM.

mod build;
mod console;
mod image;
mod initramfs;
mod kernel;
mod modules;
mod qemu;
mod self_test;

use std::fs::File;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::failure::{Counts, Failure};
use crate::packages;
use crate::workspace::Workspace;
pub(crate) use build::{Built, build};
use console::Verdict;

/// The kernels that the project supports: the oldest, and the newest that Debian 12 offers.
const KERNELS: [&str; 2] = ["6.1", "6.12"];

/// Nothing is expected to come near these: they end what hangs, on a busy machine too.
const TEST_LIMIT_SECONDS: u64 = 180;
const LIMIT_SECONDS: u64 = 3600;

/// What `test-vm` can be told.
#[derive(clap::Args, Clone, Default)]
pub(crate) struct Args {
    /// 6.1, 6.12 (Debian's cloud kernels), or the path of a bzImage with `modules/` or
    /// `lib/modules/*/` beside it; without it both are run, side by side.
    #[arg(long)]
    kernel: Vec<String>,
    /// Build and run only the tests of this package; may be repeated.
    #[arg(short, long)]
    package: Vec<String>,
    /// Time limit of one test in seconds; the VM is emulated, about 16 times slower than native.
    #[arg(long, default_value_t = TEST_LIMIT_SECONDS)]
    test_limit: u64,
    /// Time limit of one VM in seconds.
    #[arg(long, default_value_t = LIMIT_SECONDS)]
    limit: u64,
    /// Check that tests that fail, hang, die or crash the kernel are reported as such.
    #[arg(long, conflicts_with_all = ["package", "filter"])]
    self_test: bool,
    /// Run only tests whose `package-target::name` contains this.
    filter: Option<String>,
}

impl Args {
    /// All tests on all kernels.
    pub(crate) fn everything() -> Self {
        Self {
            test_limit: TEST_LIMIT_SECONDS,
            limit: LIMIT_SECONDS,
            ..Self::default()
        }
    }

    /// The same, but the check of the machinery itself.
    pub(crate) fn self_test() -> Self {
        Self {
            self_test: true,
            ..Self::everything()
        }
    }

    fn kernels(&self) -> Vec<String> {
        match self.kernel.as_slice() {
            [] => KERNELS.map(str::to_owned).to_vec(),
            given => given.to_vec(),
        }
    }
}

/// Builds, boots and judges.
///
/// # Errors
///
/// [`Failure::Machine`] when nothing is known about the tests; a test that failed is in the counts.
pub(crate) fn run(args: &Args) -> Result<Counts> {
    packages::ensure_for_tests()?;
    let workspace = Workspace::load()?;
    if args.self_test {
        return self_test::run(&workspace, args);
    }
    let built = build(&workspace, &args.package)?;
    if built.tests.is_empty() {
        anyhow::bail!("no test target named `vm` or `user` in {:?}", args.package);
    }
    add_up(&boot(&workspace, &built, args, &args.kernels())?)
}

/// Boots all kernels at once; what came out of each, by its label.
fn boot(
    workspace: &Workspace,
    built: &Built,
    args: &Args,
    kernels: &[String],
) -> Result<Vec<(String, Verdict)>> {
    let work = || {
        let _released_at_the_end = lock(workspace)?;
        let runs = prepare(workspace, built, args, kernels)?;
        let verdicts = thread::scope(|scope| {
            let start = |run| scope.spawn(move || qemu::boot(run));
            let threads: Vec<_> = runs.iter().map(start).collect();
            let wait = |thread: thread::ScopedJoinHandle<'_, Result<Verdict>>| {
                thread.join().expect("qemu::boot does not panic")
            };
            threads.into_iter().map(wait).collect::<Result<Vec<_>>>()
        })?;
        Ok(runs
            .into_iter()
            .map(|run| run.label)
            .zip(verdicts)
            .collect())
    };
    work().map_err(|error: anyhow::Error| Failure::Machine(format!("{error:#}")).into())
}

/// Two runs that share `target/` would write each other's disks.
fn lock(workspace: &Workspace) -> Result<File> {
    let directory = workspace.target.join("vm");
    std::fs::create_dir_all(&directory).with_context(|| format!("mkdir({directory:?})"))?;
    let lock = File::create(directory.join("lock")).context("create the lock of the VMs")?;
    if lock.try_lock().is_err() {
        println!("waiting for another run of test-vm");
        lock.lock().context("take the lock of the VMs")?;
    }
    Ok(lock)
}

fn prepare(
    workspace: &Workspace,
    built: &Built,
    args: &Args,
    kernels: &[String],
) -> Result<Vec<qemu::Run>> {
    let cache = workspace.root.join("target/vm");
    let accel = qemu::accelerator(&kernel::find(&kernels[0], &cache)?)?;
    let disks = image::disks(workspace, built)?;
    let mut runs = Vec::new();
    for name in kernels {
        let kernel = kernel::find(name, &cache)?;
        let directory = workspace.target.join("vm").join(&kernel.label);
        std::fs::create_dir_all(&directory).with_context(|| format!("mkdir({directory:?})"))?;
        let config = image::config(&kernel, &disks, built, args);
        let initramfs = directory.join("initramfs.cpio");
        initramfs::write(&initramfs, &kernel, &config, &built.guest)?;
        runs.push(qemu::Run {
            label: kernel.label,
            image: kernel.image,
            initramfs,
            disks: disks.clone(),
            accel,
            quiet: args.self_test,
            directory,
            limit: Duration::from_secs(args.limit),
            silence: Duration::from_secs(args.test_limit + 60),
        });
    }
    Ok(runs)
}

fn add_up(verdicts: &[(String, Verdict)]) -> Result<Counts> {
    let mut counts = Counts::default();
    let mut troubles = Vec::new();
    for (label, verdict) in verdicts {
        let Verdict {
            passed,
            failed,
            report,
            troubles: of_vm,
        } = verdict;
        for line in report {
            println!("{label} {line}");
        }
        println!("{label}: {passed} passed, {} failed", failed.len());
        troubles.extend(
            of_vm
                .iter()
                .map(|trouble| format!("kernel {label}: {trouble}")),
        );
        counts += Counts {
            passed: *passed,
            failed: failed.len(),
        };
    }
    if troubles.is_empty() {
        return Ok(counts);
    }
    Err(Failure::Machine(troubles.join("\n")).into())
}
