//! From facts to findings. Pure.

mod caller;
mod cgroups;
mod kernel;
mod security;

use super::{Facts, Finding, Info, State, Topic, files};

/// Major and minor number of a kernel.
type Version = (u32, u32);

pub(super) fn judge(facts: &Facts) -> Info {
    let mut findings = Vec::new();
    kernel::judge(facts, &mut findings);
    security::judge(facts, &mut findings);
    caller::judge(facts, &mut findings);
    cgroups::judge(facts, &mut findings);
    Info {
        kernel: facts.files.release.clone(),
        architecture: std::env::consts::ARCH,
        findings,
    }
}

/// What a finding is about, before it is known how it stands.
#[derive(Clone, Copy)]
struct Subject {
    topic: Topic,
    name: &'static str,
    purpose: &'static str,
}

impl Subject {
    fn ok(self, detail: impl Into<String>) -> Finding {
        self.finding(State::Ok, detail.into(), None)
    }

    fn limited(self, detail: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.finding(State::Limited, detail.into(), Some(remedy.into()))
    }

    fn missing(self, detail: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.finding(State::Missing, detail.into(), Some(remedy.into()))
    }

    /// There from a kernel on, where nothing tells but its version.
    fn by_version(self, facts: &Facts, since: Version) -> Finding {
        let (major, minor) = since;
        if files::version(&facts.files.release) >= since {
            self.ok(format!("by version: since Linux {major}.{minor}"))
        } else {
            self.missing("by version", newer(since))
        }
    }

    fn finding(self, state: State, detail: String, remedy: Option<String>) -> Finding {
        Finding {
            topic: self.topic,
            name: self.name,
            state,
            detail,
            purpose: self.purpose,
            remedy,
        }
    }
}

fn newer((major, minor): Version) -> String {
    format!("boot Linux {major}.{minor} or later")
}
