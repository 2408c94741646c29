//! Processes, huge pages, RDMA, miscellaneous resources, groups.

use crate::keyed::{flat_keyed, pairs, parse_error};
use crate::limits::HugePage;
use crate::units::parse_u64;
use crate::{Bytes, Error, Group, Limit, PidsEvents};

flat_keyed! {
    /// `cgroup.stat`.
    CgroupStat from "cgroup.stat"
    required {
        "nr_descendants" => nr_descendants: u64, "groups below";
        "nr_dying_descendants" => nr_dying_descendants: u64, "removed groups below that are still referred to, as by page cache";
    }
    optional {}
}

/// What `pids.*` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PidsStat {
    /// `pids.current`: processes and threads.
    pub current: u64,
    /// `pids.peak`, since Linux 6.1.
    pub peak: Option<u64>,
    /// `pids.max`.
    pub max: Limit<u64>,
    /// `pids.events`.
    pub events: Option<PidsEvents>,
}

/// What `hugetlb.SIZE.*` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HugePageUsage {
    /// Which size.
    pub page: HugePage,
    /// `hugetlb.SIZE.current`.
    pub current: Bytes,
    /// `hugetlb.SIZE.max`.
    pub max: Limit<Bytes>,
    /// `hugetlb.SIZE.rsvd.current`: reserved.
    pub rsvd_current: Option<Bytes>,
    /// `max` of `hugetlb.SIZE.events`: allocations that failed.
    pub failed: u64,
}

/// A device in `rdma.current`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RdmaUsage {
    /// Its name.
    pub device: String,
    /// Handles in use.
    pub hca_handle: u64,
    /// Objects in use.
    pub hca_object: u64,
}

/// A resource in `misc.current`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MiscUsage {
    /// Its name.
    pub resource: String,
    /// In use.
    pub current: u64,
}

impl Group {
    /// Reads `pids.*`; `None` without the controller, and in the root.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] but for `ENOENT`, [`Error::Parse`].
    pub fn pids_stat(&self) -> Result<Option<PidsStat>, Error> {
        let Some(current) = self.number("pids.current")? else {
            return Ok(None);
        };
        Ok(Some(PidsStat {
            current,
            peak: self.number("pids.peak")?,
            max: self.limit("pids.max")?.unwrap_or(Limit::Max),
            events: self.get_if_there()?,
        }))
    }

    /// Reads `hugetlb.*` of every page size that the group has files for.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] but for `ENOENT`, [`Error::Parse`].
    pub fn hugetlb_usage(&self) -> Result<Vec<HugePageUsage>, Error> {
        let mut usage = Vec::new();
        if !self.controllers()?.contains(crate::Controller::Hugetlb) {
            return Ok(usage);
        }
        for page in HugePage::all() {
            let file = |what| format!("hugetlb.{}.{what}", page.name());
            let Some(current) = self.if_there(&file("current"))? else {
                continue;
            };
            let limit = self.if_there(&file("max"))?.unwrap_or_default();
            let events = self.if_there(&file("events"))?.unwrap_or_default();
            let reserved = self.if_there(&file("rsvd.current"))?;
            let number = |text: &str| {
                parse_u64(text.trim_end()).ok_or_else(|| parse_error("hugetlb", text.trim_end()))
            };
            usage.push(HugePageUsage {
                page,
                current: Bytes(number(&current)?),
                max: Limit::parse(limit.trim_end())
                    .ok_or_else(|| parse_error("hugetlb", limit.trim_end()))?,
                rsvd_current: reserved.as_deref().map(number).transpose()?.map(Bytes),
                failed: events
                    .lines()
                    .find_map(|line| line.strip_prefix("max "))
                    .map(number)
                    .transpose()?
                    .unwrap_or(0),
            });
        }
        Ok(usage)
    }

    /// Reads `rdma.current`; empty without the controller.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] but for `ENOENT`, [`Error::Parse`].
    pub fn rdma_usage(&self) -> Result<Vec<RdmaUsage>, Error> {
        rdma(&self.if_there("rdma.current")?.unwrap_or_default())
    }

    /// Reads `misc.current`; empty without the controller.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] but for `ENOENT`, [`Error::Parse`].
    pub fn misc_usage(&self) -> Result<Vec<MiscUsage>, Error> {
        misc(&self.if_there("misc.current")?.unwrap_or_default())
    }
}

fn rdma(text: &str) -> Result<Vec<RdmaUsage>, Error> {
    const FILE: &str = "rdma.current";
    text.lines()
        .map(|line| {
            let (device, rest) = line
                .split_once(' ')
                .ok_or_else(|| parse_error(FILE, line))?;
            let mut usage = RdmaUsage {
                device: device.to_owned(),
                hca_handle: 0,
                hca_object: 0,
            };
            for pair in pairs(FILE, rest) {
                let (key, value) = pair?;
                let number = parse_u64(value).ok_or_else(|| parse_error(FILE, line))?;
                match key {
                    "hca_handle" => usage.hca_handle = number,
                    "hca_object" => usage.hca_object = number,
                    _ => {}
                }
            }
            Ok(usage)
        })
        .collect()
}

fn misc(text: &str) -> Result<Vec<MiscUsage>, Error> {
    crate::keyed::flat("misc.current", text)
        .map(|pair| {
            let (resource, current) = pair?;
            Ok(MiscUsage {
                resource: resource.to_owned(),
                current,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rdma_and_misc_are_read_by_name() {
        let rdma = rdma("mlx4_0 hca_handle=1 hca_object=20\nocrdma1 hca_handle=0 hca_object=2\n")
            .expect("rdma");
        assert_eq!((rdma[0].hca_handle, rdma[1].hca_object), (1, 2));
        let misc = misc("sev 3\nsev_es 0\n").expect("misc");
        assert_eq!((misc[0].resource.as_str(), misc[0].current), ("sev", 3));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "([a-z_]+ |[a-z_]+=|[0-9 \n=]|\\PC){0,60}") {
            let _ = rdma(&text);
            let _ = misc(&text);
        }
    }
}
