//! Tables, chains and rules, as data that prints in the syntax of [`nft(8)`].
//!
//! [`nft(8)`]: https://manpages.debian.org/bookworm/nftables/nft.8.en.html

use std::fmt;

use super::{Expr, text};

/// Which packets a table sees (`NFPROTO_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4; what `iptables` uses.
    Ip,
    /// IPv6; what `ip6tables` uses.
    Ip6,
    /// Address resolution of IPv4.
    Arp,
    /// Frames that a bridge forwards.
    Bridge,
    /// Frames of one device, before anything else.
    Netdev,
}

impl Family {
    pub(crate) fn number(self) -> u8 {
        let number = match self {
            Self::Inet => libc::NFPROTO_INET,
            Self::Ip => libc::NFPROTO_IPV4,
            Self::Ip6 => libc::NFPROTO_IPV6,
            Self::Arp => libc::NFPROTO_ARP,
            Self::Bridge => libc::NFPROTO_BRIDGE,
            Self::Netdev => libc::NFPROTO_NETDEV,
        };
        number as u8
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        [
            Self::Inet,
            Self::Ip,
            Self::Ip6,
            Self::Arp,
            Self::Bridge,
            Self::Netdev,
        ]
        .into_iter()
        .find(|family| family.number() == number)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Arp => "arp",
            Self::Bridge => "bridge",
            Self::Netdev => "netdev",
        })
    }
}

/// A table: what holds chains and sets. Prints as `inet ctr`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table {
    /// Which packets it sees.
    pub family: Family,
    /// Unique in its family.
    pub name: String,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// Where in a packet's way a base chain sits (`enum nf_inet_hooks`; the same numbers for bridges).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Hook {
    /// Everything that comes in, before it is routed.
    Prerouting,
    /// What is for this host.
    Input,
    /// What is passed on.
    Forward,
    /// What this host sends.
    Output,
    /// Everything that goes out, after it is routed.
    Postrouting,
}

impl Hook {
    pub(crate) fn number(self) -> u32 {
        self as u32
    }

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [
            Self::Prerouting,
            Self::Input,
            Self::Forward,
            Self::Output,
            Self::Postrouting,
        ]
        .into_iter()
        .find(|hook| hook.number() == number)
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        })
    }
}

/// What makes a chain a base chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// `filter`, `nat` or `route`. A `nat` chain sees the first packet of a connection only.
    pub kind: String,
    /// Where it sits.
    pub hook: Hook,
    /// Lower runs earlier.
    pub priority: i32,
    /// Whether what no rule decided is dropped. A drop is final, an accept is only this chain's.
    pub drop: bool,
}

/// A chain. Prints as `nft` would take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Where it is.
    pub table: Table,
    /// Unique in its table.
    pub name: String,
    /// None: it is only jumped to.
    pub base: Option<Base>,
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.table, self.name)?;
        if let Some(base) = &self.base {
            let policy = if base.drop { "drop" } else { "accept" };
            write!(
                f,
                " {{ type {} hook {} priority {}; policy {policy}; }}",
                base.kind, base.hook, base.priority
            )?;
        }
        Ok(())
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// This base chain lets it pass; the next one is asked all the same.
    Accept,
    /// It is gone.
    Drop,
    /// The next rule of the chain is asked.
    Continue,
    /// The rules of another chain are asked, then the next one here.
    Jump(String),
    /// The rules of another chain are asked, and no more here.
    Goto(String),
    /// Back to where the jump came from.
    Return,
    /// Given to a program, or a verdict that this crate does not know.
    Other(i32),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Continue => f.write_str("continue"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
            Self::Return => f.write_str("return"),
            Self::Other(code) => write!(f, "verdict {code}"),
        }
    }
}

/// A rule: what the kernel runs, and why it is there.
///
/// Two rules are equal when they do the same and say the same. Prints as `nft` would take it, as
/// far as `nft` has words for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The table it is in.
    pub table: Table,
    /// The chain it is in.
    pub chain: String,
    /// In order; one that does not match ends the rule.
    pub expressions: Vec<Expr>,
    /// Shown by `nft list ruleset`. At most 128 bytes.
    pub comment: Option<String>,
}

impl Rule {
    /// Without table and chain: `ct state established,related accept`.
    pub fn describe(&self) -> String {
        text::rule(self)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.table, self.chain, self.describe())
    }
}
