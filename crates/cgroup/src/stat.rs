//! What a group used: the `*.stat`, `*.current` and `*.peak` files.
//!
//! Each file is a type that [`Group::get`] reads; [`Group::stats`] reads those that are there. Lines
//! that depend on the kernel's version or configuration are `Option`s.

mod cpu;
mod io;
mod memory;
mod rest;

pub use cpu::{CpuSet, CpuStat, CpuStatLocal};
pub use io::{IoDeviceStat, IoStat};
pub use memory::{MemoryNumaStat, MemoryStat, MemoryUsage};
pub use rest::{CgroupStat, HugePageUsage, MiscUsage, PidsStat, RdmaUsage};

use crate::{Error, Group, MemoryEvents};

/// Everything at once, as far as the group has it.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// `cpu.stat`: every group has it, with less in it without the controller.
    pub cpu: Option<CpuStat>,
    /// `memory.current` and its siblings, with the controller.
    pub memory: Option<MemoryUsage>,
    /// `memory.stat`.
    pub memory_stat: Option<MemoryStat>,
    /// `memory.events`.
    pub memory_events: Option<MemoryEvents>,
    /// `io.stat`, with the controller.
    pub io: Option<IoStat>,
    /// `pids.*`, with the controller.
    pub pids: Option<PidsStat>,
    /// `hugetlb.*`, one for each page size, with the controller.
    pub hugetlb: Vec<HugePageUsage>,
    /// `rdma.current`, one for each device.
    pub rdma: Vec<RdmaUsage>,
    /// `misc.current`, one for each resource.
    pub misc: Vec<MiscUsage>,
}

impl Group {
    /// Reads all statistics that the group has.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] but for `ENOENT`, [`Error::Parse`].
    pub fn stats(&self) -> Result<Stats, Error> {
        Ok(Stats {
            cpu: self.get_if_there()?,
            memory: self.memory_usage()?,
            memory_stat: self.get_if_there()?,
            memory_events: self.get_if_there()?,
            io: self.get_if_there()?,
            pids: self.pids_stat()?,
            hugetlb: self.hugetlb_usage()?,
            rdma: self.rdma_usage()?,
            misc: self.misc_usage()?,
        })
    }
}
