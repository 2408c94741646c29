//! What is answered here, and how.

use std::net::IpAddr;

use super::wire::{self, Malformed, Query, Reply};
use super::{Record, SUFFIX, Zone};
use crate::Error;

/// How long a client may keep an answer, in seconds.
const TTL: u32 = 1;

/// Answers what the zones know; pure but for one lookup in a directory.
#[derive(Debug)]
pub struct Resolver {
    zones: Vec<Zone>,
    forwards: bool,
}

/// What became of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The reply is written.
    Answered,
    /// Somebody upstream must be asked; a reply may have this many bytes over UDP.
    Forward {
        /// Bytes.
        udp_limit: u16,
    },
    /// Nothing is to be said to this.
    Ignored,
}

impl Resolver {
    /// `zones` are those of the container's networks, the first wins. Without `forwards`, which is
    /// for networks without a way out, whatever is not in them is `REFUSED`: a query to the host's
    /// servers is a way out.
    pub fn new(zones: Vec<Zone>, forwards: bool) -> Self {
        Self { zones, forwards }
    }

    /// Answers a query into `reply`, whose content is replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Claim`] when a zone cannot be read; `reply` is a `SERVFAIL` then.
    pub fn answer(&self, query: &[u8], reply: &mut Vec<u8>) -> Result<Verdict, Error> {
        let query = match Query::parse(query) {
            Ok(query) => query,
            Err(Malformed::Ignore) => return Ok(Verdict::Ignored),
            Err(Malformed::Refuse(code)) => {
                wire::refuse(query, code, reply);
                return Ok(Verdict::Answered);
            }
        };
        match self.find(&query) {
            Ok(Found::Record(record)) => addresses(&query, &record, reply),
            Ok(Found::Pointer(record)) => pointer(&query, &record, reply),
            Ok(Found::Nothing) => Reply::new(&query, 0, reply).authoritative().finish(),
            Ok(Found::NoSuchName) => Reply::new(&query, wire::NXDOMAIN, reply)
                .authoritative()
                .finish(),
            Ok(Found::NotOurs) if self.forwards && !query.has_foreign_edns() => {
                return Ok(Verdict::Forward {
                    udp_limit: query.udp_limit(),
                });
            }
            Ok(Found::NotOurs | Found::Refused) => {
                Reply::new(&query, wire::REFUSED, reply).finish();
            }
            Err(error) => {
                Reply::new(&query, wire::SERVFAIL, reply).finish();
                return Err(error);
            }
        }
        Ok(Verdict::Answered)
    }

    fn find(&self, query: &Query<'_>) -> Result<Found, Error> {
        if ![wire::IN, wire::ANY].contains(&query.question.class) {
            return Ok(Found::Refused);
        }
        let Some(name) = query.question.plain_name() else {
            return Ok(Found::NotOurs);
        };
        if let Some(address) = wire::reverse(&name) {
            return self.find_address(address);
        }
        let below = name
            .strip_suffix(SUFFIX)
            .and_then(|rest| rest.strip_suffix('.'));
        for zone in &self.zones {
            if let Some(record) = zone.find(below.unwrap_or(&name))? {
                return Ok(Found::Record(record));
            }
        }
        Ok(match below {
            Some(_) => Found::NoSuchName,
            None if name == SUFFIX => Found::Nothing,
            None => Found::NotOurs,
        })
    }

    fn find_address(&self, address: IpAddr) -> Result<Found, Error> {
        let mut ours = self
            .zones
            .iter()
            .filter(|zone| zone.subnets().contains(address))
            .peekable();
        if ours.peek().is_none() {
            return Ok(Found::NotOurs);
        }
        for zone in ours {
            if let Some(record) = zone.find_address(address)? {
                return Ok(Found::Pointer(record));
            }
        }
        Ok(Found::NoSuchName)
    }
}

enum Found {
    /// A container by its name.
    Record(Record),
    /// A container by its address.
    Pointer(Record),
    /// A name that exists and has no records.
    Nothing,
    /// A name that would be ours and does not exist.
    NoSuchName,
    /// Somebody else's name.
    NotOurs,
    /// Nothing that is done here.
    Refused,
}

fn addresses(query: &Query<'_>, record: &Record, out: &mut Vec<u8>) {
    let kind = query.question.kind;
    let mut reply = Reply::new(query, 0, out).authoritative();
    // A foreign EDNS version is an error by itself: no answers beside it.
    if !query.has_foreign_edns() {
        if [wire::A, wire::ANY].contains(&kind) {
            reply.answer(wire::A, TTL, &record.v4.octets());
        }
        if let Some(v6) = record.v6
            && [wire::AAAA, wire::ANY].contains(&kind)
        {
            reply.answer(wire::AAAA, TTL, &v6.octets());
        }
    }
    reply.finish();
}

fn pointer(query: &Query<'_>, record: &Record, out: &mut Vec<u8>) {
    let mut reply = Reply::new(query, 0, out).authoritative();
    let name = wire::encode(&format!("{}.{SUFFIX}", record.name));
    if let Some(name) = name
        && [wire::PTR, wire::ANY].contains(&query.question.kind)
        && !query.has_foreign_edns()
    {
        reply.answer(wire::PTR, TTL, &name);
    }
    reply.finish();
}

#[cfg(test)]
mod tests;
