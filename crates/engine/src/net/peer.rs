//! Another running container, whose network is shared.

use std::path::Path;

use netns::{HostResolv, ResolvConf};

use crate::host::Peer;
use crate::state::Store;

/// The running container of this name.
pub(crate) fn find(name: &str, run_root: &Path) -> Option<Peer> {
    let store = Store::open(run_root).ok()?;
    let mut records = store.records().into_iter();
    let record = records.find(|record| record.name == name)?;
    if !store.is_running(name) {
        return None;
    }
    // The only child of a supervisor is its container's first process.
    let supervisor = record.supervisor;
    let children = format!("/proc/{supervisor}/task/{supervisor}/children");
    let text = crate::observe::read_bounded(children.as_ref(), 4096).ok()?;
    let text = String::from_utf8(text).ok()?;
    let pid = text.split_ascii_whitespace().next()?.parse().ok()?;
    let host = crate::observe::resolv_conf();
    let resolv_conf = match &record.network {
        // Its supervisor answers in the namespace that both are in.
        Some(_) => ResolvConf::with_server(&HostResolv::parse(&host.unwrap_or_default()))
            .to_text()
            .ok()
            .map(String::into_bytes),
        None => host,
    };
    Some(Peer { pid, resolv_conf })
}
