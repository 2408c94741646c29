//! `[network]` and `[networks.NAME]`.

use engine::spec::{DEFAULT_NETWORK, NetworkSpec, Publish};
use ipnet::IpNet;

use super::keys;
use super::model::{Attachment, Given, Network};
use super::value::{name, net};
use super::walk::{Reader, Rule, Section, Value};
use crate::diagnostic::quoted;

/// Most networks in one manifest.
const MOST: usize = 64;

pub(super) fn read(r: &Reader, value: &Value<'_>) -> Option<Given<Network>> {
    let table = Section::open(r, &keys::NETWORK, value, "a table like [network]")?;
    let mode = match table.get("mode") {
        None => Some(Given::new(bridge(), value.key_span())),
        Some(mode) => mode.parse(
            r,
            "a string like \"bridge\", \"none\", \"host\" or a network's name",
            parse_mode,
        ),
    };
    let publish = array(
        r,
        table.get("publish"),
        "an array of strings like \"8080:80\"",
    );
    let dns = array(r, table.get("dns"), "an array of strings like \"1.1.1.1\"");
    let aliases = array(r, table.get("aliases"), "an array of names");
    let address = table.get("address");
    let rate = table.get("rate");
    let allow = table.get("allow");
    let asked = Attachment {
        publish: publish
            .iter()
            .filter_map(|v| v.parse(r, "a string like \"8080:80\"", net::publish))
            .collect(),
        dns: dns
            .iter()
            .filter_map(|v| v.parse(r, "a string like \"1.1.1.1\"", net::address))
            .collect(),
        aliases: aliases
            .iter()
            .filter_map(|v| v.parse(r, "a string", name::container))
            .collect(),
        address: address.and_then(|v| v.parse(r, "a string like \"10.1.2.3\"", net::address_v4)),
        rate: rate.and_then(|v| v.parse(r, "a string like \"100Mbit/s\"", net::rate)),
        allow: allow.and_then(|v| {
            let entries = v.array(r, "an array of strings like \"10.1.2.0/24\"")?;
            let prefix = |v: &Value<'_>| v.parse(r, "a string like \"10.1.2.0/24\"", net::prefix);
            let nets = entries.iter().filter_map(prefix).map(|net| net.value);
            Some(Given::new(nets.collect(), v.span()))
        }),
    };
    check_ports(r, &asked.publish);
    let mut mode = mode?;
    match &mut mode.value {
        Network::Bridge(_, attachment) => **attachment = asked,
        other => {
            let what = other.words();
            for key in ["publish", "dns", "aliases", "address", "rate", "allow"] {
                if let Some(value) = table.get(key) {
                    let at = [(value.key_span(), ""), (mode.place(), what)];
                    let message = format!("`network.{key}` is for a container on a network");
                    r.conflict(message, "there is no network to do it on", at);
                }
            }
        }
    }
    Some(mode)
}

fn array<'t>(r: &Reader, value: Option<Value<'t>>, expected: &str) -> Vec<Value<'t>> {
    value
        .and_then(|value| value.array(r, expected))
        .unwrap_or_default()
}

/// On the default network.
pub(super) fn bridge() -> Network {
    Network::Bridge(DEFAULT_NETWORK.to_owned(), Box::default())
}

fn parse_mode(text: &str) -> Result<Network, Rule> {
    match text {
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        "bridge" => Ok(bridge()),
        text => match text.strip_prefix("container:") {
            Some(other) => name::container(other).map(Network::Container),
            None => network_name(text).map(|name| Network::Bridge(name, Box::default())),
        },
    }
}

pub(super) fn network_name(text: &str) -> Result<String, Rule> {
    if ["bridge", "container"].contains(&text) {
        return Err("this word is reserved".into());
    }
    name::container(text)
}

/// Two sockets cannot have one port.
fn check_ports(r: &Reader, publish: &[Given<Publish>]) {
    for (i, later) in publish.iter().enumerate() {
        if let Some(earlier) = publish[..i].iter().find(|p| p.value.overlaps(&later.value)) {
            let at = [(later.place(), ""), (earlier.place(), "first here")];
            let message = "a port of the host is published twice".to_owned();
            r.conflict(message, "leads to one container port only", at);
        }
    }
}

pub(super) fn definitions(r: &Reader, value: &Value<'_>) -> Vec<Given<NetworkSpec>> {
    let entries = value
        .entries(r, &keys::NETWORKS, "a table of networks: [networks.NAME]")
        .unwrap_or_default();
    if entries.len() > MOST {
        let message = format!("{} networks", entries.len());
        r.error(
            message,
            value.key_span(),
            format!("at most {MOST} are supported"),
        );
        return Vec::new();
    }
    let read = entries.iter().filter_map(|entry| definition(r, entry));
    let networks: Vec<Given<NetworkSpec>> = read.collect();
    check_subnets(r, &networks);
    networks
}

fn definition(r: &Reader, value: &Value<'_>) -> Option<Given<NetworkSpec>> {
    let like = "a table like { subnets = [\"10.1.2.0/24\"] }";
    let table = Section::open(r, &keys::NETWORK_DEFINITION, value, like)?;
    let subnets = table
        .get("subnets")
        .and_then(|v| v.array(r, "an array of strings like \"10.1.2.0/24\""))
        .unwrap_or_default();
    let subnets = subnets
        .iter()
        .filter_map(|v| v.parse(r, "a string like \"10.1.2.0/24\"", net::prefix))
        .map(|given| given.value)
        .collect();
    let internal = table.get("internal").and_then(|v| v.bool(r));
    let metadata = table.get("metadata").and_then(|v| v.bool(r));
    let mtu = table.get("mtu").and_then(|v| {
        // IPv6 asks for 1280 at least, RFC 8200.
        v.integer(r, "an integer from 1280 to 65535", 1280..=65_535)
    });
    let name = match network_name(value.key()) {
        Ok(name) => name,
        Err(rule) => {
            let message = format!("bad name of a network {}", quoted(value.key()));
            r.error(message, value.key_span(), rule);
            return None;
        }
    };
    let network = NetworkSpec {
        subnets,
        internal: internal.is_some_and(|given| given.value),
        mtu: mtu.and_then(|given| u16::try_from(given.value).ok()),
        metadata: metadata.is_some_and(|given| given.value),
        ..NetworkSpec::new(&name)
    };
    Some(Given::new(network, value.key_span()))
}

/// A packet for an address of two networks would have two ways.
fn check_subnets(r: &Reader, networks: &[Given<NetworkSpec>]) {
    let mut seen: Vec<(IpNet, &Given<NetworkSpec>)> = Vec::new();
    for network in networks {
        for subnet in &network.value.subnets {
            let overlaps = |net: &IpNet| net.contains(subnet) || subnet.contains(net);
            if let Some((net, other)) = seen.iter().find(|(net, _)| overlaps(net)) {
                let why = format!("has {net}");
                let at = [(network.place(), ""), (other.place(), why.as_str())];
                r.conflict(format!("{subnet} overlaps another subnet"), "has it", at);
            }
            seen.push((*subnet, network));
        }
    }
}
