//! What may pass between containers, this host and the rest of the world.
//!
//! A [`Firewall`] turns [`Network`]s and [`Endpoint`]s into two tables, `inet NAME` and
//! `bridge NAME`. Chains, sets and rules are the same on every host; networks, containers and
//! published ports are elements of the sets:
//!
//! ```
//! use netns::firewall::{Endpoint, Firewall, HostAddress, Protocol, Published};
//!
//! let firewall = Firewall::new("ctr")?;
//! let web = Endpoint {
//!     bridge: "ctr0".into(),
//!     veth: "ctrv0a1b2c3d".into(),
//!     v4: Some([10, 88, 0, 2].into()),
//!     v6: None,
//!     egress: None,
//!     published: vec![Published {
//!         protocol: Protocol::Tcp,
//!         address: HostAddress::AnyV4,
//!         host_port: 8080,
//!         port: 80,
//!     }],
//! };
//! assert_eq!(
//!     firewall.add_endpoint(&web)?.to_string(),
//!     r#"add element inet ctr published4 { tcp . 8080 : 10.88.0.2 . 80 }
//! add element bridge ctr ports { "ctrv0a1b2c3d" }
//! add element bridge ctr sources4 { "ctrv0a1b2c3d" . 10.88.0.2 }
//! "#
//! );
//! # Ok::<(), netns::Error>(())
//! ```
//!
//! What holds:
//!
//! - A published port leads to its container: from this host, from other hosts, and from containers,
//!   the own one included, by an address of this host. A server sees which host is asking. The host's
//!   `127.0.0.1` and `::1`, and containers, are seen as the bridge's address.
//! - Nothing else gets in from outside: not by the container's address, not from another network,
//!   not to `127.0.0.0/8`.
//! - What leaves a network has the address of the interface it leaves by.
//! - Each container sends from its own addresses only. Its hardware address is not checked.
//! - Other tables can still drop what this one accepts: [`blockers`] says which would.
//!
//! What the caller does, for each bridge:
//!
//! - For ports on `127.0.0.1`, `net.ipv4.conf.BRIDGE.route_localnet=1`.
//! - For ports on `::1`, a route `local ::1 dev BRIDGE table local` with a metric of its own
//!   above 0 (`lo`'s): an answer is taken for `::1` only if a route says so for the interface that it came in by
//!   (`rt6_need_strict`). Without it a published port on `::1` hangs.
//! - Where `net.bridge.bridge-nf-call-ip6tables` is 1, [`Firewall::loopback6`].
//! - Where `net.bridge.bridge-nf-call-iptables` is 1, hairpin mode for the veth, or a container does
//!   not reach its own published port.
//! - Forwarding (`net.ipv4.ip_forward`, `net.ipv6.conf.*.forwarding`).
//!
//! An established connection outlives the removal of its published port; new ones are refused.
//!
//! # Kernel
//!
//! See [`nft`](crate::nft). Needs `CONFIG_NF_TABLES_INET`, `CONFIG_NF_TABLES_BRIDGE`,
//! `CONFIG_NFT_CT`, `CONFIG_NFT_FIB_INET`, `CONFIG_NFT_NAT`, `CONFIG_NFT_MASQ`; Linux 5.7, since which
//! a packet's incoming interface is known after routing. Modules are loaded by the kernel itself;
//! where it cannot, `nft_meta_bridge` must be there if it is one.

mod blockers;
mod eval;
mod model;
mod parts;
mod policy;
mod rules;
mod trace;

pub use blockers::{Blocker, Way, blockers};
pub use model::{Endpoint, HostAddress, Network, Prefix, Protocol, Published};
pub use policy::{Difference, Firewall};
pub use trace::{End, From, Hop, Question, Trace};
