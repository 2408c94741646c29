//! CPU time, and the CPUs a group may use.

use crate::keyed::flat_keyed;
use crate::{CpuList, Error, Group, Limits, Micros, Partition};

flat_keyed! {
    /// `cpu.stat`.
    CpuStat from "cpu.stat"
    required {
        "usage_usec" => usage: Micros, "CPU time, in user and kernel mode";
        "user_usec" => user: Micros, "CPU time in user mode";
        "system_usec" => system: Micros, "CPU time in kernel mode";
    }
    optional {
        "nice_usec" => nice: Micros, "CPU time of processes with a positive nice value (Linux 6.11)";
        "core_sched.force_idle_usec" => force_idle: Micros, "time a sibling thread had to idle (CONFIG_SCHED_CORE)";
        "nr_periods" => nr_periods: u64, "periods of `cpu.max` in which something wanted to run";
        "nr_throttled" => nr_throttled: u64, "periods in which the quota ran out";
        "throttled_usec" => throttled: Micros, "time spent throttled, of all CPUs together";
        "nr_bursts" => nr_bursts: u64, "periods in which saved-up time was used";
        "burst_usec" => burst: Micros, "saved-up time used";
    }
}

flat_keyed! {
    /// `cpu.stat.local`, since Linux 6.6: of the group itself, not of those below.
    CpuStatLocal from "cpu.stat.local"
    required {}
    optional {
        "throttled_usec" => throttled: Micros, "time spent throttled, for this group's own limit or an ancestor's";
    }
}

/// What `cpuset.*` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuSet {
    /// `cpuset.cpus`: what was asked for; empty: what the parent has.
    pub cpus: CpuList,
    /// `cpuset.cpus.effective`: what is in effect.
    pub cpus_effective: CpuList,
    /// `cpuset.mems`: what was asked for.
    pub mems: CpuList,
    /// `cpuset.mems.effective`: what is in effect.
    pub mems_effective: CpuList,
    /// `cpuset.cpus.partition`, with the reason when it is invalid; the root group has none.
    pub partition: Option<String>,
}

impl Group {
    /// Reads `cpuset.*`; `None` without the controller.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] but for `ENOENT`, [`Error::Parse`].
    pub fn cpuset(&self) -> Result<Option<CpuSet>, Error> {
        let Some(cpus) = self.cpu_list("cpuset.cpus")? else {
            return Ok(None);
        };
        Ok(Some(CpuSet {
            cpus,
            cpus_effective: self.cpu_list("cpuset.cpus.effective")?.unwrap_or_default(),
            mems: self.cpu_list("cpuset.mems")?.unwrap_or_default(),
            mems_effective: self.cpu_list("cpuset.mems.effective")?.unwrap_or_default(),
            partition: self
                .if_there("cpuset.cpus.partition")?
                .map(|text| text.trim_end().to_owned()),
        }))
    }

    fn cpu_list(&self, file: &'static str) -> Result<Option<CpuList>, Error> {
        self.if_there(file)?
            .map(|text| {
                CpuList::parse(&text)
                    .ok_or_else(|| crate::keyed::parse_error(file, text.trim_end()))
            })
            .transpose()
    }

    /// Checks what the kernel accepts and then does not do: CPUs or memory nodes that the parent
    /// does not have (the parent's are used instead), and partitions that cannot be.
    ///
    /// # Errors
    ///
    /// [`Error::NotInEffect`] with what is in effect; else as [`Group::cpuset`].
    pub fn check_in_effect(&self, limits: &Limits) -> Result<(), Error> {
        let asked = [
            ("cpuset.cpus.effective", &limits.cpuset_cpus),
            ("cpuset.mems.effective", &limits.cpuset_mems),
        ];
        for (file, asked) in asked {
            let Some(asked) = asked else { continue };
            let effective = self.cpu_list(file)?.unwrap_or_default();
            if effective.is_empty() || !effective.is_subset(asked) {
                return Err(Error::NotInEffect {
                    path: self.path().join(file),
                    wrote: asked.to_string(),
                    reads: effective.to_string(),
                });
            }
        }
        match limits.cpuset_cpus_partition {
            Some(partition) => self.check_partition(partition),
            None => Ok(()),
        }
    }

    fn check_partition(&self, asked: Partition) -> Result<(), Error> {
        let file = "cpuset.cpus.partition";
        let reads = self.read(file)?.trim_end().to_owned();
        if reads == asked.to_string() {
            return Ok(());
        }
        Err(Error::NotInEffect {
            path: self.path().join(file),
            wrote: asked.to_string(),
            reads,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parsed;

    #[test]
    fn cpu_stat_with_and_without_the_controller_is_read() {
        let bare = "usage_usec 2000\nuser_usec 1500\nsystem_usec 500\n";
        let stat = CpuStat::parse(bare).expect("bare");
        assert_eq!((stat.usage, stat.nr_periods), (Micros(2000), None));

        let full = include_str!("../fixtures/cpu.stat-6.12");
        let stat = CpuStat::parse(full).expect("6.12");
        assert!(stat.nice.is_some() && stat.burst.is_some());
        let old = CpuStat::parse(include_str!("../fixtures/cpu.stat-6.1")).expect("6.1");
        assert!(old.nice.is_none() && old.nr_throttled.is_some());
    }
}
