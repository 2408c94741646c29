//! From a container's place on a network to netlink requests, firewall batches and files: data only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netns::firewall::Firewall;
use netns::nft::Batch;
use netns::route::{
    self, BitsPerSecond, Kind, Link, LinkName, Mac, NewLink, Peer, Prefix, Request, Route,
    RouteKind, SetLink, Tbf,
};
use netns::sysctl::Setting;
use netns::{Hosts, ResolvConf, mac_of};

use super::define::{Defined, NetworkError};
use super::facts::NetFacts;
use super::member::Member;
use super::serve::DNS_PORT;
use crate::spec::Attachment;

/// The container's interface.
const INSIDE: &str = "eth0";

/// The addresses of one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// IPv4.
    pub v4: Ipv4Addr,
    /// IPv6.
    pub v6: Option<Ipv6Addr>,
}

/// Everything that puts one container on its network.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wiring {
    /// Makes the bridge, unless it is there.
    pub(crate) bridge: Vec<Request>,
    /// Kernel parameters of the host that a bridge rests on.
    pub(crate) settings: Vec<Setting>,
    /// The tables, unless they are there, the network, and the container, at one instant.
    pub(crate) firewall: Batch,
    /// The veth pair, and what limits what the container receives.
    pub(crate) pair: Vec<Request>,
    /// In the container's namespace.
    pub(crate) inside: Vec<Request>,
    /// For its record.
    pub(crate) member: Member,
    /// Whether the host's `::1` leads into the container too.
    pub(crate) loopback6: bool,
    /// Who is asked for names that nobody on the network has.
    pub(crate) upstreams: Vec<SocketAddr>,
}

/// Wire a container.
///
/// # Errors
/// Names and addresses that no network has.
pub(crate) fn wire(asked: &Attachment, facts: &NetFacts) -> Result<Wiring, NetworkError> {
    let member = Member {
        owner: facts.owner.clone(),
        network: facts.network.name.clone(),
        subnets: facts.network.subnets.clone(),
        bridge: facts.network.bridge.clone(),
        veth: facts.veth.clone(),
        v4: facts.address.v4,
        v6: facts.address.v6,
        publish: asked.publish.iter().map(|p| p.value).collect(),
        allow: asked.allow.as_ref().map(|allow| allow.value.clone()),
    };
    let bridge = match facts.bridge {
        true => Vec::new(),
        false => bridge(&facts.network)?,
    };
    let mut settings = facts.forwarding.clone();
    if !facts.bridge {
        settings.extend(bridge_settings(&facts.network)?);
    }
    let rate = asked.rate.as_ref().map(|rate| rate.value);
    Ok(Wiring {
        bridge,
        settings,
        firewall: firewall(facts, &member)?,
        pair: pair(facts, rate)?,
        inside: inside(facts, rate)?,
        member,
        loopback6: !facts.bridge_netfilter,
        upstreams: upstreams(asked, facts),
    })
}

/// From an internal network there is no way out, not by names either.
fn upstreams(asked: &Attachment, facts: &NetFacts) -> Vec<SocketAddr> {
    if facts.network.internal {
        return Vec::new();
    }
    if asked.dns.is_empty() {
        return facts.resolv.upstreams();
    }
    let own = asked.dns.iter();
    own.map(|server| SocketAddr::new(server.value, DNS_PORT))
        .collect()
}

/// Makes the bridge of a network.
pub(crate) fn bridge(network: &Defined) -> Result<Vec<Request>, NetworkError> {
    let name = LinkName::new(&network.bridge)?;
    let subnets = network.subnets()?;
    let gateway = subnets.gateway_v4();
    let address = |address: IpAddr, length| -> Result<Request, NetworkError> {
        Ok(Request::AddAddress(route::Address {
            link: name.clone().into(),
            prefix: Prefix::new(address, length)?,
            nodad: address.is_ipv6(),
        }))
    };
    let mut requests = vec![
        Request::AddLink(NewLink {
            mtu: Some(network.mtu.into()),
            // Of its own, or the kernel would change it with every port.
            mac: Some(Mac(mac_of(gateway))),
            up: true,
            ..NewLink::new(
                name.clone(),
                Kind::Bridge {
                    multicast_snooping: false,
                },
            )
        }),
        address(gateway.into(), subnets.v4().prefix_len())?,
    ];
    if let (Some(net), Some(gateway)) = (subnets.v6(), subnets.gateway_v6()) {
        requests.push(address(gateway.into(), net.prefix_len())?);
        // What a container answers to `::1` of the host comes in by the bridge.
        requests.push(Request::AddRoute(Route {
            link: Some(name.into()),
            // One for each bridge: two routes to one place differ in it.
            metric: Some(1024 + bridge_number(&network.bridge)),
            ..Route::new(
                RouteKind::Local,
                Prefix::new(Ipv6Addr::LOCALHOST.into(), 128)?,
            )
        }));
    }
    Ok(requests)
}

/// The number in `ctr7`.
fn bridge_number(bridge: &str) -> u32 {
    let digits = bridge.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.parse().unwrap_or(0)
}

/// A bridge forwards, serves 127.0.0.1, and takes no routes from containers.
pub(crate) fn bridge_settings(network: &Defined) -> Result<Vec<Setting>, NetworkError> {
    let bridge = &network.bridge;
    let v4 = |key: &str| format!("net/ipv4/conf/{bridge}/{key}");
    let v6 = |key: &str| format!("net/ipv6/conf/{bridge}/{key}");
    let mut settings = Vec::new();
    if network.subnets()?.v6().is_some() {
        // Or its link-local address, which comes with the first container, would be tentative for a
        // second.
        settings.push(Setting::new(v6("accept_dad"), "0")?);
        settings.push(Setting::new(v6("accept_ra"), "0")?);
        settings.push(Setting::new(v6("forwarding"), "1")?);
    }
    settings.push(Setting::new(v4("forwarding"), "1")?);
    // The last, for no interface has it from the beginning: it tells that all the rest was done.
    settings.push(Setting::new(v4("route_localnet"), "1")?);
    Ok(settings)
}

fn firewall(facts: &NetFacts, member: &Member) -> Result<Batch, NetworkError> {
    let firewall = Firewall::new(&facts.table)?.loopback6(!facts.bridge_netfilter);
    let mut changes = match facts.tables {
        true => Vec::new(),
        false => firewall.base().changes,
    };
    changes.extend(firewall.add_network(&facts.network.firewall())?.changes);
    changes.extend(firewall.add_endpoint(&member.endpoint())?.changes);
    Ok(Batch { changes })
}

fn pair(facts: &NetFacts, rate: Option<u64>) -> Result<Vec<Request>, NetworkError> {
    let veth = LinkName::new(&facts.veth)?;
    let mtu = Some(facts.network.mtu.into());
    let peer = Peer {
        netns: Some(route::Netns::Container),
        mac: Some(Mac(mac_of(facts.address.v4))),
        mtu,
        ..Peer::new(LinkName::new(INSIDE)?)
    };
    let mut requests = vec![Request::AddLink(NewLink {
        master: Some(LinkName::new(&facts.network.bridge)?.into()),
        mtu,
        up: true,
        ..NewLink::new(veth.clone(), Kind::Veth(peer))
    })];
    requests.push(forwarding(veth.clone().into(), facts.address.v4));
    if facts.bridge_netfilter {
        // Else a container does not reach its own published port.
        requests.push(hairpin(veth.clone().into()));
    }
    requests.extend(rate.map(|rate| limit(veth.into(), rate)));
    Ok(requests)
}

/// What is for this address goes to this port of the bridge. Otherwise it would go to the cable of
/// whoever had the address before, which the kernel removes a moment after that one's end, until the
/// bridge has learnt better; and to any container that sends with the same hardware address.
pub(crate) fn forwarding(port: Link, address: Ipv4Addr) -> Request {
    Request::AddForwarding {
        port,
        mac: Mac(mac_of(address)),
    }
}

/// Packets may go back where they came from.
pub(crate) fn hairpin(link: Link) -> Request {
    Request::SetBridgePort {
        link,
        port: route::BridgePort {
            hairpin: Some(true),
            ..route::BridgePort::default()
        },
    }
}

fn inside(facts: &NetFacts, rate: Option<u64>) -> Result<Vec<Request>, NetworkError> {
    let name = LinkName::new(INSIDE)?;
    let link = Link::from(name.clone());
    let subnets = facts.network.subnets()?;
    let address = |address: IpAddr, length| -> Result<Request, NetworkError> {
        Ok(Request::AddAddress(route::Address {
            link: Link::from(name.clone()),
            prefix: Prefix::new(address, length)?,
            nodad: address.is_ipv6(),
        }))
    };
    let mut requests = vec![
        Request::SetLink(SetLink::up(Link::Index(1))),
        address(facts.address.v4.into(), subnets.v4().prefix_len())?,
    ];
    let v6 = facts.address.v6.zip(subnets.v6());
    if let Some((v6, net)) = v6 {
        requests.push(address(v6.into(), net.prefix_len())?);
    }
    requests.push(Request::SetLink(SetLink::up(link.clone())));
    if !facts.network.internal {
        let via = |gateway| Request::AddRoute(Route::default_via(gateway, link.clone()));
        requests.push(via(subnets.gateway_v4().into()));
        if let (Some(_), Some(gateway)) = (v6, subnets.gateway_v6()) {
            requests.push(via(gateway.into()));
        }
    }
    requests.extend(rate.map(|rate| limit(link, rate)));
    Ok(requests)
}

/// What an interface sends.
fn limit(link: Link, rate: u64) -> Request {
    Request::AddTbf {
        link,
        tbf: Tbf::new(BitsPerSecond(rate)),
    }
}

/// The container's `/etc/resolv.conf`.
///
/// # Errors
/// Search domains of the host that are none.
pub(crate) fn resolv_conf(facts: &NetFacts) -> Result<String, NetworkError> {
    Ok(ResolvConf::with_server(&facts.resolv).to_text()?)
}

/// The container's `/etc/hosts`.
///
/// # Errors
/// A host name that is none.
pub(crate) fn hosts(hostname: &str, address: Option<Address>) -> Result<String, NetworkError> {
    let mut hosts = Hosts::new();
    match address {
        None => {
            hosts.add(Ipv4Addr::LOCALHOST.into(), &[hostname])?;
            hosts.add(Ipv6Addr::LOCALHOST.into(), &[hostname])?;
        }
        Some(Address { v4, v6 }) => {
            hosts.add(v4.into(), &[hostname])?;
            if let Some(v6) = v6 {
                hosts.add(v6.into(), &[hostname])?;
            }
        }
    }
    Ok(hosts.to_text())
}
