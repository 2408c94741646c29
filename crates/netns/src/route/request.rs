//! What can be asked of rtnetlink, as plain values.

use std::net::IpAddr;

use super::types::{Link, LinkName, Mac, Netns, Prefix};

/// One rtnetlink message ([`rtnetlink(7)`]). Comparable and printable: [`Request::describe`] is what
/// an error and a printed plan show.
///
/// [`rtnetlink(7)`]: https://man7.org/linux/man-pages/man7/rtnetlink.7.html
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Makes an interface; an existing one is `EEXIST`. `RTM_NEWLINK`.
    AddLink(NewLink),
    /// Changes an interface or moves it. `RTM_SETLINK`.
    SetLink(SetLink),
    /// Changes how a bridge treats one of its ports. `RTM_NEWLINK` with `IFLA_INFO_SLAVE_DATA`.
    SetBridgePort {
        /// The port.
        link: Link,
        /// What changes.
        port: BridgePort,
    },
    /// Makes or replaces an entry of the forwarding database of a bridge: frames to `mac` go out by this
    /// port, whichever port some *from* it come in by. It goes with the port. `RTM_NEWNEIGH` of
    /// `AF_BRIDGE` with `NTF_STICKY`, since Linux 4.20.
    AddForwarding {
        /// The port.
        port: Link,
        /// Whose frames.
        mac: Mac,
    },
    /// Removes an interface. `RTM_DELLINK`.
    ///
    /// The kernel waits for an RCU grace period meanwhile, 10 ms and more. An interface whose
    /// namespace dies goes in the background, and a veth takes its peer along.
    DeleteLink(Link),
    /// `RTM_NEWADDR`.
    AddAddress(Address),
    /// `RTM_DELADDR`.
    DeleteAddress(Address),
    /// `RTM_NEWROUTE`, in the main table.
    AddRoute(Route),
    /// `RTM_DELROUTE`, in the main table.
    DeleteRoute(Route),
    /// Makes or replaces a permanent entry. `RTM_NEWNEIGH`.
    AddNeighbour(Neighbour),
    /// `RTM_DELNEIGH`.
    DeleteNeighbour(Neighbour),
    /// Makes or replaces the root qdisc: limits what the interface *sends*. `RTM_NEWQDISC`.
    AddTbf {
        /// The interface.
        link: Link,
        /// How much.
        tbf: Tbf,
    },
    /// Removes the root qdisc, whichever it is; the default one comes back. `RTM_DELQDISC`.
    DeleteRootQdisc(Link),
    /// Makes the place where filters see what an interface receives. `RTM_NEWQDISC` `clsact`.
    AddClsact(Link),
    /// Removes it, with its filters. `RTM_DELQDISC`.
    DeleteClsact(Link),
    /// Sends all that `from` receives through `to`, an [`Kind::Ifb`], from where it goes on as if
    /// nothing had happened: a [`Request::AddTbf`] on `to` limits what `from` receives.
    /// `RTM_NEWTFILTER` `u32` matching everything, action `mirred`. Needs [`Request::AddClsact`].
    Redirect {
        /// Has clsact.
        from: Link,
        /// An ifb that is up.
        to: Link,
    },
}

/// An interface to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLink {
    /// Its name.
    pub name: LinkName,
    /// What it is.
    pub kind: Kind,
    /// Its number. None: the kernel's next one. A number in use is `EBUSY` or `EEXIST`.
    pub index: Option<u32>,
    /// Largest packet in bytes, IP header included. None: the kernel's choice, 1500 mostly.
    pub mtu: Option<u32>,
    /// Its Ethernet address. None: the kernel makes one up.
    pub mac: Option<Mac>,
    /// The bridge that it becomes a port of.
    pub master: Option<Link>,
    /// Where it is born. None: where the socket belongs.
    pub netns: Option<Netns>,
    /// Up at once.
    pub up: bool,
}

impl NewLink {
    /// With everything else left to the kernel, and down.
    pub fn new(name: LinkName, kind: Kind) -> Self {
        Self {
            name,
            kind,
            index: None,
            mtu: None,
            mac: None,
            master: None,
            netns: None,
            up: false,
        }
    }
}

/// What an interface is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// One end of a pair, [`veth(4)`]; the other is made by the same message. Each has one queue for what it
    /// sends and one for what it receives, which is what the kernel uses unasked.
    ///
    /// [`veth(4)`]: https://man7.org/linux/man-pages/man4/veth.4.html
    Veth(Peer),
    /// A bridge without spanning tree and without VLAN filtering.
    Bridge {
        /// Whether multicast goes only where it was asked for. Off, a small network floods it, and
        /// neither waits for nor loses IPv6 neighbour discovery.
        multicast_snooping: bool,
    },
    /// 802.1Q on top of another interface.
    Vlan {
        /// The other interface.
        lower: Link,
        /// 1 to 4094.
        id: u16,
    },
    /// An interface with an Ethernet address of its own on top of another.
    Macvlan {
        /// The other interface.
        lower: Link,
        /// Who sees whom.
        mode: MacvlanMode,
    },
    /// An interface that shares the Ethernet address of another.
    Ipvlan {
        /// The other interface.
        lower: Link,
        /// Where packets are switched.
        mode: IpvlanMode,
    },
    /// An intermediate functional block, for [`Request::Redirect`].
    Ifb,
}

impl Kind {
    /// The name the kernel knows it by, `IFLA_INFO_KIND`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Veth(_) => "veth",
            Self::Bridge { .. } => "bridge",
            Self::Vlan { .. } => "vlan",
            Self::Macvlan { .. } => "macvlan",
            Self::Ipvlan { .. } => "ipvlan",
            Self::Ifb => "ifb",
        }
    }
}

/// The other end of a veth pair. It cannot be made up: the kernel has not joined the two ends yet
/// when it would have to be (`ENOTCONN`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name, where it is born.
    pub name: LinkName,
    /// Its number there. The kernel honours it only together with [`NewLink::index`] (`veth_newlink`
    /// in `drivers/net/veth.c`), and picks one silently otherwise.
    pub index: Option<u32>,
    /// As [`NewLink::mtu`].
    pub mtu: Option<u32>,
    /// As [`NewLink::mac`].
    pub mac: Option<Mac>,
    /// Where it is born. None: beside the other end.
    pub netns: Option<Netns>,
}

impl Peer {
    /// With everything else left to the kernel.
    pub fn new(name: LinkName) -> Self {
        Self {
            name,
            index: None,
            mtu: None,
            mac: None,
            netns: None,
        }
    }
}

/// Who reaches whom among the macvlans on one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MacvlanMode {
    /// Each only the outside.
    Private,
    /// Each other through a switch outside that reflects.
    Vepa,
    /// Each other directly.
    Bridge,
    /// One macvlan, which takes the interface over.
    Passthru,
}

/// Where packets of ipvlans on one interface are switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IpvlanMode {
    /// By Ethernet, in the container's namespace.
    L2,
    /// By IP, in the namespace of the lower interface; no multicast, no broadcast.
    L3,
    /// As L3, and netfilter of that namespace sees them.
    L3s,
}

/// What becomes of the bridge that an interface is a port of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Master {
    /// Nothing changes.
    #[default]
    Keep,
    /// It is a port of nothing.
    None,
    /// It is a port of this one.
    Of(Link),
}

/// A change of an interface. What is None stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetLink {
    /// The interface.
    pub link: Link,
    /// Up or down. It must be down to be renamed.
    pub up: Option<bool>,
    /// As [`NewLink::mtu`].
    pub mtu: Option<u32>,
    /// As [`NewLink::mac`].
    pub mac: Option<Mac>,
    /// Its new name.
    pub name: Option<LinkName>,
    /// Its bridge.
    pub master: Master,
    /// Where it moves to, down and without its addresses, under the new name if one is given.
    pub netns: Option<Netns>,
}

impl SetLink {
    /// No change yet.
    pub fn new(link: impl Into<Link>) -> Self {
        Self {
            link: link.into(),
            up: None,
            mtu: None,
            mac: None,
            name: None,
            master: Master::Keep,
            netns: None,
        }
    }

    /// Brings it up.
    pub fn up(link: impl Into<Link>) -> Self {
        Self {
            up: Some(true),
            ..Self::new(link)
        }
    }
}

/// How a bridge treats a port. What is None stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BridgePort {
    /// Packets may go back out where they came in: a container reaches itself by a published port.
    pub hairpin: Option<bool>,
    /// It reaches no other isolated port.
    pub isolated: Option<bool>,
    /// Source addresses seen on it are remembered.
    pub learning: Option<bool>,
    /// Packets for an unknown address are sent to it.
    pub unicast_flood: Option<bool>,
    /// The bridge answers ARP and neighbour discovery for it from its own table.
    pub neigh_suppress: Option<bool>,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The interface.
    pub link: Link,
    /// The address; its prefix makes a route to the network.
    pub prefix: Prefix,
    /// IPv6 only: no duplicate address detection (`IFA_F_NODAD`), which would keep the address
    /// unusable for a second or two.
    pub nodad: bool,
}

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteKind {
    /// Sends packets on.
    Unicast,
    /// Drops them silently.
    Blackhole,
    /// Drops them, and says `EHOSTUNREACH`.
    Unreachable,
    /// Drops them, and says `EACCES`.
    Prohibit,
    /// Takes them for this host's own: a route of the local table, not the main one.
    Local,
}

/// A route of the main table, or of the local one, see [`RouteKind::Local`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// What it does.
    pub kind: RouteKind,
    /// Where to.
    pub to: Prefix,
    /// Through this gateway, of the same family as `to`.
    pub via: Option<IpAddr>,
    /// Through this interface.
    pub link: Option<Link>,
    /// The gateway is taken to be reachable on `link`, whatever the addresses there say.
    pub onlink: bool,
    /// The source address that packets get which have none yet.
    pub source: Option<IpAddr>,
    /// Lowest wins. None: 0 for IPv4, 1024 for IPv6.
    pub metric: Option<u32>,
}

impl Route {
    /// To `to`, of that kind, by nothing yet.
    pub fn new(kind: RouteKind, to: Prefix) -> Self {
        Self {
            kind,
            to,
            via: None,
            link: None,
            onlink: false,
            source: None,
            metric: None,
        }
    }

    /// The default route of the gateway's family.
    pub fn default_via(gateway: IpAddr, link: impl Into<Link>) -> Self {
        let to = if gateway.is_ipv4() {
            Prefix::ALL_V4
        } else {
            Prefix::ALL_V6
        };
        Self {
            via: Some(gateway),
            link: Some(link.into()),
            ..Self::new(RouteKind::Unicast, to)
        }
    }
}

/// A permanent entry of the neighbour table: no ARP and no neighbour discovery for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The interface.
    pub link: Link,
    /// The address there.
    pub address: IpAddr,
    /// Its Ethernet address.
    pub mac: Mac,
}

/// Bits a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BitsPerSecond(pub u64);

/// A token bucket ([`tc-tbf(8)`]): packets over the rate wait, and are dropped when too many do.
///
/// On the host's end of a veth pair it limits what the container receives, on the container's end
/// what it sends. A container with `CAP_NET_ADMIN` can remove the latter; where it has that, an ifb
/// on the host's side does the same out of its reach, see [`Request::Redirect`].
///
/// [`tc-tbf(8)`]: https://man7.org/linux/man-pages/man8/tc-tbf.8.html
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tbf {
    /// On average.
    pub rate: BitsPerSecond,
    /// How many bytes may go at once.
    pub burst_bytes: u32,
    /// How many bytes may wait.
    pub limit_bytes: u32,
}

impl Tbf {
    /// The bucket for a rate: what goes in 2 ms, but no less than two packets of the largest size that
    /// a veth carries, lest each must be cut; up to 20 ms more may wait.
    pub fn new(rate: BitsPerSecond) -> Self {
        let bytes_in = |millis: u64| (rate.0 / 8).saturating_mul(millis) / 1000;
        let cut = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX / 2);
        let burst_bytes = cut(bytes_in(2).max(2 * 64 * 1024));
        Self {
            rate,
            burst_bytes,
            limit_bytes: burst_bytes.saturating_add(cut(bytes_in(20)).max(64 * 1024)),
        }
    }
}

impl Request {
    /// The request that takes this one back, where that needs no more than this one says. None for
    /// changes, whose former value only a query knows, for what undoes others, and for an interface
    /// that is not where the socket belongs.
    pub fn undo(&self) -> Option<Self> {
        match self {
            Self::AddLink(link) if link.netns.is_none() => {
                Some(Self::DeleteLink(link.name.clone().into()))
            }
            Self::AddAddress(address) => Some(Self::DeleteAddress(address.clone())),
            Self::AddRoute(route) => Some(Self::DeleteRoute(route.clone())),
            Self::AddNeighbour(neighbour) => Some(Self::DeleteNeighbour(neighbour.clone())),
            Self::AddTbf { link, .. } => Some(Self::DeleteRootQdisc(link.clone())),
            Self::AddClsact(link) => Some(Self::DeleteClsact(link.clone())),
            _ => None,
        }
    }

    /// The same request with `netns` wherever it says [`Netns::Container`].
    #[must_use]
    pub fn for_container(&self, netns: Netns) -> Self {
        let mut request = self.clone();
        let put = |place: &mut Option<Netns>| {
            if *place == Some(Netns::Container) {
                *place = Some(netns);
            }
        };
        match &mut request {
            Self::AddLink(link) => {
                put(&mut link.netns);
                if let Kind::Veth(peer) = &mut link.kind {
                    put(&mut peer.netns);
                }
            }
            Self::SetLink(change) => put(&mut change.netns),
            _ => {}
        }
        request
    }

    /// Whether it needs [`Request::for_container`] first.
    pub(crate) fn is_for_a_container(&self) -> bool {
        let container = Some(Netns::Container);
        match self {
            Self::AddLink(link) => {
                let peer = match &link.kind {
                    Kind::Veth(peer) => peer.netns,
                    _ => None,
                };
                link.netns == container || peer == container
            }
            Self::SetLink(change) => change.netns == container,
            _ => false,
        }
    }

    /// The name that means another interface, or one at all, only after this request.
    pub(crate) fn changes_name(&self) -> bool {
        match self {
            Self::AddLink(_) | Self::DeleteLink(_) => true,
            Self::SetLink(change) => change.name.is_some() || change.netns.is_some(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> LinkName {
        LinkName::new(name).expect("name")
    }

    #[test]
    fn only_what_was_made_here_can_be_undone() {
        let bridge = NewLink::new(
            name("ctr0"),
            Kind::Bridge {
                multicast_snooping: false,
            },
        );
        assert_eq!(
            Request::AddLink(bridge.clone()).undo(),
            Some(Request::DeleteLink(name("ctr0").into()))
        );
        let elsewhere = NewLink {
            netns: Some(Netns::Pid(1)),
            ..bridge
        };
        assert_eq!(Request::AddLink(elsewhere).undo(), None);
        assert_eq!(Request::SetLink(SetLink::up(Link::Index(1))).undo(), None);
        assert_eq!(Request::DeleteLink(Link::Index(2)).undo(), None);
    }

    #[test]
    fn for_container_changes_the_placeholder_and_nothing_else() {
        let mut peer = Peer::new(name("eth0"));
        peer.netns = Some(Netns::Container);
        let veth = Request::AddLink(NewLink::new(name("v0"), Kind::Veth(peer)));
        assert!(veth.is_for_a_container());
        let real = veth.for_container(Netns::Fd(7));
        assert!(!real.is_for_a_container());
        assert_eq!(real.for_container(Netns::Pid(1)), real);
        assert!(
            real.describe().contains("descriptor 7"),
            "{}",
            real.describe()
        );
    }

    #[test]
    fn a_bucket_holds_two_of_the_largest_packets_and_never_overflows() {
        for rate in [1, 1_000_000, 1_000_000_000, u64::MAX] {
            let tbf = Tbf::new(BitsPerSecond(rate));
            assert!(tbf.burst_bytes >= 128 * 1024, "{tbf:?}");
            assert!(tbf.limit_bytes > tbf.burst_bytes, "{tbf:?}");
        }
    }
}
