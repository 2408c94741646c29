//! Objects as attributes.

use super::attr::Writer;
use super::set::Kind;
use super::uapi::*;
use super::{Chain, Element, Expr, Operator, Rule, Set, Source, Verdict, Yield, Yields};

/// As the kernel numbers registers: `NFT_REG32_00` and on.
fn register(number: u8) -> u32 {
    libc::NFT_REG32_00 as u32 + u32::from(number)
}

pub(crate) fn chain(w: &mut Writer, chain: &Chain) {
    w.string(CHAIN_TABLE, &chain.table.name);
    w.string(CHAIN_NAME, &chain.name);
    let Some(base) = &chain.base else { return };
    w.nested(CHAIN_HOOK, |w| {
        w.be32(HOOK_HOOKNUM, base.hook.number());
        w.be32(HOOK_PRIORITY, base.priority.cast_unsigned());
    });
    let policy = if base.drop {
        libc::NF_DROP
    } else {
        libc::NF_ACCEPT
    };
    w.be32(CHAIN_POLICY, policy.cast_unsigned());
    w.string(CHAIN_TYPE, &base.kind);
}

pub(crate) fn set(w: &mut Writer, set: &Set, id: u32) {
    w.string(SET_TABLE, &set.table.name);
    w.string(SET_NAME, &set.name);
    let mut flags = 0;
    if set.ranges {
        flags |= libc::NFT_SET_INTERVAL as u32 | SET_CONCAT;
    }
    if set.yields != Yields::Nothing {
        flags |= libc::NFT_SET_MAP as u32;
    }
    w.be32(SET_FLAGS, flags);
    w.be32(SET_KEY_TYPE, Kind::concatenated(&set.key));
    w.be32(SET_KEY_LEN, room(&set.key));
    match &set.yields {
        Yields::Nothing => {}
        Yields::Values(kinds) => {
            w.be32(SET_DATA_TYPE, Kind::concatenated(kinds));
            w.be32(SET_DATA_LEN, room(kinds));
        }
        Yields::Verdict => w.be32(SET_DATA_TYPE, DATA_TYPE_VERDICT),
    }
    w.be32(SET_ID, id);
    if set.key == [Kind::Interface] {
        // For `nft` alone, which prints the names empty otherwise.
        let mut data = vec![UDATA_SET_KEYBYTEORDER, 4];
        data.extend(HOST_ENDIAN.to_ne_bytes());
        w.bytes(SET_USERDATA, &data);
    }
    if set.ranges {
        w.nested(SET_DESC, |w| {
            w.nested(SET_DESC_CONCAT, |w| {
                for kind in &set.key {
                    w.nested(LIST_ELEM, |w| w.be32(SET_FIELD_LEN, kind.len() as u32));
                }
            });
        });
    }
}

/// A single field is as long as it is; several start at multiples of four bytes each.
pub(crate) fn room(kinds: &[Kind]) -> u32 {
    match kinds {
        [kind] => kind.len() as u32,
        kinds => kinds.iter().map(|kind| kind.room() as u32).sum(),
    }
}

/// `whole`: with what it yields; a key is enough to delete it.
pub(crate) fn element(w: &mut Writer, element: &Element, ranges: bool, whole: bool) {
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for value in &element.key {
        let (from, to) = value.bounds();
        first.extend(from);
        last.extend(to);
    }
    if let [value] = &element.key[..] {
        first.truncate(value.len());
    }
    w.nested(LIST_ELEM, |w| {
        w.nested(ELEM_KEY, |w| w.bytes(DATA_VALUE, &first));
        if ranges {
            w.nested(ELEM_KEY_END, |w| w.bytes(DATA_VALUE, &last));
        }
        match &element.yields {
            Yield::Values(values) if whole => {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.bounds().0).collect();
                w.nested(ELEM_DATA, |w| w.bytes(DATA_VALUE, &bytes));
            }
            Yield::Verdict(value) if whole => w.nested(ELEM_DATA, |w| verdict(w, value)),
            _ => {}
        }
    });
}

pub(crate) fn rule(w: &mut Writer, rule: &Rule) {
    w.string(RULE_TABLE, &rule.table.name);
    w.string(RULE_CHAIN, &rule.chain);
    w.nested(RULE_EXPRESSIONS, |w| {
        for one in &rule.expressions {
            w.nested(LIST_ELEM, |w| expression(w, one));
        }
    });
    if let Some(comment) = &rule.comment {
        // Its length has one byte; the kernel takes 256 in all.
        let text = &comment.as_bytes()[..comment.len().min(250)];
        let mut data = vec![UDATA_RULE_COMMENT, text.len() as u8 + 1];
        data.extend(text);
        data.push(0);
        w.bytes(RULE_USERDATA, &data);
    }
}

fn expression(w: &mut Writer, expr: &Expr) {
    let (name, data) = body(expr);
    w.string(EXPR_NAME, name);
    w.nested(EXPR_DATA, |w| w.bytes.extend(data.bytes));
}

fn body(expr: &Expr) -> (&str, Writer) {
    let mut w = Writer::default();
    let name = match expr {
        Expr::Load { from, to } => load(&mut w, from, *to),
        Expr::Bits {
            register: at,
            mask,
            xor,
        } => {
            w.be32(BITWISE_SREG, register(*at));
            w.be32(BITWISE_DREG, register(*at));
            w.be32(BITWISE_LEN, mask.len() as u32);
            w.nested(BITWISE_MASK, |w| w.bytes(DATA_VALUE, mask));
            w.nested(BITWISE_XOR, |w| w.bytes(DATA_VALUE, xor));
            "bitwise"
        }
        Expr::Compare {
            register: at,
            operator,
            value,
        } => {
            w.be32(CMP_SREG, register(*at));
            w.be32(CMP_OP, operator_number(*operator));
            w.nested(CMP_DATA, |w| w.bytes(DATA_VALUE, value));
            "cmp"
        }
        Expr::Lookup {
            register: at,
            set,
            inverted,
        } => {
            w.string(LOOKUP_SET, set);
            w.be32(LOOKUP_SREG, register(*at));
            w.be32(LOOKUP_FLAGS, u32::from(*inverted));
            "lookup"
        }
        Expr::Map {
            register: at,
            set,
            to,
        } => {
            w.string(LOOKUP_SET, set);
            w.be32(LOOKUP_SREG, register(*at));
            w.be32(LOOKUP_DREG, register(*to));
            "lookup"
        }
        Expr::VerdictMap { register: at, set } => {
            w.string(LOOKUP_SET, set);
            w.be32(LOOKUP_SREG, register(*at));
            w.be32(LOOKUP_DREG, libc::NFT_REG_VERDICT as u32);
            "lookup"
        }
        Expr::Dnat { v6, address, port } => {
            let family = if *v6 {
                libc::NFPROTO_IPV6
            } else {
                libc::NFPROTO_IPV4
            };
            w.be32(NAT_TYPE, NAT_TYPE_DNAT);
            w.be32(NAT_FAMILY, family as u32);
            w.be32(NAT_REG_ADDR_MIN, register(*address));
            w.be32(NAT_REG_PROTO_MIN, register(*port));
            "nat"
        }
        Expr::Masquerade => "masq",
        Expr::Counter => "counter",
        Expr::Verdict(value) => {
            w.be32(IMMEDIATE_DREG, libc::NFT_REG_VERDICT as u32);
            w.nested(IMMEDIATE_DATA, |w| verdict(w, value));
            "immediate"
        }
        Expr::Reject(kind, code) => {
            w.be32(REJECT_TYPE, *kind);
            w.bytes(REJECT_CODE, &[*code]);
            "reject"
        }
        // Read from somebody else's rule, whose data was not kept: the kernel refuses it.
        Expr::Other(name, _) => name,
    };
    (name, w)
}

fn load(w: &mut Writer, from: &Source, to: u8) -> &'static str {
    match from {
        Source::Meta(key) => {
            w.be32(META_DREG, register(to));
            w.be32(META_KEY, *key);
            "meta"
        }
        Source::Ct(key, direction) => {
            w.be32(CT_DREG, register(to));
            w.be32(CT_KEY, *key);
            if let Some(direction) = direction {
                w.bytes(CT_DIRECTION, &[*direction]);
            }
            "ct"
        }
        Source::Payload(base, offset, length) => {
            w.be32(PAYLOAD_DREG, register(to));
            w.be32(PAYLOAD_BASE, *base);
            w.be32(PAYLOAD_OFFSET, *offset);
            w.be32(PAYLOAD_LEN, *length);
            "payload"
        }
        Source::DestinationType => {
            w.be32(FIB_DREG, register(to));
            w.be32(FIB_RESULT, FIB_RESULT_ADDRTYPE);
            w.be32(FIB_FLAGS, FIB_F_DADDR);
            "fib"
        }
    }
}

fn operator_number(operator: Operator) -> u32 {
    operator as u32
}

fn verdict(w: &mut Writer, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Accept => (libc::NF_ACCEPT, None),
        Verdict::Drop => (libc::NF_DROP, None),
        Verdict::Continue => (libc::NFT_CONTINUE, None),
        Verdict::Jump(chain) => (libc::NFT_JUMP, Some(chain)),
        Verdict::Goto(chain) => (libc::NFT_GOTO, Some(chain)),
        Verdict::Return => (libc::NFT_RETURN, None),
        Verdict::Other(code) => (*code, None),
    };
    w.nested(DATA_VERDICT, |w| {
        w.be32(VERDICT_CODE, code.cast_unsigned());
        if let Some(chain) = chain {
            w.string(VERDICT_CHAIN, chain);
        }
    });
}
