//! The report in words.

use super::{Ending, Facts, Memory, Outcome, Sender, Sent, Victim, human_bytes, human_duration};
use crate::signals;

/// How and why, one line.
pub(super) fn line(facts: &Facts, outcome: &Outcome) -> String {
    let after = human_duration(facts.duration);
    match outcome {
        Outcome::Exited { code } => format!("exited with status {code} after {after}"),
        Outcome::NotStarted { message } => format!("not started: {message}"),
        Outcome::OomKilled => {
            let memory = facts.memory.unwrap_or_default();
            format!(
                "killed by the kernel: {}",
                out_of_memory(&memory, facts.victim.as_ref())
            )
        }
        Outcome::Signaled {
            signal,
            core_dumped,
        } => {
            let core = if *core_dumped { " (core dumped)" } else { "" };
            let killed = format!("killed by {}{core} after {after}", signals::show(*signal));
            match why_signaled(*signal, &facts.signals) {
                Some(why) => format!("{killed}: {why}"),
                None => killed,
            }
        }
    }
}

fn why_signaled(signal: i32, sent: &[Sent]) -> Option<String> {
    if let Some(sent) = sent.iter().rev().find(|sent| sent.signal == signal) {
        return Some(sender(sent));
    }
    match signal {
        libc::SIGSYS => Some("it made a system call that its seccomp filter kills for".to_owned()),
        libc::SIGKILL => Some("sent by neither ctr nor the kernel's OOM killer".to_owned()),
        _ => None,
    }
}

/// What is known of memory that ran out: `memory.max=64MiB exceeded (peak 64MiB, 1 OOM kill, victim
/// "python3" pid 41)`.
fn out_of_memory(memory: &Memory, victim: Option<&Victim>) -> String {
    let what = match (victim, memory.max) {
        (
            Some(Victim::Known {
                exhausted: None, ..
            }),
            _,
        ) => "the machine ran out of memory".to_owned(),
        (
            Some(Victim::Known {
                exhausted: Some(path),
                above: true,
                ..
            }),
            _,
        ) => {
            format!("memory.max of the cgroup {path:?} above it exceeded")
        }
        (_, Some(max)) if memory.events.max > 0 || memory.events.oom > 0 => {
            format!("memory.max={} exceeded", human_bytes(max))
        }
        (_, Some(max)) => format!(
            "memory ran out, though not memory.max={}: that of a cgroup above it, or the machine's",
            human_bytes(max)
        ),
        (_, None) => "memory ran out, and it has no memory.max: that of a cgroup above it, or the \
                      machine's"
            .to_owned(),
    };
    let mut details = Vec::new();
    if let Some(peak) = memory.peak {
        details.push(format!("peak {}", human_bytes(peak)));
    }
    // With memory.oom.group the kernel counts every process of the group, and the victim twice.
    let kills = match memory.events.oom_group_kill {
        0 => memory.events.oom_kill,
        groups => groups,
    };
    details.push(count(kills, "OOM kill"));
    match victim {
        Some(Victim::Known { comm, pid, .. }) => details.push(format!("victim {comm:?} pid {pid}")),
        Some(Victim::Unknown { reason }) => details.push(reason.clone()),
        None => {}
    }
    format!("{what} ({})", details.join(", "))
}

/// What else is worth knowing, a line each.
pub(super) fn notes(facts: &Facts, outcome: &Outcome) -> Vec<String> {
    let oom = facts
        .memory
        .filter(|memory| memory.events.oom_kill > 0)
        .map(|memory| {
            let processes = count(memory.events.oom_kill, "process");
            let why = out_of_memory(&memory, facts.victim.as_ref());
            match outcome {
                Outcome::NotStarted { .. } => {
                    format!("the kernel killed {processes} of the set-up: {why}")
                }
                _ => format!("the kernel killed {processes} of it before: {why}"),
            }
        });
    let told = matches!(outcome, Outcome::OomKilled);
    let pids = facts.pids.filter(|pids| pids.events_max > 0).map(|pids| {
        let failed = format!("a fork or clone failed {}", count(pids.events_max, "time"));
        match pids.max {
            Some(max) => format!("pids.max={max} was reached: {failed}; raise [resources] pids"),
            // KERNEL(6.11): pids.events counts where the limit is, and above; before, where the fork
            // was. So without a limit of its own it tells of one elsewhere.
            None => format!("the pids.max of a cgroup above or inside it was reached: {failed}"),
        }
    });
    // A signal that it survived, or that its own exit answered, is no cause, but explains much.
    let last = facts
        .signals
        .last()
        .filter(|_| matches!(facts.ending, Ending::Exited(_)));
    let asked = last.map(|sent| {
        format!(
            "{} had been sent to it: {}",
            signals::show(sent.signal),
            sender(sent)
        )
    });
    oom.filter(|_| !told)
        .into_iter()
        .chain(pids)
        .chain(asked)
        .collect()
}

fn sender(sent: &Sent) -> String {
    match &sent.by {
        Sender::PassedOn { from: Some(pid) } => format!("ctr passed it on from pid {pid}"),
        Sender::PassedOn { from: None } => "ctr passed it on from the terminal".to_owned(),
        Sender::GraceExpired { asked, grace } => format!(
            "it had not ended {} after {} (stop.grace)",
            human_duration(*grace),
            signals::show(*asked)
        ),
        Sender::AskedTwice => "ctr was asked to stop it a second time".to_owned(),
    }
}

fn count(n: u64, what: &str) -> String {
    match (n, what) {
        (1, _) => format!("1 {what}"),
        (_, "process") => format!("{n} processes"),
        _ => format!("{n} {what}s"),
    }
}
