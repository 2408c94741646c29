//! How a run of xtask ends.

use std::fmt;
use std::ops::AddAssign;
use std::process::ExitCode;

use anyhow::Result;

/// The failures that have an exit status of their own; anything else is 1.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A test failed: 1.
    Tests,
    /// The VM or what it needs failed: 69.
    Machine(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tests => f.write_str("a test failed"),
            Self::Machine(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Failure {}

/// The exit status for an error.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<Failure>() {
        Some(Failure::Machine(_)) => ExitCode::from(69),
        Some(Failure::Tests) | None => ExitCode::FAILURE,
    }
}

/// What ran.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Tests that passed.
    pub(crate) passed: usize,
    /// Tests that did not.
    pub(crate) failed: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Counts {
    /// Prints the last line and turns it into the result.
    ///
    /// # Errors
    ///
    /// [`Failure::Tests`] when one failed.
    pub(crate) fn finish(self) -> Result<()> {
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed > 0 {
            return Err(Failure::Tests.into());
        }
        Ok(())
    }
}
