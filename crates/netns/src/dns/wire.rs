//! DNS messages ([RFC 1035], [RFC 6891]): as much of a query as must be understood, and the replies that
//! are made here.
//!
//! Not a codec: a message that is passed on is not decoded, so that no type, option or flag that
//! somebody invents stops here, and a question goes back as the bytes that came, in the case they had.
//!
//! [RFC 1035]: https://www.rfc-editor.org/rfc/rfc1035
//! [RFC 6891]: https://www.rfc-editor.org/rfc/rfc6891

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) const HEADER: usize = 12;
/// Longest name with its length bytes.
const MAX_NAME: usize = 255;
const MAX_LABEL: usize = 63;
/// What every client takes over UDP.
const PLAIN_UDP: u16 = 512;
/// What is offered to clients that speak EDNS: fits every path without fragments.
const OUR_UDP: u16 = 1232;

pub(crate) const A: u16 = 1;
pub(crate) const PTR: u16 = 12;
pub(crate) const AAAA: u16 = 28;
const OPT: u16 = 41;
pub(crate) const ANY: u16 = 255;
pub(crate) const IN: u16 = 1;

pub(crate) const FORMERR: u8 = 1;
pub(crate) const SERVFAIL: u8 = 2;
pub(crate) const NXDOMAIN: u8 = 3;
pub(crate) const NOTIMP: u8 = 4;
pub(crate) const REFUSED: u8 = 5;
/// Of EDNS: its upper bits are in the OPT record.
const BADVERS: u16 = 16;

const QR: u8 = 0x80;
const AA: u8 = 0x04;
const TC: u8 = 0x02;
const RD: u8 = 0x01;
const RA: u8 = 0x80;
const CD: u8 = 0x10;
const OPCODE: u8 = 0x78;

/// A query that makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Query<'a> {
    bytes: &'a [u8],
    /// Name, type and class, as they came.
    pub(crate) question: Question<'a>,
    edns: Option<Edns>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Edns {
    udp: u16,
    version: u8,
}

/// The one question of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question<'a> {
    bytes: &'a [u8],
    pub(crate) kind: u16,
    pub(crate) class: u16,
}

/// What to do about a datagram that is no proper query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// Nothing: too short, or a reply. Two servers that answered replies would never stop.
    Ignore,
    /// Answer with this code.
    Refuse(u8),
}

impl<'a> Query<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() < HEADER || bytes[2] & QR != 0 {
            return Err(Malformed::Ignore);
        }
        if bytes[2] & OPCODE != 0 {
            return Err(Malformed::Refuse(NOTIMP));
        }
        let malformed = Malformed::Refuse(FORMERR);
        let question = Question::of(bytes).ok_or(malformed)?;
        let records = u32::from(count(bytes, 3)) + u32::from(count(bytes, 4));
        let additional = u32::from(count(bytes, 5));
        let mut at = HEADER + question.bytes.len();
        let mut edns = None;
        for n in 0..records + additional {
            let (record, next) = Record::at(bytes, at).ok_or(malformed)?;
            at = next;
            if n >= records && record.kind == OPT {
                let found = Edns {
                    udp: record.class,
                    version: record.ttl.to_be_bytes()[1],
                };
                if edns.replace(found).is_some() {
                    return Err(malformed);
                }
            }
        }
        Ok(Self {
            bytes,
            question,
            edns,
        })
    }

    /// Longest reply that the client takes over UDP.
    pub(crate) fn udp_limit(&self) -> u16 {
        self.edns.map_or(PLAIN_UDP, |edns| edns.udp.max(PLAIN_UDP))
    }

    /// A version of EDNS that nobody here knows.
    pub(crate) fn has_foreign_edns(&self) -> bool {
        self.edns.is_some_and(|edns| edns.version != 0)
    }
}

impl<'a> Question<'a> {
    /// The question of a message that has exactly one.
    pub(crate) fn of(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() < HEADER || count(bytes, 2) != 1 {
            return None;
        }
        let mut at = HEADER;
        loop {
            let length = usize::from(*bytes.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            at += length;
            // No compression: there is nothing before a question that it could point to.
            if length > MAX_LABEL || at - HEADER >= MAX_NAME {
                return None;
            }
        }
        Some(Self {
            bytes: bytes.get(HEADER..at + 4)?,
            kind: u16_at(bytes, at)?,
            class: u16_at(bytes, at + 2)?,
        })
    }

    /// Whether a reply is to this question. Case does not count; some servers change it.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.bytes.eq_ignore_ascii_case(other.bytes)
    }

    fn labels(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (&length, after) = rest.split_first()?;
            if length == 0 {
                return None;
            }
            let (label, after) = after.split_at_checked(usize::from(length))?;
            rest = after;
            Some(label)
        })
    }

    /// The name in lower case without the last dot, if it could be that of a container or an address.
    pub(crate) fn plain_name(&self) -> Option<String> {
        let mut name = String::with_capacity(self.bytes.len());
        for label in self.labels() {
            if !name.is_empty() {
                name.push('.');
            }
            for &byte in label {
                if !byte.is_ascii_alphanumeric() && byte != b'-' && byte != b'_' {
                    return None;
                }
                name.push(byte.to_ascii_lowercase().into());
            }
        }
        Some(name)
    }

    /// The name for a reader, whatever it is made of.
    pub(crate) fn display(&self) -> String {
        let labels: Vec<_> = self
            .labels()
            .map(|label| label.escape_ascii().to_string())
            .collect();
        format!("{}.", labels.join("."))
    }
}

struct Record {
    kind: u16,
    class: u16,
    ttl: u32,
}

impl Record {
    /// The record at an offset, and where the next one is.
    fn at(bytes: &[u8], mut at: usize) -> Option<(Self, usize)> {
        loop {
            let length = *bytes.get(at)?;
            match length {
                0 => {
                    at += 1;
                    break;
                }
                // A pointer ends a name.
                0xc0.. => {
                    at += 2;
                    break;
                }
                1..=0x3f => at += 1 + usize::from(length),
                _ => return None,
            }
        }
        let kind = u16_at(bytes, at)?;
        let class = u16_at(bytes, at + 2)?;
        let ttl = u32::from(u16_at(bytes, at + 4)?) << 16 | u32::from(u16_at(bytes, at + 6)?);
        let next = at + 10 + usize::from(u16_at(bytes, at + 8)?);
        (next <= bytes.len()).then_some((Self { kind, class, ttl }, next))
    }
}

/// A reply that is being written.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    out: &'a mut Vec<u8>,
    edns: bool,
    answers: u16,
    code: u16,
}

impl<'a> Reply<'a> {
    /// Starts the reply to a query: header and question.
    pub(crate) fn new(query: &Query<'_>, code: u8, out: &'a mut Vec<u8>) -> Self {
        let code = if query.has_foreign_edns() {
            BADVERS
        } else {
            code.into()
        };
        start(query.bytes, out);
        out[3] |= code.to_be_bytes()[1] & 0x0f;
        out[5] = 1;
        out.extend_from_slice(query.question.bytes);
        Self {
            out,
            edns: query.edns.is_some(),
            answers: 0,
            code,
        }
    }

    /// What is said here is not hearsay.
    pub(crate) fn authoritative(self) -> Self {
        self.out[2] |= AA;
        self
    }

    /// Adds an answer about the name that was asked for.
    pub(crate) fn answer(&mut self, kind: u16, ttl: u32, data: &[u8]) {
        let length = u16::try_from(data.len()).expect("names and addresses are short");
        // 0xc00c points to the name of the question.
        self.out.extend_from_slice(&[0xc0, 0x0c]);
        self.out.extend_from_slice(&kind.to_be_bytes());
        self.out.extend_from_slice(&IN.to_be_bytes());
        self.out.extend_from_slice(&ttl.to_be_bytes());
        self.out.extend_from_slice(&length.to_be_bytes());
        self.out.extend_from_slice(data);
        self.answers += 1;
    }

    /// Adds what an EDNS client expects, and the counts.
    pub(crate) fn finish(self) {
        self.out[6..8].copy_from_slice(&self.answers.to_be_bytes());
        if self.edns {
            self.out[11] = 1;
            self.out.push(0);
            self.out.extend_from_slice(&OPT.to_be_bytes());
            self.out.extend_from_slice(&OUR_UDP.to_be_bytes());
            let upper = (self.code >> 4).to_be_bytes()[1];
            self.out.extend_from_slice(&[upper, 0, 0, 0, 0, 0]);
        }
    }
}

/// The reply to something of which not even the question is clear.
pub(crate) fn refuse(bytes: &[u8], code: u8, out: &mut Vec<u8>) {
    start(bytes, out);
    out[3] |= code;
}

/// A header without counts that repeats what a client wants to see again.
fn start(query: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.resize(HEADER, 0);
    out[..2].copy_from_slice(&query[..2]);
    out[2] = QR | query[2] & (OPCODE | RD);
    out[3] = RA | query[3] & CD;
}

/// Cuts a reply down to its question, marked as truncated: the client asks again over TCP.
pub(crate) fn truncate(reply: &mut Vec<u8>) {
    let question = Question::of(reply).map_or(0, |question| question.bytes.len());
    reply.truncate(HEADER + question);
    reply[2] |= TC;
    reply[6..HEADER].fill(0);
    reply[4..6].copy_from_slice(&[0, u8::from(question > 0)]);
}

/// The transaction id.
pub(crate) fn id(message: &[u8]) -> [u8; 2] {
    [message[0], message[1]]
}

/// Changes the transaction id.
pub(crate) fn set_id(message: &mut [u8], id: [u8; 2]) {
    message[..2].copy_from_slice(&id);
}

/// The response code of a reply to `query` with this id; `None` when it is not one.
pub(crate) fn code_of_reply(reply: &[u8], query: &[u8], id: [u8; 2]) -> Option<u8> {
    if reply.len() < HEADER || self::id(reply) != id || reply[2] & QR == 0 {
        return None;
    }
    let code = reply[3] & 0x0f;
    let same = match (Question::of(reply), Question::of(query)) {
        (Some(reply), Some(query)) => reply.same(&query),
        // Servers that cannot read a query leave its question out.
        (None, _) => code != 0 && count(reply, 2) == 0,
        (_, None) => false,
    };
    same.then_some(code)
}

/// A name as DNS writes it. `None` when it has no such form.
pub(crate) fn encode(name: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        if label.is_empty() || label.len() > MAX_LABEL {
            return None;
        }
        out.push(u8::try_from(label.len()).ok()?);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    (out.len() <= MAX_NAME).then_some(out)
}

/// The address that a name below `in-addr.arpa` or `ip6.arpa` stands for, if it stands for a whole one.
pub(crate) fn reverse(name: &str) -> Option<IpAddr> {
    if let Some(octets) = name.strip_suffix(".in-addr.arpa") {
        let mut parts = octets.rsplit('.');
        let mut next = || -> Option<u8> {
            let part = parts.next()?;
            let plain = part == "0" || !part.starts_with(['0', '+']);
            plain.then(|| part.parse().ok())?
        };
        let address = Ipv4Addr::new(next()?, next()?, next()?, next()?);
        return parts.next().is_none().then_some(address.into());
    }
    let nibbles = name.strip_suffix(".ip6.arpa")?;
    let (mut bits, mut count) = (0u128, 0);
    for nibble in nibbles.rsplit('.') {
        if nibble.len() != 1 || count == 32 {
            return None;
        }
        bits = bits << 4 | u128::from(u8::from_str_radix(nibble, 16).ok()?);
        count += 1;
    }
    (count == 32).then_some(Ipv6Addr::from_bits(bits).into())
}

/// The `n`-th 16-bit number of a header.
fn count(bytes: &[u8], n: usize) -> u16 {
    u16_at(bytes, n * 2).unwrap_or_default()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

#[cfg(test)]
mod tests;
