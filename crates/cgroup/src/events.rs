//! Counters that change when something happens to a group. Each can be watched, see [`Watch`].
//!
//! [`Watch`]: crate::Watch

use crate::Error;
use crate::keyed::{Parsed, flat_keyed, parse_error};
use crate::units::parse_u64;

flat_keyed! {
    /// `memory.events` (of the group and all below it) and `memory.events.local` (of itself).
    MemoryEvents from "memory.events"
    required {
        "low" => low: u64, "times it was reclaimed although below `memory.low`";
        "high" => high: u64, "times a process was throttled for being above `memory.high`";
        "max" => max: u64, "times usage was about to go over `memory.max`";
        "oom" => oom: u64, "times an allocation was about to fail at the limit";
        "oom_kill" => oom_kill: u64, "processes killed by any kind of out-of-memory killer";
    }
    optional {
        "oom_group_kill" => oom_group_kill: u64, "times the whole group was killed (`memory.oom.group`)";
        "sock_throttled" => sock_throttled: u64, "times sockets were throttled (Linux 6.19)";
    }
}

flat_keyed! {
    /// `memory.swap.events`.
    SwapEvents from "memory.swap.events"
    required {
        "max" => max: u64, "times a swap allocation failed at `memory.swap.max`";
        "fail" => fail: u64, "times one failed for any reason";
    }
    optional {
        "high" => high: u64, "times usage was above `memory.swap.high`";
    }
}

flat_keyed! {
    /// `pids.events`.
    ///
    /// Until Linux 6.10, and later with the mount option `pids_localevents`, it counts the forks
    /// refused *in* this group, for whichever limit; since 6.11 those refused *by* the limit of this
    /// group or of one below it, wherever the fork was, and `pids.events.local` those by its own.
    PidsEvents from "pids.events"
    required {
        "max" => max: u64, "forks that were refused with `EAGAIN`";
    }
    optional {}
}

/// `cgroup.events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CgroupEvents {
    /// Whether the group or one below it holds a live process.
    pub populated: bool,
    /// Whether everything in it is frozen.
    pub frozen: bool,
}

impl Parsed for CgroupEvents {
    const FILE: &'static str = "cgroup.events";

    fn parse(text: &str) -> Result<Self, Error> {
        let mut events = Self::default();
        let mut seen = false;
        for line in text.lines() {
            let wrong = || parse_error(Self::FILE, line);
            let (key, value) = line.split_once(' ').ok_or_else(wrong)?;
            match key {
                "populated" => {
                    events.populated = flag(value).ok_or_else(wrong)?;
                    seen = true;
                }
                "frozen" => events.frozen = flag(value).ok_or_else(wrong)?,
                _ => {}
            }
        }
        if !seen {
            return Err(parse_error(Self::FILE, "(no line `populated`)"));
        }
        Ok(events)
    }
}

fn flag(text: &str) -> Option<bool> {
    match parse_u64(text)? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn memory_events_of_6_1_and_6_12_are_read() {
        let text = "low 0\nhigh 3\nmax 17\noom 2\noom_kill 1\noom_group_kill 1\n";
        let events = MemoryEvents::parse(text).expect("6.1");
        assert_eq!((events.high, events.max, events.oom), (3, 17, 2));
        assert_eq!((events.oom_kill, events.oom_group_kill), (1, Some(1)));
        assert_eq!(events.sock_throttled, None);
    }

    #[test]
    fn a_missing_line_and_a_broken_number_are_errors_that_show_them() {
        let missing = MemoryEvents::parse("low 0\nhigh 3\nmax 17\noom 2\n").expect_err("missing");
        assert!(missing.to_string().contains("oom_kill"), "{missing}");
        let broken = PidsEvents::parse("max -1\n").expect_err("broken");
        assert!(broken.to_string().contains("max -1"), "{broken}");
    }

    #[test]
    fn cgroup_events_are_read_with_lines_of_the_future() {
        let events = CgroupEvents::parse("populated 1\nfrozen 0\nnew 5\n").expect("events");
        assert!(events.populated && !events.frozen);
        assert!(CgroupEvents::parse("frozen 0\n").is_err());
        assert!(CgroupEvents::parse("populated 2\n").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(\\PC|\n| ){0,300}") {
            let _ = MemoryEvents::parse(&text);
            let _ = SwapEvents::parse(&text);
            let _ = PidsEvents::parse(&text);
            let _ = CgroupEvents::parse(&text);
        }
    }
}
