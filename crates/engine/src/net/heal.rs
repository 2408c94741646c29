//! The firewall as it should be: from the networks that are defined and the containers that run.

use std::path::Path;

use netns::firewall::{Difference, Firewall};
use netns::nft;

use super::claim;
use super::define::{Defined, NetworkError};
use super::facts::{bridge_netfilter, table_name};
use super::member::Member;
use super::order::Order;
use super::serve::Roots;
use crate::state::Store;

/// Compare what the kernel holds with what should be, and write all of it anew where that differs.
/// Gives the differences that were found.
///
/// # Errors
/// What could not be read or written.
pub(crate) fn heal(roots: &Roots) -> Result<Vec<Difference>, NetworkError> {
    let order = Order::alone(&roots.run)?;
    mend(roots, &order, &mut nft::Socket::open()?)
}

/// The same, after somebody has changed the firewall. All supervisors are woken by that: whoever finds
/// that one of them has looked since then does not look again.
///
/// # Errors
/// As [`heal`].
pub(crate) fn heal_if_changed(roots: &Roots) -> Result<(), NetworkError> {
    let order = Order::alone(&roots.run)?;
    let mut socket = nft::Socket::open()?;
    // Before the look: what changes meanwhile has another number.
    let generation = socket.generation()?;
    if order.right() != Some(generation) && mend(roots, &order, &mut socket)?.is_empty() {
        order.found_right(generation);
    }
    Ok(())
}

/// `_alone`: nobody is in the middle of a start or an end, and nobody else does this.
fn mend(
    roots: &Roots,
    _alone: &Order,
    socket: &mut nft::Socket,
) -> Result<Vec<Difference>, NetworkError> {
    let networks = present(roots)?;
    let members = members(roots);
    let firewall = Firewall::new(&table_name(&roots.run))?.loopback6(!bridge_netfilter());
    let networks: Vec<_> = networks.iter().map(Defined::firewall).collect();
    let endpoints: Vec<_> = members
        .iter()
        .map(|(_, member)| member.endpoint())
        .collect();
    let held = firewall.held(socket)?;
    let differences = firewall.differences(&networks, &endpoints, &held)?;
    if !differences.is_empty() {
        socket.commit(&firewall.whole(&networks, &endpoints)?)?;
    }
    Ok(differences)
}

/// The networks whose bridge is there: others have no rules.
pub(crate) fn present(roots: &Roots) -> Result<Vec<Defined>, NetworkError> {
    let socket = netns::route::Socket::open()?;
    let mut networks = roots.networks.list()?;
    networks.retain(|network| {
        netns::route::LinkName::new(&network.bridge)
            .and_then(|name| socket.index_of(&name))
            .is_ok()
    });
    Ok(networks)
}

/// The containers that run on networks, by name.
pub(crate) fn members(roots: &Roots) -> Vec<(String, Member)> {
    living(&roots.run)
}

/// The same, of a run root.
pub(crate) fn living(run_root: &Path) -> Vec<(String, Member)> {
    let Ok(store) = Store::open(run_root) else {
        return Vec::new();
    };
    let mut members: Vec<_> = store
        .records()
        .into_iter()
        .filter_map(|record| Some((record.name, record.network?)))
        .filter(|(_, member)| claim::is_owner_alive(&member.owner))
        .collect();
    members.sort_by(|a, b| a.0.cmp(&b.0));
    members
}
