//! Networks as their users manage them: make, list, remove, mend, explain.

use std::net::{IpAddr, Ipv4Addr};

use netns::firewall::{Blocker, End, Firewall, Question, Trace, blockers};
use netns::nft::{self, Ruleset};
use netns::route::{Link, LinkName, Master, Request, SetLink, Socket, Statistics};

use super::define::{Defined, NetworkError, Networks};
use super::facts::{self, bridge_netfilter, table_name};
use super::heal;
use super::member::Member;
use super::serve::Roots;
use super::wiring;
use crate::run::Options;
use crate::spec::{NetworkSpec, Protocol};

/// A network, and who is on it.
#[derive(Debug, Clone)]
pub struct Overview {
    /// The network.
    pub network: Defined,
    /// Its bridge is there: a container has been on it since the boot.
    pub present: bool,
    /// Bytes and packets of the bridge.
    pub statistics: Option<Statistics>,
    /// Running containers, by name.
    pub members: Vec<(String, Member)>,
}

/// All networks.
///
/// # Errors
/// A definition that cannot be read, or what netlink says.
pub fn list(options: &Options) -> Result<Vec<Overview>, NetworkError> {
    let roots = roots(options);
    let members = heal::members(&roots);
    let mut socket = Socket::open()?;
    let overview = |network: Defined| -> Result<Overview, NetworkError> {
        let name = LinkName::new(&network.bridge)?;
        let interface = match socket.interface(&Link::from(name)) {
            // Made with its first container.
            Err(error) if error.errno() == Some(rustix::io::Errno::NODEV) => None,
            found => Some(found?),
        };
        let here = |(_, member): &&(String, Member)| member.network == network.name;
        Ok(Overview {
            present: interface.is_some(),
            statistics: interface.map(|interface| interface.statistics),
            members: members.iter().filter(here).cloned().collect(),
            network,
        })
    };
    roots.networks.list()?.into_iter().map(overview).collect()
}

/// One network.
///
/// # Errors
/// [`NetworkError::Unknown`], and as [`list`].
pub fn inspect(options: &Options, name: &str) -> Result<Overview, NetworkError> {
    let unknown = || NetworkError::Unknown { name: name.into() };
    list(options)?
        .into_iter()
        .find(|overview| overview.network.name == name)
        .ok_or_else(unknown)
}

/// Describe a new network. Its bridge is made with its first container.
///
/// # Errors
/// [`NetworkError::Different`] when there is one of this name; subnets that overlap something.
pub fn create(options: &Options, spec: &NetworkSpec) -> Result<Defined, NetworkError> {
    let networks = Networks::of(&options.data_root);
    if networks.get(&spec.name)?.is_some() {
        return Err(NetworkError::Different {
            name: spec.name.clone(),
        });
    }
    Ok(networks.ensure(spec, || Ok(facts::host_net()?))?.0)
}

/// Remove a network with its bridge, rules and what the dead left of it.
///
/// # Errors
/// [`NetworkError::InUse`] while containers are on it, [`NetworkError::Unknown`], a failing call.
pub fn remove(options: &Options, name: &str) -> Result<(), NetworkError> {
    let overview = inspect(options, name)?;
    if !overview.members.is_empty() {
        let users = overview.members.into_iter().map(|(name, _)| name).collect();
        return Err(NetworkError::InUse {
            name: name.into(),
            users,
        });
    }
    let firewall = firewall(&options.state_root)?;
    let mut rules = nft::Socket::open()?;
    if rules.has_table(firewall.tables()[0])? {
        rules.commit_removal(&firewall.remove_network(&overview.network.firewall())?)?;
    }
    if overview.present {
        let bridge = LinkName::new(&overview.network.bridge)?;
        Socket::open()?.apply(&[Request::DeleteLink(bridge.into())])?;
    }
    let dir = options.state_root.join("net").join(name);
    if let Err(error) = std::fs::remove_dir_all(&dir)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(NetworkError::Call {
            call: "rmdir",
            path: dir,
            errno: rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO),
        });
    }
    Networks::of(&options.data_root).remove(name)
}

/// What [`mend`] found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mended {
    /// Bridges that were gone, and are there again.
    pub bridges: Vec<String>,
    /// How the firewall was not as it should be.
    pub firewall: Vec<String>,
    /// What others' firewalls stop.
    pub blockers: Vec<String>,
}

/// Put bridges and rules back to what they should be, for all networks with running containers.
///
/// # Errors
/// What could not be read or written.
pub fn mend(options: &Options) -> Result<Mended, NetworkError> {
    let roots = roots(options);
    let members = heal::members(&roots);
    let present = heal::present(&roots)?;
    let mut mended = Mended::default();
    let mut socket = Socket::open()?;
    for network in roots.networks.list()? {
        let here: Vec<&Member> = members
            .iter()
            .map(|(_, member)| member)
            .filter(|member| member.network == network.name)
            .collect();
        if here.is_empty() || present.iter().any(|there| there.name == network.name) {
            continue;
        }
        socket.apply(&wiring::bridge(&network)?)?;
        netns::sysctl::apply(&wiring::bridge_settings(&network)?)?;
        let hairpin = bridge_netfilter();
        for member in here {
            let mut port = SetLink::new(LinkName::new(&member.veth)?);
            port.master = Master::Of(LinkName::new(&network.bridge)?.into());
            let link = port.link.clone();
            socket.apply(&[Request::SetLink(port)])?;
            socket.apply(&[wiring::forwarding(link.clone(), member.v4)])?;
            if hairpin {
                socket.apply(&[wiring::hairpin(link)])?;
            }
        }
        mended.bridges.push(network.bridge);
    }
    netns::sysctl::apply(&facts::missing_forwarding(&mut socket)?)?;
    let used = !members.is_empty() || !heal::present(&roots)?.is_empty();
    if used {
        let found = heal::heal(&roots)?;
        mended.firewall = found.iter().map(ToString::to_string).collect();
        mended.blockers = stopped_by(&roots)?
            .iter()
            .map(ToString::to_string)
            .collect();
    }
    Ok(mended)
}

/// Chains of others that stop packets of our networks.
pub(crate) fn stopped_by(roots: &Roots) -> Result<Vec<Blocker>, NetworkError> {
    let firewall = firewall(&roots.run)?;
    let networks: Vec<_> = heal::present(roots)?
        .iter()
        .map(Defined::firewall)
        .collect();
    let ruleset = Ruleset::read(&mut nft::Socket::open()?)?;
    let uplink = facts::uplink()?;
    Ok(blockers(&firewall, &networks, uplink.as_deref(), &ruleset))
}

/// The way of a packet to a port of this host, and whose container is at its end.
#[derive(Debug, Clone)]
pub struct Explained {
    /// Who sends it.
    pub from: &'static str,
    /// To which address of the host.
    pub address: IpAddr,
    /// Hops and end.
    pub trace: Trace,
    /// The container at the end.
    pub container: Option<String>,
}

/// What a packet to `port` meets: from this host, and from another one.
///
/// # Errors
/// What could not be read.
pub fn explain(
    options: &Options,
    protocol: Protocol,
    port: u16,
) -> Result<Vec<Explained>, NetworkError> {
    use netns::firewall::{From, Protocol as Transport};
    let roots = roots(options);
    let members = heal::members(&roots);
    let networks: Vec<_> = heal::present(&roots)?
        .iter()
        .map(Defined::firewall)
        .collect();
    let endpoints: Vec<_> = members
        .iter()
        .map(|(_, member)| member.endpoint())
        .collect();
    let firewall = firewall(&roots.run)?;
    let others = Ruleset::read(&mut nft::Socket::open()?)?;
    let own = own_address(&members)?;
    let uplink = facts::uplink()?.unwrap_or_default();
    let ways = [
        ("this host", From::Host, IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ("this host", From::Host, own),
        ("another host", From::Remote, own),
    ];
    let protocol = match protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Udp => Transport::Udp,
    };
    let told = |(from, sender, address)| -> Result<Explained, NetworkError> {
        let question = Question {
            from: sender,
            protocol,
            address,
            port,
            local: true,
            uplink: uplink.clone(),
        };
        let trace = firewall.trace(&networks, &endpoints, &others, &question)?;
        let container = match &trace.end {
            End::Container { veth, .. } => {
                let found = members.iter().find(|(_, member)| member.veth == *veth);
                found.map(|(name, _)| name.clone())
            }
            _ => None,
        };
        Ok(Explained {
            from,
            address,
            trace,
            container,
        })
    };
    ways.into_iter().map(told).collect()
}

/// An address by which others reach this host: not of a bridge of ours.
fn own_address(members: &[(String, Member)]) -> Result<IpAddr, NetworkError> {
    let mut socket = Socket::open()?;
    let links = socket.interfaces()?;
    let ours = |index: u32| {
        links.iter().any(|link| {
            link.index == index
                && (link.name == "lo"
                    || link.name.starts_with("ctr")
                    || members.iter().any(|(_, member)| member.bridge == link.name))
        })
    };
    let addresses = socket.addresses()?;
    let found = addresses
        .iter()
        .filter(|address| !ours(address.index))
        .map(|address| address.prefix.address())
        .find(IpAddr::is_ipv4);
    Ok(found.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)))
}

fn firewall(run_root: &std::path::Path) -> Result<Firewall, NetworkError> {
    Ok(Firewall::new(&table_name(run_root))?.loopback6(!bridge_netfilter()))
}

fn roots(options: &Options) -> Roots {
    Roots {
        run: options.state_root.clone(),
        networks: Networks::of(&options.data_root),
    }
}
