//! What a container has used, read from its cgroup before that goes.

use cgroup::{Group, MemoryEvents, PidsEvents};

use crate::report::{Cpu, Memory, MemoryEvents as Events, Pids};

/// What a container used; `None` for what its cgroup does not count.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// Its cgroup, from the root of the hierarchy.
    pub(crate) path: Option<String>,
    pub(crate) memory: Option<Memory>,
    pub(crate) pids: Option<Pids>,
    pub(crate) cpu: Option<Cpu>,
}

impl Usage {
    /// Read it. A file that cannot be read is one that is not there, for a report.
    pub(crate) fn of(group: &Group, path: Option<String>) -> Self {
        let memory = group
            .get_if_there::<MemoryEvents>()
            .ok()
            .flatten()
            .map(|events| Memory {
                max: number(group, "memory.max"),
                peak: number(group, "memory.peak"),
                events: Events {
                    low: events.low,
                    high: events.high,
                    max: events.max,
                    oom: events.oom,
                    oom_kill: events.oom_kill,
                    oom_group_kill: events.oom_group_kill.unwrap_or(0),
                },
            });
        let pids = group
            .get_if_there::<PidsEvents>()
            .ok()
            .flatten()
            .map(|events| Pids {
                max: number(group, "pids.max"),
                events_max: events.max,
            });
        Self {
            path,
            memory,
            pids,
            cpu: group.read("cpu.stat").ok().map(|text| cpu(&text)),
        }
    }
}

/// A file of one number; `max` is none.
fn number(group: &Group, file: &str) -> Option<u64> {
    group.read(file).ok()?.trim().parse().ok()
}

fn cpu(text: &str) -> Cpu {
    let mut cpu = Cpu::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
        let value = value.parse().unwrap_or(0);
        match key {
            "usage_usec" => cpu.usage_us = value,
            "user_usec" => cpu.user_us = value,
            "system_usec" => cpu.system_us = value,
            "throttled_usec" => cpu.throttled_us = value,
            _ => {}
        }
    }
    cpu
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_stat_is_read_with_and_without_the_controller() {
        let base = "usage_usec 30\nuser_usec 10\nsystem_usec 20\n";
        let expected = Cpu {
            usage_us: 30,
            user_us: 10,
            system_us: 20,
            throttled_us: 0,
        };
        assert_eq!(cpu(base), expected);
        let with = format!("{base}nr_periods 9\nnr_throttled 3\nthrottled_usec 7\n");
        assert_eq!(
            cpu(&with),
            Cpu {
                throttled_us: 7,
                ..expected
            }
        );
    }
}
