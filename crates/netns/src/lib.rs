//! Networking of a network namespace ([`network_namespaces(7)`]), as steps that run between clone
//! and exec.
//!
//! Today the crate does one thing: it brings the loopback interface up. A new network namespace
//! holds nothing but `lo`, and `lo` is down, so that not even `127.0.0.1` can be reached. Bridges,
//! veth pairs, published ports and name resolution are not here.
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
//! # Kernel
//!
//! `SIOCSIFFLAGS` of [`netdevice(7)`], on every kernel since network namespaces exist (2.6.24).
//! Needs `CAP_NET_ADMIN` in the user namespace that owns the network namespace. The crate never
//! creates, enters or leaves a namespace.
//!
//! [`network_namespaces(7)`]: https://man7.org/linux/man-pages/man7/network_namespaces.7.html
//! [`netdevice(7)`]: https://man7.org/linux/man-pages/man7/netdevice.7.html

mod error;
mod loopback;
mod sys;

pub use error::Error;
pub use loopback::{Loopback, bring_up};
