//! The ids that a process has which unpacks layers.

use crate::host::Caller;
use crate::observe;
use crate::plan::{Ids, Writer, ids_of_root};
use crate::spec::IdMap;

/// Those that the caller's containers have, seen from a container's root. For root of the host that is every id as
/// it is: a container's mounts are idmapped, so on disk the owners stand as the layer says.
pub(super) fn of(caller: &Caller) -> Ids {
    if caller.privileged {
        let all = vec![IdMap {
            inside: 0,
            outside: 0,
            count: u32::MAX,
        }];
        return Ids {
            uids: all.clone(),
            gids: all,
            writer: Writer::Direct,
        };
    }
    ids_of_root(&observe::unprivileged_ids(caller), caller)
}

/// Whether there is but one id, so that every file must be of it.
pub(super) fn is_one(ids: &Ids) -> bool {
    ids.writer == Writer::DirectOwnId
}
