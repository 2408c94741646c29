//! What planning a container's network needs to know of this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use netns::firewall::Firewall;
use netns::route::{LinkName, RouteEntry, RouteKind, Socket};
use netns::sysctl::{self, Setting};
use netns::{HostResolv, IpNet, Reserved, nft};

use super::define::{Defined, HostNet, MTU};
use super::wiring::{Address, bridge_settings};

/// Largest resolv.conf that is read.
const RESOLV_CONF_LIMIT: usize = 64 << 10;

/// Facts about the machine for one container on one network.
#[derive(Debug, Clone)]
pub struct NetFacts {
    /// The network.
    pub network: Defined,
    /// Its definition is made for this container.
    pub new: bool,
    /// Where that is.
    pub path: PathBuf,
    /// Its bridge is there, and whole.
    pub bridge: bool,
    /// The firewall's tables are there.
    pub tables: bool,
    /// What the tables are called.
    pub table: String,
    /// Netfilter sees the bridge's IPv6 frames as if they were routed (`bridge-nf-call-ip6tables`).
    pub bridge_netfilter: bool,
    /// What forwarding takes and this machine does not have.
    pub forwarding: Vec<Setting>,
    /// The container's address.
    pub address: Address,
    /// The host's end of its veth pair.
    pub veth: String,
    /// The host's resolvers.
    pub resolv: HostResolv,
    /// What this process is told by.
    pub owner: String,
}

/// Look at the network's part of the machine.
///
/// # Errors
/// What netlink says.
pub(crate) fn observe(
    network: &Defined,
    run_root: &Path,
    address: Address,
    rules: &mut nft::Socket,
) -> Result<NetFacts, netns::Error> {
    let mut route = Socket::open()?;
    let bridge = route.index_of(&LinkName::new(&network.bridge)?).is_ok() && is_whole(network);
    let table = table_name(run_root);
    let tables = rules.has_table(Firewall::new(&table)?.tables()[1])?;
    let forwarding = match bridge && tables {
        true => Vec::new(),
        false => missing_forwarding(&mut route)?,
    };
    let text = crate::observe::read_bounded("/etc/resolv.conf".as_ref(), RESOLV_CONF_LIMIT);
    Ok(NetFacts {
        network: network.clone(),
        new: false,
        path: PathBuf::new(),
        bridge,
        tables,
        table,
        bridge_netfilter: bridge_netfilter(),
        forwarding,
        address,
        veth: veth_name(),
        resolv: HostResolv::parse(&text.unwrap_or_default()),
        owner: super::claim::own_identity(),
    })
}

/// Whoever made the bridge of `network` came to the end of it: to the last of its settings.
fn is_whole(network: &Defined) -> bool {
    let is_set =
        |of: &Setting| sysctl::read(of.key()).is_ok_and(|value| value.trim() == of.value());
    bridge_settings(network).is_ok_and(|settings| settings.last().is_none_or(is_set))
}

pub(crate) fn bridge_netfilter() -> bool {
    // Without the module there is no such parameter.
    sysctl::read("net/bridge/bridge-nf-call-ip6tables").is_ok_and(|value| value.trim() != "0")
}

/// The firewall of an engine root: `ctr` for the usual one.
pub(crate) fn table_name(run_root: &Path) -> String {
    if run_root == crate::state::default_root(0, None) {
        return "ctr".into();
    }
    let bytes = run_root.as_os_str().as_encoded_bytes();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("ctr-{hash:016x}")
}

/// A name that no other container has, nor one that has just ended and whose interface the kernel has
/// not removed yet: `ctrv`, this process, a moment.
fn veth_name() -> String {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    format!(
        "ctrv{:x}{:04x}",
        std::process::id(),
        (now.tv_nsec >> 10) & 0xffff
    )
}

/// What this machine's addresses and routes take.
///
/// # Errors
/// What netlink says.
pub(crate) fn host_net() -> Result<HostNet, netns::Error> {
    let mut route = Socket::open()?;
    let links = route.interfaces()?;
    let routes = route.routes()?;
    let name = |index: Option<u32>| {
        let link = links.iter().find(|link| Some(link.index) == index);
        link.map_or("?", |link| link.name.as_str())
    };
    let reserved = routes
        .iter()
        .filter(|route| route.kind != RouteKind::Local && route.to.length() > 0)
        .filter_map(|route| {
            let net = IpNet::new(route.to.address(), route.to.length()).ok()?;
            let by = format!("the route {net} via {}", name(route.index));
            Some(Reserved { net, by })
        })
        .collect();
    let out = routes.iter().find(|route| is_default(route));
    let mtu = out
        .and_then(|route| links.iter().find(|link| Some(link.index) == route.index))
        .and_then(|link| u16::try_from(link.mtu).ok());
    Ok(HostNet {
        reserved,
        links: links.iter().map(|link| link.name.clone()).collect(),
        mtu: mtu.map_or(MTU, |mtu| mtu.clamp(1280, MTU)),
        v6: sysctl::read("net/ipv6/conf/default/disable_ipv6").is_ok_and(|off| off.trim() == "0"),
    })
}

/// The interface that leads to the world.
///
/// # Errors
/// What netlink says.
pub(crate) fn uplink() -> Result<Option<String>, netns::Error> {
    let mut socket = Socket::open()?;
    let routes = socket.routes()?;
    let index = routes
        .iter()
        .find(|route| is_default(route))
        .and_then(|route| route.index);
    let links = socket.interfaces()?;
    let link = links.into_iter().find(|link| Some(link.index) == index);
    Ok(link.map(|link| link.name))
}

fn is_default(route: &RouteEntry) -> bool {
    route.table == RouteEntry::MAIN && route.to.length() == 0
}

/// Packets go from and to a container only where the interface that they come in by forwards:
/// `net.ipv4.conf.IF.forwarding` for IPv4. For IPv6 there is one switch for all; turned on, it stops
/// the kernel from taking routes from router advertisements, unless `accept_ra` is 2.
pub(crate) fn missing_forwarding(route: &mut Socket) -> Result<Vec<Setting>, netns::Error> {
    let links = route.interfaces()?;
    let addresses = route.addresses()?;
    let mut settings = Vec::new();
    let mut accept = Vec::new();
    let mut v6 = false;
    let off = |key: &str, value: &str| sysctl::read(key).is_ok_and(|now| now.trim() == value);
    for link in &links {
        let is_ours = link.name.starts_with("ctr") || link.name == "lo";
        if !link.up || is_ours {
            continue;
        }
        let has = |test: fn(&IpAddr) -> bool| {
            let of_link = addresses.iter().filter(|a| a.index == link.index);
            of_link.map(|a| a.prefix.address()).any(|a| test(&a))
        };
        if has(IpAddr::is_ipv4) {
            let key = format!("net/ipv4/conf/{}/forwarding", link.name);
            if off(&key, "0") {
                settings.push(Setting::new(key, "1")?);
            }
        }
        if has(|address| matches!(address, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 != 0xfe80)) {
            v6 = true;
            let key = format!("net/ipv6/conf/{}/accept_ra", link.name);
            if off(&key, "1") {
                accept.push(Setting::new(key, "2")?);
            }
        }
    }
    if v6 && off("net/ipv6/conf/all/forwarding", "0") {
        settings.append(&mut accept);
        settings.push(Setting::new("net/ipv6/conf/all/forwarding", "1")?);
    }
    Ok(settings)
}

/// The addresses that a container would get, for a plan that is only shown.
pub(crate) fn sample(network: &Defined) -> Address {
    // The first is the gateway's; an IPv6 subnet begins with an address that is nobody's.
    let first = |net: &IpNet| {
        let hosts = net.hosts();
        hosts.filter(|host| *host != net.network()).nth(1)
    };
    let of = |v4: bool| {
        let mut nets = network.subnets.iter();
        nets.find(|net| matches!(net, IpNet::V4(_)) == v4)
            .and_then(first)
    };
    Address {
        v4: match of(true) {
            Some(IpAddr::V4(v4)) => v4,
            _ => Ipv4Addr::UNSPECIFIED,
        },
        v6: match of(false) {
            Some(IpAddr::V6(v6)) => Some(v6),
            _ => None::<Ipv6Addr>,
        },
    }
}
