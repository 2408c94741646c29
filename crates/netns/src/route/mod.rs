//! Interfaces, addresses, routes, neighbours and queues, by [`rtnetlink(7)`].
//!
//! What is wanted is first a list of [`Request`]s: plain values that can be compared, printed and
//! taken back ([`Request::undo`]). A [`Socket`] applies them and answers queries; a [`Configure`] is
//! such a list for the time between clone and exec.
//!
//! ```
//! use netns::route::{Kind, Link, LinkName, NewLink, Netns, Peer, Request};
//!
//! let pair = Request::AddLink(NewLink {
//!     master: Some(LinkName::new("ctr0")?.into()),
//!     up: true,
//!     ..NewLink::new(
//!         LinkName::new("ctrv1")?,
//!         Kind::Veth(Peer {
//!             netns: Some(Netns::Container),
//!             ..Peer::new(LinkName::new("eth0")?)
//!         }),
//!     )
//! });
//! assert_eq!(
//!     pair.describe(),
//!     r#"RTM_NEWLINK veth "ctrv1" master "ctr0" up, peer "eth0" in the container's namespace"#
//! );
//! assert_eq!(pair.undo(), Some(Request::DeleteLink(Link::Name(LinkName::new("ctrv1")?))));
//! # Ok::<(), netns::Error>(())
//! ```
//!
//! # Kernel
//!
//! Everything needs `CAP_NET_ADMIN` in the user namespace that owns the socket's network namespace,
//! and, for an interface that is born in or moved to another one, in the owner of that. Queries need
//! nothing. Extended acknowledgements are used since 4.12 and missed without harm before.
//!
//! [`rtnetlink(7)`]: https://man7.org/linux/man-pages/man7/rtnetlink.7.html

mod answer;
mod configure;
mod describe;
mod encode;
mod hint;
mod query;
mod request;
mod socket;
mod tc;
mod types;

pub use configure::Configure;
pub use query::{Interface, InterfaceAddress, RouteEntry, Statistics};
pub use request::{
    Address, BitsPerSecond, BridgePort, IpvlanMode, Kind, MacvlanMode, Master, Neighbour, NewLink,
    Peer, Request, Route, RouteKind, SetLink, Tbf,
};
pub use socket::Socket;
pub use types::{Link, LinkName, Mac, Netns, Prefix};
