//! Rules in words: the instructions of the kernel put together again in the syntax of `nft`.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Expr, Operator, Rule, Source, Verdict};

/// How the bytes of a value are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Address,
    /// Big endian, as headers have it.
    Number,
    Protocol,
    EtherType,
    Interface,
    /// In the machine's byte order.
    Bits(&'static [(u32, &'static str)]),
    Family,
    AddressType,
    Bytes,
}

/// Lowest bit first, as nft lists them.
const STATES: &[(u32, &str)] = &[
    (1, "invalid"),
    (2, "established"),
    (4, "related"),
    (8, "new"),
    (64, "untracked"),
];
const STATUSES: &[(u32, &str)] = &[
    (1, "expected"),
    (2, "seen-reply"),
    (4, "assured"),
    (8, "confirmed"),
    (16, "snat"),
    (32, "dnat"),
    (512, "dying"),
];

struct Loaded {
    register: u8,
    name: String,
    shown: Shown,
    mask: Option<Vec<u8>>,
}

/// What `nft` would list, without the comment.
pub(super) fn rule(rule: &Rule) -> String {
    let mut state = State::default();
    for expr in &rule.expressions {
        state.step(expr);
    }
    state.words.join(" ")
}

#[derive(Default)]
struct State {
    words: Vec<String>,
    /// Loaded and not used yet, in order.
    loaded: Vec<Loaded>,
    /// Used in the last comparison: a range is two of them.
    compared: Option<Loaded>,
    /// What decides how header bytes are called.
    v6: bool,
    arp: bool,
    icmp6: bool,
}

impl State {
    fn step(&mut self, expr: &Expr) {
        match expr {
            Expr::Load { from, to } => {
                let (name, shown) = self.source(from);
                self.loaded.retain(|loaded| loaded.register != *to);
                self.loaded.push(Loaded {
                    register: *to,
                    name,
                    shown,
                    mask: None,
                });
            }
            Expr::Bits { register, mask, .. } => {
                if let Some(loaded) = self.loaded.iter_mut().find(|l| l.register == *register) {
                    loaded.mask = Some(mask.clone());
                }
            }
            Expr::Compare {
                register,
                operator,
                value,
            } => {
                let text = self.compare(*register, *operator, value);
                self.words.push(text);
            }
            Expr::Lookup { set, inverted, .. } => {
                let not = if *inverted { "!= " } else { "" };
                let text = format!("{} {not}@{set}", self.key());
                self.words.push(text);
            }
            Expr::VerdictMap { set, .. } => {
                let text = format!("{} vmap @{set}", self.key());
                self.words.push(text);
            }
            Expr::Map { register, set, .. } => {
                let name = format!("{} map @{set}", self.key());
                let shown = Shown::Bytes;
                self.loaded.push(Loaded {
                    register: *register,
                    name,
                    shown,
                    mask: None,
                });
            }
            Expr::Dnat { v6, .. } => {
                let family = if *v6 { "ip6" } else { "ip" };
                let text = format!("dnat {family} to {}", self.key());
                self.words.push(text);
            }
            other => self.words.push(statement(other)),
        }
    }

    /// The fields that were loaded, put together, and forgets them.
    fn key(&mut self) -> String {
        let names: Vec<String> = self.loaded.drain(..).map(|loaded| loaded.name).collect();
        names.join(" . ")
    }

    fn compare(&mut self, register: u8, operator: Operator, value: &[u8]) -> String {
        let at = self
            .loaded
            .iter()
            .position(|loaded| loaded.register == register);
        let again = self
            .compared
            .take()
            .filter(|loaded| loaded.register == register);
        let Some(loaded) = at.map(|at| self.loaded.remove(at)).or(again) else {
            return format!("register {register} {} {value:02x?}", sign(operator));
        };
        self.learn(&loaded.name, value);
        if let (Some(mask), Shown::Bits(names)) = (&loaded.mask, loaded.shown) {
            // Any of them.
            if operator == Operator::Neq && value.iter().all(|byte| *byte == 0) {
                return format!("{} {}", loaded.name, bits(names, mask));
            }
        }
        let mut right = shown(loaded.shown, value);
        if let Some(mask) = &loaded.mask {
            let length: u32 = mask.iter().map(|byte| byte.leading_ones()).sum();
            match loaded.shown {
                Shown::Address => _ = write!(right, "/{length}"),
                _ => right = format!("(& {mask:02x?}) {right}"),
            }
        }
        let name = loaded.name.clone();
        self.compared = Some(loaded);
        match operator {
            Operator::Eq => format!("{name} {right}"),
            other => format!("{name} {} {right}", sign(other)),
        }
    }

    fn learn(&mut self, name: &str, value: &[u8]) {
        match (name, value) {
            ("meta nfproto", [10]) | ("meta protocol", [0x86, 0xdd]) => self.v6 = true,
            ("meta protocol", [0x08, 0x06]) => self.arp = true,
            ("meta l4proto", [58]) => self.icmp6 = true,
            _ => {}
        }
    }

    fn source(&self, from: &Source) -> (String, Shown) {
        let (name, shown) = match *from {
            Source::Meta(key) => meta(key),
            Source::Ct(key, direction) => return ct(key, direction),
            Source::DestinationType => ("fib daddr type", Shown::AddressType),
            Source::Payload(base, offset, length) => {
                let Some(known) = self.header(base, offset, length) else {
                    let base = ["ll", "nh", "th"].get(base as usize).unwrap_or(&"ih");
                    let name = format!("@{base},{},{}", offset * 8, length * 8);
                    return (name, Shown::Bytes);
                };
                known
            }
        };
        (name.to_owned(), shown)
    }

    fn header(&self, base: u32, offset: u32, length: u32) -> Option<(&'static str, Shown)> {
        Some(match (base.cast_signed(), offset, length) {
            (libc::NFT_PAYLOAD_NETWORK_HEADER, 0, 6) if self.arp => ("arp header", Shown::Bytes),
            (libc::NFT_PAYLOAD_NETWORK_HEADER, 14, 4) if self.arp => {
                ("arp saddr ip", Shown::Address)
            }
            (libc::NFT_PAYLOAD_NETWORK_HEADER, 12, 4) if !self.v6 => ("ip saddr", Shown::Address),
            (libc::NFT_PAYLOAD_NETWORK_HEADER, 16, 4) if !self.v6 => ("ip daddr", Shown::Address),
            (libc::NFT_PAYLOAD_NETWORK_HEADER, 8, 16) => ("ip6 saddr", Shown::Address),
            (libc::NFT_PAYLOAD_NETWORK_HEADER, 24, 16) => ("ip6 daddr", Shown::Address),
            (libc::NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1) if self.icmp6 => {
                ("icmpv6 type", Shown::Number)
            }
            (libc::NFT_PAYLOAD_TRANSPORT_HEADER, 8, 16) if self.icmp6 => {
                ("icmpv6 taddr", Shown::Address)
            }
            (libc::NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2) => ("th sport", Shown::Number),
            (libc::NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2) => ("th dport", Shown::Number),
            _ => return None,
        })
    }
}

fn meta(key: u32) -> (&'static str, Shown) {
    match key.cast_signed() {
        libc::NFT_META_IIFNAME => ("iifname", Shown::Interface),
        libc::NFT_META_OIFNAME => ("oifname", Shown::Interface),
        libc::NFT_META_L4PROTO => ("meta l4proto", Shown::Protocol),
        libc::NFT_META_NFPROTO => ("meta nfproto", Shown::Family),
        libc::NFT_META_PROTOCOL => ("meta protocol", Shown::EtherType),
        libc::NFT_META_MARK => ("meta mark", Shown::Bytes),
        libc::NFT_META_IIF => ("iif", Shown::Bytes),
        libc::NFT_META_OIF => ("oif", Shown::Bytes),
        libc::NFT_META_PKTTYPE => ("meta pkttype", Shown::Bytes),
        _ => ("meta (other)", Shown::Bytes),
    }
}

fn ct(key: u32, direction: Option<u8>) -> (String, Shown) {
    let (name, shown) = match key.cast_signed() {
        libc::NFT_CT_STATE => ("state", Shown::Bits(STATES)),
        libc::NFT_CT_STATUS => ("status", Shown::Bits(STATUSES)),
        libc::NFT_CT_MARK => ("mark", Shown::Bytes),
        libc::NFT_CT_DST_IP => ("ip daddr", Shown::Address),
        libc::NFT_CT_DST_IP6 => ("ip6 daddr", Shown::Address),
        libc::NFT_CT_SRC_IP => ("ip saddr", Shown::Address),
        libc::NFT_CT_SRC_IP6 => ("ip6 saddr", Shown::Address),
        _ => ("(other)", Shown::Bytes),
    };
    let name = match direction {
        Some(0) => format!("ct original {name}"),
        Some(_) => format!("ct reply {name}"),
        None => format!("ct {name}"),
    };
    (name, shown)
}

fn sign(operator: Operator) -> &'static str {
    match operator {
        Operator::Eq => "==",
        Operator::Neq => "!=",
        Operator::Lt => "<",
        Operator::Lte => "<=",
        Operator::Gt => ">",
        Operator::Gte => ">=",
    }
}

fn bits(names: &[(u32, &str)], value: &[u8]) -> String {
    let number = value
        .first_chunk()
        .map_or(0, |bytes| u32::from_ne_bytes(*bytes));
    let set: Vec<&str> = names
        .iter()
        .filter(|(bit, _)| number & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    set.join(",")
}

fn shown(how: Shown, value: &[u8]) -> String {
    let number = || {
        value
            .iter()
            .fold(0u64, |number, byte| number << 8 | u64::from(*byte))
    };
    match how {
        Shown::Address => match (value.first_chunk::<4>(), value.first_chunk::<16>()) {
            (_, Some(v6)) => IpAddr::from(Ipv6Addr::from(*v6)).to_string(),
            (Some(v4), None) => IpAddr::from(Ipv4Addr::from(*v4)).to_string(),
            _ => format!("{value:02x?}"),
        },
        Shown::Number if value.len() <= 8 => number().to_string(),
        Shown::Protocol => match value {
            [6] => "tcp".into(),
            [17] => "udp".into(),
            [1] => "icmp".into(),
            [58] => "ipv6-icmp".into(),
            _ => number().to_string(),
        },
        Shown::EtherType => match value {
            [0x08, 0x00] => "ip".into(),
            [0x08, 0x06] => "arp".into(),
            [0x86, 0xdd] => "ip6".into(),
            _ => format!("0x{:04x}", number()),
        },
        Shown::Family => match value {
            [2] => "ipv4".into(),
            [10] => "ipv6".into(),
            _ => number().to_string(),
        },
        Shown::AddressType => match value.first_chunk().map(|b| u32::from_ne_bytes(*b)) {
            Some(2) => "local".into(),
            Some(1) => "unicast".into(),
            _ => format!("{value:02x?}"),
        },
        Shown::Interface => {
            // Shorter than the field: the beginning of a name.
            let whole = value.contains(&0) || value.len() >= libc::IFNAMSIZ;
            let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
            let star = if whole { "" } else { "*" };
            format!("\"{}{star}\"", String::from_utf8_lossy(name))
        }
        Shown::Bits(names) => bits(names, value),
        Shown::Number | Shown::Bytes => format!("{value:02x?}"),
    }
}

fn statement(expr: &Expr) -> String {
    match expr {
        Expr::Masquerade => "masquerade".into(),
        Expr::Counter => "counter".into(),
        Expr::Verdict(verdict) => verdict.to_string(),
        Expr::Reject(..) => "reject".into(),
        Expr::Other(name, Some(of)) => format!("xt {name} {of:?}"),
        Expr::Other(name, None) => format!("({name})"),
        _ => String::new(),
    }
}

/// Whether the rule ends by dropping or refusing the packet.
pub(crate) fn refuses(expr: &Expr) -> bool {
    match expr {
        Expr::Verdict(Verdict::Drop) | Expr::Reject(..) => true,
        // The targets of iptables-nft; DROP itself is a verdict.
        Expr::Other(_, Some(of)) => of == "REJECT",
        _ => false,
    }
}
