//! Messages against another implementation, and against noise.

use proptest::prelude::*;
use simple_dns::rdata::{OPT as Opt, RData};
use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, RCODE, TYPE};

use super::*;

/// A query as another implementation writes it.
fn query(name: &str, kind: TYPE, edns: Option<u16>) -> Vec<u8> {
    let mut packet = Packet::new_query(0x1234);
    packet.set_flags(simple_dns::PacketFlag::RECURSION_DESIRED);
    packet.questions.push(simple_dns::Question::new(
        Name::new(name).expect(name),
        QTYPE::TYPE(kind),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    *packet.opt_mut() = edns.map(|udp_packet_size| Opt {
        opt_codes: Vec::new(),
        udp_packet_size,
        version: 0,
    });
    packet.build_bytes_vec().expect("query")
}

#[test]
fn a_query_is_understood() {
    let bytes = query("WeB.Ctr.internal", TYPE::AAAA, Some(4096));
    let parsed = Query::parse(&bytes).expect("query");
    assert_eq!(parsed.question.kind, AAAA);
    assert_eq!(parsed.question.class, IN);
    assert_eq!(
        parsed.question.plain_name().as_deref(),
        Some("web.ctr.internal")
    );
    assert_eq!(parsed.question.display(), "WeB.Ctr.internal.");
    assert_eq!(parsed.udp_limit(), 4096);
    let plain = query("web", TYPE::A, None);
    assert_eq!(Query::parse(&plain).expect("query").udp_limit(), 512);
    let small = query("web", TYPE::A, Some(100));
    assert_eq!(Query::parse(&small).expect("query").udp_limit(), 512);
}

#[test]
fn replies_and_scraps_are_ignored_and_nonsense_is_refused() {
    let good = query("web", TYPE::A, None);
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Query::parse(&bytes).err()
    };
    assert_eq!(Query::parse(&good[..11]), Err(Malformed::Ignore));
    assert_eq!(with(2, 0x81), Some(Malformed::Ignore), "a reply");
    assert_eq!(with(2, 0x28), Some(Malformed::Refuse(NOTIMP)), "an update");
    for (at, value) in [
        (5, 0),
        (5, 2),
        (11, 1),
        (7, 1),
        (12, 64),
        (12, 0xc0),
        (12, 63),
    ] {
        assert_eq!(with(at, value), Some(Malformed::Refuse(FORMERR)), "{at}");
    }
    let two = {
        let mut bytes = query("web", TYPE::A, Some(1232));
        let opt = bytes[good.len()..].to_vec();
        bytes.extend(opt);
        bytes[11] = 2;
        bytes
    };
    assert_eq!(Query::parse(&two), Err(Malformed::Refuse(FORMERR)));
    let mut out = Vec::new();
    refuse(&good, FORMERR, &mut out);
    let reply = Packet::parse(&out).expect("reply");
    assert_eq!((reply.id(), reply.rcode()), (0x1234, RCODE::FormatError));
}

#[test]
fn a_reply_reads_as_it_was_meant() {
    let bytes = query("WEB", TYPE::A, Some(1232));
    let parsed = Query::parse(&bytes).expect("query");
    let mut out = Vec::new();
    let mut reply = Reply::new(&parsed, 0, &mut out).authoritative();
    reply.answer(A, 7, &[10, 1, 2, 3]);
    reply.answer(AAAA, 7, &Ipv6Addr::LOCALHOST.octets());
    reply.answer(PTR, 7, &encode("web.ctr.internal").expect("name"));
    reply.finish();
    let read = Packet::parse(&out).expect("reply");
    assert_eq!(read.id(), 0x1234);
    assert!(read.has_flags(
        simple_dns::PacketFlag::AUTHORITATIVE_ANSWER
            | simple_dns::PacketFlag::RECURSION_AVAILABLE
            | simple_dns::PacketFlag::RECURSION_DESIRED
    ));
    assert_eq!(read.questions[0].qname.to_string(), "WEB", "case is kept");
    assert_eq!(read.opt().expect("EDNS").udp_packet_size, OUR_UDP);
    let data: Vec<_> = read.answers.iter().map(|answer| &answer.rdata).collect();
    assert!(matches!(data[0], RData::A(a) if a.address == u32::from_be_bytes([10, 1, 2, 3])));
    assert!(matches!(data[1], RData::AAAA(a) if a.address == 1));
    assert!(matches!(data[2], RData::PTR(name) if name.0.to_string() == "web.ctr.internal"));
    assert!(
        read.answers
            .iter()
            .all(|a| a.name.to_string() == "WEB" && a.ttl == 7)
    );

    truncate(&mut out);
    let cut = Packet::parse(&out).expect("truncated");
    assert!(cut.has_flags(simple_dns::PacketFlag::TRUNCATION));
    assert_eq!((cut.questions.len(), cut.answers.len()), (1, 0));
}

#[test]
fn an_unknown_version_of_edns_is_badvers() {
    // RFC 6891 §6.1.3: code and version are the first bytes of the record's TTL. The library has them
    // in the last two, so it is no help here.
    let mut bytes = query("web", TYPE::A, Some(1232));
    let version = bytes.len() - 5;
    bytes[version] = 1;
    let parsed = Query::parse(&bytes).expect("query");
    let mut out = Vec::new();
    Reply::new(&parsed, 0, &mut out).finish();
    let opt = &out[out.len() - 11..];
    assert_eq!(opt, [0, 0, 41, 0x04, 0xd0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(out[3] & 0x0f, 0);
}

#[test]
fn a_reply_is_only_that_to_the_question() {
    let asked = query("web.example", TYPE::A, None);
    let reply = |name: &str, kind: TYPE| {
        let mut reply = query(name, kind, None);
        reply[2] |= QR;
        reply[3] |= NXDOMAIN;
        reply
    };
    let code = |reply: &[u8]| code_of_reply(reply, &asked, [0x12, 0x34]);
    assert_eq!(code(&reply("WEB.example", TYPE::A)), Some(NXDOMAIN));
    assert_eq!(code(&reply("web.example", TYPE::AAAA)), None);
    assert_eq!(code(&reply("wob.example", TYPE::A)), None);
    assert_eq!(code(&asked), None, "not a reply");
    let good = reply("web.example", TYPE::A);
    assert_eq!(
        code_of_reply(&good, &asked, [0x12, 0x35]),
        None,
        "another id"
    );
    let mut bare = good[..HEADER].to_vec();
    bare[5] = 0;
    assert_eq!(code(&bare), Some(NXDOMAIN), "an error without its question");
    bare[3] = 0;
    assert_eq!(code(&bare), None, "but no success");
}

#[test]
fn reverse_names_are_whole_addresses_or_nothing() {
    for (name, address) in [
        ("3.2.1.10.in-addr.arpa", Some("10.1.2.3")),
        ("0.0.0.0.in-addr.arpa", Some("0.0.0.0")),
        ("2.1.10.in-addr.arpa", None),
        ("4.3.2.1.10.in-addr.arpa", None),
        ("256.2.1.10.in-addr.arpa", None),
        ("03.2.1.10.in-addr.arpa", None),
        ("+3.2.1.10.in-addr.arpa", None),
        (
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
            Some("fd00::1"),
        ),
        ("1.0.d.f.ip6.arpa", None),
        ("ip6.arpa", None),
        ("web", None),
    ] {
        let address = address.map(|text| text.parse().expect(text));
        assert_eq!(reverse(name), address, "{name}");
    }
}

#[test]
fn names_are_encoded_or_refused() {
    assert_eq!(encode("a.bc").as_deref(), Some(&b"\x01a\x02bc\0"[..]));
    for bad in ["", "a..b", &"x".repeat(64), &["x"; 128].join(".")] {
        assert_eq!(encode(bad), None, "{bad}");
    }
}

/// Valid beginnings and random ends reach deeper than noise alone.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(any::<u8>(), 0..600);
    let like_a_query = (
        prop::collection::vec("[a-zA-Z0-9_.-]{0,63}", 1..5),
        any::<[u8; 4]>(),
        0u8..4,
        prop::collection::vec(any::<u8>(), 0..60),
    )
        .prop_map(|(labels, kind, additional, tail)| {
            let mut bytes = vec![1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, additional];
            for label in labels {
                bytes.push(u8::try_from(label.len()).expect("short"));
                bytes.extend(label.into_bytes());
            }
            bytes.push(0);
            bytes.extend(kind);
            bytes.extend(tail);
            bytes
        });
    prop_oneof![noise, like_a_query]
}

proptest! {
    #[test]
    fn no_datagram_does_harm(bytes in datagram()) {
        let mut out = Vec::new();
        match Query::parse(&bytes) {
            Err(Malformed::Ignore) => {}
            Err(Malformed::Refuse(code)) => {
                refuse(&bytes, code, &mut out);
                prop_assert_eq!(out.len(), HEADER);
            }
            Ok(query) => {
                let name = query.question.plain_name();
                let _ = (query.question.display(), name.as_deref().and_then(reverse));
                Reply::new(&query, SERVFAIL, &mut out).finish();
                prop_assert!(out.len() <= bytes.len() + 11);
                let own = Question::of(&out).expect("its question");
                prop_assert!(own.same(&query.question));
                truncate(&mut out);
            }
        }
    }

    #[test]
    fn no_reply_does_harm(bytes in datagram()) {
        let asked = query("web", TYPE::A, None);
        let id = bytes.get(..2).map_or([0; 2], |id| [id[0], id[1]]);
        if code_of_reply(&bytes, &asked, id).is_some() {
            let mut bytes = bytes;
            truncate(&mut bytes);
            prop_assert!(bytes.len() >= HEADER);
        }
    }
}
