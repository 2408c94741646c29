//! A running container on a network, as its record keeps it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netns::firewall::{Endpoint, HostAddress, Protocol, Published};
use serde::{Deserialize, Serialize};

use super::define::prefix;
use crate::spec::{self, Publish};

/// A container's place on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What its supervisor is told by: pid and start time.
    pub owner: String,
    /// The network.
    pub network: String,
    /// The network's subnets.
    pub subnets: Vec<IpNet>,
    /// Its bridge.
    pub bridge: String,
    /// The host's end of the veth pair.
    pub veth: String,
    /// IPv4 address.
    pub v4: Ipv4Addr,
    /// IPv6 address.
    pub v6: Option<Ipv6Addr>,
    /// Published ports.
    pub publish: Vec<Publish>,
    /// The only destinations outside.
    pub allow: Option<Vec<IpNet>>,
}

impl Member {
    pub(crate) fn endpoint(&self) -> Endpoint {
        let egress = self.allow.as_ref();
        Endpoint {
            bridge: self.bridge.clone(),
            veth: self.veth.clone(),
            v4: Some(self.v4),
            v6: self.v6,
            egress: egress.map(|nets| nets.iter().map(prefix).collect()),
            published: self.publish.iter().flat_map(published).collect(),
        }
    }
}

/// One entry for each port and address.
fn published(publish: &Publish) -> Vec<Published> {
    let addresses = match publish.host {
        None => vec![
            HostAddress::One(Ipv4Addr::LOCALHOST.into()),
            HostAddress::One(Ipv6Addr::LOCALHOST.into()),
        ],
        Some(IpAddr::V4(address)) if address.is_unspecified() => vec![HostAddress::AnyV4],
        Some(IpAddr::V6(address)) if address.is_unspecified() => vec![HostAddress::AnyV6],
        Some(address) => vec![HostAddress::One(address)],
    };
    let protocol = match publish.protocol {
        spec::Protocol::Tcp => Protocol::Tcp,
        spec::Protocol::Udp => Protocol::Udp,
    };
    (0..publish.count)
        .flat_map(|n| {
            addresses.iter().map(move |address| Published {
                protocol,
                address: *address,
                host_port: publish.host_port + n,
                port: publish.container_port + n,
            })
        })
        .collect()
}
