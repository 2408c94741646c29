//! Which tables of others drop what this firewall lets pass.
//!
//! An accept holds for its own base chain only; a drop anywhere is final. So a distribution's ufw, a
//! firewalld, or the `FORWARD` chain that Docker sets to drop can cut off a container although no
//! rule of ours does.

use std::fmt;

use super::eval::{Fate, Packet, judge};
use super::{Firewall, Network};
use crate::nft::{Chain, Family, Hook, Ruleset};

/// A way that packets go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// From containers to the world.
    Out,
    /// From the world to a published port.
    In,
    /// From containers to this host, names among it.
    ToHost,
    /// From this host to containers.
    FromHost,
}

impl Way {
    const ALL: [Self; 4] = [Self::Out, Self::In, Self::ToHost, Self::FromHost];

    fn hooks(&self) -> &'static [Hook] {
        match self {
            Self::Out | Self::In => &[Hook::Prerouting, Hook::Forward, Hook::Postrouting],
            Self::ToHost => &[Hook::Prerouting, Hook::Input],
            Self::FromHost => &[Hook::Output, Hook::Postrouting],
        }
    }

    fn packet(&self, bridge: &str, uplink: Option<&str>, v6: bool, hook: Hook) -> Packet {
        let mut packet = Packet {
            v6,
            ..Packet::default()
        };
        let routed = matches!(hook, Hook::Forward | Hook::Output | Hook::Postrouting);
        let bridge = Some(bridge.to_owned());
        let uplink = uplink.map(str::to_owned);
        match self {
            Self::Out => {
                packet.incoming = bridge;
                packet.outgoing = uplink.filter(|_| routed);
            }
            Self::ToHost => {
                packet.incoming = bridge;
                packet.local = true;
            }
            Self::In => {
                packet.incoming = uplink;
                packet.outgoing = bridge.filter(|_| routed);
                packet.redirected = routed;
                packet.local = !routed;
            }
            Self::FromHost => {
                packet.incoming = Some(String::new());
                packet.outgoing = bridge;
            }
        }
        packet
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Out => "what containers send to the world",
            Self::In => "what comes in for published ports",
            Self::ToHost => "what containers send to this host",
            Self::FromHost => "what this host sends to containers",
        })
    }
}

/// A chain of somebody else's that stops packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker {
    /// The base chain.
    pub chain: Chain,
    /// The bridge of the network that is cut off.
    pub bridge: String,
    /// In which direction.
    pub way: Way,
    /// Of IPv6, or of IPv4.
    pub v6: bool,
    /// The rule that does it, in the syntax of nft; None: the chain's policy.
    pub rule: Option<String>,
    /// Whether it stops all of it. If not, some rule that could not be judged may let it pass: one
    /// for certain ports, say.
    pub certain: bool,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Chain { table, name, base } = &self.chain;
        write!(f, "table {table}, chain {name}")?;
        if let Some(base) = base {
            write!(f, " (hook {}, priority {})", base.hook, base.priority)?;
        }
        match &self.rule {
            Some(rule) => write!(f, ": rule `{rule}`")?,
            None => f.write_str(": policy drop")?,
        }
        let family = if self.v6 { "IPv6" } else { "IPv4" };
        let stops = if self.certain { "stops" } else { "may stop" };
        write!(
            f,
            " {stops} {} on {:?} over {family}",
            self.way, self.bridge
        )
    }
}

/// Which chains of `ruleset` stop packets of these networks; `firewall`'s own are not asked.
///
/// `uplink` is the interface of this host that leads to the world; without it rules about interfaces
/// that are not the bridge cannot be judged.
///
/// A pure function: [`Ruleset::read`] makes its input. Chains of type `filter` in tables of inet, ip
/// and ip6 are looked at. What cannot be judged (sets of others, matches of xtables) is taken for a
/// reason to say *may*.
pub fn blockers(
    firewall: &Firewall,
    networks: &[Network],
    uplink: Option<&str>,
    ruleset: &Ruleset,
) -> Vec<Blocker> {
    let mut found = Vec::new();
    for chain in &ruleset.chains {
        if firewall.tables().contains(&&chain.table) {
            continue;
        }
        for network in networks {
            for way in Way::ALL {
                let apart = network.internal && matches!(way, Way::Out | Way::In);
                for v6 in [false, true].into_iter().filter(|_| !apart) {
                    if !network.subnets.iter().any(|s| s.address.is_ipv6() == v6) {
                        continue;
                    }
                    let stopped = base_of(chain, &way, v6).and_then(|hook| {
                        let packet = way.packet(&network.bridge, uplink, v6, hook);
                        stopped_by(ruleset, chain, &packet)
                    });
                    found.extend(stopped.map(|(rule, certain)| Blocker {
                        chain: chain.clone(),
                        bridge: network.bridge.clone(),
                        way: way.clone(),
                        v6,
                        rule,
                        certain,
                    }));
                }
            }
        }
    }
    found
}

/// The hook of a chain that filters packets on this way.
fn base_of(chain: &Chain, way: &Way, v6: bool) -> Option<Hook> {
    let base = chain.base.as_ref()?;
    let asked =
        base.kind == "filter" && chain.table.family.sees(v6) && way.hooks().contains(&base.hook);
    asked.then_some(base.hook)
}

/// The rule that drops the packet, or None for the policy; and whether that is certain.
pub(super) fn stopped_by(
    ruleset: &Ruleset,
    chain: &Chain,
    packet: &Packet,
) -> Option<(Option<String>, bool)> {
    let judged = judge(ruleset, &chain.table, &chain.name, packet);
    let policy = chain.base.as_ref().is_some_and(|base| base.drop);
    match judged.fate {
        Fate::Dropped(rule) => Some((Some(rule.describe()), judged.certain)),
        Fate::Accepted(None) if policy => Some((None, judged.certain)),
        _ => None,
    }
}

/// The base chains of one hook that see a family, in the order in which they are asked.
pub(super) fn chains_at(ruleset: &Ruleset, hook: Hook, v6: bool) -> Vec<&Chain> {
    let priority = |chain: &&Chain| {
        let base = chain.base.as_ref();
        base.filter(|base| base.hook == hook)
            .map(|base| base.priority)
    };
    let mut chains: Vec<&Chain> = ruleset
        .chains
        .iter()
        .filter(|chain| chain.table.family.sees(v6) && priority(chain).is_some())
        .collect();
    chains.sort_by_key(|chain| (priority(chain), chain.table.family != Family::Inet));
    chains
}
