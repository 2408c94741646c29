//! Limits to writes, and what is refused before the kernel is asked.

use super::*;
use proptest::prelude::*;

fn disk() -> BlockDevice {
    BlockDevice {
        major: 254,
        minor: 0,
    }
}

fn list(text: &str) -> Option<CpuList> {
    Some(CpuList::parse(text).expect(text))
}

fn everything() -> Limits {
    let bytes = |n| Some(Limit::Value(Bytes(n)));
    Limits {
        memory_max: bytes(100),
        memory_high: bytes(90),
        memory_low: bytes(10),
        memory_min: Some(Limit::Max),
        memory_swap_max: bytes(0),
        memory_swap_high: Some(Limit::Max),
        memory_zswap_max: bytes(7),
        memory_zswap_writeback: Some(false),
        memory_oom_group: Some(true),
        cpu_max: Some(CpuMax {
            quota: Limit::Value(Micros(150_000)),
            period: Micros(100_000),
        }),
        cpu_max_burst: Some(Micros(50_000)),
        cpu_weight: Some(200),
        cpu_weight_nice: None,
        cpu_idle: Some(false),
        cpu_uclamp_min: Some(Limit::Value(Percent(1250))),
        cpu_uclamp_max: Some(Limit::Max),
        cpuset_cpus: list("0-1"),
        cpuset_mems: list("0"),
        cpuset_cpus_exclusive: list("1"),
        cpuset_cpus_partition: Some(Partition::Isolated),
        io_max: vec![IoMax {
            rbps: Some(Limit::Value(1)),
            ..IoMax::new(disk())
        }],
        io_weight: Some(300),
        io_weight_device: vec![(disk(), 400)],
        io_bfq_weight: Some(500),
        io_latency: vec![(disk(), Micros(2_000))],
        io_prio_class: Some(IoPrioClass::RestrictToBe),
        pids_max: Some(Limit::Value(64)),
        hugetlb_max: vec![(
            HugePage::by_name("2MB").expect("2MB"),
            Limit::Value(Bytes(0)),
        )],
        hugetlb_rsvd_max: vec![(HugePage::of_size(Bytes(1 << 30)).expect("1GB"), Limit::Max)],
        rdma_max: vec![RdmaMax {
            device: "mlx5_0".into(),
            hca_handle: Some(Limit::Value(2)),
            hca_object: Some(Limit::Max),
        }],
        misc_max: vec![("sev".into(), Limit::Value(3))],
        cgroup_max_descendants: Some(Limit::Value(5)),
        cgroup_max_depth: Some(Limit::Max),
        cgroup_pressure: Some(false),
    }
}

#[test]
fn each_limit_is_one_write_in_the_kernel_s_spelling_and_in_order() {
    everything().check().expect("valid");
    let writes: Vec<String> = everything().writes().iter().map(Write::to_string).collect();
    assert_eq!(
        writes,
        [
            "memory.oom.group = 1",
            "memory.swap.max = 0",
            "memory.swap.high = max",
            "memory.zswap.max = 7",
            "memory.zswap.writeback = 0",
            "memory.min = max",
            "memory.low = 10",
            "memory.high = 90",
            "memory.max = 100",
            "cpu.max = 150000 100000",
            "cpu.max.burst = 50000",
            "cpu.idle = 0",
            "cpu.weight = 200",
            "cpu.uclamp.min = 12.50",
            "cpu.uclamp.max = max",
            "cpuset.mems = 0",
            "cpuset.cpus = 0-1",
            "cpuset.cpus.exclusive = 1",
            "cpuset.cpus.partition = isolated",
            "io.max = 254:0 rbps=1",
            "io.weight = default 300",
            "io.weight = 254:0 400",
            "io.bfq.weight = 500",
            "io.latency = 254:0 target=2000",
            "io.prio.class = restrict-to-be",
            "pids.max = 64",
            "hugetlb.2MB.max = 0",
            "hugetlb.1GB.rsvd.max = max",
            "rdma.max = mlx5_0 hca_handle=2 hca_object=max",
            "misc.max = sev 3",
            "cgroup.max.descendants = 5",
            "cgroup.max.depth = max",
            "cgroup.pressure = 0",
        ]
    );
    assert_eq!(
        everything().controllers().to_string(),
        "cpu cpuset io memory hugetlb pids rdma misc"
    );
}

#[test]
fn no_limits_are_no_writes_and_need_no_controller() {
    assert_eq!(Limits::default().writes(), []);
    assert!(Limits::default().controllers().is_empty());
    Limits::default().check().expect("valid");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn values_that_the_kernel_would_refuse_are_refused_with_what_it_takes() {
    let cpu_max = |quota, period| Limits {
        cpu_max: Some(CpuMax {
            quota: Limit::Value(Micros(quota)),
            period: Micros(period),
        }),
        ..Limits::default()
    };
    let io_max = |max: IoMax| Limits {
        io_max: vec![max],
        ..Limits::default()
    };
    let none = Limits::default;
    for (limits, shown) in [
        (cpu_max(999, 100_000), "cpu.max"),
        (cpu_max(1_000, 1_000_001), "cpu.max"),
        (cpu_max(1 << 44, 100_000), "cpu.max"),
        (
            Limits {
                cpu_max_burst: Some(Micros(2_000)),
                ..cpu_max(1_000, 1_000)
            },
            "cpu.max.burst",
        ),
        (
            Limits {
                cpu_weight: Some(0),
                ..none()
            },
            "cpu.weight",
        ),
        (
            Limits {
                cpu_weight: Some(10_001),
                ..none()
            },
            "cpu.weight",
        ),
        (
            Limits {
                cpu_weight_nice: Some(20),
                ..none()
            },
            "cpu.weight.nice",
        ),
        (
            Limits {
                cpu_weight: Some(1),
                cpu_weight_nice: Some(1),
                ..none()
            },
            "cpu.weight.nice",
        ),
        (
            Limits {
                cpu_idle: Some(true),
                cpu_weight: Some(1),
                ..none()
            },
            "cpu.idle",
        ),
        (
            Limits {
                cpu_uclamp_max: Some(Limit::Value(Percent(10_001))),
                ..none()
            },
            "cpu.uclamp.max",
        ),
        (
            Limits {
                cpuset_cpus: list(""),
                ..none()
            },
            "cpuset.cpus",
        ),
        (io_max(IoMax::new(disk())), "io.max"),
        (
            io_max(IoMax {
                wiops: Some(Limit::Value(0)),
                ..IoMax::new(disk())
            }),
            "io.max",
        ),
        (
            Limits {
                io_weight: Some(0),
                ..none()
            },
            "io.weight",
        ),
        (
            Limits {
                io_weight_device: vec![(disk(), 10_001)],
                ..none()
            },
            "io.weight",
        ),
        (
            Limits {
                io_bfq_weight: Some(1_001),
                ..none()
            },
            "io.bfq.weight",
        ),
        (
            Limits {
                misc_max: vec![("a b".into(), Limit::Max)],
                ..none()
            },
            "misc.max",
        ),
    ] {
        match limits.check() {
            Err(Error::OutOfRange { file, .. }) => assert_eq!(file, shown),
            other => panic!("{shown}: {other:?}"),
        }
    }
}

#[test]
fn huge_pages_are_known_by_size_and_by_name() {
    let page = HugePage::of_size(Bytes(2 << 20)).expect("2 MiB");
    assert_eq!((page.name(), page.size()), ("2MB", Bytes(2 << 20)));
    assert_eq!(
        HugePage::by_name("1GB").expect("1GB").size(),
        Bytes(1 << 30)
    );
    assert_eq!(HugePage::of_size(Bytes(3)), None);
    assert_eq!(HugePage::by_name("2MB.max"), None);
}

#[test]
fn cpu_max_is_read_as_it_is_written() {
    for text in ["max 100000", "150000 100000"] {
        assert_eq!(
            CpuMax::parse(&format!("{text}\n")).expect(text).to_string(),
            text
        );
    }
    assert!(CpuMax::parse("150000").is_err());
}

proptest! {
    #[test]
    fn any_text_for_cpu_max_is_read_without_panic(text in "(max|[0-9 ]|\\PC){0,30}") {
        let _ = CpuMax::parse(&text);
    }
}
