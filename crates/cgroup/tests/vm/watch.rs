//! Events, pressure and statistics.

use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use cgroup::psi::{Resource, Stall, Threshold};
use cgroup::{Bytes, CpuList, Inotify, Limit, Limits, Micros};
use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::common::{PATIENCE, Playground, clone_into, reap, refused, reports, sh, try_in};

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_watch_reports_an_oom_kill_once_and_stays_silent_before_and_after() {
    let limits = Limits {
        memory_max: Some(Limit::Value(Bytes(16 << 20))),
        memory_swap_max: Some(Limit::Value(Bytes(0))),
        ..Limits::default()
    };
    let group = Playground::new("watch", &limits);
    let watch = group.0.watch_memory_events().expect("watch");
    let local = group.0.watch_memory_events_local().expect("local");
    assert_eq!(watch.read().expect("read").oom_kill, 0);
    assert_eq!(local.read().expect("read").oom_kill, 0);
    assert!(!reports(
        watch.as_fd(),
        PollFlags::PRI,
        Duration::from_millis(100)
    ));

    let mut hog = sh(&group.0, "exec dd if=/dev/zero of=/dev/null bs=64M count=1");
    assert!(reports(watch.as_fd(), PollFlags::PRI, PATIENCE));
    assert_eq!(hog.wait().expect("wait").signal(), Some(libc::SIGKILL));
    // `max` and `oom` are counted before `oom_kill`: more than one report may come.
    while watch.read().expect("read").oom_kill == 0 {
        assert!(reports(watch.as_fd(), PollFlags::PRI, PATIENCE));
    }
    assert!(reports(local.as_fd(), PollFlags::PRI, PATIENCE));
    crate::common::eventually("silence", || {
        watch.read().expect("read");
        !reports(watch.as_fd(), PollFlags::PRI, Duration::from_millis(50))
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_watch_of_pids_events_and_of_cgroup_events_reports_changes() {
    let limits = Limits {
        pids_max: Some(Limit::Value(1)),
        ..Limits::default()
    };
    let group = Playground::new("pids", &limits);
    let pids = group.0.watch_pids_events().expect("watch");
    let events = group.0.watch_events().expect("watch");
    pids.read().expect("read");
    assert!(!events.read().expect("read").populated);

    let sleeper = clone_into(&group.0).expect("clone");
    assert!(reports(events.as_fd(), PollFlags::PRI, PATIENCE));
    assert!(events.read().expect("read").populated);
    clone_into(&group.0).expect_err("the second");
    assert!(reports(pids.as_fd(), PollFlags::PRI, PATIENCE));
    assert_eq!(pids.read().expect("read").max, 1);
    group.0.kill().expect("kill");
    assert!(reports(events.as_fd(), PollFlags::PRI, PATIENCE));
    assert!(!events.read().expect("read").populated);
    assert_eq!(reap(sleeper), libc::SIGKILL);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn one_inotify_tells_the_files_of_two_groups_apart_and_forgets_a_removed_one() {
    let limits = Limits {
        pids_max: Some(Limit::Value(0)),
        ..Limits::default()
    };
    let (one, two) = (
        Playground::new("one", &limits),
        Playground::new("two", &limits),
    );
    let mut inotify = Inotify::new().expect("inotify");
    let first = inotify.add(&one.0, "pids.events").expect("one");
    let second = inotify.add(&two.0, "pids.events").expect("two");
    assert_eq!(
        inotify.path(second),
        Some(two.0.path().join("pids.events").as_path())
    );
    assert_eq!(inotify.changed().expect("changed"), []);

    clone_into(&two.0).expect_err("none is allowed");
    assert!(reports(inotify.as_fd(), PollFlags::IN, PATIENCE));
    assert_eq!(inotify.changed().expect("changed"), [second]);

    one.0.remove().expect("remove");
    inotify.remove(first).expect("remove");
    assert!(
        reports(inotify.as_fd(), PollFlags::IN, PATIENCE),
        "IN_IGNORED"
    );
    assert_eq!(inotify.changed().expect("changed"), [], "is no change");
    assert_eq!(inotify.path(first), None);
    let error = inotify.remove(first).expect_err("twice");
    assert_eq!(error.errno(), Some(Errno::INVAL));
    let error = inotify.add(&two.0, "no.such.file").expect_err("no file");
    assert_eq!(error.errno(), Some(Errno::NOENT));
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_pressure_trigger_fires_when_two_processes_want_one_cpu() {
    let limits = Limits {
        cpuset_cpus: CpuList::parse("0"),
        ..Limits::default()
    };
    let group = Playground::new("psi", &limits);
    let threshold = Threshold {
        stall: Stall::Some,
        stalled: Micros(50_000),
        window: Micros(500_000),
    };
    let trigger = group.0.trigger(Resource::Cpu, threshold).expect("trigger");
    assert!(!reports(
        trigger.as_fd(),
        PollFlags::PRI,
        Duration::from_millis(200)
    ));
    let mut busy: Vec<_> = (0..2)
        .map(|_| sh(&group.0, "while :; do :; done"))
        .collect();
    assert!(reports(trigger.as_fd(), PollFlags::PRI, PATIENCE));
    let psi = group.0.pressure(Resource::Cpu).expect("psi");
    assert!(psi.some.expect("some").total > Micros(0));
    group.0.kill().expect("kill");
    for child in &mut busy {
        assert_eq!(child.wait().expect("wait").signal(), Some(libc::SIGKILL));
    }

    let impossible = Threshold {
        window: Micros(1),
        ..threshold
    };
    let error = group
        .0
        .trigger(Resource::Cpu, impossible)
        .expect_err("a window of 1 us");
    refused(&error, Errno::INVAL, "window");
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn statistics_of_a_group_are_those_of_its_controllers() {
    let limits = Limits {
        memory_max: Some(Limit::Value(Bytes(64 << 20))),
        pids_max: Some(Limit::Value(9)),
        ..Limits::default()
    };
    let group = Playground::new("stats", &limits);
    assert!(try_in(&group.0, || Ok(())).expect("true").success());
    let stats = group.0.stats().expect("stats");
    assert!(stats.cpu.expect("cpu").usage > Micros(0));
    let memory = stats.memory.expect("memory");
    assert_eq!(memory.max, Limit::Value(Bytes(64 << 20)));
    assert!(memory.peak.expect("peak") > Bytes(0));
    assert_eq!(stats.memory_stat.expect("memory.stat").anon, Bytes(0));
    assert_eq!(stats.pids.expect("pids").max, Limit::Value(9));
    assert_eq!(stats.memory_events.expect("events").oom, 0);
    let dying: cgroup::stat::CgroupStat = group.0.get().expect("cgroup.stat");
    assert_eq!(dying.nr_descendants, 0);
    let numa: cgroup::stat::MemoryNumaStat = group.0.get().expect("memory.numa_stat");
    assert!(numa.0.contains_key("anon"));
    // The root has neither usage nor limits.
    let root = cgroup::Hierarchy::find()
        .expect("find")
        .root()
        .expect("root");
    let stats = root.stats().expect("stats");
    assert_eq!((stats.memory, stats.pids), (None, None));
    assert!(stats.cpu.is_some());
}
