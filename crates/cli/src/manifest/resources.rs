//! `[resources]`: limits, in the words of cgroup v2.

use engine::spec::{CpuMax, IoLimit, Limit};

use super::host::Host;
use super::keys;
use super::model::{Cpu, Given, Memory, Resources};
use super::value::{host_path, list, size};
use super::walk::{Reader, Rule, Section, Value};

/// `cpu.max`'s second number: the kernel's own default.
const PERIOD_US: u64 = 100_000;

/// More than any kernel is built for.
const MOST_CPUS: f64 = 8192.0;

/// pid_max's own limit.
const MOST_PIDS: i64 = 4_194_304;

const SIZE: &str = "a string like \"256MiB\"";

pub(super) fn read(r: &Reader, value: &Value<'_>, host: &Host<'_>) -> Resources {
    let Some(table) = Section::open(r, &keys::RESOURCES, value, "a table like [resources]") else {
        return Resources::default();
    };
    Resources {
        memory: table
            .get("memory")
            .map(|v| memory(r, &v))
            .unwrap_or_default(),
        cpu: table.get("cpu").map(|v| cpu(r, &v)).unwrap_or_default(),
        pids: table.get("pids").and_then(|v| pids(r, &v)),
        io: table.get("io").map(|v| io(r, &v, host)).unwrap_or_default(),
        io_weight: table.get("io-weight").and_then(|v| weight(r, &v)),
    }
}

fn memory(r: &Reader, value: &Value<'_>) -> Memory {
    let Some(table) = Section::open(r, &keys::MEMORY, value, "a table like { max = \"256MiB\" }")
    else {
        return Memory::default();
    };
    let memory = Memory {
        max: table
            .get("max")
            .and_then(|v| v.parse(r, SIZE, size::memory_limit)),
        high: table
            .get("high")
            .and_then(|v| v.parse(r, SIZE, size::memory_limit)),
        low: table.get("low").and_then(|v| v.parse(r, SIZE, size::limit)),
        min: table.get("min").and_then(|v| v.parse(r, SIZE, size::limit)),
        swap: table
            .get("swap")
            .and_then(|v| v.parse(r, SIZE, size::limit)),
        oom_group: table.get("oom").and_then(|v| {
            v.parse(
                r,
                "a string: \"kill-all\" or \"kill-one\"",
                |text| match text {
                    "kill-all" => Ok(true),
                    "kill-one" => Ok(false),
                    _ => Err(Rule::from("one of \"kill-all\" and \"kill-one\"")),
                },
            )
        }),
    };
    check_order(r, &memory);
    memory
}

/// A threshold above the limit would never be reached.
fn check_order(r: &Reader, memory: &Memory) {
    let Some(max) = &memory.max else { return };
    let Limit::Value(most) = max.value else {
        return;
    };
    let others = [
        ("high", &memory.high),
        ("low", &memory.low),
        ("min", &memory.min),
    ];
    for (name, other) in others {
        let Some(other) = other else { continue };
        let above = match other.value {
            Limit::Max => true,
            Limit::Value(bytes) => bytes > most,
        };
        if above {
            let message = format!("`{name}` is above `max`");
            let at = [(other.place(), ""), (max.place(), "the limit")];
            r.conflict(message, "it would never take effect", at);
        }
    }
}

fn cpu(r: &Reader, value: &Value<'_>) -> Cpu {
    let Some(table) = Section::open(r, &keys::CPU, value, "a table like { max = 1.5 }") else {
        return Cpu::default();
    };
    let cpus = "a string like \"0-3,8\"";
    Cpu {
        max: table.get("max").and_then(|v| cpu_max(r, &v)),
        weight: table.get("weight").and_then(|v| weight(r, &v)),
        cpus: table.get("cpus").and_then(|v| v.parse(r, cpus, list::list)),
        mems: table.get("mems").and_then(|v| v.parse(r, cpus, list::list)),
    }
}

fn cpu_max(r: &Reader, value: &Value<'_>) -> Option<Given<CpuMax>> {
    let number = value.number(r, "a number of CPUs like 1.5")?;
    // The kernel's smallest quota is 1 ms (kernel/sched/core.c: min_cfs_quota_period). NaN fails too.
    if !(0.01..=MOST_CPUS).contains(&number.value) {
        value.bad(
            r,
            "a number of CPUs is between 0.01 and 8192; for no limit leave the key out",
        );
        return None;
    }
    let quota_us = (number.value * PERIOD_US as f64).round() as u64;
    Some(number.map(|_| CpuMax {
        quota_us,
        period_us: PERIOD_US,
    }))
}

/// `cpu.weight` and `io.weight`.
fn weight(r: &Reader, value: &Value<'_>) -> Option<Given<u64>> {
    let number = value.integer(r, "an integer from 1 to 10000", 1..=10_000)?;
    Some(number.map(i64::unsigned_abs))
}

fn pids(r: &Reader, value: &Value<'_>) -> Option<Given<Limit>> {
    if value.is_integer() {
        let like = "an integer from 1 to 4194304, or \"max\" for no limit";
        let number = value.integer(r, like, 1..=MOST_PIDS)?;
        return Some(number.map(|n| Limit::Value(n.unsigned_abs())));
    }
    value.parse(r, "an integer like 4096, or \"max\"", |text| match text {
        "max" => Ok(Limit::Max),
        _ => Err("an integer like 4096 (without quotes), or \"max\" for no limit".into()),
    })
}

fn io(r: &Reader, value: &Value<'_>, host: &Host<'_>) -> Vec<Given<IoLimit>> {
    let like = "an array like [{ device = \"/dev/vda\", read = \"20MiB/s\" }]";
    let mut limits: Vec<Given<IoLimit>> = Vec::new();
    for entry in value.array(r, like).unwrap_or_default() {
        let Some(limit) = io_limit(r, &entry, host) else {
            continue;
        };
        if let Some(twin) = limits.iter().find(|l| l.value.device == limit.value.device) {
            let at = [(limit.place(), ""), (twin.place(), "first named here")];
            r.conflict(
                "the same device twice".into(),
                "one entry for each device",
                at,
            );
        }
        limits.push(limit);
    }
    limits
}

fn io_limit(r: &Reader, value: &Value<'_>, host: &Host<'_>) -> Option<Given<IoLimit>> {
    let like = "a table like { device = \"/dev/vda\", read = \"20MiB/s\" }";
    let table = Section::open(r, &keys::IO, value, like)?;
    let device = table
        .require("device", "which device the limits are for")
        .and_then(|v| {
            v.parse(r, "a string like \"/dev/vda\"", |text| {
                host_path::block_device(host, text)
            })
        });
    let rate = |v: Value<'_>| {
        v.parse(r, "a string like \"20MiB/s\"", size::rate)
            .map(|g| g.value)
    };
    let iops = |v: Value<'_>| {
        let number = v.integer(
            r,
            "an integer of operations per second, from 1",
            1..=i64::from(u32::MAX),
        )?;
        Some(number.value.unsigned_abs())
    };
    let (rbps, wbps) = (
        table.get("read").and_then(rate),
        table.get("write").and_then(rate),
    );
    let (riops, wiops) = (
        table.get("read-iops").and_then(iops),
        table.get("write-iops").and_then(iops),
    );
    if !["read", "write", "read-iops", "write-iops"]
        .iter()
        .any(|key| table.has(key))
    {
        value.bad(
            r,
            "limits nothing: give one of read, write, read-iops, write-iops",
        );
    }
    Some(Given::new(
        IoLimit {
            device: device?.value,
            rbps,
            wbps,
            riops,
            wiops,
        },
        value.span(),
    ))
}
