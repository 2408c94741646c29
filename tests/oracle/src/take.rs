//! Taking an inventory.

mod files;
mod ipc;
mod kernel;
mod net;
mod processes;

use std::collections::{BTreeMap, BTreeSet};

use crate::Places;

/// Everything there is, as sorted lines by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    kinds: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Inventory {
    /// Look at everything.
    ///
    /// What vanishes while it is looked at (a process that ends) is left out.
    #[must_use]
    pub fn take(places: &Places) -> Self {
        // Its own descriptors first, before any is opened here.
        let own = processes::own_descriptors();
        let processes = processes::all();
        let keys = if places.keys { ipc::keys() } else { Vec::new() };
        Self::of([
            ("process", processes::lines(&processes)),
            (
                "descriptor",
                [own, processes::descriptors(&processes)].concat(),
            ),
            ("deleted but open", processes::deleted(&processes)),
            ("namespace", processes::namespaces(&processes)),
            ("mount", processes::mounts(&processes)),
            ("network", net::all(&processes)),
            ("cgroup", files::cgroups(&places.cgroups)),
            ("file", files::trees(&places.files)),
            ("ipc", ipc::all()),
            ("key", keys),
            ("lock", kernel::locks()),
            ("bpf program", kernel::bpf_programs()),
            ("loop device", kernel::loop_devices()),
        ])
    }

    pub(crate) fn of<const N: usize>(kinds: [(&'static str, Vec<String>); N]) -> Self {
        let sets = kinds
            .into_iter()
            .map(|(kind, lines)| (kind, lines.into_iter().collect()));
        Self {
            kinds: sets.collect(),
        }
    }

    /// (kind, line), sorted.
    pub fn lines(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.kinds
            .iter()
            .flat_map(|(kind, lines)| lines.iter().map(|line| (*kind, line.as_str())))
    }

    pub(crate) fn has(&self, kind: &str, line: &str) -> bool {
        self.kinds
            .get(kind)
            .is_some_and(|lines| lines.contains(line))
    }
}
