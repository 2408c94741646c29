//! Objects from attributes. What the kernel would never send is left out rather than an error: a
//! listing of somebody else's tables must not fail for a thing of tomorrow.

use super::attr::{Attrs, Message};
use super::set::{Kind, Value};
use super::uapi::*;
use super::{
    Base, Chain, Element, Expr, Family, Hook, Operator, Rule, Set, Source, Table, Verdict, Yield,
    Yields,
};

pub(crate) fn table(message: &Message<'_>) -> Option<Table> {
    named(message, TABLE_NAME)
}

fn named(message: &Message<'_>, kind: u16) -> Option<Table> {
    Some(Table {
        family: Family::from_number(message.family())?,
        name: message.attrs().string(kind)?,
    })
}

pub(crate) fn chain(message: &Message<'_>) -> Option<Chain> {
    let attrs = message.attrs();
    let hook = attrs.nest(CHAIN_HOOK);
    let base = hook.be32(HOOK_HOOKNUM).and_then(|number| {
        Some(Base {
            kind: attrs.string(CHAIN_TYPE)?,
            hook: Hook::from_number(number)?,
            priority: hook.be32(HOOK_PRIORITY)?.cast_signed(),
            drop: attrs.be32(CHAIN_POLICY) == Some(libc::NF_DROP.cast_unsigned()),
        })
    });
    Some(Chain {
        table: named(message, CHAIN_TABLE)?,
        name: attrs.string(CHAIN_NAME)?,
        base,
    })
}

pub(crate) fn set(message: &Message<'_>) -> Option<Set> {
    let attrs = message.attrs();
    let flags = attrs.be32(SET_FLAGS).unwrap_or_default();
    let data = attrs.be32(SET_DATA_TYPE);
    let yields = match data {
        _ if flags & libc::NFT_SET_MAP as u32 == 0 => Yields::Nothing,
        Some(DATA_TYPE_VERDICT) => Yields::Verdict,
        Some(kind) => Yields::Values(Kind::split(kind)?),
        None => return None,
    };
    Some(Set {
        table: named(message, SET_TABLE)?,
        name: attrs.string(SET_NAME)?,
        key: Kind::split(attrs.be32(SET_KEY_TYPE)?)?,
        yields,
        ranges: flags & libc::NFT_SET_INTERVAL as u32 != 0,
    })
}

pub(crate) fn elements(message: &Message<'_>, set: &Set) -> Vec<Element> {
    message
        .attrs()
        .nest(ELEM_LIST_ELEMENTS)
        .filter_map(|(_, value)| element(Attrs(value), set))
        .collect()
}

fn element(attrs: Attrs<'_>, set: &Set) -> Option<Element> {
    let first = attrs.nest(ELEM_KEY).get(DATA_VALUE)?;
    let last = attrs.nest(ELEM_KEY_END).get(DATA_VALUE).unwrap_or(first);
    let yields = match &set.yields {
        Yields::Nothing => Yield::Nothing,
        Yields::Values(kinds) => {
            let bytes = attrs.nest(ELEM_DATA).get(DATA_VALUE)?;
            Yield::Values(values(kinds, bytes, bytes)?)
        }
        Yields::Verdict => Yield::Verdict(verdict(attrs.nest(ELEM_DATA).nest(DATA_VERDICT))?),
    };
    Some(Element {
        key: values(&set.key, first, last)?,
        yields,
    })
}

fn values(kinds: &[Kind], first: &[u8], last: &[u8]) -> Option<Vec<Value>> {
    let mut at = 0;
    let mut values = Vec::new();
    for kind in kinds {
        let end = at
            + if kinds.len() == 1 {
                kind.len()
            } else {
                kind.room()
            };
        values.push(Value::from_bounds(
            *kind,
            first.get(at..end)?,
            last.get(at..end)?,
        )?);
        at = end;
    }
    Some(values)
}

pub(crate) fn rule(message: &Message<'_>) -> Option<Rule> {
    let attrs = message.attrs();
    let expressions = attrs
        .nest(RULE_EXPRESSIONS)
        .map(|(_, value)| expression(Attrs(value)))
        .collect();
    Some(Rule {
        table: named(message, RULE_TABLE)?,
        chain: attrs.string(RULE_CHAIN)?,
        expressions,
        comment: attrs.get(RULE_USERDATA).and_then(comment),
    })
}

fn comment(mut data: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = data {
        let value = rest.get(..usize::from(*length))?;
        if *kind == UDATA_RULE_COMMENT {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        data = &rest[usize::from(*length)..];
    }
    None
}

fn expression(attrs: Attrs<'_>) -> Expr {
    let name = attrs.string(EXPR_NAME).unwrap_or_default();
    let data = attrs.nest(EXPR_DATA);
    known(&name, data).unwrap_or_else(|| {
        let of = matches!(name.as_str(), "match" | "target").then(|| data.string(COMPAT_NAME));
        Expr::Other(name, of.flatten())
    })
}

/// `NFT_REG_1` to 4 are the first of four registers of four bytes.
fn register(attrs: Attrs<'_>, kind: u16) -> Option<u8> {
    let number = attrs.be32(kind)?;
    let at = match number {
        1..=4 => (number - 1) * 4,
        _ => number.checked_sub(libc::NFT_REG32_00 as u32)?,
    };
    u8::try_from(at).ok().filter(|at| *at < 16)
}

fn value(attrs: Attrs<'_>, kind: u16) -> Option<Vec<u8>> {
    attrs.nest(kind).get(DATA_VALUE).map(<[u8]>::to_vec)
}

fn known(name: &str, data: Attrs<'_>) -> Option<Expr> {
    Some(match name {
        "meta" => Expr::Load {
            from: Source::Meta(data.be32(META_KEY)?),
            to: register(data, META_DREG)?,
        },
        "ct" => Expr::Load {
            from: Source::Ct(
                data.be32(CT_KEY)?,
                data.get(CT_DIRECTION)
                    .and_then(|bytes| bytes.first().copied()),
            ),
            to: register(data, CT_DREG)?,
        },
        "payload" => Expr::Load {
            from: Source::Payload(
                data.be32(PAYLOAD_BASE)?,
                data.be32(PAYLOAD_OFFSET)?,
                data.be32(PAYLOAD_LEN)?,
            ),
            to: register(data, PAYLOAD_DREG)?,
        },
        "fib"
            if data.be32(FIB_RESULT)? == FIB_RESULT_ADDRTYPE
                && data.be32(FIB_FLAGS)? == FIB_F_DADDR =>
        {
            Expr::Load {
                from: Source::DestinationType,
                to: register(data, FIB_DREG)?,
            }
        }
        "bitwise" if register(data, BITWISE_SREG) == register(data, BITWISE_DREG) => Expr::Bits {
            register: register(data, BITWISE_SREG)?,
            mask: value(data, BITWISE_MASK)?,
            xor: value(data, BITWISE_XOR)?,
        },
        "cmp" => Expr::Compare {
            register: register(data, CMP_SREG)?,
            operator: operator(data.be32(CMP_OP)?)?,
            value: value(data, CMP_DATA)?,
        },
        "lookup" => lookup(data)?,
        "nat" if data.be32(NAT_TYPE)? == NAT_TYPE_DNAT => Expr::Dnat {
            v6: data.be32(NAT_FAMILY)? == libc::NFPROTO_IPV6 as u32,
            address: register(data, NAT_REG_ADDR_MIN)?,
            port: register(data, NAT_REG_PROTO_MIN)?,
        },
        "masq" => Expr::Masquerade,
        "counter" => Expr::Counter,
        "immediate" => {
            let data = data.nest(IMMEDIATE_DATA).nest(DATA_VERDICT);
            Expr::Verdict(verdict(data)?)
        }
        "reject" => Expr::Reject(
            data.be32(REJECT_TYPE)?,
            data.get(REJECT_CODE)
                .and_then(|bytes| bytes.first().copied())
                .unwrap_or_default(),
        ),
        _ => return None,
    })
}

fn lookup(data: Attrs<'_>) -> Option<Expr> {
    let set = data.string(LOOKUP_SET)?;
    let at = register(data, LOOKUP_SREG)?;
    Some(match data.be32(LOOKUP_DREG) {
        None => Expr::Lookup {
            register: at,
            set,
            inverted: data.be32(LOOKUP_FLAGS).unwrap_or_default() & 1 != 0,
        },
        Some(0) => Expr::VerdictMap { register: at, set },
        Some(_) => Expr::Map {
            register: at,
            set,
            to: register(data, LOOKUP_DREG)?,
        },
    })
}

fn operator(number: u32) -> Option<Operator> {
    [
        Operator::Eq,
        Operator::Neq,
        Operator::Lt,
        Operator::Lte,
        Operator::Gt,
        Operator::Gte,
    ]
    .get(number as usize)
    .copied()
}

fn verdict(attrs: Attrs<'_>) -> Option<Verdict> {
    let code = attrs.be32(VERDICT_CODE)?.cast_signed();
    Some(match code {
        libc::NF_ACCEPT => Verdict::Accept,
        libc::NF_DROP => Verdict::Drop,
        libc::NFT_CONTINUE => Verdict::Continue,
        libc::NFT_JUMP => Verdict::Jump(attrs.string(VERDICT_CHAIN)?),
        libc::NFT_GOTO => Verdict::Goto(attrs.string(VERDICT_CHAIN)?),
        libc::NFT_RETURN => Verdict::Return,
        code => Verdict::Other(code),
    })
}
