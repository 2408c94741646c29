//! Changes, and a batch of them that the kernel takes as a whole or not at all.

use std::fmt;

use super::attr::Writer;
use super::uapi::*;
use super::{Chain, Element, Rule, Set, Table, encode};

/// One change of the ruleset. Prints as `nft` would take it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Makes a table; fine if it is there.
    AddTable(Table),
    /// Removes a table and all that is in it.
    DeleteTable(Table),
    /// Makes a chain; fine if it is there and the same.
    AddChain(Chain),
    /// Makes a set or map; fine if it is there and the same.
    AddSet(Set),
    /// Removes the rules of all chains of a table.
    FlushTable(Table),
    /// Appends a rule.
    AddRule(Rule),
    /// Puts elements into a set or map; fine if they are there. `EEXIST`, by some kernels `EBUSY`,
    /// if a map has one of the keys with something else, or a range overlaps another.
    AddElements {
        /// Which; only table, name and `ranges` count.
        set: Set,
        /// At least one.
        elements: Vec<Element>,
    },
    /// Takes elements out again. `ENOENT` if one is not there.
    DeleteElements {
        /// Which; only table, name and `ranges` count.
        set: Set,
        /// At least one; only keys count.
        elements: Vec<Element>,
    },
}

impl Change {
    fn table(&self) -> &Table {
        match self {
            Self::AddTable(table) | Self::DeleteTable(table) | Self::FlushTable(table) => table,
            Self::AddChain(chain) => &chain.table,
            Self::AddSet(set)
            | Self::AddElements { set, .. }
            | Self::DeleteElements { set, .. } => &set.table,
            Self::AddRule(rule) => &rule.table,
        }
    }

    fn kind(&self) -> libc::c_int {
        match self {
            Self::AddTable(_) => libc::NFT_MSG_NEWTABLE,
            Self::DeleteTable(_) => libc::NFT_MSG_DELTABLE,
            Self::AddChain(_) => libc::NFT_MSG_NEWCHAIN,
            Self::AddSet(_) => libc::NFT_MSG_NEWSET,
            Self::FlushTable(_) => libc::NFT_MSG_DELRULE,
            Self::AddRule(_) => libc::NFT_MSG_NEWRULE,
            Self::AddElements { .. } => libc::NFT_MSG_NEWSETELEM,
            Self::DeleteElements { .. } => libc::NFT_MSG_DELSETELEM,
        }
    }

    fn flags(&self) -> libc::c_int {
        match self {
            Self::DeleteTable(_) | Self::FlushTable(_) | Self::DeleteElements { .. } => 0,
            Self::AddRule(_) => libc::NLM_F_CREATE | libc::NLM_F_APPEND,
            _ => libc::NLM_F_CREATE,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddTable(table) => write!(f, "add table {table}"),
            Self::DeleteTable(table) => write!(f, "delete table {table}"),
            Self::AddChain(chain) => write!(f, "add chain {chain}"),
            Self::AddSet(set) => {
                let what = if set.yields == super::Yields::Nothing {
                    "set"
                } else {
                    "map"
                };
                write!(f, "add {what} {set}")
            }
            Self::FlushTable(table) => write!(f, "flush table {table}"),
            Self::AddRule(rule) => {
                write!(f, "add rule {rule}")?;
                match &rule.comment {
                    Some(comment) => write!(f, " comment {comment:?}"),
                    None => Ok(()),
                }
            }
            Self::AddElements { set, elements } => listed(f, "add", set, elements),
            Self::DeleteElements { set, elements } => listed(f, "delete", set, elements),
        }
    }
}

fn listed(f: &mut fmt::Formatter<'_>, verb: &str, set: &Set, all: &[Element]) -> fmt::Result {
    write!(f, "{verb} element {} {} {{ ", set.table, set.name)?;
    for (i, element) in all.iter().enumerate() {
        write!(f, "{}{element}", if i == 0 { "" } else { ", " })?;
    }
    f.write_str(" }")
}

/// Changes that are made together: the kernel takes all of them at one instant, or none.
///
/// Data: it can be compared, and prints one change a line. [`Socket::commit`](super::Socket::commit)
/// executes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order.
    pub changes: Vec<Change>,
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes
            .iter()
            .try_for_each(|change| writeln!(f, "{change}"))
    }
}

/// A list of elements is one attribute of at most 64 KiB; an element of ours is below 128 bytes.
const ELEMENTS_PER_MESSAGE: usize = 400;

/// What a batch is on the wire.
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    /// For each message: which change it is of, which of its elements come first, where it starts.
    pub(super) messages: Vec<Part>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) change: usize,
    pub(super) element: usize,
    pub(super) start: usize,
}

impl Batch {
    /// Messages are numbered from `sequence`, the begin of the batch being the first.
    pub(super) fn encode(&self, sequence: u32) -> Encoded {
        let mut w = Writer::default();
        let mut messages = Vec::new();
        let frame = [0, 0, 0, libc::NFNL_SUBSYS_NFTABLES as u8];
        let begin = libc::NFNL_MSG_BATCH_BEGIN as u16;
        w.message(begin, libc::NLM_F_REQUEST as u16, sequence, frame, |_| {});
        let count: usize = self.changes.iter().map(parts).sum();
        for (index, change) in self.changes.iter().enumerate() {
            for part in 0..parts(change) {
                let element = part * ELEMENTS_PER_MESSAGE;
                messages.push(Part {
                    change: index,
                    element,
                    start: w.bytes.len(),
                });
                let mut flags = libc::NLM_F_REQUEST | change.flags();
                // Errors come in any case; one answer to the last tells that the batch is through.
                if messages.len() == count {
                    flags |= libc::NLM_F_ACK;
                }
                let number = sequence + messages.len() as u32;
                let kind = (libc::NFNL_SUBSYS_NFTABLES << 8 | change.kind()) as u16;
                let nfgen = [change.table().family.number(), 0, 0, 0];
                w.message(kind, flags as u16, number, nfgen, |w| {
                    body(w, change, index as u32, element);
                });
            }
        }
        let number = sequence + messages.len() as u32 + 1;
        let end = libc::NFNL_MSG_BATCH_END as u16;
        w.message(end, libc::NLM_F_REQUEST as u16, number, frame, |_| {});
        Encoded {
            bytes: w.bytes,
            messages,
        }
    }
}

fn parts(change: &Change) -> usize {
    match change {
        Change::AddElements { elements, .. } | Change::DeleteElements { elements, .. } => {
            elements.len().div_ceil(ELEMENTS_PER_MESSAGE)
        }
        _ => 1,
    }
}

fn body(w: &mut Writer, change: &Change, id: u32, from: usize) {
    match change {
        Change::AddTable(table) | Change::DeleteTable(table) => w.string(TABLE_NAME, &table.name),
        Change::AddChain(chain) => encode::chain(w, chain),
        Change::AddSet(set) => encode::set(w, set, id),
        Change::FlushTable(table) => w.string(RULE_TABLE, &table.name),
        Change::AddRule(rule) => encode::rule(w, rule),
        Change::AddElements { set, elements } | Change::DeleteElements { set, elements } => {
            let whole = matches!(change, Change::AddElements { .. });
            w.string(ELEM_LIST_TABLE, &set.table.name);
            w.string(ELEM_LIST_SET, &set.name);
            w.nested(ELEM_LIST_ELEMENTS, |w| {
                for element in elements.iter().skip(from).take(ELEMENTS_PER_MESSAGE) {
                    encode::element(w, element, set.ranges, whole);
                }
            });
        }
    }
}
