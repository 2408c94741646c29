//! A request in the bytes of one netlink message. The only file that knows netlink-packet-route.

use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoPortData,
    InfoPortKind, InfoVeth, InfoVlan, IpVlanMode, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
    MacVlanMode,
};
use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use super::request::{
    Address, BridgePort, IpvlanMode, Kind, MacvlanMode, Master, Neighbour, NewLink, Peer, Request,
    Route, RouteKind, SetLink,
};
use super::tc;
use super::types::{Link, Mac, Netns};

/// Finds the number of an interface.
pub(crate) type Index<'a> = &'a mut dyn FnMut(&Link) -> Result<u32, Errno>;

const MAKE: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// Appends the request to `to`, to be answered under the number `sequence`.
///
/// # Errors
///
/// What `index` says, and `EINVAL` for a request that is for a container not known yet.
pub(crate) fn encode(
    request: &Request,
    sequence: u32,
    index: Index<'_>,
    to: &mut Vec<u8>,
) -> Result<(), Errno> {
    if request.is_for_a_container() {
        return Err(Errno::INVAL);
    }
    let (payload, flags) = message(request, index)?;
    append(payload, NLM_F_ACK | flags, sequence, to);
    Ok(())
}

fn append(payload: RouteNetlinkMessage, flags: u16, sequence: u32, to: &mut Vec<u8>) {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, payload.into());
    message.finalize();
    let start = to.len();
    to.resize(start + message.buffer_len(), 0);
    message.serialize(&mut to[start..]);
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    Links,
    Addresses,
    Routes,
}

/// A request to list all there is, IPv4 and IPv6.
pub(crate) fn list(what: List, sequence: u32) -> Vec<u8> {
    use RouteNetlinkMessage as M;
    let payload = match what {
        List::Links => M::GetLink(LinkMessage::default()),
        List::Addresses => M::GetAddress(AddressMessage::default()),
        List::Routes => M::GetRoute(RouteMessage::default()),
    };
    let mut bytes = Vec::new();
    append(payload, NLM_F_DUMP, sequence, &mut bytes);
    bytes
}

/// A request for one interface.
pub(crate) fn get_link(link: &Link, sequence: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(
        RouteNetlinkMessage::GetLink(named(link)),
        0,
        sequence,
        &mut bytes,
    );
    bytes
}

fn message(request: &Request, index: Index<'_>) -> Result<(RouteNetlinkMessage, u16), Errno> {
    use RouteNetlinkMessage as M;
    Ok(match request {
        Request::AddLink(link) => (M::NewLink(new_link(link, index)?), MAKE),
        Request::SetLink(change) => (M::SetLink(set_link(change, index)?), 0),
        Request::SetBridgePort { link, port } => (M::NewLink(bridge_port(link, *port)), 0),
        Request::AddForwarding { port, mac } => (
            M::NewNeighbour(forwarding(index(port)?, *mac)),
            NLM_F_CREATE | NLM_F_REPLACE,
        ),
        Request::DeleteLink(link) => (M::DelLink(named(link)), 0),
        Request::AddAddress(of) => (M::NewAddress(address(of, index)?), MAKE),
        Request::DeleteAddress(of) => (M::DelAddress(address(of, index)?), 0),
        Request::AddRoute(of) => (M::NewRoute(route(of, index)?), MAKE),
        Request::DeleteRoute(of) => (M::DelRoute(route(of, index)?), 0),
        Request::AddNeighbour(of) => (
            M::NewNeighbour(neighbour(of, index)?),
            NLM_F_CREATE | NLM_F_REPLACE,
        ),
        Request::DeleteNeighbour(of) => (M::DelNeighbour(neighbour(of, index)?), 0),
        Request::AddTbf { link, tbf } => (
            M::NewQueueDiscipline(tc::tbf(index(link)?, tbf)),
            NLM_F_CREATE | NLM_F_REPLACE,
        ),
        Request::DeleteRootQdisc(link) => (M::DelQueueDiscipline(tc::root(index(link)?)), 0),
        Request::AddClsact(link) => (M::NewQueueDiscipline(tc::clsact(index(link)?)), MAKE),
        Request::DeleteClsact(link) => (M::DelQueueDiscipline(tc::clsact(index(link)?)), 0),
        Request::Redirect { from, to } => (
            M::NewTrafficFilter(tc::redirect(index(from)?, index(to)?)),
            MAKE,
        ),
    })
}

/// A message about an existing interface: its number, or its name for the kernel to look up.
fn named(link: &Link) -> LinkMessage {
    let mut message = LinkMessage::default();
    match link {
        Link::Index(index) => message.header.index = *index,
        Link::Name(name) => {
            let name = LinkAttribute::IfName(name.as_str().to_owned());
            message.attributes.push(name);
        }
    }
    message
}

fn set_up(message: &mut LinkMessage, up: bool) {
    message.header.change_mask = LinkFlags::Up;
    if up {
        message.header.flags = LinkFlags::Up;
    }
}

fn netns(netns: Netns) -> Option<LinkAttribute> {
    match netns {
        // Refused before.
        Netns::Container => None,
        Netns::Pid(pid) => Some(LinkAttribute::NetNsPid(pid)),
        Netns::Fd(fd) => Some(LinkAttribute::NetNsFd(fd)),
    }
}

fn new_link(link: &NewLink, index: Index<'_>) -> Result<LinkMessage, Errno> {
    let mut message = LinkMessage::default();
    message.header.index = link.index.unwrap_or(0);
    if link.up {
        set_up(&mut message, true);
    }
    let attributes = &mut message.attributes;
    attributes.push(LinkAttribute::IfName(link.name.as_str().to_owned()));
    attributes.extend(link.mtu.map(LinkAttribute::Mtu));
    attributes.extend(link.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    attributes.extend(link.netns.and_then(netns));
    if let Some(master) = &link.master {
        attributes.push(LinkAttribute::Controller(index(master)?));
    }
    if let Kind::Vlan { lower, .. } | Kind::Macvlan { lower, .. } | Kind::Ipvlan { lower, .. } =
        &link.kind
    {
        attributes.push(LinkAttribute::Link(index(lower)?));
    }
    if let Kind::Veth(_) = &link.kind {
        attributes.extend(ONE_QUEUE);
    }
    attributes.push(LinkAttribute::LinkInfo(kind(&link.kind)));
    Ok(message)
}

/// As many queues as a veth uses when nobody asks. Unasked it is made with one for each possible processor, and
/// they are taken away again, for which the kernel waits until all readers are done (`synchronize_net` in
/// `netif_set_real_num_tx_queues`, called by `veth_init_queues`), once for each end.
const ONE_QUEUE: [LinkAttribute; 2] =
    [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)];

fn kind(kind: &Kind) -> Vec<LinkInfo> {
    let (kind, data) = match kind {
        Kind::Veth(of) => (InfoKind::Veth, InfoData::Veth(InfoVeth::Peer(peer(of)))),
        Kind::Bridge { multicast_snooping } => (
            InfoKind::Bridge,
            // Spanning tree and VLAN filtering are off unless asked for, and a kernel without the latter
            // refuses even to be told that it is off.
            InfoData::Bridge(vec![InfoBridge::MulticastSnooping(*multicast_snooping)]),
        ),
        Kind::Vlan { id, .. } => (InfoKind::Vlan, InfoData::Vlan(vec![InfoVlan::Id(*id)])),
        Kind::Macvlan { mode, .. } => {
            let mode = match mode {
                MacvlanMode::Private => MacVlanMode::Private,
                MacvlanMode::Vepa => MacVlanMode::Vepa,
                MacvlanMode::Bridge => MacVlanMode::Bridge,
                MacvlanMode::Passthru => MacVlanMode::Passthrough,
            };
            let data = InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)]);
            (InfoKind::MacVlan, data)
        }
        Kind::Ipvlan { mode, .. } => {
            let mode = match mode {
                IpvlanMode::L2 => IpVlanMode::L2,
                IpvlanMode::L3 => IpVlanMode::L3,
                IpvlanMode::L3s => IpVlanMode::L3S,
            };
            let data = InfoData::IpVlan(vec![InfoIpVlan::Mode(mode)]);
            (InfoKind::IpVlan, data)
        }
        Kind::Ifb => return vec![LinkInfo::Kind(InfoKind::Ifb)],
    };
    vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]
}

fn peer(peer: &Peer) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = peer.index.unwrap_or(0);
    let attributes = &mut message.attributes;
    attributes.push(LinkAttribute::IfName(peer.name.as_str().to_owned()));
    attributes.extend(peer.mtu.map(LinkAttribute::Mtu));
    attributes.extend(peer.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    attributes.extend(peer.netns.and_then(netns));
    attributes.extend(ONE_QUEUE);
    message
}

fn set_link(change: &SetLink, index: Index<'_>) -> Result<LinkMessage, Errno> {
    // IFLA_IFNAME is what to look for while there is no number, and the new name beside one.
    let mut message = match &change.name {
        None => named(&change.link),
        Some(name) => {
            let mut message = named(&Link::Index(index(&change.link)?));
            let name = LinkAttribute::IfName(name.as_str().to_owned());
            message.attributes.push(name);
            message
        }
    };
    if let Some(up) = change.up {
        set_up(&mut message, up);
    }
    let master = match &change.master {
        Master::Keep => None,
        Master::None => Some(0),
        Master::Of(link) => Some(index(link)?),
    };
    let attributes = &mut message.attributes;
    attributes.extend(master.map(LinkAttribute::Controller));
    attributes.extend(change.mtu.map(LinkAttribute::Mtu));
    attributes.extend(change.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    attributes.extend(change.netns.and_then(netns));
    Ok(message)
}

fn bridge_port(link: &Link, port: BridgePort) -> LinkMessage {
    let flags = [
        port.hairpin.map(InfoBridgePort::HairpinMode),
        port.isolated.map(InfoBridgePort::Isolated),
        port.learning.map(InfoBridgePort::Learning),
        port.unicast_flood.map(InfoBridgePort::UnicastFlood),
        port.neigh_suppress.map(InfoBridgePort::NeighSupress),
    ];
    let mut message = named(link);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(
            flags.into_iter().flatten().collect(),
        )),
    ]));
    message
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}

fn address(address: &Address, index: Index<'_>) -> Result<AddressMessage, Errno> {
    let prefix = address.prefix;
    let mut message = AddressMessage::default();
    message.header.family = family(prefix.address());
    message.header.prefix_len = prefix.length();
    message.header.index = index(&address.link)?;
    message.header.scope = match prefix.address() {
        IpAddr::V4(v4) if v4.is_loopback() => AddressScope::Host,
        _ => AddressScope::Universe,
    };
    let attributes = &mut message.attributes;
    attributes.push(AddressAttribute::Local(prefix.address()));
    attributes.push(AddressAttribute::Address(prefix.address()));
    match prefix.address() {
        // What programs that broadcast look for; the kernel does not fill it in.
        IpAddr::V4(v4) if prefix.length() < 31 => {
            let host_bits = u32::MAX >> prefix.length();
            attributes.push(AddressAttribute::Broadcast(
                (v4.to_bits() | host_bits).into(),
            ));
        }
        IpAddr::V6(_) if address.nodad => {
            message.header.flags = AddressHeaderFlags::Nodad;
            attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        _ => {}
    }
    Ok(message)
}

fn route(route: &Route, index: Index<'_>) -> Result<RouteMessage, Errno> {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family(route.to.address());
    header.destination_prefix_length = route.to.length();
    header.table = match route.kind {
        RouteKind::Local => libc::RT_TABLE_LOCAL,
        _ => RouteHeader::RT_TABLE_MAIN,
    };
    header.protocol = RouteProtocol::Static;
    header.kind = match route.kind {
        RouteKind::Unicast => RouteType::Unicast,
        RouteKind::Blackhole => RouteType::BlackHole,
        RouteKind::Unreachable => RouteType::Unreachable,
        RouteKind::Prohibit => RouteType::Prohibit,
        RouteKind::Local => RouteType::Local,
    };
    // Without a gateway the destination is on the link itself; IPv6 has no such distinction.
    let on_link =
        route.kind == RouteKind::Unicast && route.via.is_none() && route.to.address().is_ipv4();
    header.scope = if route.kind == RouteKind::Local {
        RouteScope::Host
    } else if on_link {
        RouteScope::Link
    } else {
        RouteScope::Universe
    };
    if route.onlink {
        header.flags = RouteFlags::Onlink;
    }
    let attributes = &mut message.attributes;
    if let Some(link) = &route.link {
        attributes.push(RouteAttribute::Oif(index(link)?));
    }
    if route.to.length() > 0 {
        attributes.push(RouteAttribute::Destination(route.to.address().into()));
    }
    attributes.extend(route.via.map(|via| RouteAttribute::Gateway(via.into())));
    attributes.extend(
        route
            .source
            .map(|source| RouteAttribute::PrefSource(source.into())),
    );
    attributes.extend(route.metric.map(RouteAttribute::Priority));
    Ok(message)
}

fn neighbour(neighbour: &Neighbour, index: Index<'_>) -> Result<NeighbourMessage, Errno> {
    let mut message = NeighbourMessage::default();
    message.header.family = family(neighbour.address);
    message.header.ifindex = index(&neighbour.link)?;
    message.header.state = NeighbourState::Permanent;
    message.attributes = vec![
        NeighbourAttribute::Destination(match neighbour.address {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => v6.into(),
        }),
        NeighbourAttribute::LinkLayerAddress(neighbour.mac.0.to_vec()),
    ];
    Ok(message)
}

fn forwarding(port: u32, mac: Mac) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = port;
    message.header.state = NeighbourState::Noarp;
    message.header.flags = NeighbourFlags::Controller | NeighbourFlags::Sticky;
    message.attributes = vec![NeighbourAttribute::LinkLayerAddress(mac.0.to_vec())];
    message
}

#[cfg(test)]
mod tests {
    use super::super::types::{LinkName, Prefix};
    use super::*;

    fn bytes(request: &Request) -> Result<Vec<u8>, Errno> {
        let mut out = Vec::new();
        let mut index = |link: &Link| match link {
            Link::Index(index) => Ok(*index),
            Link::Name(_) => Err(Errno::NODEV),
        };
        encode(request, 7, &mut index, &mut out).map(|()| out)
    }

    #[test]
    fn an_address_is_the_bytes_that_ip_address_sends() {
        let request = Request::AddAddress(Address {
            link: Link::Index(2),
            prefix: Prefix::new("fd00::2".parse().expect("address"), 64).expect("prefix"),
            nodad: true,
        });
        let mut expected = vec![72, 0, 0, 0, 20, 0, 5, 6, 7, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([10, 64, 2, 0, 2, 0, 0, 0]);
        let mut address = vec![0xfd];
        address.extend([0; 14]);
        address.push(2);
        for kind in [2, 1] {
            expected.extend([20, 0, kind, 0]);
            expected.extend(&address);
        }
        expected.extend([8, 0, 8, 0, 2, 0, 0, 0]);
        assert_eq!(bytes(&request).expect("encode"), expected);
    }

    #[test]
    fn both_ends_of_a_veth_are_born_with_one_queue() {
        let name = |of: &str| LinkName::new(of).expect("name");
        let veth = Kind::Veth(Peer::new(name("eth0")));
        let request = Request::AddLink(NewLink::new(name("v0"), veth));
        let bytes = bytes(&request).expect("encode");
        // IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES
        for kind in [31, 32] {
            let mut one = vec![8, 0, kind, 0];
            one.extend(1_u32.to_ne_bytes());
            let found = bytes.windows(one.len()).filter(|part| **part == one);
            assert_eq!(found.count(), 2, "{kind}");
        }
    }

    #[test]
    fn messages_are_whole_words_that_say_their_length() {
        let name = LinkName::new("ctr0").expect("name");
        for request in [
            Request::DeleteLink(Link::Name(name)),
            Request::AddRoute(Route::new(RouteKind::Blackhole, Prefix::ALL_V6)),
            Request::AddNeighbour(Neighbour {
                link: Link::Index(3),
                address: "10.0.0.1".parse().expect("address"),
                mac: Mac([2; 6]),
            }),
            Request::AddClsact(Link::Index(3)),
            Request::Redirect {
                from: Link::Index(3),
                to: Link::Index(4),
            },
        ] {
            let bytes = bytes(&request).expect("encode");
            assert_eq!(bytes.len() % 4, 0, "{request}");
            assert_eq!(bytes[0] as usize + bytes[1] as usize * 256, bytes.len());
        }
    }

    #[test]
    fn an_unknown_name_and_an_unknown_container_are_errors() {
        let name = LinkName::new("eth0").expect("name");
        let route = Route::default_via("10.0.0.1".parse().expect("address"), name.clone());
        assert_eq!(bytes(&Request::AddRoute(route)), Err(Errno::NODEV));
        let link = NewLink {
            netns: Some(Netns::Container),
            ..NewLink::new(name, Kind::Ifb)
        };
        assert_eq!(bytes(&Request::AddLink(link)), Err(Errno::INVAL));
    }
}
