//! The container's network.

use std::net::{IpAddr, SocketAddr};

use netns::HostResolv;

use crate::error::Diagnostic;
use crate::host::Host;
use crate::net::facts::NetFacts;
use crate::net::wiring::{self, Wiring};
use crate::net::{NetOp, NetworkError, pasta};
use crate::plan::{Note, Op};
use crate::spec::{At, Attachment, Network, Origin, Spec};

const BRIDGE: &str = "the network's bridge, which stays";
const NO_PASTA: &str = "no network: an ordinary user's containers get one from pasta (package passt), which is \
                        not installed, or this machine has no default route";
const PAIR: &str = "a cable from the bridge into the container";

/// Files that go over those of the root.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts {
    /// `/etc/hosts`
    pub(super) hosts: Option<String>,
    /// `/etc/resolv.conf`
    pub(super) resolv_conf: Option<Vec<u8>>,
}

/// What the supervisor does for it.
#[derive(Default)]
pub(super) struct Resolved {
    /// Claims, which say themselves whose they are.
    pub(super) claims: Vec<At<Op>>,
    /// After the clone, before GO.
    pub(super) between: Vec<At<Op>>,
    /// While the child goes on. It executes nothing before.
    pub(super) beside: Vec<At<Op>>,
    pub(super) wiring: Option<Wiring>,
    /// The supervisor puts interfaces into its namespace, `lo` among them, before GO.
    pub(super) wired: bool,
    /// A process whose namespace is entered.
    pub(super) joined: Option<At<u32>>,
    pub(super) texts: Texts,
    pub(super) notes: Vec<Note>,
}

pub(super) fn resolve(spec: &Spec, host: &Host) -> Result<Resolved, Vec<Diagnostic>> {
    let value = &spec.namespaces.net.value;
    let asked = match value {
        Network::None => {
            let hosts = loopback_hosts(spec).map_err(|problem| vec![problem])?;
            return Ok(Resolved {
                texts: Texts {
                    hosts: Some(hosts),
                    resolv_conf: None,
                },
                ..Resolved::default()
            });
        }
        Network::Host => {
            let resolv_conf = host.resolv_conf.clone();
            return Ok(Resolved {
                texts: Texts {
                    hosts: None,
                    resolv_conf,
                },
                ..Resolved::default()
            });
        }
        Network::Container(name) => {
            return joined(spec, name, host).map_err(|problem| vec![problem]);
        }
        Network::Bridge(asked) => asked,
    };
    let Some(facts) = &host.net else {
        return unprivileged(spec, asked, host);
    };
    bridged(spec, asked, facts, host).map_err(|problem| vec![problem])
}

/// On a bridge of this machine.
fn bridged(
    spec: &Spec,
    asked: &Attachment,
    facts: &NetFacts,
    host: &Host,
) -> Result<Resolved, Diagnostic> {
    let origin = spec.namespaces.net.origin;
    let wired = wiring::wire(asked, facts).and_then(|wired| {
        let hosts = wiring::hosts(&spec.hostname.value, Some(facts.address))?;
        Ok((wired, hosts, wiring::resolv_conf(facts)?))
    });
    let (wiring, hosts, resolv) = wired.map_err(|error| refused(origin, &error))?;
    let at = |op| At {
        value: Op::Net(op),
        origin,
    };
    let dir = host.state_root.join("net").join(&facts.network.name);
    let mut claims = Vec::new();
    if let Some(path) = facts.new.then(|| facts.path.clone()) {
        claims.push(at(NetOp::Define { path }));
    }
    claims.push(at(NetOp::ClaimAddress {
        dir: dir.join("leases"),
        address: wiring.member.v4,
    }));
    let mut between = vec![at(NetOp::HoldNamespace)];
    let mut wire = Vec::new();
    wire.extend(asked.publish.first().map(|first| At {
        value: Op::Net(NetOp::ReservePorts {
            publish: asked.publish.clone(),
            loopback6: wiring.loopback6,
        }),
        origin: first.origin,
    }));
    if !wiring.bridge.is_empty() {
        wire.push(at(NetOp::Links {
            purpose: BRIDGE,
            requests: wiring.bridge.clone(),
            shared: true,
        }));
    }
    if !wiring.settings.is_empty() {
        wire.push(at(NetOp::Settings(wiring.settings.clone())));
    }
    wire.push(at(NetOp::Firewall(wiring.firewall.clone())));
    let v6 = wiring.member.v6.map(IpAddr::V6);
    let addresses = [IpAddr::V4(wiring.member.v4)].into_iter().chain(v6);
    wire.push(at(NetOp::PublishNames {
        dir: dir.join("names"),
        names: names(spec, asked),
        addresses: addresses.collect(),
    }));
    let pair = NetOp::Links {
        purpose: PAIR,
        requests: wiring.pair.clone(),
        shared: false,
    };
    wire.extend([at(pair), at(NetOp::Inside(wiring.inside.clone()))]);
    let beside = match of_interfaces(spec) {
        false => wire,
        true => {
            between.append(&mut wire);
            Vec::new()
        }
    };
    Ok(Resolved {
        claims,
        between,
        beside,
        notes: forwarding_note(&wiring),
        wiring: Some(wiring),
        wired: true,
        joined: None,
        texts: Texts {
            hosts: Some(hosts),
            resolv_conf: Some(resolv.into_bytes()),
        },
    })
}

/// Whether the child sets kernel parameters that there are for each interface, or that decide what a new one
/// begins with: the interfaces come first then.
fn of_interfaces(spec: &Spec) -> bool {
    let mut asked = spec.sysctls.iter();
    asked.any(|sysctl| sysctl.value.0.starts_with("net."))
}

/// In the network namespace of another container.
fn joined(spec: &Spec, name: &str, host: &Host) -> Result<Resolved, Diagnostic> {
    let origin = spec.namespaces.net.origin;
    let Some(peer) = &host.peer else {
        let message = format!("there is no running container `{name}` to share the network of");
        return Err(Diagnostic::host(origin, message).help("start it first"));
    };
    Ok(Resolved {
        joined: Some(At {
            value: peer.pid,
            origin,
        }),
        texts: Texts {
            hosts: None,
            resolv_conf: peer.resolv_conf.clone(),
        },
        ..Resolved::default()
    })
}

pub(crate) fn refused(origin: Origin, error: &NetworkError) -> Diagnostic {
    let diagnostic = Diagnostic::host(origin, crate::cause::chain(error));
    match error.hint() {
        Some(hint) => diagnostic.help(hint),
        None => diagnostic,
    }
}

/// Its own name is the loopback's.
fn loopback_hosts(spec: &Spec) -> Result<String, Diagnostic> {
    wiring::hosts(&spec.hostname.value, None).map_err(|error| refused(spec.hostname.origin, &error))
}

fn names(spec: &Spec, asked: &Attachment) -> Vec<String> {
    let mut names = vec![spec.name.value.clone()];
    for alias in &asked.aliases {
        if !names.contains(&alias.value) {
            names.push(alias.value.clone());
        }
    }
    names
}

fn forwarding_note(wiring: &Wiring) -> Vec<Note> {
    let of_the_host = |setting: &&netns::sysctl::Setting| {
        !setting
            .key()
            .contains(&format!("/{}/", wiring.member.bridge))
    };
    let changed: Vec<&str> = wiring
        .settings
        .iter()
        .filter(of_the_host)
        .map(netns::sysctl::Setting::key)
        .collect();
    match changed[..] {
        [] => Vec::new(),
        _ => vec![Note::new(format!(
            "this machine does not forward packets; it will for its interfaces that containers are reached by: {}",
            changed.join(", ")
        ))],
    }
}

/// An ordinary user cannot make bridges.
fn unprivileged(spec: &Spec, asked: &Attachment, host: &Host) -> Result<Resolved, Vec<Diagnostic>> {
    let origin = spec.namespaces.net.origin;
    let hosts = Some(loopback_hosts(spec).map_err(|problem| vec![problem])?);
    let unsupported = pasta::unsupported(asked);
    if !unsupported.is_empty() {
        return Err(unsupported);
    }
    let Some(program) = &host.pasta else {
        if origin == Origin::Default {
            return Ok(Resolved {
                notes: vec![Note::new(NO_PASTA)],
                texts: Texts {
                    hosts,
                    resolv_conf: None,
                },
                ..Resolved::default()
            });
        }
        let help = "install the package passt, or use `mode = \"none\"`";
        let message =
            "an ordinary user's containers get their network from pasta, which is not installed";
        return Err(vec![Diagnostic::host(origin, message).help(help)]);
    };
    let ports = asked.publish.first().map(|first| At {
        value: Op::Net(NetOp::ReservePorts {
            publish: asked.publish.clone(),
            loopback6: false,
        }),
        origin: first.origin,
    });
    let run = At {
        value: Op::Net(NetOp::Pasta {
            program: program.clone(),
            call: pasta::describe(program, asked),
        }),
        origin,
    };
    Ok(Resolved {
        // After the clone: the child would hold the ports as well, and pasta could not have them.
        between: ports.into_iter().chain([run]).collect(),
        wired: true,
        texts: Texts {
            hosts,
            resolv_conf: Some(resolv_conf(asked, host).into_bytes()),
        },
        ..Resolved::default()
    })
}

/// pasta passes on what is asked of its own addresses.
fn resolv_conf(asked: &Attachment, host: &Host) -> String {
    let mut upstream: Vec<IpAddr> = asked.dns.iter().map(|server| server.value).collect();
    if upstream.is_empty() {
        let text = host.resolv_conf.as_deref().unwrap_or_default();
        let servers = HostResolv::parse(text).upstreams();
        upstream = servers.iter().map(SocketAddr::ip).collect();
    }
    let lines = pasta::resolvers(&upstream);
    lines
        .iter()
        .map(|server| format!("nameserver {server}\n"))
        .collect()
}
