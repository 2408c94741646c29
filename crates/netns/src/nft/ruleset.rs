//! What the kernel holds.

use super::attr::{Message, Writer};
use super::socket::Question;
use super::uapi::{ELEM_LIST_SET, ELEM_LIST_TABLE, RULE_TABLE, SET_TABLE};
use super::{Chain, Element, Family, Rule, Set, Socket, Table, decode};
use crate::Error;

/// A set with what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    /// The set.
    pub set: Set,
    /// Its elements, sorted.
    pub elements: Vec<Element>,
}

/// Tables, chains and rules, and of one's own table the sets as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// All of them.
    pub tables: Vec<Table>,
    /// All of them.
    pub chains: Vec<Chain>,
    /// All of them, in the order in which they run.
    pub rules: Vec<Rule>,
    /// The sets whose keys have types that this crate knows.
    pub sets: Vec<Filled>,
}

/// How often a listing is tried that changes overtake.
const ATTEMPTS: usize = 10;

impl Ruleset {
    /// Reads tables, chains and rules of everybody; no sets.
    ///
    /// # Errors
    ///
    /// [`Error::Netlink`]; [`Error::Listing`] when the ruleset changes all the time.
    pub fn read(socket: &mut Socket) -> Result<Self, Error> {
        consistent(socket, |socket| {
            Ok(Self {
                tables: list(socket, TABLES, 0, |_| {}, decode::table)?,
                chains: list(socket, CHAINS, 0, |_| {}, decode::chain)?,
                rules: list(socket, RULES, 0, |_| {}, decode::rule)?,
                sets: Vec::new(),
            })
        })
    }

    /// Reads one table with all that is in it. A table that is not there is an empty ruleset.
    ///
    /// # Errors
    ///
    /// As [`Ruleset::read`].
    pub fn read_table(socket: &mut Socket, table: &Table) -> Result<Self, Error> {
        let family = table.family.number();
        consistent(socket, |socket| {
            let mut held = Self {
                tables: list(socket, TABLES, family, |_| {}, decode::table)?,
                ..Self::default()
            };
            held.tables.retain(|found| found == table);
            if held.tables.is_empty() {
                return Ok(held);
            }
            held.chains = list(socket, CHAINS, family, |_| {}, decode::chain)?;
            held.chains.retain(|chain| chain.table == *table);
            let of = |w: &mut Writer| w.string(RULE_TABLE, &table.name);
            held.rules = list(socket, RULES, family, of, decode::rule)?;
            held.rules.retain(|rule| rule.table == *table);
            let of = |w: &mut Writer| w.string(SET_TABLE, &table.name);
            let mut sets = list(socket, SETS, family, of, decode::set)?;
            sets.retain(|set| set.table == *table);
            for set in sets {
                let elements = elements(socket, &set)?;
                held.sets.push(Filled { set, elements });
            }
            Ok(held)
        })
    }

    /// Puts two together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.tables.extend(other.tables);
        self.chains.extend(other.chains);
        self.rules.extend(other.rules);
        self.sets.extend(other.sets);
        self
    }

    /// The rules of one chain, in order.
    pub fn rules_of<'a>(
        &'a self,
        table: &'a Table,
        chain: &'a str,
    ) -> impl Iterator<Item = &'a Rule> {
        self.rules
            .iter()
            .filter(move |rule| rule.table == *table && rule.chain == chain)
    }
}

type Listing = (&'static str, libc::c_int);
const TABLES: Listing = ("NFT_MSG_GETTABLE, NLM_F_DUMP", libc::NFT_MSG_GETTABLE);
const CHAINS: Listing = ("NFT_MSG_GETCHAIN, NLM_F_DUMP", libc::NFT_MSG_GETCHAIN);
const RULES: Listing = ("NFT_MSG_GETRULE, NLM_F_DUMP", libc::NFT_MSG_GETRULE);
const SETS: Listing = ("NFT_MSG_GETSET, NLM_F_DUMP", libc::NFT_MSG_GETSET);
const ELEMENTS: Listing = ("NFT_MSG_GETSETELEM, NLM_F_DUMP", libc::NFT_MSG_GETSETELEM);

/// One listing is consistent in itself (see [`list`]), several are if the generation stayed.
fn consistent(
    socket: &mut Socket,
    read: impl Fn(&mut Socket) -> Result<Ruleset, Error>,
) -> Result<Ruleset, Error> {
    for _ in 0..ATTEMPTS {
        let before = socket.generation()?;
        let held = read(socket);
        if socket.generation()? == before {
            return held;
        }
    }
    Err(Error::Listing { attempts: ATTEMPTS })
}

/// `family` 0 is all of them.
fn list<T>(
    socket: &mut Socket,
    (name, kind): Listing,
    family: u8,
    body: impl Fn(&mut Writer),
    decode: impl Fn(&Message<'_>) -> Option<T>,
) -> Result<Vec<T>, Error> {
    for _ in 0..ATTEMPTS {
        let mut found = Vec::new();
        let question = Question {
            name,
            kind,
            family,
            flags: libc::NLM_F_DUMP,
        };
        let whole = socket.ask(question, &body, |message| {
            found.extend(decode(message));
        })?;
        if whole {
            return Ok(found);
        }
    }
    Err(Error::Listing { attempts: ATTEMPTS })
}

fn elements(socket: &mut Socket, set: &Set) -> Result<Vec<Element>, Error> {
    let body = |w: &mut Writer| {
        w.string(ELEM_LIST_TABLE, &set.table.name);
        w.string(ELEM_LIST_SET, &set.name);
    };
    let family = set.table.family.number();
    let mut found: Vec<Element> = list(socket, ELEMENTS, family, body, |message| {
        Some(decode::elements(message, set))
    })?
    .into_iter()
    .flatten()
    .collect();
    found.sort();
    Ok(found)
}

impl Family {
    /// The families whose chains a packet of IPv4 or IPv6 meets.
    pub(crate) fn sees(self, v6: bool) -> bool {
        match self {
            Self::Inet => true,
            Self::Ip => !v6,
            Self::Ip6 => v6,
            _ => false,
        }
    }
}
