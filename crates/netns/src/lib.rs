//! Networking of a network namespace ([`network_namespaces(7)`]): its interfaces, addresses, routes,
//! queues and kernel parameters.
//!
//! - [`route`]: requests to rtnetlink as plain values, a [`Socket`](route::Socket) that applies them
//!   and answers queries, and [`Configure`](route::Configure), a list of them as steps between clone and
//!   exec.
//! - [`sysctl`]: parameters below `/proc/sys/net`.
//! - [`Loopback`]: the steps that bring `lo` up and nothing else, for a namespace without a network.
//!   A new one holds only `lo`, and `lo` is down, so that not even `127.0.0.1` can be reached.
//!
//! - [`nft`]: nf_tables by netlink, as values; [`firewall`]: what may pass between containers, this host and
//!   the rest of the world, and published ports.
//! - Addresses and names of containers: see below.
//!
//! A step list is made in the parent, run by index in the child, and put into words in the parent
//! again:
//!
//! ```
//! use netns::Loopback;
//! use rustix::io::Errno;
//!
//! let lo = Loopback::new();
//! assert_eq!(lo.len(), 3);
//! assert_eq!(
//!     lo.describe(1),
//!     r#"ioctl(3<lo socket>, SIOCSIFFLAGS, {ifr_name="lo", ifr_flags=IFF_UP})"#
//! );
//! assert!(lo.hint(1, Errno::PERM).unwrap().contains("CAP_NET_ADMIN"));
//! ```
//!
//! A process that is already in the right namespace and free to do as it likes calls [`bring_up`]:
//!
//! ```no_run
//! netns::bring_up()?;
//! std::net::TcpListener::bind("127.0.0.1:0")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Addresses and names
//!
//! [`choose_v4`] and [`choose_v6`] find subnets that nothing on the host uses, [`Leases`] hands their
//! addresses out, [`Zone`] keeps the names of the containers that have them, and a [`Server`] in each
//! container's supervisor answers that container's DNS queries. All state is entries of directories; no
//! daemon, no lock that a start waits for.
//!
//! ```
//! use netns::{GlobalId, Holder, Leases, Pool, Reserved, Subnets, choose_v4, choose_v6};
//!
//! let reserved = [Reserved {
//!     net: "10.0.0.0/8".parse()?,
//!     by: "the route via wg0".to_owned(),
//! }];
//! let v4 = choose_v4(&Pool::default(), &reserved)?;
//! let v6 = choose_v6(GlobalId([1, 2, 3, 4, 5]), &reserved)?;
//! assert_eq!(v4.to_string(), "172.24.0.0/24");
//!
//! # let state = tempfile::tempdir()?;
//! # let state = state.path();
//! let subnets = Subnets::new(&[v4.into(), v6.into()])?;
//! let leases = Leases::open(&state.join("leases"), subnets)?;
//! let holder = Holder::new("web", "4711:98765")?;
//! let wanted = Some("172.24.0.9".parse()?);
//! let lease = leases.lease(&holder, wanted, &|_holder| true)?;
//! assert_eq!(lease.v6, Some("fd01:203:405::9".parse()?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Kernel
//!
//! `lo`: `SIOCSIFFLAGS` of [`netdevice(7)`], on every kernel since network namespaces exist (2.6.24).
//! Everything needs `CAP_NET_ADMIN` in the user namespace that owns the network namespace. The crate
//! makes no namespace, and enters one only to come back at once ([`within`],
//! [`Socket::open_in`](route::Socket::open_in), [`sysctl::apply_in`], [`Sockets::bind_in`]).
//!
//! [`network_namespaces(7)`]: https://man7.org/linux/man-pages/man7/network_namespaces.7.html
//! [`netdevice(7)`]: https://man7.org/linux/man-pages/man7/netdevice.7.html

mod claim;
mod dns;
mod enter;
mod error;
pub mod firewall;
mod ipam;
mod loopback;
mod name;
pub mod nft;
mod resolv;
// Modules of their own for the reader: `Socket`, `Address` and `apply` say little without them.
pub mod route;
mod sys;
pub mod sysctl;

pub use claim::Holder;
pub use dns::{
    Event, Limits, Publication, RESOLVER, Record, Resolver, SUFFIX, Server, Sockets, TryFailure,
    Verdict, Zone,
};
pub use enter::within;
pub use error::Error;
pub use ipam::{
    GlobalId, Lease, Leases, Pool, Reserved, SubnetProblem, Subnets, choose_v4, choose_v6, mac_of,
};
pub use ipnet::{IpNet, Ipv4Net, Ipv6Net};
pub use loopback::{Loopback, bring_up};
pub use name::{Name, NameProblem};
pub use resolv::{HostResolv, Hosts, Nameserver, ResolvConf};
