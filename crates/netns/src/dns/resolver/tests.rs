//! Which question gets which answer.

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

use super::*;
use crate::{Holder, Name, Subnets};

struct Setting {
    _directory: tempfile::TempDir,
    resolver: Resolver,
}

fn setting(forwards: bool) -> Setting {
    let directory = tempfile::tempdir().expect("tempdir");
    let zone = |network: &str, subnets: &[&str], names: &[(&str, &str, Option<&str>)]| {
        let nets: Vec<_> = subnets.iter().map(|net| net.parse().expect(net)).collect();
        let subnets = Subnets::new(&nets).expect("subnets");
        let zone = Zone::open(&directory.path().join(network), subnets).expect("zone");
        for (name, v4, v6) in names {
            let record = Record {
                name: Name::new(name).expect(name),
                v4: v4.parse().expect(v4),
                v6: v6.map(|v6| v6.parse().expect(v6)),
            };
            let alias = Name::new(&format!("{name}-alias")).expect("alias");
            let holder = Holder::new(name, "1").expect("holder");
            zone.publish(&holder, &record, &[alias], &|_| true)
                .expect("publish");
        }
        zone
    };
    let zones = vec![
        zone(
            "front",
            &["10.1.2.0/24", "fd00::/64"],
            &[
                ("web", "10.1.2.3", Some("fd00::3")),
                ("a.b_c", "10.1.2.4", Some("fd00::4")),
            ],
        ),
        zone("back", &["10.1.3.0/24"], &[("db", "10.1.3.9", None)]),
    ];
    Setting {
        resolver: Resolver::new(zones, forwards),
        _directory: directory,
    }
}

fn ask(setting: &Setting, name: &str, kind: TYPE) -> (Verdict, Vec<u8>) {
    ask_class(setting, name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN))
}

fn ask_class(setting: &Setting, name: &str, kind: QTYPE, class: QCLASS) -> (Verdict, Vec<u8>) {
    let mut query = Packet::new_query(77);
    let name = simple_dns::Name::new(name).expect(name);
    query
        .questions
        .push(Question::new(name, kind, class, false));
    let query = query.build_bytes_vec().expect("query");
    let mut reply = Vec::new();
    let verdict = setting.resolver.answer(&query, &mut reply).expect("answer");
    (verdict, reply)
}

/// Code, whether authoritative, and the answers in words.
fn said(setting: &Setting, name: &str, kind: TYPE) -> (RCODE, bool, Vec<String>) {
    let (verdict, reply) = ask(setting, name, kind);
    assert_eq!(verdict, Verdict::Answered, "{name}");
    let reply = Packet::parse(&reply).expect("reply");
    let word = |data: &RData<'_>| match data {
        RData::A(a) => std::net::Ipv4Addr::from(a.address).to_string(),
        RData::AAAA(a) => std::net::Ipv6Addr::from(a.address).to_string(),
        RData::PTR(name) => name.0.to_string(),
        other => format!("{other:?}"),
    };
    let answers = reply.answers.iter().map(|answer| word(&answer.rdata));
    let authoritative = reply.has_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    (reply.rcode(), authoritative, answers.collect())
}

#[test]
fn names_aliases_and_addresses_of_all_networks_are_answered() {
    let setting = setting(true);
    for (name, kind, answer) in [
        ("web", TYPE::A, &["10.1.2.3"][..]),
        ("WEB.ctr.INTERNAL", TYPE::A, &["10.1.2.3"]),
        ("web-alias", TYPE::AAAA, &["fd00::3"]),
        ("a.b_c.ctr.internal", TYPE::AAAA, &["fd00::4"]),
        ("a.b_c", TYPE::A, &["10.1.2.4"]),
        ("db", TYPE::A, &["10.1.3.9"]),
        ("db", TYPE::AAAA, &[]),
        ("web", TYPE::MX, &[]),
        ("ctr.internal", TYPE::A, &[]),
        ("3.2.1.10.in-addr.arpa", TYPE::PTR, &["web.ctr.internal"]),
        ("9.3.1.10.in-addr.arpa", TYPE::PTR, &["db.ctr.internal"]),
        ("3.2.1.10.in-addr.arpa", TYPE::A, &[]),
        (
            "3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
            TYPE::PTR,
            &["web.ctr.internal"],
        ),
    ] {
        let (code, authoritative, answers) = said(&setting, name, kind);
        assert_eq!((code, authoritative), (RCODE::NoError, true), "{name}");
        assert_eq!(answers, answer, "{name} {kind:?}");
    }
}

#[test]
fn what_would_be_ours_and_is_not_there_does_not_exist() {
    let setting = setting(true);
    for name in [
        "nobody.ctr.internal",
        "web.example.ctr.internal",
        "10.1.2.3.ctr.internal",
        "200.2.1.10.in-addr.arpa",
    ] {
        let (code, authoritative, _) = said(&setting, name, TYPE::A);
        assert_eq!((code, authoritative), (RCODE::NameError, true), "{name}");
    }
}

#[test]
fn everything_else_is_forwarded_or_refused() {
    let elsewhere = [
        "example.com",
        "nobody",
        "ctr.internal.example",
        "3.2.1.11.in-addr.arpa",
        ".",
    ];
    for name in elsewhere {
        let (verdict, _) = ask(&setting(true), name, TYPE::A);
        assert_eq!(verdict, Verdict::Forward { udp_limit: 512 }, "{name}");
        let (code, authoritative, _) = said(&setting(false), name, TYPE::A);
        assert_eq!((code, authoritative), (RCODE::Refused, false), "{name}");
    }
}

#[test]
fn any_gets_both_and_other_classes_nothing() {
    let setting = setting(true);
    let (_, reply) = ask_class(&setting, "web", QTYPE::ANY, QCLASS::ANY);
    assert_eq!(Packet::parse(&reply).expect("reply").answers.len(), 2);
    let chaos = QCLASS::CLASS(CLASS::CH);
    let (_, reply) = ask_class(&setting, "version.bind", QTYPE::TYPE(TYPE::TXT), chaos);
    assert_eq!(
        Packet::parse(&reply).expect("reply").rcode(),
        RCODE::Refused
    );
}

#[test]
fn an_unknown_type_of_a_known_name_is_no_data() {
    let setting = setting(true);
    let mut query = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3];
    query.extend(b"web\0\xff\x00\x00\x01");
    let mut reply = Vec::new();
    let verdict = setting.resolver.answer(&query, &mut reply).expect("answer");
    assert_eq!(verdict, Verdict::Answered);
    assert_eq!(reply[3] & 0x0f, 0);
    assert_eq!(&reply[12..], &query[12..]);
}
