//! Whom the kernel's OOM killer killed, from its log `/dev/kmsg`
//! ([`dev-kmsg`](https://www.kernel.org/doc/Documentation/ABI/testing/dev-kmsg)).
//!
//! `memory.events` counts the kills and names nobody; only the log does. It is read once, after the
//! end of a container that had one, without blocking and within bounds. Needs `CAP_SYSLOG` where
//! `kernel.dmesg_restrict` is 1 (Debian's default), else only the permission to open the device.
//!
//! The log is the whole machine's. What matches is the container's cgroup; names of processes and of
//! cgroups below it may be chosen to confuse, and then can at worst confuse their own report.

use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Longest record: `PRINTKRB_RECORD_MAX` and its escapes are below, and a shorter buffer is `EINVAL`.
const RECORD_BYTES: usize = 16 * 1024;

/// Most records read; a log of 4 MiB, 32 times the usual, has about as many.
const MAX_RECORDS: usize = 65_536;

/// A process that the OOM killer chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    /// Its number in the initial pid namespace.
    pub pid: u32,
    /// Its user in the initial user namespace.
    pub uid: u32,
    /// Its name, at most 15 bytes; the kernel's log writes what cannot be printed as `\x1b`.
    pub comm: String,
    /// Its cgroup, from the root of the hierarchy.
    pub cgroup: String,
    /// What had run out.
    pub exhausted: Exhausted,
    /// Its anonymous memory, KiB, when the log still has that line.
    pub anon_rss_kib: Option<u64>,
}

/// Whose memory had run out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exhausted {
    /// The `memory.max` of this cgroup, from the root of the hierarchy.
    Cgroup(String),
    /// The machine's, or what a memory policy or cpuset leaves of it.
    Machine,
}

/// Why a victim is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unknown {
    /// `/dev/kmsg` may not be read.
    #[error("victim unknown: needs CAP_SYSLOG to read /dev/kmsg")]
    NoAccess,
    /// There is no `/dev/kmsg`, or it cannot be read.
    #[error("victim unknown: /dev/kmsg: {0}")]
    NoLog(Errno),
    /// The log says nothing of this cgroup.
    #[error("victim unknown: the kernel's log has no record of it (any more)")]
    NoRecord,
}

/// The last victim in `cgroup` or below it, since the container started.
///
/// `cgroup` is a path from the root of the hierarchy (`/ctr/web`), `started` when it started by
/// `CLOCK_MONOTONIC`, `now` that clock's time now.
///
/// # Errors
///
/// Each variant of [`Unknown`].
pub fn victim(cgroup: &str, started: Duration, now: Duration) -> Result<Victim, Unknown> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let log =
        rustix::fs::open(c"/dev/kmsg", flags, Mode::empty()).map_err(|errno| match errno {
            Errno::PERM | Errno::ACCESS => Unknown::NoAccess,
            other => Unknown::NoLog(other),
        })?;
    let mut scan = Scan::new(cgroup, since(started, now));
    let mut record = vec![0; RECORD_BYTES];
    for _ in 0..MAX_RECORDS {
        match rustix::io::read(&log, &mut record) {
            Ok(0) | Err(Errno::AGAIN) => break,
            Ok(length) => scan.record(&record[..length]),
            // EPIPE: records were overwritten while we read; the next read goes on after them.
            Err(Errno::INTR | Errno::PIPE) => {}
            Err(errno) => return Err(Unknown::NoLog(errno)),
        }
    }
    scan.victim.ok_or(Unknown::NoRecord)
}

/// From which time stamp on a record counts.
///
/// Time stamps are of the scheduler's clock, which nothing keeps in step with `CLOCK_MONOTONIC`: NTP
/// may have slewed that one by up to 500 ppm since boot.
fn since(started: Duration, now: Duration) -> Duration {
    let drift = now / 2000 + Duration::from_secs(1);
    started.saturating_sub(drift)
}

/// Looks for victims in records, one by one; pure.
#[derive(Debug)]
struct Scan<'a> {
    cgroup: &'a str,
    since: Duration,
    victim: Option<Victim>,
}

impl<'a> Scan<'a> {
    fn new(cgroup: &'a str, since: Duration) -> Self {
        // The root's own path ends in a slash, which no other does.
        Self {
            cgroup: cgroup.trim_end_matches('/'),
            since,
            victim: None,
        }
    }

    /// Takes one record, `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS…;TEXT\n KEY=VALUE\n…`.
    fn record(&mut self, record: &[u8]) {
        let record = String::from_utf8_lossy(record);
        let Some((prefix, rest)) = record.split_once(';') else {
            return;
        };
        let stamp = prefix
            .split(',')
            .nth(2)
            .and_then(|field| field.parse().ok());
        let Some(stamp) = stamp.map(Duration::from_micros) else {
            return;
        };
        if stamp < self.since {
            return;
        }
        let text = rest.split('\n').next().unwrap_or("");
        if let Some(found) = parse_summary(text) {
            if self.is_ours(&found.cgroup) {
                self.victim = Some(found);
            }
        } else if let (Some(victim), Some((pid, kib))) = (&mut self.victim, parse_killed(text))
            && victim.pid == pid
        {
            victim.anon_rss_kib = kib;
        }
    }

    fn is_ours(&self, cgroup: &str) -> bool {
        let rest = cgroup.strip_prefix(self.cgroup);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// `oom-kill:constraint=CONSTRAINT_MEMCG,…,oom_memcg=/a,task_memcg=/a/b,task=python3,pid=41,uid=0`,
/// or with `global_oom` instead of `oom_memcg=…` (`dump_oom_summary` in mm/oom_kill.c).
///
/// The name of the process may hold commas and whole fields, so the numbers are found from the end;
/// the names of cgroups are bounded by the first `,task=`, so that a process cannot hide its cgroup.
fn parse_summary(text: &str) -> Option<Victim> {
    let fields = text.strip_prefix("oom-kill:")?;
    let (rest, uid) = fields.rsplit_once(",uid=")?;
    let (rest, pid) = rest.rsplit_once(",pid=")?;
    let (head, rest) = rest.split_once(",task_memcg=")?;
    let (cgroup, comm) = rest.split_once(",task=")?;
    let exhausted = match head.split_once(",oom_memcg=") {
        Some((_, cgroup)) => Exhausted::Cgroup(cgroup.to_owned()),
        None => Exhausted::Machine,
    };
    Some(Victim {
        pid: pid.parse().ok()?,
        uid: uid.parse().ok()?,
        comm: comm.to_owned(),
        cgroup: cgroup.to_owned(),
        exhausted,
        anon_rss_kib: None,
    })
}

/// `…: Killed process 41 (python3) total-vm:70000kB, anon-rss:65000kB, …`: the pid, and the
/// anonymous memory.
fn parse_killed(text: &str) -> Option<(u32, Option<u64>)> {
    let (_, rest) = text.split_once("Killed process ")?;
    let (pid, rest) = rest.split_once(' ')?;
    // From the end: the name in between may hold anything.
    let kib = rest
        .rsplit_once(", anon-rss:")
        .and_then(|(_, rest)| rest.split_once("kB"))
        .and_then(|(kib, _)| kib.parse().ok());
    Some((pid.parse().ok()?, kib))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=web,\
        mems_allowed=0,oom_memcg=/ctr/web,task_memcg=/ctr/web,task=python3,pid=41,uid=100000";
    const KILLED: &str = "Memory cgroup out of memory: Killed process 41 (python3) \
        total-vm:71240kB, anon-rss:64512kB, file-rss:5120kB, shmem-rss:0kB, UID:100000 \
        pgtables:172kB oom_score_adj:0";

    fn scan(cgroup: &str, since_us: u64, records: &[String]) -> Option<Victim> {
        let mut scan = Scan::new(cgroup, Duration::from_micros(since_us));
        for record in records {
            scan.record(record.as_bytes());
        }
        scan.victim
    }

    fn record(us: u64, text: &str) -> String {
        format!("6,1339,{us},-;{text}\n SUBSYSTEM=x\n")
    }

    #[test]
    fn the_victim_of_a_cgroup_is_found_with_its_memory() {
        let log = [
            record(5, "usb 1-1: new device"),
            record(9, SUMMARY),
            record(9, KILLED),
        ];
        let expected = Victim {
            pid: 41,
            uid: 100_000,
            comm: "python3".into(),
            cgroup: "/ctr/web".into(),
            exhausted: Exhausted::Cgroup("/ctr/web".into()),
            anon_rss_kib: Some(64_512),
        };
        assert_eq!(scan("/ctr/web", 0, &log), Some(expected));
    }

    #[test]
    fn only_the_cgroup_itself_and_those_below_it_match() {
        let log = [record(
            9,
            &SUMMARY.replace("task_memcg=/ctr/web", "task_memcg=/ctr/web/sub"),
        )];
        for (cgroup, matches) in [
            ("/ctr/web", true),
            ("/ctr/web/sub", true),
            ("/ctr", true),
            ("/", true),
            ("/ctr/we", false),
            ("/ctr/web/sub/sub", false),
            ("/ctr/web2", false),
        ] {
            assert_eq!(scan(cgroup, 0, &log).is_some(), matches, "{cgroup}");
        }
    }

    #[test]
    fn of_several_the_last_counts_and_none_from_before_the_start() {
        let other = SUMMARY.replace("pid=41", "pid=42");
        let log = [record(10, SUMMARY), record(20, &other), record(21, KILLED)];
        let last = scan("/ctr/web", 5, &log).expect("victim");
        assert_eq!((last.pid, last.anon_rss_kib), (42, None), "41 was another");
        assert_eq!(scan("/ctr/web", 15, &log).expect("victim").pid, 42);
        assert_eq!(scan("/ctr/web", 21, &log), None);
    }

    #[test]
    fn what_had_run_out_is_told_apart() {
        let above = SUMMARY.replace("oom_memcg=/ctr/web", "oom_memcg=/ctr");
        let machine = SUMMARY
            .replace("CONSTRAINT_MEMCG", "CONSTRAINT_NONE")
            .replace("oom_memcg=/ctr/web", "global_oom");
        let of = |text: &str| parse_summary(text).expect("summary").exhausted;
        assert_eq!(of(&above), Exhausted::Cgroup("/ctr".into()));
        assert_eq!(of(&machine), Exhausted::Machine);
    }

    #[test]
    fn a_process_cannot_name_itself_out_of_its_record() {
        for name in [
            "a,pid=1,uid=0",
            "x,task=y",
            "a;b",
            "x) (y",
            "\\x0aoom-kill:",
        ] {
            let log = [
                record(9, &SUMMARY.replace("python3", name)),
                record(9, &KILLED.replace("python3", name)),
            ];
            let victim = scan("/ctr/web", 0, &log).expect(name);
            assert_eq!(
                (victim.pid, victim.uid, victim.comm.as_str()),
                (41, 100_000, name)
            );
            assert_eq!(victim.anon_rss_kib, Some(64_512), "{name}");
        }
    }

    #[test]
    fn the_clocks_may_have_drifted_apart_since_boot() {
        let day = Duration::from_secs(86_400);
        assert_eq!(since(day, day), day - Duration::from_millis(44_200));
        assert_eq!(since(Duration::ZERO, day), Duration::ZERO);
    }

    #[test]
    fn a_cgroup_that_nobody_has_is_no_record_or_no_access() {
        let now = Duration::from_secs(1_000_000_000);
        let answer = victim("/no/such/cgroup/as/this", now, now);
        assert!(
            matches!(
                answer,
                Err(Unknown::NoRecord | Unknown::NoAccess | Unknown::NoLog(_))
            ),
            "{answer:?}"
        );
    }

    #[test]
    fn the_reason_names_the_capability() {
        assert_eq!(
            Unknown::NoAccess.to_string(),
            "victim unknown: needs CAP_SYSLOG to read /dev/kmsg"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_record_makes_it_panic(
            noise in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            fields in "(oom-kill:|,task_memcg=|,task=|,pid=|,uid=|/ctr|[0-9]{1,12}|Killed process |, anon-rss:|kB|[ -~]){0,20}",
        ) {
            let mut scan = Scan::new("/ctr", Duration::ZERO);
            scan.record(&noise);
            scan.record(record(1, &fields).as_bytes());
        }

        #[test]
        fn what_the_kernel_writes_is_read_back(
            comm in "[ -~]{1,15}", pid in 1_u32..=4_194_304, uid in 0..u32::MAX, sub in "(/[a-z0-9._-]{1,9}){0,3}",
        ) {
            let text = format!(
                "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0-1,\
                 oom_memcg=/ctr/web,task_memcg=/ctr/web{sub},task={comm},pid={pid},uid={uid}"
            );
            let victim = scan("/ctr/web", 0, &[record(1, &text)]).expect("victim");
            assert_eq!((victim.comm, victim.pid, victim.uid), (comm, pid, uid));
            assert_eq!(victim.cgroup, format!("/ctr/web{sub}"));
        }
    }
}
