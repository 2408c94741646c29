//! What a group may use: typed, checked, and turned into file writes.
//!
//! Fields are named after the kernel's files with `_` for `.`; what they mean stands in the
//! [cgroup-v2] document. `None` and empty lists leave a file alone.
//!
//! [cgroup-v2]: https://docs.kernel.org/admin-guide/cgroup-v2.html

use std::fmt;

use crate::keyed::{self, Parsed};
use crate::units;
use crate::{
    BlockDevice, Bytes, Controller, Controllers, CpuList, Error, IoMax, IoPrioClass, Limit, Micros,
    Percent,
};

/// One write to a file of a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Write {
    /// The file's name: `memory.max`.
    pub file: &'static str,
    /// What is written.
    pub value: String,
    /// The controller it belongs to; `None`: every group but the root has the file.
    pub controller: Option<Controller>,
}

impl Write {
    /// Of the controller that the file's name says.
    pub fn new(file: &'static str, value: impl fmt::Display) -> Self {
        Self {
            file,
            value: value.to_string(),
            controller: Controller::of_file(file),
        }
    }
}

/// `memory.max = 67108864`
impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.file, self.value)
    }
}

/// Limits of a group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// `memory.max`: the hard limit. The kernel rounds down to pages.
    pub memory_max: Option<Limit<Bytes>>,
    /// `memory.high`: above it, processes are slowed down and memory is reclaimed.
    pub memory_high: Option<Limit<Bytes>>,
    /// `memory.low`: below it, memory is reclaimed only when there is no other.
    pub memory_low: Option<Limit<Bytes>>,
    /// `memory.min`: below it, memory is never reclaimed.
    pub memory_min: Option<Limit<Bytes>>,
    /// `memory.swap.max`.
    pub memory_swap_max: Option<Limit<Bytes>>,
    /// `memory.swap.high`.
    pub memory_swap_high: Option<Limit<Bytes>>,
    /// `memory.zswap.max`, since Linux 5.19.
    pub memory_zswap_max: Option<Limit<Bytes>>,
    /// `memory.zswap.writeback`, since Linux 6.8.
    pub memory_zswap_writeback: Option<bool>,
    /// `memory.oom.group`: the out-of-memory killer kills the whole group.
    pub memory_oom_group: Option<bool>,
    /// `cpu.max`.
    pub cpu_max: Option<CpuMax>,
    /// `cpu.max.burst`: unused time that may be used later, at most the quota.
    pub cpu_max_burst: Option<Micros>,
    /// `cpu.weight`, 1 to 10000; the kernel's default is 100.
    pub cpu_weight: Option<u64>,
    /// `cpu.weight.nice`, -20 to 19: the same, as a nice value.
    pub cpu_weight_nice: Option<i8>,
    /// `cpu.idle`: runs only when nothing else wants to; such a group has no weight.
    pub cpu_idle: Option<bool>,
    /// `cpu.uclamp.min`, with `CONFIG_UCLAMP_TASK_GROUP`.
    pub cpu_uclamp_min: Option<Limit<Percent>>,
    /// `cpu.uclamp.max`, with `CONFIG_UCLAMP_TASK_GROUP`.
    pub cpu_uclamp_max: Option<Limit<Percent>>,
    /// `cpuset.cpus`.
    pub cpuset_cpus: Option<CpuList>,
    /// `cpuset.mems`.
    pub cpuset_mems: Option<CpuList>,
    /// `cpuset.cpus.exclusive`, since Linux 6.7.
    pub cpuset_cpus_exclusive: Option<CpuList>,
    /// `cpuset.cpus.partition`.
    pub cpuset_cpus_partition: Option<Partition>,
    /// `io.max`, by device.
    pub io_max: Vec<IoMax>,
    /// `io.weight` for devices without a weight of their own, 1 to 10000.
    pub io_weight: Option<u64>,
    /// `io.weight` by device, 1 to 10000.
    pub io_weight_device: Vec<(BlockDevice, u64)>,
    /// `io.bfq.weight`, 1 to 1000: the weight for disks that bfq schedules.
    pub io_bfq_weight: Option<u64>,
    /// `io.latency` by device: the target.
    pub io_latency: Vec<(BlockDevice, Micros)>,
    /// `io.prio.class`.
    pub io_prio_class: Option<IoPrioClass>,
    /// `pids.max`: processes and threads.
    pub pids_max: Option<Limit<u64>>,
    /// `hugetlb.SIZE.max`, by page size.
    pub hugetlb_max: Vec<(HugePage, Limit<Bytes>)>,
    /// `hugetlb.SIZE.rsvd.max`, by page size: reserved, not yet used.
    pub hugetlb_rsvd_max: Vec<(HugePage, Limit<Bytes>)>,
    /// `rdma.max`, by device.
    pub rdma_max: Vec<RdmaMax>,
    /// `misc.max`, by resource (`sev`, `sev_es`, `tdx` …).
    pub misc_max: Vec<(String, Limit<u64>)>,
    /// `cgroup.max.descendants`: how many groups there may be below.
    pub cgroup_max_descendants: Option<Limit<u64>>,
    /// `cgroup.max.depth`: how deep they may be nested.
    pub cgroup_max_depth: Option<Limit<u64>>,
    /// `cgroup.pressure`: whether pressure is measured, since Linux 6.1.
    pub cgroup_pressure: Option<bool>,
}

/// `cpu.max`: so much time in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuMax {
    /// CPU time per period, of all CPUs together; 1 ms at least.
    pub quota: Limit<Micros>,
    /// 1 ms to 1 s; the kernel's default is 100 ms.
    pub period: Micros,
}

impl Parsed for CpuMax {
    const FILE: &'static str = "cpu.max";

    fn parse(text: &str) -> Result<Self, Error> {
        keyed::single(Self::FILE, text, |text| {
            let (quota, period) = text.split_once(' ')?;
            Some(Self {
                quota: Limit::parse(quota)?,
                period: Micros(units::parse_u64(period)?),
            })
        })
    }
}

impl fmt::Display for CpuMax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.quota, self.period)
    }
}

/// `cpuset.cpus.partition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partition {
    /// No partition: the CPUs are shared.
    Member,
    /// The CPUs are nobody else's, with scheduling domains of their own.
    Root,
    /// The same without load balancing.
    Isolated,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Member => "member",
            Self::Root => "root",
            Self::Isolated => "isolated",
        })
    }
}

/// `rdma.max` of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RdmaMax {
    /// Its name in `/sys/class/infiniband`.
    pub device: String,
    /// Handles.
    pub hca_handle: Option<Limit<u64>>,
    /// Objects.
    pub hca_object: Option<Limit<u64>>,
}

impl fmt::Display for RdmaMax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.device)?;
        if let Some(limit) = self.hca_handle {
            write!(f, " hca_handle={limit}")?;
        }
        if let Some(limit) = self.hca_object {
            write!(f, " hca_object={limit}")?;
        }
        Ok(())
    }
}

/// A size of huge pages that some architecture has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HugePage(&'static HugePageFiles);

#[derive(Debug, PartialEq, Eq, Hash)]
struct HugePageFiles {
    bytes: u64,
    max: &'static str,
    rsvd_max: &'static str,
}

macro_rules! huge_pages {
    ($($bytes:expr, $name:literal;)*) => {
        /// The kernel spells a size in the largest of KB, MB and GB that it is a multiple of.
        const HUGE_PAGES: &[HugePageFiles] = &[$(HugePageFiles {
            bytes: $bytes,
            max: concat!("hugetlb.", $name, ".max"),
            rsvd_max: concat!("hugetlb.", $name, ".rsvd.max"),
        },)*];
    };
}

huge_pages! {
    64 << 10, "64KB"; 256 << 10, "256KB"; 512 << 10, "512KB";
    1 << 20, "1MB"; 2 << 20, "2MB"; 4 << 20, "4MB"; 8 << 20, "8MB"; 16 << 20, "16MB";
    32 << 20, "32MB"; 64 << 20, "64MB"; 256 << 20, "256MB"; 512 << 20, "512MB";
    1 << 30, "1GB"; 2 << 30, "2GB"; 4 << 30, "4GB"; 16 << 30, "16GB";
}

impl HugePage {
    /// Every size that some architecture has.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        HUGE_PAGES.iter().map(Self)
    }

    /// The page size of so many bytes; `None` when no architecture has it.
    pub fn of_size(bytes: Bytes) -> Option<Self> {
        Self::all().find(|page| page.size() == bytes)
    }

    /// The page size by the name it has in file names, `2MB`.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::all().find(|page| page.name() == name)
    }

    /// Its size.
    pub fn size(self) -> Bytes {
        Bytes(self.0.bytes)
    }

    /// As in file names: `2MB`.
    pub fn name(self) -> &'static str {
        self.0
            .max
            .strip_prefix("hugetlb.")
            .and_then(|rest| rest.strip_suffix(".max"))
            .unwrap_or(self.0.max)
    }
}

fn flag(on: bool) -> u8 {
    u8::from(on)
}

impl Limits {
    /// The writes that bring the limits about, in an order that works for a group in use as well:
    /// what may be given up (swap) before what takes away (`memory.max`), the quota before its burst.
    pub fn writes(&self) -> Vec<Write> {
        let mut writes = Vec::new();
        self.memory(&mut writes);
        self.cpu(&mut writes);
        self.cpuset(&mut writes);
        self.io(&mut writes);
        push(&mut writes, "pids.max", self.pids_max);
        for (page, limit) in &self.hugetlb_max {
            push(&mut writes, page.0.max, Some(limit));
        }
        for (page, limit) in &self.hugetlb_rsvd_max {
            push(&mut writes, page.0.rsvd_max, Some(limit));
        }
        for max in &self.rdma_max {
            push(&mut writes, "rdma.max", Some(max));
        }
        for (resource, limit) in &self.misc_max {
            push(&mut writes, "misc.max", Some(format!("{resource} {limit}")));
        }
        push(
            &mut writes,
            "cgroup.max.descendants",
            self.cgroup_max_descendants,
        );
        push(&mut writes, "cgroup.max.depth", self.cgroup_max_depth);
        push(
            &mut writes,
            "cgroup.pressure",
            self.cgroup_pressure.map(flag),
        );
        writes
    }

    fn memory(&self, writes: &mut Vec<Write>) {
        push(writes, "memory.oom.group", self.memory_oom_group.map(flag));
        push(writes, "memory.swap.max", self.memory_swap_max);
        push(writes, "memory.swap.high", self.memory_swap_high);
        push(writes, "memory.zswap.max", self.memory_zswap_max);
        let writeback = self.memory_zswap_writeback.map(flag);
        push(writes, "memory.zswap.writeback", writeback);
        push(writes, "memory.min", self.memory_min);
        push(writes, "memory.low", self.memory_low);
        push(writes, "memory.high", self.memory_high);
        push(writes, "memory.max", self.memory_max);
    }

    fn cpu(&self, writes: &mut Vec<Write>) {
        push(writes, "cpu.max", self.cpu_max);
        push(writes, "cpu.max.burst", self.cpu_max_burst);
        push(writes, "cpu.idle", self.cpu_idle.map(flag));
        push(writes, "cpu.weight", self.cpu_weight);
        push(writes, "cpu.weight.nice", self.cpu_weight_nice);
        push(writes, "cpu.uclamp.min", self.cpu_uclamp_min);
        push(writes, "cpu.uclamp.max", self.cpu_uclamp_max);
    }

    fn cpuset(&self, writes: &mut Vec<Write>) {
        push(writes, "cpuset.mems", self.cpuset_mems.as_ref());
        push(writes, "cpuset.cpus", self.cpuset_cpus.as_ref());
        let exclusive = self.cpuset_cpus_exclusive.as_ref();
        push(writes, "cpuset.cpus.exclusive", exclusive);
        push(writes, "cpuset.cpus.partition", self.cpuset_cpus_partition);
    }

    fn io(&self, writes: &mut Vec<Write>) {
        for max in &self.io_max {
            push(writes, "io.max", Some(max));
        }
        let default = self.io_weight.map(|weight| format!("default {weight}"));
        push(writes, "io.weight", default);
        for (device, weight) in &self.io_weight_device {
            push(writes, "io.weight", Some(format!("{device} {weight}")));
        }
        push(writes, "io.bfq.weight", self.io_bfq_weight);
        for (device, target) in &self.io_latency {
            push(
                writes,
                "io.latency",
                Some(format!("{device} target={target}")),
            );
        }
        push(writes, "io.prio.class", self.io_prio_class);
    }

    /// The controllers that the writes need.
    pub fn controllers(&self) -> Controllers {
        self.writes().iter().filter_map(|w| w.controller).collect()
    }

    /// Checks what can be checked without a kernel: ranges and pairs that exclude each other.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] for the first value that the kernel would refuse with `EINVAL` or
    /// `ERANGE`.
    pub fn check(&self) -> Result<(), Error> {
        self.check_cpu()?;
        self.check_io()?;
        for (file, list) in [
            ("cpuset.cpus", &self.cpuset_cpus),
            ("cpuset.mems", &self.cpuset_mems),
        ] {
            if list.as_ref().is_some_and(CpuList::is_empty) {
                // The kernel takes it for "whatever the parent has": not what was asked.
                return Err(out_of_range(file, "", "a list with at least one number"));
            }
        }
        for max in &self.rdma_max {
            if !is_word(&max.device) {
                return Err(out_of_range("rdma.max", max, "the name of an RDMA device"));
            }
        }
        for (resource, _) in &self.misc_max {
            if !is_word(resource) {
                return Err(out_of_range("misc.max", resource, "the name of a resource"));
            }
        }
        Ok(())
    }

    fn check_cpu(&self) -> Result<(), Error> {
        if let Some(max) = self.cpu_max {
            let period_fits = (1_000..=1_000_000).contains(&max.period.0);
            // The upper bound is MAX_BW of kernel/sched/sched.h: half a year.
            let quota = max.quota.value();
            let quota_fits = quota.is_none_or(|q| (1_000..1 << 44).contains(&q.0));
            if !(period_fits && quota_fits) {
                let allowed =
                    "a quota of at least 1000 and a period of 1000 to 1000000 microseconds";
                return Err(out_of_range("cpu.max", max, allowed));
            }
            if let (Some(burst), Limit::Value(quota)) = (self.cpu_max_burst, max.quota)
                && burst > quota
            {
                return Err(out_of_range(
                    "cpu.max.burst",
                    burst,
                    "at most the quota of cpu.max",
                ));
            }
        }
        in_range("cpu.weight", self.cpu_weight, 1..=10_000, "1 to 10000")?;
        in_range(
            "cpu.weight.nice",
            self.cpu_weight_nice,
            -20..=19,
            "-20 to 19",
        )?;
        let weights = [self.cpu_weight.is_some(), self.cpu_weight_nice.is_some()];
        if weights == [true, true] {
            let nice = self.cpu_weight_nice.unwrap_or_default();
            return Err(out_of_range(
                "cpu.weight.nice",
                nice,
                "unset beside cpu.weight",
            ));
        }
        if self.cpu_idle == Some(true) && weights != [false, false] {
            return Err(out_of_range(
                "cpu.idle",
                1,
                "unset beside a weight: an idle group has none",
            ));
        }
        for (file, clamp) in [
            ("cpu.uclamp.min", self.cpu_uclamp_min),
            ("cpu.uclamp.max", self.cpu_uclamp_max),
        ] {
            let percent = clamp.and_then(Limit::value);
            in_range(
                file,
                percent,
                Percent(0)..=Percent::FULL,
                "0.00 to 100.00 percent",
            )?;
        }
        Ok(())
    }

    fn check_io(&self) -> Result<(), Error> {
        for max in &self.io_max {
            if max.parts().next().is_none() {
                return Err(out_of_range(
                    "io.max",
                    max,
                    "at least one of rbps, wbps, riops, wiops",
                ));
            }
            if max.parts().any(|(_, limit)| limit == Limit::Value(0)) {
                return Err(out_of_range("io.max", max, "above 0, each"));
            }
        }
        let weights = self.io_weight_device.iter().map(|(_, weight)| *weight);
        for weight in weights.chain(self.io_weight) {
            in_range("io.weight", Some(weight), 1..=10_000, "1 to 10000")?;
        }
        in_range("io.bfq.weight", self.io_bfq_weight, 1..=1_000, "1 to 1000")
    }
}

fn push(writes: &mut Vec<Write>, file: &'static str, value: Option<impl fmt::Display>) {
    writes.extend(value.map(|value| Write::new(file, value)));
}

fn in_range<T: PartialOrd + fmt::Display>(
    file: &str,
    value: Option<T>,
    range: std::ops::RangeInclusive<T>,
    allowed: &'static str,
) -> Result<(), Error> {
    match value {
        Some(value) if !range.contains(&value) => Err(out_of_range(file, value, allowed)),
        _ => Ok(()),
    }
}

fn out_of_range(file: &str, value: impl fmt::Display, allowed: &'static str) -> Error {
    Error::OutOfRange {
        file: file.to_owned(),
        value: value.to_string(),
        allowed,
    }
}

/// What can stand between blanks without becoming two values.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
