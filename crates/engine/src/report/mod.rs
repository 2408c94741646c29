//! The exit report: how a container ended and why, for machines (JSON) and for people (one line, and
//! notes where something else is worth knowing).
//!
//! Pure: the supervisor collects [`Facts`], [`ExitReport::new`] draws the conclusions. An exit code of
//! 137 alone says nothing about who killed whom; with `memory.events`, the limits, the kernel's log
//! and the signals the supervisor itself sent, the report does.

mod cause;
#[cfg(test)]
mod tests;
mod time;
mod units;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::kmsg;
use crate::signals;
pub use time::Timestamp;
pub use units::{human_bytes, human_duration};

/// What is known at the end of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Container name.
    pub name: String,
    /// Its id, unlike that of any other run of the same name.
    pub id: String,
    /// The file it was started from.
    pub source: String,
    /// The program's pid on the host, if it got that far.
    pub pid: Option<u32>,
    /// When it was started.
    pub started: Timestamp,
    /// When it had ended.
    pub finished: Timestamp,
    /// In between, by a clock that nobody sets.
    #[serde(rename = "duration_us", serialize_with = "units::micros")]
    pub duration: Duration,
    /// How it ended, raw; the report's `outcome` says it in full.
    #[serde(skip)]
    pub ending: Ending,
    /// Its cgroup's memory, when the controller was on.
    pub memory: Option<Memory>,
    /// Its cgroup's pids, when the controller was on.
    pub pids: Option<Pids>,
    /// Its cgroup's CPU time.
    pub cpu: Option<Cpu>,
    /// Whom the kernel's OOM killer killed; `None` when it killed nobody.
    pub victim: Option<Victim>,
    /// What the supervisor sent, in order.
    pub signals: Vec<Sent>,
    /// Labels of the manifest.
    pub labels: BTreeMap<String, String>,
}

/// How the program ended, as `waitid(2)` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Exited(u8),
    /// By a signal.
    Signaled {
        /// Which.
        signal: i32,
        /// And left a core dump.
        core_dumped: bool,
    },
    /// It never ran.
    NotStarted {
        /// Why, one line.
        message: String,
        /// What `ctr run` exits with: 125, or 126 and 127 of a [`Diagnosis`](crate::doctor::Diagnosis).
        exit_code: u8,
    },
}

/// `memory.*` at the end, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Memory {
    /// `memory.max`; `None` is `max`.
    pub max: Option<u64>,
    /// `memory.peak`, since Linux 5.19.
    pub peak: Option<u64>,
    /// `memory.events`.
    pub events: MemoryEvents,
}

/// `memory.events`: how many times each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct MemoryEvents {
    /// Reclaimed although below `memory.low`.
    pub low: u64,
    /// Throttled above `memory.high`.
    pub high: u64,
    /// About to go over `memory.max`.
    pub max: u64,
    /// Out of memory after reclaim.
    pub oom: u64,
    /// Processes killed by any OOM killer.
    pub oom_kill: u64,
    /// Times the whole group was killed.
    pub oom_group_kill: u64,
}

/// `pids.*` at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Pids {
    /// `pids.max`; `None` is `max`.
    pub max: Option<u64>,
    /// `max` of `pids.events`: forks and clones that were refused.
    pub events_max: u64,
}

/// `cpu.stat` at the end, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Cpu {
    /// All CPU time.
    pub usage_us: u64,
    /// In user mode.
    pub user_us: u64,
    /// In the kernel.
    pub system_us: u64,
    /// Held back by `cpu.max`.
    pub throttled_us: u64,
}

/// Whom the OOM killer killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Victim {
    /// The last one, from the kernel's log.
    Known {
        /// Name of the process.
        comm: String,
        /// Its pid on the host.
        pid: u32,
        /// The cgroup whose `memory.max` had run out, from the root of the hierarchy; `None`: the
        /// machine's memory had.
        exhausted: Option<String>,
        /// That cgroup is not the container's own, nor one inside of it.
        above: bool,
    },
    /// Not known.
    Unknown {
        /// Why not: `victim unknown: …`.
        reason: String,
    },
}

impl Victim {
    /// From what the kernel's log says of the container's `cgroup`.
    pub fn from_log(found: Result<kmsg::Victim, kmsg::Unknown>, cgroup: &str) -> Self {
        match found {
            Ok(victim) => {
                let exhausted = match victim.exhausted {
                    kmsg::Exhausted::Cgroup(path) => Some(path),
                    kmsg::Exhausted::Machine => None,
                };
                let inside = |path: &String| {
                    let rest = path.strip_prefix(cgroup);
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                };
                let above = !exhausted.as_ref().is_some_and(inside);
                Self::Known {
                    comm: victim.comm,
                    pid: victim.pid,
                    exhausted,
                    above,
                }
            }
            Err(reason) => Self::Unknown {
                reason: reason.to_string(),
            },
        }
    }
}

/// A signal the supervisor sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// Which, by name.
    #[serde(serialize_with = "by_name")]
    pub signal: i32,
    /// Why.
    pub by: Sender,
}

/// Why the supervisor sent a signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Sender {
    /// It had got one itself.
    PassedOn {
        /// From this process; `None`: from the kernel, as by a key on a terminal.
        from: Option<u32>,
    },
    /// The program had not ended in time after the stop signal.
    GraceExpired {
        /// The stop signal.
        #[serde(serialize_with = "by_name")]
        asked: i32,
        /// How long it had.
        #[serde(rename = "grace_us", serialize_with = "units::micros")]
        grace: Duration,
    },
    /// It was asked to stop the container once more, within the grace period.
    AskedTwice,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// The program ended by itself.
    Exited {
        /// Its status.
        code: u8,
    },
    /// A signal ended it.
    Signaled {
        /// Which, by name.
        #[serde(serialize_with = "by_name")]
        signal: i32,
        /// And left a core dump.
        core_dumped: bool,
    },
    /// The kernel's OOM killer ended it.
    OomKilled,
    /// It never ran.
    NotStarted {
        /// Why, one line.
        message: String,
    },
}

/// The report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExitReport {
    /// How it ended.
    pub outcome: Outcome,
    /// How and why, one line for people.
    pub cause: String,
    /// What else they should know, a line each.
    pub notes: Vec<String>,
    /// What `ctr run` exits with.
    pub exit_code: u8,
    /// What it rests on.
    #[serde(flatten)]
    pub facts: Facts,
}

impl ExitReport {
    /// Draws the conclusions.
    pub fn new(facts: Facts) -> Self {
        let outcome = outcome(&facts);
        let cause = cause::line(&facts, &outcome);
        let notes = cause::notes(&facts, &outcome);
        let exit_code = exit_code(&facts.ending);
        Self {
            outcome,
            cause,
            notes,
            exit_code,
            facts,
        }
    }
}

/// A SIGKILL is the OOM killer's when it killed somebody here and the supervisor had sent none: the
/// kernel itself does not say whose a signal was.
fn outcome(facts: &Facts) -> Outcome {
    let oom_kills = facts.memory.map_or(0, |memory| memory.events.oom_kill);
    match &facts.ending {
        Ending::Exited(code) => Outcome::Exited { code: *code },
        Ending::NotStarted { message, .. } => Outcome::NotStarted {
            message: message.clone(),
        },
        Ending::Signaled {
            signal: libc::SIGKILL,
            ..
        } if oom_kills > 0
            && !facts
                .signals
                .iter()
                .any(|sent| sent.signal == libc::SIGKILL) =>
        {
            Outcome::OomKilled
        }
        Ending::Signaled {
            signal,
            core_dumped,
        } => Outcome::Signaled {
            signal: *signal,
            core_dumped: *core_dumped,
        },
    }
}

/// The status a shell would show: the program's own, or 128 and the signal.
fn exit_code(ending: &Ending) -> u8 {
    match ending {
        Ending::Exited(code) => *code,
        Ending::Signaled { signal, .. } => u8::try_from(signal.saturating_add(128)).unwrap_or(255),
        Ending::NotStarted { exit_code, .. } => *exit_code,
    }
}

fn by_name<S: serde::Serializer>(signal: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&signals::show(*signal))
}
