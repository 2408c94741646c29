//! Memory and swap.

use std::collections::BTreeMap;

use crate::keyed::{Parsed, flat_keyed, parse_error};
use crate::units::parse_u64;
use crate::{Bytes, Error, Group, Limit};

flat_keyed! {
    /// `memory.stat`, of the group and all below it.
    MemoryStat from "memory.stat"
    required {
        "anon" => anon: Bytes, "anonymous memory, as of brk(2) and mmap(2)";
        "file" => file: Bytes, "page cache, tmpfs and shared memory included";
        "kernel_stack" => kernel_stack: Bytes, "kernel stacks";
        "pagetables" => pagetables: Bytes, "page tables";
        "percpu" => percpu: Bytes, "per-CPU structures of the kernel";
        "sock" => sock: Bytes, "network buffers";
        "shmem" => shmem: Bytes, "page cache that swap backs: tmpfs, shared memory, shared anonymous mappings";
        "file_mapped" => file_mapped: Bytes, "page cache that is mapped";
        "file_dirty" => file_dirty: Bytes, "page cache that is to be written";
        "file_writeback" => file_writeback: Bytes, "page cache that is being written";
        "inactive_anon" => inactive_anon: Bytes, "anonymous memory that may be swapped out first";
        "active_anon" => active_anon: Bytes, "anonymous memory in use";
        "inactive_file" => inactive_file: Bytes, "page cache that may be dropped first";
        "active_file" => active_file: Bytes, "page cache in use";
        "unevictable" => unevictable: Bytes, "memory that is locked";
        "slab_reclaimable" => slab_reclaimable: Bytes, "slabs that can be given back: dentries, inodes";
        "slab_unreclaimable" => slab_unreclaimable: Bytes, "slabs that cannot";
        "pgfault" => pgfault: u64, "page faults";
        "pgmajfault" => pgmajfault: u64, "page faults that waited for a disk";
    }
    optional {
        "kernel" => kernel: Bytes, "all of the kernel's memory (Linux 5.18)";
        "sec_pagetables" => sec_pagetables: Bytes, "page tables of virtual machines";
        "vmalloc" => vmalloc: Bytes, "vmalloc of the kernel";
        "zswap" => zswap: Bytes, "memory that zswap takes (CONFIG_ZSWAP)";
        "zswapped" => zswapped: Bytes, "what it holds, uncompressed (CONFIG_ZSWAP)";
        "swapcached" => swapcached: Bytes, "swap that is in memory as well";
        "anon_thp" => anon_thp: Bytes, "anonymous memory in huge pages";
        "file_thp" => file_thp: Bytes, "page cache in huge pages";
        "shmem_thp" => shmem_thp: Bytes, "shared memory in huge pages";
        "slab" => slab: Bytes, "both kinds of slabs";
        "hugetlb" => hugetlb: Bytes, "huge pages, with the mount option memory_hugetlb_accounting, on later kernels";
        "workingset_refault_anon" => workingset_refault_anon: u64, "anonymous pages that were needed again";
        "workingset_refault_file" => workingset_refault_file: u64, "file pages that were needed again";
        "workingset_activate_anon" => workingset_activate_anon: u64, "refaulted anonymous pages that went to the active list";
        "workingset_activate_file" => workingset_activate_file: u64, "refaulted file pages that went to the active list";
        "workingset_restore_anon" => workingset_restore_anon: u64, "anonymous pages known as in use before they were reclaimed";
        "workingset_restore_file" => workingset_restore_file: u64, "file pages known as in use before they were reclaimed";
        "workingset_nodereclaim" => workingset_nodereclaim: u64, "times the memory of this very record was reclaimed";
        "pswpin" => pswpin: u64, "pages swapped in, on later kernels";
        "pswpout" => pswpout: u64, "pages swapped out, on later kernels";
        "pgscan" => pgscan: u64, "pages looked at for reclaim";
        "pgsteal" => pgsteal: u64, "pages reclaimed";
        "pgscan_kswapd" => pgscan_kswapd: u64, "of these, by kswapd";
        "pgscan_direct" => pgscan_direct: u64, "of these, by who wanted memory";
        "pgsteal_kswapd" => pgsteal_kswapd: u64, "of these, by kswapd";
        "pgsteal_direct" => pgsteal_direct: u64, "of these, by who wanted memory";
        "pgrefill" => pgrefill: u64, "pages looked at on an active list";
        "pgactivate" => pgactivate: u64, "pages moved to an active list";
        "pgdeactivate" => pgdeactivate: u64, "pages moved to an inactive list";
        "pglazyfree" => pglazyfree: u64, "pages whose freeing was put off (MADV_FREE)";
        "pglazyfreed" => pglazyfreed: u64, "of these, reclaimed";
        "zswpin" => zswpin: u64, "pages that came back from zswap";
        "zswpout" => zswpout: u64, "pages that went to zswap";
        "zswpwb" => zswpwb: u64, "pages that went from zswap to swap";
        "swpin_zero" => swpin_zero: u64, "pages of zeros that were swapped in without reading";
        "swpout_zero" => swpout_zero: u64, "pages of zeros that were swapped out without writing";
        "pgscan_khugepaged" => pgscan_khugepaged: u64, "of the pages looked at, by khugepaged";
        "pgsteal_khugepaged" => pgsteal_khugepaged: u64, "of the pages reclaimed, by khugepaged";
        "pgdemote_kswapd" => pgdemote_kswapd: u64, "pages moved to a slower node by kswapd";
        "pgdemote_direct" => pgdemote_direct: u64, "pages moved to a slower node by who wanted memory";
        "pgdemote_khugepaged" => pgdemote_khugepaged: u64, "pages moved to a slower node by khugepaged";
        "pgpromote_success" => pgpromote_success: u64, "pages moved to a faster node";
        "thp_swpout" => thp_swpout: u64, "huge pages swapped out whole";
        "thp_swpout_fallback" => thp_swpout_fallback: u64, "huge pages that had to be split for it";
        "thp_fault_alloc" => thp_fault_alloc: u64, "huge pages given on a fault";
        "thp_collapse_alloc" => thp_collapse_alloc: u64, "huge pages made of small ones";
    }
}

/// `memory.numa_stat`: bytes by kind (`anon`, `file` …) and memory node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryNumaStat(pub BTreeMap<String, BTreeMap<u32, Bytes>>);

impl Parsed for MemoryNumaStat {
    const FILE: &'static str = "memory.numa_stat";

    fn parse(text: &str) -> Result<Self, Error> {
        let mut stat = BTreeMap::new();
        for line in text.lines() {
            let wrong = || parse_error(Self::FILE, line);
            let mut parts = line.split_ascii_whitespace();
            let kind = parts.next().ok_or_else(wrong)?;
            let mut nodes = BTreeMap::new();
            for part in parts {
                let (node, value) = part.split_once('=').ok_or_else(wrong)?;
                let node = node
                    .strip_prefix('N')
                    .and_then(parse_u64)
                    .and_then(|node| u32::try_from(node).ok())
                    .ok_or_else(wrong)?;
                nodes.insert(node, Bytes(parse_u64(value).ok_or_else(wrong)?));
            }
            stat.insert(kind.to_owned(), nodes);
        }
        Ok(Self(stat))
    }
}

/// What is used, what it was at most, and what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryUsage {
    /// `memory.current`.
    pub current: Bytes,
    /// `memory.peak`, since Linux 5.19.
    pub peak: Option<Bytes>,
    /// `memory.max`.
    pub max: Limit<Bytes>,
    /// `memory.high`.
    pub high: Limit<Bytes>,
    /// `memory.swap.current`.
    pub swap_current: Option<Bytes>,
    /// `memory.swap.peak`, since Linux 6.5.
    pub swap_peak: Option<Bytes>,
    /// `memory.swap.max`.
    pub swap_max: Option<Limit<Bytes>>,
    /// `memory.zswap.current`.
    pub zswap_current: Option<Bytes>,
}

impl Group {
    /// Reads `memory.current` and its siblings; `None` without the controller, and in the root.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] but for `ENOENT`, [`Error::Parse`].
    pub fn memory_usage(&self) -> Result<Option<MemoryUsage>, Error> {
        let Some(current) = self.number("memory.current")? else {
            return Ok(None);
        };
        let bytes = |file| Ok::<_, Error>(self.number(file)?.map(Bytes));
        Ok(Some(MemoryUsage {
            current: Bytes(current),
            peak: bytes("memory.peak")?,
            max: self.limit("memory.max")?.unwrap_or(Limit::Max),
            high: self.limit("memory.high")?.unwrap_or(Limit::Max),
            swap_current: bytes("memory.swap.current")?,
            swap_peak: bytes("memory.swap.peak")?,
            swap_max: self.limit("memory.swap.max")?,
            zswap_current: bytes("memory.zswap.current")?,
        }))
    }

    /// The number in a file of one number.
    pub(crate) fn number(&self, file: &'static str) -> Result<Option<u64>, Error> {
        self.if_there(file)?
            .map(|text| crate::keyed::single(file, &text, parse_u64))
            .transpose()
    }

    /// The limit in a file of one limit.
    pub(crate) fn limit<T: From<u64>>(
        &self,
        file: &'static str,
    ) -> Result<Option<Limit<T>>, Error> {
        self.if_there(file)?
            .map(|text| crate::keyed::single(file, &text, Limit::parse))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn memory_stat_of_two_kernels_is_read() {
        for (text, has_swpin_zero) in [
            (include_str!("../fixtures/memory.stat-6.1"), false),
            (include_str!("../fixtures/memory.stat-6.12"), true),
        ] {
            let stat = MemoryStat::parse(text).expect("memory.stat");
            assert!(stat.anon.0 > 0 && stat.kernel.is_some());
            assert_eq!(stat.swpin_zero.is_some(), has_swpin_zero);
        }
    }

    #[test]
    fn numa_stat_is_read_by_kind_and_node() {
        let stat = MemoryNumaStat::parse("anon N0=4096 N1=0\nfile N0=1 N1=2\n").expect("stat");
        assert_eq!(stat.0["anon"][&0], Bytes(4096));
        assert_eq!(stat.0["file"][&1], Bytes(2));
        assert!(MemoryNumaStat::parse("anon 0=1\n").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(anon|file|N[0-9]=|[0-9 \n]|\\PC){0,80}") {
            let _ = MemoryStat::parse(&text);
            let _ = MemoryNumaStat::parse(&text);
        }
    }
}
