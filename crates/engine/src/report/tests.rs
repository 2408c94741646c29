//! Facts in, sentences out.

use std::time::UNIX_EPOCH;

use super::*;

const MIB: u64 = 1 << 20;

/// A container that ran for three seconds and exited with 0.
fn facts() -> Facts {
    Facts {
        name: "web".into(),
        id: "web-1f2e".into(),
        source: "web.toml".into(),
        pid: Some(4711),
        started: Timestamp(UNIX_EPOCH + Duration::from_secs(1_795_508_640)),
        finished: Timestamp(UNIX_EPOCH + Duration::from_secs(1_795_508_643)),
        duration: Duration::from_secs(3),
        ending: Ending::Exited(0),
        memory: Some(Memory {
            max: Some(64 * MIB),
            peak: Some(20 * MIB),
            ..Memory::default()
        }),
        pids: Some(Pids {
            max: Some(4096),
            events_max: 0,
        }),
        cpu: Some(Cpu {
            usage_us: 1500,
            user_us: 1000,
            system_us: 500,
            throttled_us: 0,
        }),
        victim: None,
        signals: vec![],
        labels: BTreeMap::new(),
    }
}

fn killed(signal: i32) -> Facts {
    Facts {
        ending: Ending::Signaled {
            signal,
            core_dumped: false,
        },
        ..facts()
    }
}

/// Killed for its own memory.max.
fn oom() -> Facts {
    let events = MemoryEvents {
        max: 12,
        oom: 1,
        oom_kill: 1,
        ..MemoryEvents::default()
    };
    let victim = Victim::Known {
        comm: "python3".into(),
        pid: 41,
        exhausted: Some("/ctr/web".into()),
        above: false,
    };
    Facts {
        memory: Some(Memory {
            max: Some(64 * MIB),
            peak: Some(64 * MIB),
            events,
        }),
        victim: Some(victim),
        ..killed(libc::SIGKILL)
    }
}

#[track_caller]
fn check(facts: Facts, code: u8, cause: &str, notes: &[&str]) {
    let report = ExitReport::new(facts);
    assert_eq!(report.cause, cause);
    assert_eq!(report.notes, notes, "{cause}");
    assert_eq!(report.exit_code, code, "{cause}");
}

#[test]
fn an_exit_is_told_with_its_status_and_time() {
    check(facts(), 0, "exited with status 0 after 3s", &[]);
    check(
        Facts {
            ending: Ending::Exited(3),
            ..facts()
        },
        3,
        "exited with status 3 after 3s",
        &[],
    );
}

#[test]
fn a_signal_is_told_by_name_and_with_its_core() {
    check(
        killed(libc::SIGSEGV),
        139,
        "killed by SIGSEGV after 3s",
        &[],
    );
    let ending = Ending::Signaled {
        signal: libc::SIGSEGV,
        core_dumped: true,
    };
    check(
        Facts { ending, ..facts() },
        139,
        "killed by SIGSEGV (core dumped) after 3s",
        &[],
    );
    check(
        killed(libc::SIGSYS),
        159,
        "killed by SIGSYS after 3s: it made a system call that its seccomp filter kills for",
        &[],
    );
    check(
        killed(libc::SIGKILL),
        137,
        "killed by SIGKILL after 3s: sent by neither ctr nor the kernel's OOM killer",
        &[],
    );
    check(killed(50), 178, "killed by SIGRTMIN+16 after 3s", &[]);
}

#[test]
fn an_oom_kill_is_told_with_limit_peak_and_victim() {
    check(
        oom(),
        137,
        r#"killed by the kernel: memory.max=64MiB exceeded (peak 64MiB, 1 OOM kill, victim "python3" pid 41)"#,
        &[],
    );
    assert_eq!(ExitReport::new(oom()).outcome, Outcome::OomKilled);
}

#[test]
fn a_group_killed_as_a_whole_is_one_oom_kill() {
    let mut facts = oom();
    let memory = facts.memory.as_mut().expect("it has some");
    (memory.events.oom_kill, memory.events.oom_group_kill) = (3, 1);
    let cause = ExitReport::new(facts).cause;
    assert!(cause.contains("1 OOM kill,"), "{cause}");
}

#[test]
fn an_oom_kill_without_its_victim_says_why_it_is_unknown() {
    let victim = Victim::from_log(Err(kmsg::Unknown::NoAccess), "/ctr/web");
    let mut facts = Facts {
        victim: Some(victim),
        ..oom()
    };
    check(
        facts.clone(),
        137,
        "killed by the kernel: memory.max=64MiB exceeded (peak 64MiB, 1 OOM kill, victim unknown: \
         needs CAP_SYSLOG to read /dev/kmsg)",
        &[],
    );
    let memory = facts.memory.as_mut().expect("memory");
    (memory.peak, memory.events.oom_kill, facts.victim) = (None, 3, None);
    check(
        facts,
        137,
        "killed by the kernel: memory.max=64MiB exceeded (3 OOM kills)",
        &[],
    );
}

#[test]
fn memory_that_ran_out_elsewhere_is_not_blamed_on_memory_max() {
    let of = |exhausted: Option<&str>| {
        let exhausted = match exhausted {
            Some(path) => kmsg::Exhausted::Cgroup(path.into()),
            None => kmsg::Exhausted::Machine,
        };
        let found = kmsg::Victim {
            pid: 41,
            uid: 0,
            comm: "a\"b".into(),
            cgroup: "/ctr/web".into(),
            exhausted,
            anon_rss_kib: None,
        };
        Facts {
            victim: Some(Victim::from_log(Ok(found), "/ctr/web")),
            ..oom()
        }
    };
    let details = r#"(peak 64MiB, 1 OOM kill, victim "a\"b" pid 41)"#;
    for (facts, what) in [
        (of(None), "the machine ran out of memory"),
        (
            of(Some("/ctr")),
            r#"memory.max of the cgroup "/ctr" above it exceeded"#,
        ),
        (
            of(Some("/ctr/web2")),
            r#"memory.max of the cgroup "/ctr/web2" above it exceeded"#,
        ),
        (of(Some("/ctr/web/sub")), "memory.max=64MiB exceeded"),
    ] {
        check(
            facts,
            137,
            &format!("killed by the kernel: {what} {details}"),
            &[],
        );
    }
    let mut facts = Facts {
        victim: None,
        ..oom()
    };
    let memory = facts.memory.as_mut().expect("memory");
    (memory.events.max, memory.events.oom) = (0, 0);
    check(
        facts.clone(),
        137,
        "killed by the kernel: memory ran out, though not memory.max=64MiB: that of a cgroup above \
         it, or the machine's (peak 64MiB, 1 OOM kill)",
        &[],
    );
    facts.memory.as_mut().expect("memory").max = None;
    check(
        facts,
        137,
        "killed by the kernel: memory ran out, and it has no memory.max: that of a cgroup above it, \
         or the machine's (peak 64MiB, 1 OOM kill)",
        &[],
    );
}

#[test]
fn an_oom_kill_that_the_program_survived_is_a_note() {
    let note = r#"the kernel killed 1 process of it before: memory.max=64MiB exceeded (peak 64MiB, 1 OOM kill, victim "python3" pid 41)"#;
    let ending = Ending::Exited(137);
    check(
        Facts { ending, ..oom() },
        137,
        "exited with status 137 after 3s",
        &[note],
    );
    let ending = Ending::Signaled {
        signal: libc::SIGTERM,
        core_dumped: false,
    };
    check(
        Facts { ending, ..oom() },
        143,
        "killed by SIGTERM after 3s",
        &[note],
    );
}

#[test]
fn a_kill_by_the_supervisor_is_not_the_oom_killers() {
    let by = Sender::GraceExpired {
        asked: libc::SIGTERM,
        grace: Duration::from_secs(10),
    };
    let mut facts = killed(libc::SIGKILL);
    facts.signals = vec![
        Sent {
            signal: libc::SIGTERM,
            by: Sender::PassedOn { from: Some(99) },
        },
        Sent {
            signal: libc::SIGKILL,
            by,
        },
    ];
    let cause = "killed by SIGKILL after 3s: it had not ended 10s after SIGTERM (stop.grace)";
    check(facts.clone(), 137, cause, &[]);
    let report = ExitReport::new(Facts {
        memory: oom().memory,
        ..facts.clone()
    });
    assert_eq!(report.cause, cause);
    assert_eq!(
        report.notes.len(),
        1,
        "the OOM kill is a note: {:?}",
        report.notes
    );
    facts.signals[1].by = Sender::AskedTwice;
    check(
        facts,
        137,
        "killed by SIGKILL after 3s: ctr was asked to stop it a second time",
        &[],
    );
}

#[test]
fn a_signal_passed_on_is_told_with_its_sender() {
    let sent = |from| {
        vec![Sent {
            signal: libc::SIGTERM,
            by: Sender::PassedOn { from },
        }]
    };
    check(
        Facts {
            signals: sent(Some(99)),
            ..killed(libc::SIGTERM)
        },
        143,
        "killed by SIGTERM after 3s: ctr passed it on from pid 99",
        &[],
    );
    check(
        Facts {
            signals: sent(None),
            ..facts()
        },
        0,
        "exited with status 0 after 3s",
        &["SIGTERM had been sent to it: ctr passed it on from the terminal"],
    );
    check(
        Facts {
            signals: sent(Some(99)),
            ..killed(libc::SIGSEGV)
        },
        139,
        "killed by SIGSEGV after 3s",
        &[],
    );
}

#[test]
fn a_limit_of_processes_that_was_reached_names_the_key() {
    let pids = Some(Pids {
        max: Some(64),
        events_max: 1,
    });
    check(
        Facts { pids, ..facts() },
        0,
        "exited with status 0 after 3s",
        &["pids.max=64 was reached: a fork or clone failed 1 time; raise [resources] pids"],
    );
    let pids = Some(Pids {
        max: None,
        events_max: 7,
    });
    check(
        Facts { pids, ..facts() },
        0,
        "exited with status 0 after 3s",
        &[
            "the pids.max of a cgroup above or inside it was reached: a fork or clone failed 7 times",
        ],
    );
}

#[test]
fn a_failed_set_up_is_told_with_its_reason_and_an_oom_kill_in_it() {
    let ending = Ending::NotStarted {
        message: "\"sh\" is in no directory".into(),
        exit_code: 127,
    };
    check(
        Facts {
            ending: ending.clone(),
            ..facts()
        },
        127,
        "not started: \"sh\" is in no directory",
        &[],
    );
    let report = ExitReport::new(Facts { ending, ..oom() });
    assert!(report.notes[0].starts_with("the kernel killed 1 process of the set-up: memory.max"));
}

#[test]
fn without_controllers_the_report_is_still_one() {
    let facts = Facts {
        memory: None,
        pids: None,
        cpu: None,
        ..killed(libc::SIGKILL)
    };
    check(
        facts,
        137,
        "killed by SIGKILL after 3s: sent by neither ctr nor the kernel's OOM killer",
        &[],
    );
}

#[test]
fn the_json_has_one_shape() {
    let mut facts = oom();
    facts.signals.push(Sent {
        signal: libc::SIGTERM,
        by: Sender::GraceExpired {
            asked: libc::SIGQUIT,
            grace: Duration::from_millis(10),
        },
    });
    facts.labels.insert("team".into(), "infra".into());
    let json = serde_json::to_value(ExitReport::new(facts)).expect("json");
    let expected = serde_json::json!({
        "outcome": { "kind": "oom-killed" },
        "cause": "killed by the kernel: memory.max=64MiB exceeded (peak 64MiB, 1 OOM kill, victim \"python3\" pid 41)",
        "notes": [],
        "exit_code": 137,
        "name": "web",
        "id": "web-1f2e",
        "source": "web.toml",
        "pid": 4711,
        "started": "2026-11-24T08:24:00.000000Z",
        "finished": "2026-11-24T08:24:03.000000Z",
        "duration_us": 3_000_000,
        "memory": {
            "max": 64 * MIB,
            "peak": 64 * MIB,
            "events": { "low": 0, "high": 0, "max": 12, "oom": 1, "oom_kill": 1, "oom_group_kill": 0 },
        },
        "pids": { "max": 4096, "events_max": 0 },
        "cpu": { "usage_us": 1500, "user_us": 1000, "system_us": 500, "throttled_us": 0 },
        "victim": { "comm": "python3", "pid": 41, "exhausted": "/ctr/web", "above": false },
        "signals": [{
            "signal": "SIGTERM",
            "by": { "reason": "grace-expired", "asked": "SIGQUIT", "grace_us": 10_000 },
        }],
        "labels": { "team": "infra" },
    });
    assert_eq!(json, expected);
    let signaled = ExitReport::new(killed(libc::SIGSEGV)).outcome;
    assert_eq!(
        serde_json::to_value(signaled).expect("json"),
        serde_json::json!({ "kind": "signaled", "signal": "SIGSEGV", "core_dumped": false })
    );
}
