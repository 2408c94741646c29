//! What images may take on disk, kept to whenever something was added.

use std::time::Duration;

use engine::layers::{self, Gone, Prune};

use super::{Images, Problem, bytes, settings};
use crate::output;

/// Downloads that were broken off are kept for so long, for the next pull to go on with.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

impl Images {
    /// After something was added, and while it is still in use: if a budget is set, what is beyond it goes. What goes
    /// wrong is told of, and is no failure of what was asked for.
    pub(crate) fn keep_to_budget(&self, quiet: bool) {
        match self.beyond_budget() {
            Ok(Some(gone)) if !quiet && !gone.forgotten.is_empty() => {
                let names: Vec<_> = gone
                    .forgotten
                    .iter()
                    .map(image::Reference::familiar)
                    .collect();
                let (names, freed) = (names.join(", "), bytes(gone.bytes));
                output::stderr(&format!("removed for the budget: {names}, {freed}\n"));
            }
            Ok(_) => {}
            Err(problem) => output::error(&problem),
        }
    }

    fn beyond_budget(&self) -> Result<Option<Gone>, Problem> {
        let Some(budget) = settings::budget()? else {
            return Ok(None);
        };
        let prune = Prune {
            older_than: ABANDONED,
            budget: Some(budget),
        };
        Ok(Some(layers::prune(&self.store, &prune)?))
    }
}
