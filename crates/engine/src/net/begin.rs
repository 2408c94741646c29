//! The beginning and the end of a container's time on a network: what is claimed for planning, and
//! what its supervisor serves.

use std::net::IpAddr;

use netns::nft;

use super::claim::Claim;
use super::define::{Defined, NetworkError, Networks};
use super::facts::{self, NetFacts};
use super::serve::{Roots, Service};
use super::wiring::Address;
use crate::error::Diagnostic;
use crate::host::Caller;
use crate::plan::{Plan, refused};
use crate::run::Options;
use crate::spec::{Attachment, DEFAULT_NETWORK, NetworkSpec, Spec};
use crate::start::Made;

/// What a plan that is only shown rests on; nothing is made.
pub(crate) fn propose(
    spec: &Spec,
    options: &Options,
    caller: &Caller,
) -> Result<Option<NetFacts>, Diagnostic> {
    let Some(asked) = asked(spec, caller) else {
        return Ok(None);
    };
    let proposed = || -> Result<NetFacts, NetworkError> {
        let networks = Networks::of(&options.data_root);
        let (network, new) = match definition(spec, asked, &networks)? {
            Wanted::There(network) => (network, false),
            Wanted::Missing(missing) => (networks.propose(&missing, &facts::host_net()?)?, true),
        };
        let mut address = facts::sample(&network);
        if let Some(wanted) = &asked.address {
            address.v4 = wanted.value;
        }
        let mut rules = nft::Socket::open()?;
        let facts = facts::observe(&network, &options.state_root, address, &mut rules)?;
        let path = networks.path(&network.name);
        Ok(NetFacts { new, path, ..facts })
    };
    proposed()
        .map(Some)
        .map_err(|error| refused(asked.network.origin, &error))
}

/// What a start rests on: the network, made when it is missing, and an address on it.
pub(crate) fn claim(
    spec: &Spec,
    options: &Options,
    caller: &Caller,
    made: &mut Made,
) -> Result<Option<NetFacts>, Diagnostic> {
    let Some(asked) = asked(spec, caller) else {
        return Ok(None);
    };
    let networks = Networks::of(&options.data_root);
    let mut claimed = || -> Result<NetFacts, NetworkError> {
        let (network, new) = match definition(spec, asked, &networks)? {
            Wanted::There(network) => (network, false),
            Wanted::Missing(missing) => networks.ensure(&missing, || Ok(facts::host_net()?))?,
        };
        let wanted = asked
            .address
            .as_ref()
            .map(|address| IpAddr::V4(address.value));
        let name = &spec.name.value;
        let taken = Claim::take(&options.state_root, &network, name, wanted);
        if taken.is_err() && new {
            // The failure is what counts; a network that stays is none.
            let _ = networks.remove(&network.name);
        }
        let claim = taken?;
        let address = Address {
            v4: claim.lease.v4,
            v6: claim.lease.v6,
        };
        let rules = made.hold_address(claim)?;
        let facts = facts::observe(&network, &options.state_root, address, rules)?;
        let path = networks.path(&network.name);
        Ok(NetFacts { new, path, ..facts })
    };
    claimed().map(Some).map_err(|error| {
        let address = asked.address.as_ref().filter(|_| of_the_address(&error));
        let origin = address.map_or(asked.network.origin, |address| address.origin);
        refused(origin, &error)
    })
}

/// Whoever may make a bridge gets one.
fn asked<'a>(spec: &'a Spec, caller: &Caller) -> Option<&'a Attachment> {
    let attachment = spec.namespaces.net.value.attachment();
    attachment.filter(|_| caller.privileged)
}

fn of_the_address(error: &NetworkError) -> bool {
    let NetworkError::Net(error) = error else {
        return false;
    };
    matches!(
        error,
        netns::Error::AddressInUse { .. } | netns::Error::AddressOutside { .. }
    )
}

enum Wanted {
    There(Defined),
    Missing(NetworkSpec),
}

/// The network that is meant: one of the manifest, one that was made before, or the usual one.
fn definition(
    spec: &Spec,
    asked: &Attachment,
    networks: &Networks,
) -> Result<Wanted, NetworkError> {
    let name = &asked.network.value;
    let here = spec
        .networks
        .iter()
        .find(|network| network.value.name == *name);
    if let Some(here) = here {
        return Ok(Wanted::Missing(here.value.clone()));
    }
    match networks.get(name)? {
        Some(network) => Ok(Wanted::There(network)),
        None if name == DEFAULT_NETWORK => Ok(Wanted::Missing(NetworkSpec::new(name))),
        None => Err(NetworkError::Unknown { name: name.clone() }),
    }
}

/// What the supervisor does for the network from now on. A failure is no reason to end a container
/// that runs.
pub(crate) fn service(plan: &Plan, options: &Options, made: &mut Made) -> Option<Service> {
    let wiring = plan.wiring.as_ref()?;
    let sockets = made.name_sockets()?;
    let roots = Roots {
        run: options.state_root.clone(),
        networks: Networks::of(&options.data_root),
    };
    let member = &wiring.member;
    let begun = Claim::zone(&options.state_root, &member.network, &member.subnets)
        .and_then(|zone| Service::new(sockets, zone, wiring.upstreams.clone(), roots));
    begun
        .inspect_err(|error| tracing::warn!(%error, "nobody answers the container's name queries"))
        .ok()
}
