//! Rules asked on paper: what a chain would do with the first packet of a connection.
//!
//! What is not known (somebody else's sets, matches of xtables, an interface nobody named) makes a
//! rule neither match nor not match: *maybe*.

use std::net::IpAddr;

use crate::nft::{
    Expr, Filled, Operator, Rule, Ruleset, Source, Table, Value, Verdict, Yield, refuses,
};

/// A packet, as far as it is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Packet {
    pub(super) v6: bool,
    /// Empty: none, as on its way out of this host.
    pub(super) incoming: Option<String>,
    pub(super) outgoing: Option<String>,
    pub(super) source: Option<IpAddr>,
    pub(super) destination: Option<IpAddr>,
    /// What was dialled.
    pub(super) dialled: Option<IpAddr>,
    pub(super) protocol: Option<u8>,
    pub(super) port: Option<u16>,
    /// Whether the destination is an address of this host.
    pub(super) local: bool,
    pub(super) redirected: bool,
}

/// What a rule that matched did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    Redirect(IpAddr, u16),
    Masquerade,
}

/// What a chain does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fate<'a> {
    /// By this rule; None: no rule of a chain that is only jumped to decided.
    Accepted(Option<&'a Rule>),
    Dropped(&'a Rule),
    Changed(&'a Rule, Effect),
}

/// A fate, and whether a rule that could not be judged might have decided before.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Judged<'a> {
    pub(super) fate: Fate<'a>,
    pub(super) certain: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    Yes,
    No,
    Maybe,
}

/// Chains do not jump deeper (`NFT_JUMP_STACK_SIZE`).
const DEPTH: usize = 16;

/// Asks the rules of one chain; the policy is the caller's to ask.
pub(super) fn judge<'a>(
    ruleset: &'a Ruleset,
    table: &'a Table,
    chain: &'a str,
    packet: &Packet,
) -> Judged<'a> {
    let mut certain = true;
    let fate = walk(ruleset, table, chain, packet, &mut certain, 0);
    Judged {
        fate: fate.unwrap_or(Fate::Accepted(None)),
        certain,
    }
}

/// None: no rule decided.
fn walk<'a>(
    ruleset: &'a Ruleset,
    table: &'a Table,
    chain: &'a str,
    packet: &Packet,
    certain: &mut bool,
    depth: usize,
) -> Option<Fate<'a>> {
    let sets: Vec<&Filled> = ruleset
        .sets
        .iter()
        .filter(|f| f.set.table == *table)
        .collect();
    for rule in ruleset.rules_of(table, chain) {
        let (matched, effect) = Registers::default().run(rule, packet, &sets);
        if matched == Match::No {
            continue;
        }
        if let (Match::Yes, Some(effect)) = (matched, effect) {
            return Some(Fate::Changed(rule, effect));
        }
        let refused = rule.expressions.iter().any(refuses);
        let verdict = rule.expressions.iter().find_map(|expr| match expr {
            Expr::Verdict(verdict) => Some(verdict),
            _ => None,
        });
        match (matched, verdict) {
            (Match::Yes, _) if refused => return Some(Fate::Dropped(rule)),
            (Match::Yes, Some(Verdict::Accept)) => return Some(Fate::Accepted(Some(rule))),
            (Match::Yes, Some(Verdict::Return)) => return None,
            (_, Some(Verdict::Jump(to) | Verdict::Goto(to))) if depth < DEPTH => {
                let mut inner = *certain && matched == Match::Yes;
                let fate = walk(ruleset, table, to, packet, &mut inner, depth + 1);
                match (matched, fate) {
                    (Match::Yes, Some(fate)) => {
                        *certain = inner;
                        return Some(fate);
                    }
                    (Match::Yes, None) => *certain = inner,
                    // What a chain that is perhaps not entered would let pass.
                    (_, Some(Fate::Accepted(_))) => *certain = false,
                    _ => {}
                }
                if matched == Match::Yes && matches!(verdict, Some(Verdict::Goto(_))) {
                    return None;
                }
            }
            (Match::Maybe, Some(Verdict::Accept | Verdict::Return)) => *certain = false,
            (_, None) if has_verdict_map(rule) => *certain = false,
            _ => {}
        }
    }
    None
}

fn has_verdict_map(rule: &Rule) -> bool {
    rule.expressions
        .iter()
        .any(|expr| matches!(expr, Expr::VerdictMap { .. }))
}

/// Where a register begins; one that there is not is behind the last.
fn start(register: u8) -> usize {
    usize::from(register.min(16)) * 4
}

/// Sixteen registers of four bytes; None is a byte that is not known.
struct Registers([Option<u8>; 64]);

impl Default for Registers {
    fn default() -> Self {
        Self([None; 64])
    }
}

impl Registers {
    fn run(mut self, rule: &Rule, packet: &Packet, sets: &[&Filled]) -> (Match, Option<Effect>) {
        let mut matched = Match::Yes;
        let mut effect = None;
        for expr in &rule.expressions {
            let one = self.step(expr, packet, sets, &mut effect);
            match one {
                Match::No => return (Match::No, None),
                Match::Maybe => matched = Match::Maybe,
                Match::Yes => {}
            }
        }
        (matched, effect)
    }

    fn step(
        &mut self,
        expr: &Expr,
        packet: &Packet,
        sets: &[&Filled],
        effect: &mut Option<Effect>,
    ) -> Match {
        match expr {
            Expr::Load { from, to } => match value(from, packet) {
                Loaded::Known(bytes) => self.put(*to, &bytes.map(Some)),
                Loaded::Bytes(bytes) => {
                    let bytes: Vec<Option<u8>> = bytes.into_iter().map(Some).collect();
                    self.put(*to, &bytes);
                }
                Loaded::Unknown(length) => self.put(*to, &vec![None; length]),
                // The kernel ends the rule where there is nothing to load.
                Loaded::Absent => return Match::No,
            },
            Expr::Bits {
                register,
                mask,
                xor,
            } => {
                let at = start(*register);
                for ((byte, mask), xor) in self.0[at..].iter_mut().zip(mask).zip(xor) {
                    *byte = if *mask == 0 {
                        Some(*xor)
                    } else {
                        byte.map(|b| b & mask ^ xor)
                    };
                }
            }
            Expr::Compare {
                register,
                operator,
                value,
            } => {
                let at = start(*register);
                let left: Option<Vec<u8>> =
                    self.0[at..].iter().take(value.len()).copied().collect();
                return left.map_or(Match::Maybe, |left| compare(&left, *operator, value));
            }
            Expr::Lookup {
                register,
                set,
                inverted,
            } => {
                return match (self.find(*register, set, sets), inverted) {
                    (Found::Unknown, _) => Match::Maybe,
                    (Found::Yes(_), false) | (Found::No, true) => Match::Yes,
                    _ => Match::No,
                };
            }
            Expr::Map { register, set, to } => match self.find(*register, set, sets) {
                Found::Yes(Yield::Values(values)) => {
                    let bytes = values.iter().flat_map(|value| value.bounds().0);
                    let bytes: Vec<Option<u8>> = bytes.map(Some).collect();
                    self.put(*to, &bytes);
                }
                Found::No => return Match::No,
                _ => return Match::Maybe,
            },
            Expr::VerdictMap { .. } => return Match::Maybe,
            Expr::Dnat { v6, address, port } => {
                let at = start(*address);
                let length = if *v6 { 16 } else { 4 };
                let bytes: Option<Vec<u8>> = self.0[at..].iter().take(length).copied().collect();
                let at = start(*port);
                let port: Option<Vec<u8>> = self.0[at..].iter().take(2).copied().collect();
                let Some((address, port)) = bytes.zip(port).and_then(target) else {
                    return Match::Maybe;
                };
                *effect = Some(Effect::Redirect(address, port));
            }
            Expr::Masquerade => *effect = Some(Effect::Masquerade),
            Expr::Counter | Expr::Verdict(_) | Expr::Reject(..) => {}
            Expr::Other(name, of) => return foreign(name, of.as_deref()),
        }
        Match::Yes
    }

    fn put(&mut self, register: u8, bytes: &[Option<u8>]) {
        let at = start(register);
        let room = bytes.len().next_multiple_of(4);
        for (i, byte) in self.0[at..].iter_mut().take(room).enumerate() {
            // The kernel fills up with zeroes.
            *byte = bytes.get(i).copied().unwrap_or(Some(0));
        }
    }

    fn find<'a>(&self, register: u8, name: &str, sets: &[&'a Filled]) -> Found<'a> {
        let Some(filled) = sets.iter().find(|filled| filled.set.name == name) else {
            return Found::Unknown;
        };
        let mut possible = false;
        for element in &filled.elements {
            let mut at = start(register);
            let (mut yes, mut no) = (true, false);
            for part in &element.key {
                let (first, last) = part.bounds();
                let bytes = self.0.get(at..at + first.len()).unwrap_or_default();
                at += first.len();
                match bytes.iter().copied().collect::<Option<Vec<u8>>>() {
                    Some(bytes) => no |= bytes < first || bytes > last,
                    None => yes = false,
                }
            }
            if yes && !no {
                return Found::Yes(&element.yields);
            }
            possible |= !no;
        }
        if possible { Found::Unknown } else { Found::No }
    }
}

enum Found<'a> {
    Yes(&'a Yield),
    No,
    Unknown,
}

enum Loaded {
    Known([u8; 1]),
    Bytes(Vec<u8>),
    Unknown(usize),
    Absent,
}

fn value(from: &Source, packet: &Packet) -> Loaded {
    let interface = |name: &Option<String>| match name {
        Some(name) => Loaded::Bytes(Value::Interface(name.clone()).bounds().0),
        None => Loaded::Unknown(libc::IFNAMSIZ),
    };
    let address = |address: Option<IpAddr>, v6: bool| match address {
        _ if v6 != packet.v6 => Loaded::Absent,
        Some(IpAddr::V4(a)) if !v6 => Loaded::Bytes(a.octets().to_vec()),
        Some(IpAddr::V6(a)) if v6 => Loaded::Bytes(a.octets().to_vec()),
        _ => Loaded::Unknown(if v6 { 16 } else { 4 }),
    };
    let family = if packet.v6 {
        libc::NFPROTO_IPV6
    } else {
        libc::NFPROTO_IPV4
    };
    match *from {
        Source::Meta(key) => match key.cast_signed() {
            libc::NFT_META_IIFNAME => interface(&packet.incoming),
            libc::NFT_META_OIFNAME => interface(&packet.outgoing),
            libc::NFT_META_NFPROTO => Loaded::Known([family as u8]),
            libc::NFT_META_L4PROTO => match packet.protocol {
                Some(number) => Loaded::Known([number]),
                None => Loaded::Unknown(1),
            },
            _ => Loaded::Unknown(libc::IFNAMSIZ),
        },
        Source::Ct(key, direction) => match (key.cast_signed(), direction) {
            (libc::NFT_CT_STATE, _) => Loaded::Bytes(NEW.to_ne_bytes().to_vec()),
            (libc::NFT_CT_STATUS, _) => {
                let status = if packet.redirected { DST_NAT } else { 0 };
                Loaded::Bytes(status.to_ne_bytes().to_vec())
            }
            (libc::NFT_CT_DST_IP, Some(0)) => address(packet.dialled, false),
            (libc::NFT_CT_DST_IP6, Some(0)) => address(packet.dialled, true),
            _ => Loaded::Unknown(16),
        },
        Source::DestinationType => {
            let kind: u32 = if packet.local { 2 } else { 1 };
            Loaded::Bytes(kind.to_ne_bytes().to_vec())
        }
        Source::Payload(base, offset, length) => match (base.cast_signed(), offset, length) {
            (libc::NFT_PAYLOAD_NETWORK_HEADER, 12, 4) => address(packet.source, false),
            (libc::NFT_PAYLOAD_NETWORK_HEADER, 16, 4) => address(packet.destination, false),
            (libc::NFT_PAYLOAD_NETWORK_HEADER, 8, 16) => address(packet.source, true),
            (libc::NFT_PAYLOAD_NETWORK_HEADER, 24, 16) => address(packet.destination, true),
            (libc::NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2) => match packet.port {
                Some(port) => Loaded::Bytes(port.to_be_bytes().to_vec()),
                None => Loaded::Unknown(2),
            },
            _ => Loaded::Unknown(length as usize),
        },
    }
}

const NEW: u32 = 8;
const DST_NAT: u32 = 32;

fn compare(left: &[u8], operator: Operator, right: &[u8]) -> Match {
    let holds = match operator {
        Operator::Eq => left == right,
        Operator::Neq => left != right,
        Operator::Lt => left < right,
        Operator::Lte => left <= right,
        Operator::Gt => left > right,
        Operator::Gte => left >= right,
    };
    if holds { Match::Yes } else { Match::No }
}

fn target((address, port): (Vec<u8>, Vec<u8>)) -> Option<(IpAddr, u16)> {
    let port = u16::from_be_bytes(*port.first_chunk()?);
    let address = match address.first_chunk::<16>() {
        Some(v6) => IpAddr::from(*v6),
        None => IpAddr::from(*address.first_chunk::<4>()?),
    };
    Some((address, port))
}

/// What a rule of somebody else does besides matching: `log` and the like always go on.
fn foreign(name: &str, of: Option<&str>) -> Match {
    match (name, of) {
        ("log" | "notrack" | "objref" | "quota", _) | ("target", _) => Match::Yes,
        ("match", Some("comment")) => Match::Yes,
        _ => Match::Maybe,
    }
}
