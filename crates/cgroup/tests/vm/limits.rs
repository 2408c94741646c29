//! What each controller does with its limits.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use cgroup::stat::CpuStat;
use cgroup::{
    BlockDevice, Bytes, Controller, Controllers, CpuList, CpuMax, Error, Group, Hierarchy, IoMax,
    Kind, Limit, Limits, MemoryEvents, Micros, Partition, PidsEvents, Reclaimed, Write,
};
use rustix::io::Errno;

use crate::common::{Playground, clone_into, eventually, reap, refused, sh, try_in};

fn memory(max: u64) -> Limits {
    Limits {
        memory_max: Some(Limit::Value(Bytes(max))),
        memory_swap_max: Some(Limit::Value(Bytes(0))),
        ..Limits::default()
    }
}

/// The first virtio disk.
fn disk() -> PathBuf {
    let mut disks: Vec<_> = std::fs::read_dir("/sys/block")
        .expect("/sys/block")
        .flatten()
        .map(|entry| entry.file_name().into_string().expect("a name"))
        .filter(|name| name.starts_with("vd") || name.starts_with("sd"))
        .collect();
    disks.sort();
    Path::new("/dev").join(disks.first().expect("a disk"))
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_hierarchy_of_the_machine_is_found_with_its_controllers() {
    let hierarchy = Hierarchy::find().expect("find");
    assert_eq!(hierarchy.kind(), Kind::Unified);
    assert_eq!(hierarchy.mount_point(), Path::new("/sys/fs/cgroup"));
    assert!(hierarchy.is_whole() && !hierarchy.is_read_only());
    assert!(
        hierarchy
            .controllers()
            .contains_all(Controllers::parse("cpu memory pids io cpuset"))
    );
    let own = hierarchy.own_cgroup().expect("own");
    let procs = Group::open(&own).expect("open").procs().expect("procs");
    assert!(procs.contains(&std::process::id()));
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn memory_max_kills_and_oom_group_kills_all_and_both_are_counted() {
    let limits = Limits {
        memory_oom_group: Some(true),
        ..memory(16 << 20)
    };
    let group = Playground::new("oom", &limits);
    let mut bystander = sh(&group.0, "sleep 1000");
    let mut hog = sh(&group.0, "exec dd if=/dev/zero of=/dev/null bs=64M count=1");
    assert_eq!(hog.wait().expect("wait").signal(), Some(libc::SIGKILL));
    assert_eq!(
        bystander.wait().expect("wait").signal(),
        Some(libc::SIGKILL)
    );

    let events: MemoryEvents = group.0.get().expect("memory.events");
    assert!(events.oom >= 1 && events.oom_kill >= 2, "{events:?}");
    assert_eq!(events.oom_group_kill, Some(1));
    let usage = group
        .0
        .memory_usage()
        .expect("usage")
        .expect("the controller");
    assert_eq!(usage.max, Limit::Value(Bytes(16 << 20)));
    let peak = usage.peak.expect("memory.peak");
    assert!(peak > Bytes(8 << 20) && peak <= Bytes(16 << 20), "{peak}");
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn page_cache_is_reclaimed_on_request_and_a_group_without_it_gives_less() {
    let group = Playground::new("reclaim", &memory(64 << 20));
    let mut reader = sh(
        &group.0,
        &format!(
            "exec dd if={} of=/dev/null bs=64k count=64",
            disk().display()
        ),
    );
    assert!(reader.wait().expect("wait").success());
    assert_eq!(
        group.0.reclaim(Bytes(1 << 20)).expect("reclaim"),
        Reclaimed::All
    );
    assert_eq!(
        group.0.reclaim(Bytes(1 << 40)).expect("reclaim"),
        Reclaimed::Less
    );
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn cpu_max_throttles_and_the_statistics_say_so() {
    let max = CpuMax {
        quota: Limit::Value(Micros(10_000)),
        period: Micros(100_000),
    };
    let limits = Limits {
        cpu_max: Some(max),
        cpu_weight: Some(50),
        ..Limits::default()
    };
    let group = Playground::new("cpu", &limits);
    assert_eq!(group.0.get::<CpuMax>().expect("cpu.max"), max);
    let mut busy = sh(&group.0, "while :; do :; done");
    eventually("nr_throttled", || {
        let stat: CpuStat = group.0.get().expect("cpu.stat");
        stat.nr_throttled >= Some(2) && stat.throttled > Some(Micros(0)) && stat.usage > Micros(0)
    });
    group.0.kill().expect("kill");
    assert_eq!(busy.wait().expect("wait").signal(), Some(libc::SIGKILL));
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn pids_max_refuses_forks_and_clones_with_eagain_and_counts_them() {
    let limits = Limits {
        pids_max: Some(Limit::Value(1)),
        ..Limits::default()
    };
    let group = Playground::new("pids", &limits);
    let error = try_in(&group.0, || {
        // SAFETY: the child of a fork that should not happen does nothing but exit.
        match unsafe { libc::fork() } {
            -1 => Err(std::io::Error::last_os_error()),
            // SAFETY: see above.
            0 => unsafe { libc::_exit(0) },
            _ => Ok(()),
        }
    })
    .expect_err("a second process");
    assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
    let events: PidsEvents = group.0.get().expect("pids.events");
    assert_eq!(events.max, 1);

    let first = clone_into(&group.0).expect("the first");
    assert_eq!(clone_into(&group.0), Err(Errno::AGAIN));
    let stat = group.0.pids_stat().expect("stat").expect("the controller");
    assert_eq!((stat.current, stat.max), (1, Limit::Value(1)));
    group.0.kill().expect("kill");
    assert_eq!(reap(first), libc::SIGKILL);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn io_max_slows_a_disk_down_and_io_stat_counts_what_was_read() {
    let disk = disk();
    let device = BlockDevice::of_node(&disk).expect("device");
    let max = IoMax {
        rbps: Some(Limit::Value(1 << 20)),
        ..IoMax::new(device)
    };
    let limits = Limits {
        io_max: vec![max],
        ..Limits::default()
    };
    let group = Playground::new("io", &limits);
    let start = Instant::now();
    let script = format!(
        "exec dd if={} of=/dev/null bs=64k count=48 skip=16 iflag=direct",
        disk.display()
    );
    assert!(sh(&group.0, &script).wait().expect("wait").success());
    // 3 MiB at 1 MiB/s; the kernel lets the first slices pass.
    assert!(start.elapsed().as_millis() > 1500, "{:?}", start.elapsed());
    let stats = group.0.stats().expect("stats").io.expect("io.stat");
    let of_disk = stats
        .0
        .iter()
        .find(|stat| stat.device == device)
        .expect("the disk");
    assert_eq!(of_disk.rbytes, Bytes(3 << 20));
    assert_eq!(of_disk.wbytes, Bytes(0));

    // No such disk.
    let none = BlockDevice {
        major: 511,
        minor: 77,
    };
    let write = Write::new(
        "io.max",
        IoMax {
            rbps: Some(Limit::Value(1)),
            ..IoMax::new(none)
        },
    );
    refused(
        &group.0.write(&write).expect_err("no disk"),
        Errno::NODEV,
        "whole disk",
    );
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_cpuset_is_what_its_processes_see_and_impossible_ones_are_found() {
    let limits = Limits {
        cpuset_cpus: CpuList::parse("0"),
        cpuset_mems: CpuList::parse("0"),
        ..Limits::default()
    };
    let group = Playground::new("cpuset", &limits);
    group.0.check_in_effect(&limits).expect("in effect");
    let cpuset = group.0.cpuset().expect("cpuset").expect("the controller");
    assert_eq!(cpuset.cpus_effective.to_string(), "0");
    assert_eq!(cpuset.partition.as_deref(), Some("member"));
    let script = "grep -q '^Cpus_allowed_list:.0$' /proc/self/status";
    assert!(sh(&group.0, script).wait().expect("wait").success());

    // More than any machine has: refused. More than this one has: taken by the kernel, not by us.
    let write = Write::new("cpuset.cpus", "65000");
    let error = group.0.write(&write).expect_err("no such CPU");
    assert!(
        matches!(error.errno(), Some(Errno::RANGE | Errno::INVAL)),
        "{error}: {:?}",
        error.errno()
    );
    assert!(error.hint().expect("hint").contains("CPUs that exist"));

    // A partition below a group that is none cannot be: the kernel says so in the file only.
    let partition = Limits {
        cpuset_cpus_partition: Some(Partition::Root),
        ..Limits::default()
    };
    for write in partition.writes() {
        group.0.write(&write).expect("taken");
    }
    let error = group.0.check_in_effect(&partition).expect_err("invalid");
    assert!(matches!(error, Error::NotInEffect { .. }), "{error:?}");
    assert!(error.to_string().contains("root invalid"), "{error}");
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn hugetlb_limits_are_written_and_read_back_by_page_size() {
    let needed = Controllers::from(Controller::Hugetlb);
    let group = Playground::with_controllers("hugetlb", needed);
    let page = group
        .0
        .hugetlb_usage()
        .expect("usage")
        .first()
        .expect("a page size")
        .page;
    let limits = Limits {
        hugetlb_max: vec![(page, Limit::Value(Bytes(page.size().0 * 2)))],
        ..Limits::default()
    };
    for write in limits.writes() {
        group.0.write(&write).expect("write");
    }
    let usage = group.0.hugetlb_usage().expect("usage")[0];
    assert_eq!(usage.max, Limit::Value(Bytes(page.size().0 * 2)));
    assert_eq!((usage.current, usage.failed), (Bytes(0), 0));
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn every_limit_of_every_kernel_is_taken_or_its_absence_explained() {
    let needed = Controllers::parse("cpu memory pids io cpuset");
    let group = Playground::with_controllers("all", needed);
    let bytes = |n| Some(Limit::Value(Bytes(n)));
    let limits = Limits {
        memory_high: bytes(32 << 20),
        memory_low: bytes(1 << 20),
        memory_min: bytes(1 << 20),
        memory_max: bytes(64 << 20),
        memory_swap_max: bytes(0),
        memory_swap_high: Some(Limit::Max),
        memory_zswap_max: bytes(0),
        memory_zswap_writeback: Some(false),
        cpu_max: Some(CpuMax {
            quota: Limit::Value(Micros(50_000)),
            period: Micros(100_000),
        }),
        cpu_max_burst: Some(Micros(20_000)),
        cpu_weight_nice: Some(5),
        cpu_uclamp_min: Some(Limit::Value(cgroup::Percent(1250))),
        io_weight: Some(200),
        io_bfq_weight: Some(200),
        io_prio_class: Some(cgroup::IoPrioClass::Idle),
        cgroup_max_depth: Some(Limit::Value(3)),
        cgroup_max_descendants: Some(Limit::Value(3)),
        cgroup_pressure: Some(false),
        ..Limits::default()
    };
    limits.check().expect("valid");
    // What a kernel from 6.1 on may lack: later files, and what depends on its configuration.
    let optional = [
        "memory.zswap.max",
        "memory.zswap.writeback",
        "cpu.uclamp.min",
        "io.weight",
        "io.bfq.weight",
        "io.prio.class",
    ];
    for write in limits.writes() {
        match group.0.write(&write) {
            Ok(()) => {}
            Err(error) => {
                assert!(
                    optional.contains(&write.file),
                    "{error}: {:?}",
                    error.errno()
                );
                refused(&error, Errno::NOENT, "needs ");
            }
        }
    }
    let idle = Limits {
        cpu_idle: Some(true),
        ..Limits::default()
    };
    group.0.write(&idle.writes()[0]).expect("cpu.idle");
    let weight = group
        .0
        .write(&Write::new("cpu.weight", 100))
        .expect_err("idle");
    refused(&weight, Errno::INVAL, "no weight");

    // cgroup.max.depth = 3
    let mut below = Group::create(group.0.dir(), "a").expect("1");
    for name in ["b", "c"] {
        below = Group::create(below.dir(), name).expect(name);
    }
    refused(
        &Group::create(below.dir(), "d").expect_err("4"),
        Errno::AGAIN,
        "cgroup.max.depth",
    );
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_group_with_processes_cannot_enable_controllers_and_says_whose() {
    let group = Playground::with_controllers("internal", Controllers::parse("memory pids"));
    let sleeper = clone_into(&group.0).expect("clone");
    let error = group
        .0
        .enable(Controller::Pids.into())
        .expect_err("holds a process");
    assert!(
        error
            .to_string()
            .ends_with(&format!("processes itself: {sleeper}")),
        "{error}"
    );
    // What the kernel itself says of a controller that is not threaded.
    let write = Write::new("cgroup.subtree_control", "+memory");
    refused(
        &group.0.write(&write).expect_err("busy"),
        Errno::BUSY,
        "holds processes",
    );
    let write = Write::new("cgroup.subtree_control", "+io");
    refused(
        &group.0.write(&write).expect_err("not offered"),
        Errno::NOENT,
        "cgroup.controllers",
    );
    group.0.kill().expect("kill");
    assert_eq!(reap(sleeper), libc::SIGKILL);
    group
        .0
        .enable(Controller::Memory.into())
        .expect("empty now");
    refused(
        &group.0.write_file("cgroup.procs", "0").expect_err("busy"),
        Errno::BUSY,
        "controllers",
    );
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_holder_of_a_missing_controller_is_the_topmost_group_that_does_not_enable_it() {
    let hierarchy = Hierarchy::find().expect("find");
    let group = Playground::with_controllers("holder", Controllers::EMPTY);
    let child = Group::create(group.0.dir(), "child").expect("child");
    let holder = hierarchy
        .holder_for(&child.path(), Controller::Io)
        .expect("holder");
    let not_enabled = |path: PathBuf| cgroup::Holder::NotEnabledIn(path);
    let above = group.0.path().parent().expect("parent").to_owned();
    assert!(
        [not_enabled(above.clone()), not_enabled(group.0.path())].contains(&holder),
        "{holder:?}"
    );
    child.remove().expect("remove");
}
