//! What this machine offers containers, what it lacks, and what to do about that.
//!
//! Nothing is changed: files are read, calls are made with arguments that ask for nothing, and what
//! only a trial shows is tried in namespaces of a process that never executes anything. Gathering
//! (`files`, `calls`, `cgroups`, `trial`) is apart from judging (`judge`), which is pure.

mod calls;
mod cgroups;
mod files;
mod judge;
mod trial;

use std::path::Path;

use serde::Serialize;

use crate::host::Caller;
use crate::run::Options;
use calls::Calls;
use cgroups::Cgroups;
use files::Files;
use trial::Trials;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Info {
    /// Release of the running kernel.
    pub kernel: String,
    /// `x86_64` or `aarch64`.
    pub architecture: &'static str,
    /// In the order they are shown in, those of a topic together.
    pub findings: Vec<Finding>,
}

/// One thing that is there, or is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it belongs to.
    pub topic: Topic,
    /// Its name, which no other finding has.
    pub name: &'static str,
    /// Whether it can be used.
    pub state: State,
    /// What was seen.
    pub detail: String,
    /// What needs it.
    pub purpose: &'static str,
    /// What to do about it, unless it is [`State::Ok`].
    pub remedy: Option<String>,
}

/// What a finding belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Topic {
    /// System calls and file systems.
    Kernel,
    /// Confinement.
    Security,
    /// Who is asking, and which ids containers get.
    Caller,
    /// Limits and statistics.
    Cgroups,
}

impl Topic {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Security => "security",
            Self::Caller => "caller",
            Self::Cgroups => "cgroups",
        }
    }
}

/// Whether something can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It can.
    Ok,
    /// Not all of it, or not by everyone.
    Limited,
    /// It cannot.
    Missing,
}

impl State {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Limited => "limited",
            Self::Missing => "missing",
        }
    }
}

/// Look at this machine. Nothing is changed.
#[must_use]
pub fn info(options: &Options) -> Info {
    let root = Path::new("/");
    let caller = crate::observe::caller();
    judge::judge(&Facts {
        files: Files::read(root, caller.uid),
        calls: Calls::make(&options.state_root),
        cgroups: cgroups::look(root, &caller),
        trials: Trials::run(&caller),
        caller,
    })
}

/// All that is judged.
#[derive(Debug, Clone)]
struct Facts {
    files: Files,
    calls: Calls,
    cgroups: Cgroups,
    trials: Trials,
    caller: Caller,
}

#[cfg(test)]
mod tests;
