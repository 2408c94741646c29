//! Which ids the container has: the maps of its user namespace, and who writes them.

use crate::error::Diagnostic;
use crate::host::{Caller, Host, IdSource};
use crate::spec::{At, IdMap, MountSource, Owner, Spec, UserNamespace};
use crate::state::IDS_PER_CONTAINER;
use crate::users::Credentials;

/// The user namespace of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// uid_map.
    pub uids: Vec<IdMap>,
    /// gid_map.
    pub gids: Vec<IdMap>,
    /// Who writes them.
    pub writer: Writer,
}

/// Who writes the maps of a new user namespace, user_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// We, with CAP_SETUID over the ids.
    Direct,
    /// We, for our own id alone: the kernel asks for `deny` in setgroups first.
    DirectOwnId,
    /// newuidmap(1) and newgidmap(1).
    Newuidmap,
}

/// The maps for `spec`, or `None` when it shares the host's user namespace.
pub(super) fn resolve(
    spec: &Spec,
    host: &Host,
    user: &Credentials,
) -> Result<Option<At<Ids>>, Diagnostic> {
    let At { value, origin } = &spec.namespaces.user;
    let ids = match value {
        UserNamespace::Host if host.caller.privileged => return Ok(None),
        UserNamespace::Host => {
            return Err(
                Diagnostic::host(*origin, "only root can share the host's user namespace")
                    .help("leave `user-namespace` out: the container gets its own"),
            );
        }
        UserNamespace::Explicit { uids, gids } => explicit(uids, gids, host, *origin)?,
        UserNamespace::Auto => automatic(spec, host, user),
    };
    let asked = spec.process.user.origin;
    mapped("uid", user.uid, &ids.uids, host, asked)?;
    mapped("gid", user.gid, &ids.gids, host, asked)?;
    for gid in &user.groups {
        mapped("supplementary gid", *gid, &ids.gids, host, asked)?;
    }
    Ok(Some(At {
        value: ids,
        origin: *origin,
    }))
}

fn explicit(
    uids: &[IdMap],
    gids: &[IdMap],
    host: &Host,
    origin: crate::spec::Origin,
) -> Result<Ids, Diagnostic> {
    let own = |maps: &[IdMap], id| matches!(maps, [map] if map.count == 1 && map.outside == id);
    let writer = match &host.ids {
        IdSource::Range { .. } | IdSource::Namespace { .. } => Writer::Direct,
        _ if own(uids, host.caller.uid) && own(gids, host.caller.gid) => Writer::DirectOwnId,
        IdSource::Sub { .. } => Writer::Newuidmap,
        IdSource::Own { because } => {
            return Err(Diagnostic::host(
                origin,
                format!("an id map with more than this user's own id cannot be written: {because}"),
            )
            .help("install the package `uidmap` and see that /etc/subuid and /etc/subgid name the user"));
        }
    };
    Ok(Ids {
        uids: uids.to_vec(),
        gids: gids.to_vec(),
        writer,
    })
}

fn automatic(spec: &Spec, host: &Host, user: &Credentials) -> Ids {
    match &host.ids {
        IdSource::Range { first, .. } => {
            let map = vec![IdMap {
                inside: 0,
                outside: *first,
                count: IDS_PER_CONTAINER,
            }];
            Ids {
                uids: map.clone(),
                gids: map,
                writer: Writer::Direct,
            }
        }
        IdSource::Namespace { uids, gids } => Ids {
            uids: uids.clone(),
            gids: gids.clone(),
            writer: Writer::Direct,
        },
        IdSource::Sub { uids, gids } => {
            // Without the right to idmap a mount, the only way to make the caller's files look as
            // if owned by the container's user is to map that user to the caller.
            let (uid, gid) = if matches_owner(spec) {
                (user.uid, user.gid)
            } else {
                (0, 0)
            };
            Ids {
                uids: around(uid, host.caller.uid, *uids),
                gids: around(gid, host.caller.gid, *gids),
                writer: Writer::Newuidmap,
            }
        }
        IdSource::Own { .. } => Ids {
            uids: vec![IdMap {
                inside: user.uid,
                outside: host.caller.uid,
                count: 1,
            }],
            gids: vec![IdMap {
                inside: user.gid,
                outside: host.caller.gid,
                count: 1,
            }],
            writer: Writer::DirectOwnId,
        },
    }
}

/// The ids of a caller who is not root of the host, with container root being the caller.
pub(crate) fn of_root(source: &IdSource, caller: &Caller) -> Ids {
    match source {
        IdSource::Namespace { uids, gids } => Ids {
            uids: uids.clone(),
            gids: gids.clone(),
            writer: Writer::Direct,
        },
        IdSource::Sub { uids, gids } => Ids {
            uids: around(0, caller.uid, *uids),
            gids: around(0, caller.gid, *gids),
            writer: Writer::Newuidmap,
        },
        IdSource::Range { .. } | IdSource::Own { .. } => {
            let own = |id| {
                vec![IdMap {
                    inside: 0,
                    outside: id,
                    count: 1,
                }]
            };
            Ids {
                uids: own(caller.uid),
                gids: own(caller.gid),
                writer: Writer::DirectOwnId,
            }
        }
    }
}

fn matches_owner(spec: &Spec) -> bool {
    spec.mounts.iter().any(|mount| {
        matches!(
            mount.value.source,
            MountSource::Bind {
                owner: Owner::Match,
                ..
            }
        )
    })
}

/// `inside` is the caller's own id, all others come from its subordinate range, in order.
fn around(inside: u32, own: u32, (first, count): (u32, u32)) -> Vec<IdMap> {
    let count = count.min(IDS_PER_CONTAINER - 1);
    let below = inside.min(count);
    [
        IdMap {
            inside: 0,
            outside: first,
            count: below,
        },
        IdMap {
            inside,
            outside: own,
            count: 1,
        },
        IdMap {
            inside: inside.saturating_add(1),
            outside: first + below,
            count: count - below,
        },
    ]
    .into_iter()
    .filter(|map| map.count > 0)
    .collect()
}

/// The host id of `id`.
pub(super) fn outside(id: u32, maps: &[IdMap]) -> Option<u32> {
    maps.iter().find_map(|map| {
        let offset = id.checked_sub(map.inside)?;
        (offset < map.count).then(|| map.outside + offset)
    })
}

fn mapped(
    what: &str,
    id: u32,
    maps: &[IdMap],
    host: &Host,
    origin: crate::spec::Origin,
) -> Result<(), Diagnostic> {
    if outside(id, maps).is_some() {
        return Ok(());
    }
    let ranges: Vec<String> = maps
        .iter()
        .map(|map| match map.count {
            1 => map.inside.to_string(),
            count => format!(
                "{}–{}",
                map.inside,
                u64::from(map.inside) + u64::from(count) - 1
            ),
        })
        .collect();
    let error = Diagnostic::input(
        origin,
        format!(
            "{what} {id} is not one of the container's ids ({})",
            ranges.join(", ")
        ),
    );
    Err(match &host.ids {
        IdSource::Own { because } => error.help(format!("this user has no further ids: {because}")),
        _ => error.help("choose one of them, or map it with `user-namespace`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(inside: u32, outside: u32, count: u32) -> IdMap {
        IdMap {
            inside,
            outside,
            count,
        }
    }

    #[test]
    fn the_callers_own_id_takes_the_place_of_the_one_it_stands_for() {
        assert_eq!(
            around(0, 1000, (100_000, 65_536)),
            [map(0, 1000, 1), map(1, 100_000, 65_535)]
        );
        assert_eq!(
            around(33, 1000, (100_000, 65_536)),
            [
                map(0, 100_000, 33),
                map(33, 1000, 1),
                map(34, 100_033, 65_502)
            ]
        );
        assert_eq!(around(0, 1000, (100_000, 0)), [map(0, 1000, 1)]);
        assert_eq!(
            around(70_000, 1000, (100_000, 100)),
            [map(0, 100_000, 100), map(70_000, 1000, 1)]
        );
    }

    #[test]
    fn ids_outside_every_line_have_no_host_id() {
        let maps = [map(0, 1000, 1), map(1, 100_000, 10)];
        assert_eq!(outside(0, &maps), Some(1000));
        assert_eq!(outside(10, &maps), Some(100_009));
        assert_eq!(outside(11, &maps), None);
    }
}
