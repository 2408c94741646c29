//! What can go wrong.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};
use rustix::io::Errno;

use crate::{NameProblem, Reserved, SubnetProblem, Subnets};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A step of [`Loopback`](crate::Loopback) failed.
    #[error("bring up `lo`: {call}")]
    Loopback {
        /// Index of the step.
        step: usize,
        /// The call, as strace spells it.
        call: String,
        /// For [`Error::hint`].
        hint: Option<&'static str>,
        /// What the kernel said.
        source: Errno,
    },
    /// Not a name for an interface.
    #[error("{name:?} cannot be the name of an interface")]
    LinkName {
        /// What was given.
        name: String,
    },
    /// More bits than the address has.
    #[error("{address}/{length}: the address has fewer bits")]
    PrefixLength {
        /// The address.
        address: IpAddr,
        /// The number of bits that were to name its network.
        length: u8,
    },
    /// No netlink socket could be had.
    #[error("{call}")]
    RouteSocket {
        /// The call, as strace spells it.
        call: &'static str,
        /// What the kernel said.
        source: Errno,
    },
    /// A network namespace could not be entered.
    #[error("setns(network namespace, CLONE_NEWNET)")]
    Enter {
        /// What the kernel said.
        source: Errno,
    },
    /// A request was refused.
    #[error("{request}{}", Kernel(kernel))]
    Request {
        /// Its place in the list.
        index: usize,
        /// [`Request::describe`](crate::route::Request::describe) of it.
        request: String,
        /// What the kernel says beyond the errno, in its own words.
        kernel: Option<String>,
        /// For [`Error::applied`].
        applied: Vec<usize>,
        /// For [`Error::hint`].
        hint: Option<&'static str>,
        /// What the kernel said.
        source: Errno,
    },
    /// A request cannot be made ready before clone: it is for a container that is not known yet, or
    /// needs the number of an interface which an earlier request of the list makes or renames.
    #[error("{request}: cannot be encoded before it is sent")]
    NotInOneBatch {
        /// [`Request::describe`](crate::route::Request::describe) of it.
        request: String,
    },
    /// The requests do not fit into what a child can send at once.
    #[error("{bytes} bytes of requests: at most {limit} can be sent between clone and exec")]
    BatchTooLong {
        /// What they take.
        bytes: usize,
        /// What is possible.
        limit: usize,
    },
    /// A query failed.
    #[error("{query}")]
    Query {
        /// The message or call.
        query: String,
        /// What the kernel said.
        source: Errno,
    },
    /// A list is longer than anything that makes sense.
    #[error("{query}: more than {limit} entries")]
    TooMany {
        /// The message.
        query: String,
        /// How many are read at most.
        limit: usize,
    },
    /// Not a kernel parameter of a network namespace, or not a value for one.
    #[error("{key:?} = {value:?} is no parameter below /proc/sys/net")]
    SysctlKey {
        /// What was given.
        key: String,
        /// Its value.
        value: String,
    },
    /// A kernel parameter could not be read or written.
    #[error("{call}")]
    Sysctl {
        /// The call, with path and value.
        call: String,
        /// The parameters that were changed before, with the values they had.
        changed: Vec<crate::sysctl::Setting>,
        /// What the kernel said.
        source: Errno,
    },
    /// Not a subnet for a network of containers.
    #[error("subnet {subnet}: {problem}")]
    Subnet {
        /// The subnet.
        subnet: IpNet,
        /// What is wrong.
        problem: SubnetProblem,
    },
    /// A network without an IPv4 subnet.
    #[error("a network needs an IPv4 subnet; IPv6 comes beside it")]
    NoIpv4Subnet,
    /// A subnet overlaps something that exists.
    #[error("subnet {subnet} overlaps {reserved}")]
    SubnetInUse {
        /// The subnet.
        subnet: IpNet,
        /// What it overlaps.
        reserved: Reserved,
    },
    /// All subnets of a pool overlap something.
    #[error("no /{prefix_len} is free in {}", Listed(ranges))]
    NoSubnetLeft {
        /// Where one was looked for.
        ranges: Vec<IpNet>,
        /// Its prefix length.
        prefix_len: u8,
    },
    /// A wanted address belongs to somebody.
    #[error("{address} is held by `{holder}`")]
    AddressInUse {
        /// The address.
        address: IpAddr,
        /// The container.
        holder: String,
    },
    /// A wanted address is none that a container of the network may have.
    #[error("{address} is not for a container of {}{}", subnets.v4(), And(subnets))]
    AddressOutside {
        /// The address.
        address: IpAddr,
        /// The network's subnets.
        subnets: Subnets,
    },
    /// Every address of a network is held.
    #[error("all {addresses} addresses of {subnet} are held")]
    NoAddressLeft {
        /// The subnet.
        subnet: Ipv4Net,
        /// How many it has for containers.
        addresses: u32,
    },
    /// Not a name for a container on a network.
    #[error("name {name:?}: {problem}")]
    Name {
        /// What was given.
        name: String,
        /// What is wrong.
        problem: NameProblem,
    },
    /// A name or alias belongs to another container of the network.
    #[error("the name `{name}` is held by `{holder}`")]
    NameInUse {
        /// The name.
        name: String,
        /// The container.
        holder: String,
    },
    /// Not one word of printable ASCII.
    #[error("{text:?} cannot be written into a claim")]
    Holder {
        /// What was given.
        text: String,
    },
    /// A call on a directory of leases or names failed.
    #[error("{call}({path:?})")]
    Claim {
        /// Which call.
        call: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: Errno,
    },
    /// No random bytes.
    #[error("getrandom(0)")]
    Random {
        /// What the kernel said.
        source: Errno,
    },
    /// The sockets of a DNS server could not be made.
    #[error("{call} for DNS on {address}")]
    Listen {
        /// Which call.
        call: &'static str,
        /// The address and port.
        address: SocketAddr,
        /// What the kernel said.
        source: Errno,
    },
    /// A call that a DNS server cannot do without failed.
    #[error("{call} in the DNS server")]
    Serve {
        /// Which call.
        call: &'static str,
        /// What the kernel said.
        source: Errno,
    },
    /// A value for `/etc/resolv.conf` or `/etc/hosts` that would not stay one.
    #[error("{value:?} is not a {what}")]
    ResolvValue {
        /// What it should be.
        what: &'static str,
        /// What was given.
        value: String,
    },
    /// A batch of nf_tables changes was refused, and nothing of it was done.
    #[error("nftables: {change}{}", Kernel(said))]
    Change {
        /// Which change of the batch.
        index: usize,
        /// That change; of many elements the one that is at fault, where the kernel says which.
        change: String,
        /// What the kernel said beside the errno.
        said: Option<String>,
        /// For [`Error::hint`].
        hint: Option<&'static str>,
        /// What the kernel said.
        source: Errno,
    },
    /// A netlink call failed.
    #[error("{call}")]
    Netlink {
        /// The call, or the message that was sent.
        call: String,
        /// What the kernel said.
        source: Errno,
    },
    /// The ruleset changed under every attempt to list it.
    #[error("list the nftables ruleset: it changed during each of {attempts} attempts")]
    Listing {
        /// How many.
        attempts: usize,
    },
    /// Not what a firewall can be made of.
    #[error("{what} {value:?}: {why}")]
    Policy {
        /// `table name`, `bridge` and the like.
        what: &'static str,
        /// What was given.
        value: String,
        /// Why it will not do.
        why: &'static str,
    },
}

impl Error {
    /// What the kernel said, if it was the kernel.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Loopback { source, .. }
            | Self::RouteSocket { source, .. }
            | Self::Enter { source }
            | Self::Request { source, .. }
            | Self::Query { source, .. }
            | Self::Sysctl { source, .. }
            | Self::Change { source, .. }
            | Self::Netlink { source, .. }
            | Self::Claim { source, .. }
            | Self::Random { source }
            | Self::Listen { source, .. }
            | Self::Serve { source, .. } => Some(*source),
            _ => None,
        }
    }

    /// What to do about it, where errno alone misleads.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Loopback { hint, .. }
            | Self::Request { hint, .. }
            | Self::Change { hint, .. } => *hint,
            Self::Netlink { source, .. } => crate::nft::netlink_hint(*source),
            Self::Enter { source } => match *source {
                Errno::PERM => Some(
                    "needs CAP_SYS_ADMIN in the user namespace that owns the network namespace and \
                     in the caller's own",
                ),
                Errno::INVAL => Some("the descriptor is not one of a network namespace"),
                _ => None,
            },
            Self::Sysctl { source, .. } => match *source {
                Errno::NOENT => Some(
                    "no such parameter: the interface is not in this network namespace, or the \
                     kernel lacks what it belongs to",
                ),
                Errno::ACCESS | Errno::PERM => {
                    Some("needs root of the user namespace that owns the network namespace")
                }
                Errno::ROFS => Some("/proc/sys is mounted read-only here"),
                _ => None,
            },
            Self::Query { source, .. } if *source == Errno::NODEV => {
                Some("no interface of that name is in this network namespace")
            }
            Self::SubnetInUse { .. } => Some(
                "a packet to that address would go to the containers instead; name another subnet",
            ),
            Self::NoSubnetLeft { .. } => {
                Some("remove networks that are not used, or name a subnet of your own")
            }
            Self::Listen { source, .. } => match *source {
                Errno::ADDRNOTAVAIL => {
                    Some("`lo` of that network namespace is down, or does not have the address")
                }
                Errno::ADDRINUSE => Some("somebody in that network namespace listens there"),
                Errno::ACCESS => Some(
                    "ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE \
                     in the user namespace that owns the network namespace",
                ),
                _ => None,
            },
            _ => None,
        }
    }

    /// For [`Error::Request`]: which requests of the list were carried out nevertheless, in order.
    /// Also those that came after the failed one in the same message.
    pub fn applied(&self) -> &[usize] {
        match self {
            Self::Request { applied, .. } => applied,
            _ => &[],
        }
    }
}

struct Kernel<'a>(&'a Option<String>);

impl fmt::Display for Kernel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(text) => write!(f, " (the kernel says: {text:?})"),
            None => Ok(()),
        }
    }
}

struct Listed<'a>(&'a [IpNet]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, net) in self.0.iter().enumerate() {
            write!(f, "{}{net}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

struct And<'a>(&'a Subnets);

impl fmt::Display for And<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.v6() {
            Some(net) => write!(f, " and {net}"),
            None => Ok(()),
        }
    }
}
