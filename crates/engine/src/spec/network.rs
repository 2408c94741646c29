//! The network of a container, and networks.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::At;

/// The network that containers are on when they do not name another.
pub const DEFAULT_NETWORK: &str = "default";

/// The network of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// A namespace of its own with nothing but `lo`.
    None,
    /// The host's.
    Host,
    /// The namespace of a running container of this name.
    Container(String),
    /// A namespace of its own with an address on a network: a bridge of the host, or for an ordinary
    /// user what pasta(1) makes.
    Bridge(Box<Attachment>),
}

impl Network {
    /// Whether the namespace is the container's own.
    #[must_use]
    pub fn is_own(&self) -> bool {
        matches!(self, Self::None | Self::Bridge(_))
    }

    /// What a container on a network asks for.
    #[must_use]
    pub fn attachment(&self) -> Option<&Attachment> {
        match self {
            Self::Bridge(attachment) => Some(attachment),
            _ => None,
        }
    }
}

/// A container's place on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Which network.
    pub network: At<String>,
    /// Ports of the host that lead into the container.
    pub publish: Vec<At<Publish>>,
    /// Resolvers that are asked for names nobody here has; empty: the host's.
    pub dns: Vec<At<IpAddr>>,
    /// Names by which others on the network find it, besides its own.
    pub aliases: Vec<At<String>>,
    /// Its IPv4 address; `None`: any free one.
    pub address: Option<At<Ipv4Addr>>,
    /// Most bits per second, in each direction.
    pub rate: Option<At<u64>>,
    /// The only addresses outside that it may reach; `None`: all.
    pub allow: Option<At<Vec<IpNet>>>,
}

impl Attachment {
    /// An attachment to a network, with nothing else.
    #[must_use]
    pub fn new(network: At<String>) -> Self {
        Self {
            network,
            publish: Vec::new(),
            dns: Vec::new(),
            aliases: Vec::new(),
            address: None,
            rate: None,
            allow: None,
        }
    }
}

/// A transport protocol with ports.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

impl Protocol {
    /// `tcp` or `udp`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Ports of the host that lead to as many ports of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Publish {
    /// tcp or udp.
    pub protocol: Protocol,
    /// The address of the host; `None`: this machine alone, by 127.0.0.1 and ::1.
    pub host: Option<IpAddr>,
    /// First port of the host.
    pub host_port: u16,
    /// First port of the container.
    pub container_port: u16,
    /// How many.
    pub count: u16,
}

impl Publish {
    /// Whether a port of the host is taken by both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let range = |p: &Self| {
            (
                u32::from(p.host_port),
                u32::from(p.host_port) + u32::from(p.count),
            )
        };
        let ((a, a_end), (b, b_end)) = (range(self), range(other));
        let address = match (self.host, other.host) {
            (None, None) => true,
            (None, Some(one)) | (Some(one), None) => one.is_loopback() || one.is_unspecified(),
            (Some(one), Some(two)) => {
                one == two
                    || (one.is_unspecified() || two.is_unspecified())
                        && one.is_ipv4() == two.is_ipv4()
            }
        };
        self.protocol == other.protocol && address && a < b_end && b < a_end
    }
}

/// A network of this machine, as a manifest or `ctr network create` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Its name: `[a-z0-9][a-z0-9_.-]{0,62}`.
    pub name: String,
    /// Its IPv4 subnet, and an IPv6 one; what is left out is chosen.
    pub subnets: Vec<IpNet>,
    /// No way out of it, and none into it.
    pub internal: bool,
    /// Largest packet.
    pub mtu: Option<u16>,
    /// The metadata service of clouds, 169.254.169.254, can be reached.
    pub metadata: bool,
}

impl NetworkSpec {
    /// A network that has nothing but a name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            subnets: Vec::new(),
            internal: false,
            mtu: None,
            metadata: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: Option<&str>, port: u16, count: u16) -> Publish {
        Publish {
            protocol: Protocol::Tcp,
            host: host.map(|host| host.parse().expect("an address")),
            host_port: port,
            container_port: 80,
            count,
        }
    }

    #[test]
    fn ports_overlap_where_one_socket_would_keep_the_other_out() {
        let any = Some("0.0.0.0");
        let one = Some("192.0.2.1");
        for (a, b, expected) in [
            (tcp(None, 80, 1), tcp(None, 80, 1), true),
            (tcp(None, 80, 1), tcp(None, 81, 1), false),
            (tcp(None, 80, 10), tcp(None, 89, 1), true),
            (tcp(None, 80, 10), tcp(None, 90, 1), false),
            (tcp(None, 80, 1), tcp(any, 80, 1), true),
            (tcp(None, 80, 1), tcp(one, 80, 1), false),
            (tcp(any, 80, 1), tcp(one, 80, 1), true),
            (tcp(any, 80, 1), tcp(Some("::"), 80, 1), false),
            (tcp(None, u16::MAX, 1), tcp(None, u16::MAX, 1), true),
        ] {
            assert_eq!(
                (a.overlaps(&b), b.overlaps(&a)),
                (expected, expected),
                "{a:?} {b:?}"
            );
        }
    }
}
