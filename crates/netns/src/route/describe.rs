//! A request in words.

use std::fmt::{self, Display, Formatter, Write as _};

use super::request::{
    Address, BitsPerSecond, BridgePort, IpvlanMode, Kind, MacvlanMode, Master, Neighbour, NewLink,
    Peer, Request, Route, RouteKind, SetLink, Tbf,
};
use super::types::Netns;

impl Request {
    /// The message and what it says, as a kernel engineer would put it:
    /// `RTM_NEWLINK veth "ctrv1" master "ctr0" up, peer "eth0" in the container's namespace`.
    pub fn describe(&self) -> String {
        self.to_string()
    }
}

impl Display for Request {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddLink(link) => write!(f, "RTM_NEWLINK {link}"),
            Self::SetLink(change) => write!(f, "RTM_SETLINK {change}"),
            Self::SetBridgePort { link, port } => write!(f, "RTM_NEWLINK bridge port {link}{port}"),
            Self::AddForwarding { port, mac } => {
                write!(f, "RTM_NEWNEIGH AF_BRIDGE {mac} dev {port} static sticky")
            }
            Self::DeleteLink(link) => write!(f, "RTM_DELLINK {link}"),
            Self::AddAddress(address) => {
                write!(f, "RTM_NEWADDR {address}")?;
                f.write_str(if address.nodad { " nodad" } else { "" })
            }
            Self::DeleteAddress(address) => write!(f, "RTM_DELADDR {address}"),
            Self::AddRoute(route) => write!(f, "RTM_NEWROUTE {route}"),
            Self::DeleteRoute(route) => write!(f, "RTM_DELROUTE {route}"),
            Self::AddNeighbour(neighbour) => write!(f, "RTM_NEWNEIGH {neighbour} permanent"),
            Self::DeleteNeighbour(neighbour) => write!(f, "RTM_DELNEIGH {neighbour}"),
            Self::AddTbf { link, tbf } => write!(f, "RTM_NEWQDISC {link} root tbf {tbf}"),
            Self::DeleteRootQdisc(link) => write!(f, "RTM_DELQDISC {link} root"),
            Self::AddClsact(link) => write!(f, "RTM_NEWQDISC {link} clsact"),
            Self::DeleteClsact(link) => write!(f, "RTM_DELQDISC {link} clsact"),
            Self::Redirect { from, to } => {
                write!(
                    f,
                    "RTM_NEWTFILTER {from} ingress u32 all, mirred redirect to {to}"
                )
            }
        }
    }
}

impl Display for NewLink {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.name)?;
        if let Some(index) = self.index {
            write!(f, " #{index}")?;
        }
        match &self.kind {
            Kind::Vlan { lower, id } => write!(f, " id {id} on {lower}")?,
            Kind::Macvlan { lower, mode } => write!(f, " mode {mode} on {lower}")?,
            Kind::Ipvlan { lower, mode } => write!(f, " mode {mode} on {lower}")?,
            Kind::Bridge { multicast_snooping } => {
                let snooping = u8::from(*multicast_snooping);
                write!(f, " mcast_snooping {snooping}")?;
            }
            Kind::Veth(_) | Kind::Ifb => {}
        }
        if let Some(master) = &self.master {
            write!(f, " master {master}")?;
        }
        attributes(f, self.mtu, self.mac.map(|mac| mac.to_string()), self.netns)?;
        f.write_str(if self.up { " up" } else { "" })?;
        match &self.kind {
            Kind::Veth(peer) => write!(f, ", {peer}"),
            _ => Ok(()),
        }
    }
}

impl Display for Peer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "peer {}", self.name)?;
        if let Some(index) = self.index {
            write!(f, " #{index}")?;
        }
        attributes(f, self.mtu, self.mac.map(|mac| mac.to_string()), self.netns)
    }
}

fn attributes(
    f: &mut Formatter<'_>,
    mtu: Option<u32>,
    mac: Option<String>,
    netns: Option<Netns>,
) -> fmt::Result {
    if let Some(mtu) = mtu {
        write!(f, " mtu {mtu}")?;
    }
    if let Some(mac) = mac {
        write!(f, " address {mac}")?;
    }
    if let Some(netns) = netns {
        write!(f, " {netns}")?;
    }
    Ok(())
}

impl Display for SetLink {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.link)?;
        match &self.master {
            Master::Keep => {}
            Master::None => f.write_str(" nomaster")?,
            Master::Of(master) => write!(f, " master {master}")?,
        }
        if let Some(name) = &self.name {
            write!(f, " name {name}")?;
        }
        attributes(f, self.mtu, self.mac.map(|mac| mac.to_string()), self.netns)?;
        match self.up {
            None => Ok(()),
            Some(true) => f.write_str(" up"),
            Some(false) => f.write_str(" down"),
        }
    }
}

impl Display for BridgePort {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let flags = [
            ("hairpin", self.hairpin),
            ("isolated", self.isolated),
            ("learning", self.learning),
            ("flood", self.unicast_flood),
            ("neigh_suppress", self.neigh_suppress),
        ];
        for (name, on) in flags {
            if let Some(on) = on {
                write!(f, " {name} {}", if on { "on" } else { "off" })?;
            }
        }
        Ok(())
    }
}

impl Display for MacvlanMode {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Private => "private",
            Self::Vepa => "vepa",
            Self::Bridge => "bridge",
            Self::Passthru => "passthru",
        })
    }
}

impl Display for IpvlanMode {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L2 => "l2",
            Self::L3 => "l3",
            Self::L3s => "l3s",
        })
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {}", self.prefix, self.link)
    }
}

impl Display for RouteKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unicast => "unicast",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
            Self::Local => "local",
        })
    }
}

impl Display for Route {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.kind != RouteKind::Unicast {
            write!(f, "{} ", self.kind)?;
        }
        write!(f, "{}", self.to)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        if let Some(link) = &self.link {
            write!(f, " dev {link}")?;
        }
        if self.onlink {
            f.write_str(" onlink")?;
        }
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        match self.metric {
            Some(metric) => write!(f, " metric {metric}"),
            None => Ok(()),
        }
    }
}

impl Display for Neighbour {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} lladdr {} dev {}", self.address, self.mac, self.link)
    }
}

impl Display for BitsPerSecond {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut rate = self.0;
        let mut unit = "bit/s";
        for larger in ["kbit/s", "Mbit/s", "Gbit/s"] {
            if rate == 0 || !rate.is_multiple_of(1000) {
                break;
            }
            rate /= 1000;
            unit = larger;
        }
        write!(f, "{rate}")?;
        f.write_char(' ')?;
        f.write_str(unit)
    }
}

impl Display for Tbf {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rate {} burst {} limit {} bytes",
            self.rate, self.burst_bytes, self.limit_bytes
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::{Link, LinkName, Mac, Prefix};
    use super::*;

    fn name(name: &str) -> LinkName {
        LinkName::new(name).expect("name")
    }

    fn link(of: &str) -> Link {
        name(of).into()
    }

    #[track_caller]
    fn check(request: Request, text: &str) {
        assert_eq!(request.describe(), text);
    }

    #[test]
    fn links_read_like_ip_link() {
        check(
            Request::AddLink(NewLink {
                master: Some(link("ctr0")),
                mtu: Some(1500),
                up: true,
                ..NewLink::new(
                    name("ctrv1"),
                    Kind::Veth(Peer {
                        mtu: Some(1500),
                        mac: Some(Mac([2, 0, 0, 0, 0, 0xfe])),
                        netns: Some(Netns::Container),
                        ..Peer::new(name("eth0"))
                    }),
                )
            }),
            r#"RTM_NEWLINK veth "ctrv1" master "ctr0" mtu 1500 up, peer "eth0" mtu 1500 address 02:00:00:00:00:fe in the container's namespace"#,
        );
        let bridge = Kind::Bridge {
            multicast_snooping: false,
        };
        check(
            Request::AddLink(NewLink::new(name("ctr0"), bridge)),
            r#"RTM_NEWLINK bridge "ctr0" mcast_snooping 0"#,
        );
        check(
            Request::SetLink(SetLink {
                up: Some(false),
                name: Some(name("eth1")),
                master: Master::None,
                netns: Some(Netns::Pid(12)),
                ..SetLink::new(Link::Index(4))
            }),
            r##"RTM_SETLINK #4 nomaster name "eth1" in the namespace of process 12 down"##,
        );
        check(
            Request::SetBridgePort {
                link: link("v0"),
                port: BridgePort {
                    hairpin: Some(true),
                    isolated: Some(false),
                    ..BridgePort::default()
                },
            },
            r#"RTM_NEWLINK bridge port "v0" hairpin on isolated off"#,
        );
        check(
            Request::AddForwarding {
                port: link("v0"),
                mac: Mac([2, 0x42, 10, 90, 0, 2]),
            },
            r#"RTM_NEWNEIGH AF_BRIDGE 02:42:0a:5a:00:02 dev "v0" static sticky"#,
        );
        check(Request::DeleteLink(link("v0")), r#"RTM_DELLINK "v0""#);
    }

    #[test]
    fn addresses_and_routes_read_like_ip_address_and_ip_route() {
        let prefix = Prefix::new("fd00::2".parse().expect("address"), 64).expect("prefix");
        let address = Address {
            link: link("eth0"),
            prefix,
            nodad: true,
        };
        check(
            Request::AddAddress(address.clone()),
            r#"RTM_NEWADDR fd00::2/64 dev "eth0" nodad"#,
        );
        check(
            Request::DeleteAddress(address),
            r#"RTM_DELADDR fd00::2/64 dev "eth0""#,
        );
        let gateway = "10.90.0.1".parse().expect("address");
        check(
            Request::AddRoute(Route::default_via(gateway, link("eth0"))),
            r#"RTM_NEWROUTE 0.0.0.0/0 via 10.90.0.1 dev "eth0""#,
        );
        check(
            Request::AddRoute(Route {
                metric: Some(7),
                ..Route::new(RouteKind::Blackhole, prefix.network())
            }),
            "RTM_NEWROUTE blackhole fd00::/64 metric 7",
        );
    }

    #[test]
    fn rates_are_shown_in_the_largest_unit_that_is_exact() {
        for (rate, text) in [
            (0, "0 bit/s"),
            (1500, "1500 bit/s"),
            (2_000_000, "2 Mbit/s"),
            (1_000_000_000_000, "1000 Gbit/s"),
        ] {
            assert_eq!(BitsPerSecond(rate).to_string(), text);
        }
        check(
            Request::AddTbf {
                link: link("v0"),
                tbf: Tbf {
                    rate: BitsPerSecond(1_000_000_000),
                    burst_bytes: 250_000,
                    limit_bytes: 2_750_000,
                },
            },
            r#"RTM_NEWQDISC "v0" root tbf rate 1 Gbit/s burst 250000 limit 2750000 bytes"#,
        );
    }
}
