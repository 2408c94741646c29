//! `cargo xtask test-vm --self-test`: tests that misbehave must be reported as what they are.

use anyhow::{Result, ensure};

use crate::failure::Counts;
use crate::vm::console::Verdict;
use crate::vm::{Args, boot, build};
use crate::workspace::Workspace;

/// Long enough to start a test in an emulated VM on a busy machine, short enough to wait for.
const TEST_LIMIT: u64 = 15;

/// Boots one VM with tests that fail, hang, die and leave things behind, and one that crashes.
///
/// # Errors
///
/// The verdict on one of them is another than it should be.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<Counts> {
    let args = Args {
        test_limit: TEST_LIMIT,
        filter: None,
        ..args.clone()
    };
    let run = |target: &'static str| -> Result<Verdict> {
        let built = build::targets(workspace, "guest", &[target])?;
        let first = args.kernels().swap_remove(0);
        let mut verdicts = boot(workspace, &built, &args, &[first])?;
        ensure!(verdicts.len() == 1, "one VM, {} verdicts", verdicts.len());
        Ok(verdicts.swap_remove(0).1)
    };
    misbehaviour(&run("misbehave")?)?;
    crash(&run("crash")?)?;
    println!(
        "tests that fail, hang, die, leave things behind or crash the kernel: reported as such"
    );
    Ok(Counts {
        passed: 2,
        failed: 0,
    })
}

fn misbehaviour(verdict: &Verdict) -> Result<()> {
    let failed = ["a_fails", "b_hangs", "c_dies"].map(|name| format!("guest-misbehave::{name}"));
    ensure!(
        verdict.troubles.is_empty(),
        "no fault of the VM was expected: {verdict:?}"
    );
    ensure!(
        verdict.failed == failed,
        "other failures were expected: {verdict:?}"
    );
    ensure!(
        verdict.passed == 2,
        "what is left behind was not removed: {verdict:?}"
    );
    Ok(())
}

fn crash(verdict: &Verdict) -> Result<()> {
    for part in [
        "Kernel panic",
        "the VM ended during guest-crash::the_kernel_panics",
        "no last line",
    ] {
        let said = verdict
            .troubles
            .iter()
            .any(|trouble| trouble.contains(part));
        ensure!(said, "{part:?} was expected: {verdict:?}");
    }
    ensure!(
        verdict.failed == ["guest-crash::the_kernel_panics"],
        "{verdict:?}"
    );
    ensure!(verdict.passed == 0, "{verdict:?}");
    Ok(())
}
