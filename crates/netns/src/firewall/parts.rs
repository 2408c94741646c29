//! What rules are made of: a few expressions each, to be put one behind the other.

use crate::nft::{Expr, Operator, Source, Verdict};

pub(super) const SADDR4: Source = Source::Payload(libc::NFT_PAYLOAD_NETWORK_HEADER as u32, 12, 4);
pub(super) const DADDR4: Source = Source::Payload(libc::NFT_PAYLOAD_NETWORK_HEADER as u32, 16, 4);
pub(super) const SADDR6: Source = Source::Payload(libc::NFT_PAYLOAD_NETWORK_HEADER as u32, 8, 16);
pub(super) const DADDR6: Source = Source::Payload(libc::NFT_PAYLOAD_NETWORK_HEADER as u32, 24, 16);
pub(super) const DPORT: Source = Source::Payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER as u32, 2, 2);

/// `NF_CT_STATE_BIT` and `NF_CT_STATE_UNTRACKED_BIT` of the kernel.
pub(super) const INVALID: u32 = 1;
pub(super) const ESTABLISHED: u32 = 2;
pub(super) const RELATED: u32 = 4;
pub(super) const UNTRACKED: u32 = 64;
/// `IPS_DST_NAT`.
pub(super) const DST_NAT: u32 = 32;

/// Whether an address is one of those of the port that the frame came in by.
pub(super) fn own(at: Source, set: &str, inverted: bool) -> Vec<Expr> {
    vec![
        Expr::meta(libc::NFT_META_IIFNAME, 0),
        load(at, 4),
        lookup(set, inverted),
    ]
}

pub(super) fn ethernet(kind: libc::c_int) -> Vec<Expr> {
    vec![
        Expr::meta(libc::NFT_META_PROTOCOL, 0),
        Expr::is(0, (kind as u16).to_be_bytes()),
    ]
}

pub(super) fn load(from: Source, to: u8) -> Expr {
    Expr::Load { from, to }
}

pub(super) fn bits(register: u8, mask: &[u8]) -> Expr {
    Expr::Bits {
        register,
        mask: mask.to_vec(),
        xor: vec![0; mask.len()],
    }
}

pub(super) fn lookup(set: &str, inverted: bool) -> Expr {
    Expr::Lookup {
        register: 0,
        set: set.to_owned(),
        inverted,
    }
}

pub(super) fn name(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(libc::IFNAMSIZ, 0);
    bytes
}

pub(super) fn v4() -> Vec<Expr> {
    vec![
        Expr::meta(libc::NFT_META_NFPROTO, 0),
        Expr::is(0, [libc::NFPROTO_IPV4 as u8]),
    ]
}

pub(super) fn v6() -> Vec<Expr> {
    vec![
        Expr::meta(libc::NFT_META_NFPROTO, 0),
        Expr::is(0, [libc::NFPROTO_IPV6 as u8]),
    ]
}

pub(super) fn incoming(set: &str) -> Vec<Expr> {
    vec![Expr::meta(libc::NFT_META_IIFNAME, 0), lookup(set, false)]
}

pub(super) fn not_incoming(set: &str) -> Vec<Expr> {
    vec![Expr::meta(libc::NFT_META_IIFNAME, 0), lookup(set, true)]
}

pub(super) fn outgoing(set: &str) -> Vec<Expr> {
    vec![Expr::meta(libc::NFT_META_OIFNAME, 0), lookup(set, false)]
}

pub(super) fn inside(inverted: bool) -> Vec<Expr> {
    vec![
        Expr::meta(libc::NFT_META_IIFNAME, 0),
        Expr::meta(libc::NFT_META_OIFNAME, 4),
        lookup("inside", inverted),
    ]
}

/// Whether an address is of the network whose bridge the interface is.
pub(super) fn at_home(six: bool, address: Source, interface: libc::c_int) -> Vec<Expr> {
    let (family, set, next) = if six {
        (v6(), "home6", 4)
    } else {
        (v4(), "home4", 1)
    };
    let key = vec![
        load(address, 0),
        Expr::meta(interface, next),
        lookup(set, false),
    ];
    [family, key].concat()
}

/// From a container with a list, to what is not on it.
pub(super) fn egress(six: bool, dialled: Source) -> Vec<Expr> {
    let (family, source, next) = if six {
        (v6(), SADDR6, 4)
    } else {
        (v4(), SADDR4, 1)
    };
    let (restricted, allowed) = if six {
        ("restricted6", "allowed6")
    } else {
        ("restricted4", "allowed4")
    };
    let member = vec![load(source.clone(), 0), lookup(restricted, false)];
    let pair = vec![load(source, 0), load(dialled, next), lookup(allowed, true)];
    [family, member, pair].concat()
}

pub(super) fn icmp6(from: u8, to: u8) -> Vec<Expr> {
    let at = Source::Payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER as u32, 0, 1);
    let mut list = vec![
        Expr::meta(libc::NFT_META_L4PROTO, 0),
        Expr::is(0, [58]),
        load(at, 0),
    ];
    let compare = |operator, value: u8| Expr::Compare {
        register: 0,
        operator,
        value: vec![value],
    };
    if from == to {
        list.push(compare(Operator::Eq, from));
    } else {
        list.push(compare(Operator::Gte, from));
        list.push(compare(Operator::Lte, to));
    }
    list
}

pub(super) fn ct_state(states: u32) -> Vec<Expr> {
    ct_bits(libc::NFT_CT_STATE, states)
}

pub(super) fn redirected() -> Vec<Expr> {
    ct_bits(libc::NFT_CT_STATUS, DST_NAT)
}

pub(super) fn ct_bits(key: libc::c_int, mask: u32) -> Vec<Expr> {
    vec![
        load(Source::Ct(key as u32, None), 0),
        bits(0, &mask.to_ne_bytes()),
        Expr::is_not(0, [0; 4]),
    ]
}

pub(super) fn accept() -> Vec<Expr> {
    vec![Expr::Verdict(Verdict::Accept)]
}

pub(super) fn drop() -> Vec<Expr> {
    vec![Expr::Counter, Expr::Verdict(Verdict::Drop)]
}
