//! What a packet to a port of this host meets, told without sending one.

use std::fmt;
use std::net::IpAddr;

use super::blockers::{chains_at, stopped_by};
use super::eval::{Effect, Fate, Packet, judge};
use super::{Endpoint, Firewall, Network, Protocol};
use crate::Error;
use crate::nft::{Chain, Hook, Ruleset};

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// This host.
    Host,
    /// Another host, by the uplink.
    Remote,
    /// A container with this address on the network of this bridge.
    Container {
        /// The bridge.
        bridge: String,
        /// The container's address.
        address: IpAddr,
    },
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who sends the packet.
    pub from: From,
    /// Its transport.
    pub protocol: Protocol,
    /// Where it goes.
    pub address: IpAddr,
    /// The port there.
    pub port: u16,
    /// Whether the address is one of this host; a trace knows those of no interface.
    pub local: bool,
    /// The interface of this host that leads to the world.
    pub uplink: String,
}

/// One thing that happens on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Where.
    pub hook: Hook,
    /// `inet ctr forward`; of somebody else's chain that drops, theirs.
    pub chain: String,
    /// The rule, in the syntax of nft, or the chain's policy.
    pub rule: String,
    /// What becomes of the packet.
    pub outcome: String,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}: {}: {}",
            self.hook, self.chain, self.rule, self.outcome
        )
    }
}

/// Where it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// At a container.
    Container {
        /// Its port of the bridge.
        veth: String,
        /// Its address.
        address: IpAddr,
        /// Its port.
        port: u16,
        /// Whether the server sees the bridge's address instead of the sender's.
        masqueraded: bool,
    },
    /// At an address that would be a container's, but no container has it.
    NoContainer(IpAddr, u16),
    /// At whatever listens there on this host: nobody published the port.
    ThisHost,
    /// Nowhere near us: at another host.
    Elsewhere,
    /// The last hop drops it.
    Dropped,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container {
                veth,
                address,
                port,
                masqueraded,
            } => {
                write!(f, "container at {veth:?}, {address} port {port}, ")?;
                f.write_str(if *masqueraded {
                    "which sees the bridge's address as the sender"
                } else {
                    "which sees the sender's address"
                })
            }
            Self::NoContainer(address, port) => {
                write!(f, "{address} port {port}, which no container has")
            }
            Self::ThisHost => {
                f.write_str("this host itself: no container publishes the port on this address")
            }
            Self::Elsewhere => f.write_str("another host"),
            Self::Dropped => f.write_str("dropped"),
        }
    }
}

/// The way of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// What decided something, in order.
    pub hops: Vec<Hop>,
    /// Where it ends, as far as it is certain.
    pub end: End,
    /// Chains of others on the way that *may* drop it, in words.
    pub doubts: Vec<String>,
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hops.iter().try_for_each(|hop| writeln!(f, "{hop}"))?;
        self.doubts
            .iter()
            .try_for_each(|doubt| writeln!(f, "perhaps: {doubt}"))?;
        writeln!(f, "ends at: {}", self.end)
    }
}

impl Firewall {
    /// Which chains, rules and verdicts the first packet of a connection meets, and where it ends.
    ///
    /// A pure function: the rules are those that [`Firewall::whole`] would write, judged as the
    /// kernel would; `others` is what [`Ruleset::read`] found, and its chains are asked as well.
    ///
    /// # Errors
    ///
    /// As [`Firewall::whole`].
    pub fn trace(
        &self,
        networks: &[Network],
        endpoints: &[Endpoint],
        others: &Ruleset,
        question: &Question,
    ) -> Result<Trace, Error> {
        let own = self.wanted(networks, endpoints)?;
        let mut others = others.clone();
        let tables = self.tables();
        others
            .chains
            .retain(|chain| !tables.contains(&&chain.table));
        others.rules.retain(|rule| !tables.contains(&&rule.table));
        let mut walk = Walk {
            firewall: self,
            ruleset: own.and(others),
            networks,
            packet: packet(question),
            masqueraded: false,
            trace: Trace {
                hops: Vec::new(),
                end: End::Dropped,
                doubts: Vec::new(),
            },
        };
        if let Some(end) = walk.go(question, endpoints) {
            walk.trace.end = end;
        }
        Ok(walk.trace)
    }
}

fn packet(question: &Question) -> Packet {
    let (incoming, source) = match &question.from {
        // To an address of its own the host dials from that very address.
        From::Host => (
            Some(String::new()),
            question.local.then_some(question.address),
        ),
        From::Remote => (Some(question.uplink.clone()), None),
        From::Container { bridge, address } => (Some(bridge.clone()), Some(*address)),
    };
    Packet {
        v6: question.address.is_ipv6(),
        incoming,
        outgoing: None,
        source,
        destination: Some(question.address),
        dialled: Some(question.address),
        protocol: Some(question.protocol.number()),
        port: Some(question.port),
        local: question.local,
        redirected: false,
    }
}

struct Walk<'a> {
    firewall: &'a Firewall,
    ruleset: Ruleset,
    networks: &'a [Network],
    packet: Packet,
    masqueraded: bool,
    trace: Trace,
}

impl Walk<'_> {
    /// None: dropped.
    fn go(&mut self, question: &Question, endpoints: &[Endpoint]) -> Option<End> {
        if question.from == From::Host {
            self.hook(Hook::Output)?;
        } else {
            self.hook(Hook::Prerouting)?;
        }
        let destination = self.packet.destination?;
        let port = self.packet.port?;
        let network = self.networks.iter().find(|network| {
            network
                .subnets
                .iter()
                .any(|subnet| subnet.contains(destination))
        });
        if self.packet.local && !self.packet.redirected {
            if question.from != From::Host {
                self.hook(Hook::Input)?;
            }
            return Some(End::ThisHost);
        }
        self.packet.outgoing = Some(match network {
            Some(network) => network.bridge.clone(),
            None => question.uplink.clone(),
        });
        if question.from != From::Host {
            self.hook(Hook::Forward)?;
        }
        self.hook(Hook::Postrouting)?;
        if network.is_none() {
            return Some(End::Elsewhere);
        }
        let has = |endpoint: &&Endpoint| {
            endpoint.v4.map(IpAddr::from) == Some(destination)
                || endpoint.v6.map(IpAddr::from) == Some(destination)
        };
        Some(match endpoints.iter().find(has) {
            Some(endpoint) => End::Container {
                veth: endpoint.veth.clone(),
                address: destination,
                port,
                masqueraded: self.masqueraded,
            },
            None => End::NoContainer(destination, port),
        })
    }

    fn hook(&mut self, hook: Hook) -> Option<()> {
        let ruleset = std::mem::take(&mut self.ruleset);
        let passed = chains_at(&ruleset, hook, self.packet.v6)
            .into_iter()
            .all(|chain| self.chain(&ruleset, hook, chain));
        self.ruleset = ruleset;
        passed.then_some(())
    }

    fn chain(&mut self, ruleset: &Ruleset, hook: Hook, chain: &Chain) -> bool {
        let name = format!("{} {}", chain.table, chain.name);
        if !self.firewall.tables().contains(&&chain.table) {
            return self.other(ruleset, hook, chain, name);
        }
        let judged = judge(ruleset, &chain.table, &chain.name, &self.packet);
        let (rule, outcome) = match judged.fate {
            Fate::Accepted(None) => return true,
            Fate::Accepted(Some(rule)) => (rule, "accepted".to_owned()),
            Fate::Dropped(rule) => (rule, "dropped".to_owned()),
            Fate::Changed(rule, Effect::Redirect(address, port)) => {
                self.packet.destination = Some(address);
                self.packet.port = Some(port);
                self.packet.redirected = true;
                self.packet.local = false;
                (rule, format!("goes to {address} port {port}"))
            }
            Fate::Changed(rule, Effect::Masquerade) => {
                self.masqueraded = true;
                (
                    rule,
                    "gets the address of the outgoing interface".to_owned(),
                )
            }
        };
        let rule_chain = format!("{} {}", rule.table, rule.chain);
        let dropped = outcome == "dropped";
        self.trace.hops.push(Hop {
            hook,
            chain: rule_chain,
            rule: rule.describe(),
            outcome,
        });
        !dropped
    }

    /// Somebody else's chain shows only where it drops: what it accepts changes nothing.
    fn other(&mut self, ruleset: &Ruleset, hook: Hook, chain: &Chain, name: String) -> bool {
        if chain.base.as_ref().is_none_or(|base| base.kind != "filter") {
            return true;
        }
        let Some((rule, certain)) = stopped_by(ruleset, chain, &self.packet) else {
            return true;
        };
        let rule = rule.unwrap_or_else(|| "policy drop".to_owned());
        if !certain {
            self.trace.doubts.push(format!("{hook}: {name}: {rule}"));
            return true;
        }
        self.trace.hops.push(Hop {
            hook,
            chain: name,
            rule,
            outcome: "dropped".to_owned(),
        });
        false
    }
}
