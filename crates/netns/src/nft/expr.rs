//! The expressions of a rule, as the kernel runs them: small instructions on sixteen registers of
//! four bytes.

use super::Verdict;

/// A register: 0 to 15, four bytes each. Longer values take those behind it.
pub type Register = u8;

/// Where a value is loaded from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// About the packet as a whole, `NFT_META_*`.
    Meta(u32),
    /// About its connection, `NFT_CT_*`; the direction where the key has one (0 is the original).
    Ct(u32, Option<u8>),
    /// Bytes of a header: `NFT_PAYLOAD_*_HEADER`, offset, length.
    Payload(u32, u32, u32),
    /// The type of the destination address, `fib daddr type` (`RTN_*`, in the machine's byte order).
    DestinationType,
}

/// How a comparison goes (`enum nft_cmp_ops`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names of the operators")]
pub enum Operator {
    Eq,
    Neq,
    Lt,
    Lte,
    Gt,
    Gte,
}

/// One expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expr {
    /// Loads a value.
    Load {
        /// What.
        from: Source,
        /// Into which register.
        to: Register,
    },
    /// `register = register & mask ^ xor`
    Bits {
        /// Which register.
        register: Register,
        /// As long as the value.
        mask: Vec<u8>,
        /// As long as the value.
        xor: Vec<u8>,
    },
    /// Goes on only if the comparison holds.
    Compare {
        /// The left side.
        register: Register,
        /// How.
        operator: Operator,
        /// The right side.
        value: Vec<u8>,
    },
    /// Goes on only if a set holds the value, or does not.
    Lookup {
        /// Where the key begins.
        register: Register,
        /// The set.
        set: String,
        /// Whether it must not hold it.
        inverted: bool,
    },
    /// Goes on only if a map has the key, with what it yields in a register.
    Map {
        /// Where the key begins.
        register: Register,
        /// The map.
        set: String,
        /// Where what it yields begins.
        to: Register,
    },
    /// Does what a verdict map says, or goes on if it does not have the key.
    VerdictMap {
        /// Where the key begins.
        register: Register,
        /// The map.
        set: String,
    },
    /// Redirects the connection (DNAT).
    Dnat {
        /// Whether the address is one of IPv6.
        v6: bool,
        /// Where the address begins.
        address: Register,
        /// The port.
        port: Register,
    },
    /// Gives the connection the address of the outgoing interface (SNAT).
    Masquerade,
    /// Counts packets and bytes.
    Counter,
    /// Ends the rule.
    Verdict(Verdict),
    /// Drops the packet and says so to its sender: type (`NFT_REJECT_*`) and code.
    Reject(u32, u8),
    /// What somebody else's rule does, by its name; for the matches and targets of xtables with
    /// theirs.
    Other(String, Option<String>),
}

impl Expr {
    pub(crate) fn meta(key: i32, to: Register) -> Self {
        Self::Load {
            from: Source::Meta(key as u32),
            to,
        }
    }

    pub(crate) fn is(register: Register, value: impl Into<Vec<u8>>) -> Self {
        Self::Compare {
            register,
            operator: Operator::Eq,
            value: value.into(),
        }
    }

    pub(crate) fn is_not(register: Register, value: impl Into<Vec<u8>>) -> Self {
        Self::Compare {
            register,
            operator: Operator::Neq,
            value: value.into(),
        }
    }
}
