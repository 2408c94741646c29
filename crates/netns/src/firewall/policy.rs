//! From networks and endpoints to batches.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use super::model::policy;
use super::{Endpoint, HostAddress, Network, Prefix, rules};
use crate::Error;
use crate::nft::{
    Batch, Change, Element, Family, Filled, Ruleset, Set, Socket, Table, Value, Yield,
};

/// The tables of one engine root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firewall {
    inet: Table,
    bridge: Table,
    loopback6: bool,
}

/// Where the kernel holds something else than what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// This is not there.
    Missing(String),
    /// This is there, and should not be.
    Unexpected(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(what) => write!(f, "missing: {what}"),
            Self::Unexpected(what) => write!(f, "unexpected: {what}"),
        }
    }
}

/// What belongs into which set.
type Elements = BTreeMap<&'static str, BTreeSet<Element>>;

impl Firewall {
    /// The tables `inet NAME` and `bridge NAME`; nothing is asked of the kernel.
    ///
    /// # Errors
    ///
    /// [`Error::Policy`] for a name that is not 1 to 32 of `a-z 0-9 _ -`, beginning with a letter.
    pub fn new(name: &str) -> Result<Self, Error> {
        let fine = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
        if !begins || name.len() > 32 || !name.bytes().all(fine) {
            let why = "must be 1 to 32 of a-z 0-9 _ - and begin with a letter";
            return Err(policy("table name", name, why));
        }
        let table = |family| Table {
            family,
            name: name.to_owned(),
        };
        Ok(Self {
            inet: table(Family::Inet),
            bridge: table(Family::Bridge),
            loopback6: true,
        })
    }

    /// Whether published ports are redirected when this host dials `::1`; they are unless this says
    /// otherwise.
    ///
    /// Say no where `net.bridge.bridge-nf-call-ip6tables` is 1: the kernel then gives an answer its
    /// destination `::1` back before it checks that none comes in by an interface (`ip6_rcv_core`),
    /// and drops it. Not redirected, a dialler is refused at once and tries `127.0.0.1`; redirected,
    /// it would hang.
    #[must_use]
    pub fn loopback6(self, redirected: bool) -> Self {
        Self {
            loopback6: redirected,
            ..self
        }
    }

    /// The two tables.
    pub fn tables(&self) -> [&Table; 2] {
        [&self.inet, &self.bridge]
    }

    /// Makes tables, chains and sets unless they are there, and writes the rules anew. Networks and
    /// endpoints that are there stay.
    pub fn base(&self) -> Batch {
        let mut changes: Vec<Change> = self.tables().map(|t| Change::AddTable(t.clone())).into();
        changes.extend(
            rules::chains(&self.inet, &self.bridge)
                .into_iter()
                .map(Change::AddChain),
        );
        changes.extend(self.sets().into_iter().map(Change::AddSet));
        changes.extend(self.tables().map(|t| Change::FlushTable(t.clone())));
        self.put(&mut changes, constants(), |set, elements| {
            Change::AddElements { set, elements }
        });
        changes.extend(
            rules::rules(&self.inet, &self.bridge, self.loopback6)
                .into_iter()
                .map(Change::AddRule),
        );
        Batch { changes }
    }

    /// Adds a network. Nothing changes if it is there.
    ///
    /// # Errors
    ///
    /// [`Error::Policy`] for a name or prefix that cannot be.
    pub fn add_network(&self, network: &Network) -> Result<Batch, Error> {
        network.check()?;
        Ok(self.adding(of_network(network)))
    }

    /// Removes a network; for [`Socket::commit_removal`].
    ///
    /// # Errors
    ///
    /// As [`Firewall::add_network`].
    pub fn remove_network(&self, network: &Network) -> Result<Batch, Error> {
        network.check()?;
        Ok(self.removing(of_network(network)))
    }

    /// Adds a container: one element for each of its addresses and published ports.
    ///
    /// The kernel refuses (`EEXIST`, some say `EBUSY`) a port that leads elsewhere already.
    ///
    /// # Errors
    ///
    /// [`Error::Policy`] for a name, prefix or port that cannot be.
    pub fn add_endpoint(&self, endpoint: &Endpoint) -> Result<Batch, Error> {
        endpoint.check()?;
        Ok(self.adding(of_endpoint(endpoint)))
    }

    /// Removes a container; for [`Socket::commit_removal`].
    ///
    /// # Errors
    ///
    /// As [`Firewall::add_endpoint`].
    pub fn remove_endpoint(&self, endpoint: &Endpoint) -> Result<Batch, Error> {
        endpoint.check()?;
        Ok(self.removing(of_endpoint(endpoint)))
    }

    /// Writes everything anew, whatever was there. Packets meet the old tables or the new ones,
    /// never none; connections go on.
    ///
    /// # Errors
    ///
    /// As [`Firewall::add_network`] and [`Firewall::add_endpoint`].
    pub fn whole(&self, networks: &[Network], endpoints: &[Endpoint]) -> Result<Batch, Error> {
        let mut changes = self.remove().changes;
        changes.extend(self.tables().map(|t| Change::AddTable(t.clone())));
        changes.extend(
            rules::chains(&self.inet, &self.bridge)
                .into_iter()
                .map(Change::AddChain),
        );
        changes.extend(self.sets().into_iter().map(Change::AddSet));
        self.put(
            &mut changes,
            everything(networks, endpoints)?,
            |set, elements| Change::AddElements { set, elements },
        );
        changes.extend(
            rules::rules(&self.inet, &self.bridge, self.loopback6)
                .into_iter()
                .map(Change::AddRule),
        );
        Ok(Batch { changes })
    }

    /// Removes both tables; fine if they are not there.
    pub fn remove(&self) -> Batch {
        let both = self.tables().map(|table| {
            // Made first, for a table that is not there cannot be deleted.
            [
                Change::AddTable(table.clone()),
                Change::DeleteTable(table.clone()),
            ]
        });
        Batch {
            changes: both.concat(),
        }
    }

    /// What the kernel holds of the two tables.
    ///
    /// # Errors
    ///
    /// [`Error::Netlink`], [`Error::Listing`].
    pub fn held(&self, socket: &mut Socket) -> Result<Ruleset, Error> {
        let inet = Ruleset::read_table(socket, &self.inet)?;
        Ok(inet.and(Ruleset::read_table(socket, &self.bridge)?))
    }

    /// What the kernel should hold of the two tables.
    ///
    /// # Errors
    ///
    /// As [`Firewall::whole`].
    pub fn wanted(&self, networks: &[Network], endpoints: &[Endpoint]) -> Result<Ruleset, Error> {
        let mut elements = everything(networks, endpoints)?;
        let fill = |set: Set| Filled {
            elements: elements
                .remove(set.name.as_str())
                .unwrap_or_default()
                .into_iter()
                .collect(),
            set,
        };
        Ok(Ruleset {
            tables: self.tables().map(Table::clone).into(),
            chains: rules::chains(&self.inet, &self.bridge),
            rules: rules::rules(&self.inet, &self.bridge, self.loopback6),
            sets: self.sets().into_iter().map(fill).collect(),
        })
    }

    /// Where what the kernel holds is not what is wanted; nothing if all is well.
    ///
    /// # Errors
    ///
    /// As [`Firewall::whole`].
    pub fn differences(
        &self,
        networks: &[Network],
        endpoints: &[Endpoint],
        held: &Ruleset,
    ) -> Result<Vec<Difference>, Error> {
        let wanted = self.wanted(networks, endpoints)?;
        let mut found = Vec::new();
        compare(&mut found, "table", &wanted.tables, &held.tables);
        compare(&mut found, "chain", &wanted.chains, &held.chains);
        compare(&mut found, "rule", &wanted.rules, &held.rules);
        let sets = |ruleset: &Ruleset| -> Vec<Set> {
            ruleset
                .sets
                .iter()
                .map(|filled| filled.set.clone())
                .collect()
        };
        compare(&mut found, "set", &sets(&wanted), &sets(held));
        for want in &wanted.sets {
            if let Some(have) = held.sets.iter().find(|have| have.set == want.set) {
                let what = format!("element {} {}", want.set.table, want.set.name);
                compare(&mut found, &what, &want.elements, &have.elements);
            }
        }
        // All rules are there: then their order counts.
        if found.is_empty() {
            for chain in &wanted.chains {
                let order = |ruleset: &'_ Ruleset| -> Vec<_> {
                    ruleset
                        .rules_of(&chain.table, &chain.name)
                        .cloned()
                        .collect()
                };
                if order(&wanted) != order(held) {
                    let what = format!("chain {} {} in another order", chain.table, chain.name);
                    found.push(Difference::Unexpected(what));
                }
            }
        }
        Ok(found)
    }

    fn sets(&self) -> Vec<Set> {
        rules::sets(&self.inet, &self.bridge)
    }

    fn adding(&self, elements: Elements) -> Batch {
        let mut changes = Vec::new();
        self.put(&mut changes, elements, |set, elements| {
            Change::AddElements { set, elements }
        });
        Batch { changes }
    }

    /// Each element by itself: one that is gone must not keep the others.
    fn removing(&self, elements: Elements) -> Batch {
        let mut changes = Vec::new();
        for (name, elements) in elements {
            for element in elements {
                let one = Elements::from([(name, BTreeSet::from([element]))]);
                self.put(&mut changes, one, |set, elements| Change::DeleteElements {
                    set,
                    elements,
                });
            }
        }
        Batch { changes }
    }

    /// In the order in which the sets are declared.
    fn put(
        &self,
        changes: &mut Vec<Change>,
        mut elements: Elements,
        change: impl Fn(Set, Vec<Element>) -> Change,
    ) {
        for set in self.sets() {
            if let Some(elements) = elements.remove(set.name.as_str()) {
                changes.push(change(set, elements.into_iter().collect()));
            }
        }
        debug_assert!(elements.is_empty(), "no such set: {elements:?}");
    }
}

fn compare<T: PartialEq + fmt::Display>(
    found: &mut Vec<Difference>,
    what: &str,
    wanted: &[T],
    held: &[T],
) {
    // Both are in the same order as a rule, so that the search is short.
    let missing = |from: &[T], of: &[T]| -> Vec<String> {
        let mut at = 0;
        let mut list = Vec::new();
        for one in from {
            if of.get(at) == Some(one) {
                at += 1;
            } else if let Some(found) = of.iter().position(|other| other == one) {
                at = found + 1;
            } else {
                list.push(format!("{what} {one}"));
            }
        }
        list
    };
    found.extend(missing(wanted, held).into_iter().map(Difference::Missing));
    found.extend(
        missing(held, wanted)
            .into_iter()
            .map(Difference::Unexpected),
    );
    if wanted.len() < held.len() && found.is_empty() {
        found.push(Difference::Unexpected(format!(
            "a second {what} of the same kind"
        )));
    }
}

fn constants() -> Elements {
    let mut all = Elements::new();
    for (set, element) in rules::constants() {
        all.entry(set).or_default().insert(element);
    }
    all
}

fn everything(networks: &[Network], endpoints: &[Endpoint]) -> Result<Elements, Error> {
    let mut all = constants();
    let mut merge = |some: Elements| {
        for (set, elements) in some {
            all.entry(set).or_default().extend(elements);
        }
    };
    for network in networks {
        network.check()?;
        merge(of_network(network));
    }
    for endpoint in endpoints {
        endpoint.check()?;
        merge(of_endpoint(endpoint));
    }
    Ok(all)
}

fn of_network(network: &Network) -> Elements {
    let mut all = Elements::new();
    let mut add = |set, key| {
        all.entry(set).or_default().insert(Element {
            key,
            yields: Yield::Nothing,
        });
    };
    let bridge = || Value::Interface(network.bridge.clone());
    add("bridges", vec![bridge()]);
    add("inside", vec![bridge(), bridge()]);
    if network.internal {
        add("internal", vec![bridge()]);
    }
    if !network.metadata_allowed {
        add("no_metadata", vec![bridge()]);
    }
    for subnet in &network.subnets {
        let set = if subnet.address.is_ipv4() {
            "home4"
        } else {
            "home6"
        };
        add(
            set,
            vec![Value::prefix(subnet.address, subnet.length), bridge()],
        );
    }
    all
}

/// Without those that lie in another: the kernel refuses ranges that overlap.
fn outermost(prefixes: &[Prefix]) -> impl Iterator<Item = &Prefix> {
    prefixes.iter().filter(|inner| {
        !prefixes
            .iter()
            .any(|outer| outer.length < inner.length && outer.contains(inner.address))
    })
}

fn of_endpoint(endpoint: &Endpoint) -> Elements {
    let mut all = Elements::new();
    let mut add = |set, key, yields| {
        all.entry(set).or_default().insert(Element { key, yields });
    };
    let veth = || Value::Interface(endpoint.veth.clone());
    add("ports", vec![veth()], Yield::Nothing);
    let addresses = [endpoint.v4.map(IpAddr::from), endpoint.v6.map(IpAddr::from)];
    for own in addresses.into_iter().flatten() {
        let four = own.is_ipv4();
        let pick = |v4, v6| if four { v4 } else { v6 };
        add(
            pick("sources4", "sources6"),
            vec![veth(), own.into()],
            Yield::Nothing,
        );
        if let Some(allowed) = &endpoint.egress {
            add(
                pick("restricted4", "restricted6"),
                vec![own.into()],
                Yield::Nothing,
            );
            for prefix in outermost(allowed).filter(|p| p.address.is_ipv4() == four) {
                let key = vec![own.into(), Value::prefix(prefix.address, prefix.length)];
                add(pick("allowed4", "allowed6"), key, Yield::Nothing);
            }
        }
        for published in &endpoint.published {
            let port = [
                Value::Protocol(published.protocol.number()),
                Value::Port(published.host_port),
            ];
            let (set, key) = match published.address {
                HostAddress::AnyV4 if four => ("published4", port.to_vec()),
                HostAddress::AnyV6 if !four => ("published6", port.to_vec()),
                HostAddress::One(address) if address.is_ipv4() == four => {
                    let set = pick("published4_at", "published6_at");
                    (set, [&[address.into()], &port[..]].concat())
                }
                _ => continue,
            };
            add(
                set,
                key,
                Yield::Values(vec![own.into(), Value::Port(published.port)]),
            );
        }
    }
    all
}
