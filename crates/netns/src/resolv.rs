//! `/etc/resolv.conf` and `/etc/hosts`: the host's read, the container's written ([`resolv.conf(5)`],
//! [`hosts(5)`]).
//!
//! What is written is built from values that were checked one by one: nothing that holds a line end, a
//! space or a comment mark becomes part of a line.
//!
//! [`resolv.conf(5)`]: https://man7.org/linux/man-pages/man5/resolv.conf.5.html
//! [`hosts(5)`]: https://man7.org/linux/man-pages/man5/hosts.5.html

mod host;
mod hosts;
mod text;

pub use host::{HostResolv, Nameserver};
pub use hosts::Hosts;
pub use text::ResolvConf;

use crate::Error;

/// A domain or host name as one word: letters, digits, `-`, `_`; parts of 1 to 63, 253 bytes in all.
fn check_domain(what: &'static str, domain: &str) -> Result<(), Error> {
    let whole = domain.strip_suffix('.').unwrap_or(domain);
    let part = |part: &str| {
        (1..=63).contains(&part.len())
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if whole.len() <= 253 && whole.split('.').all(part) {
        return Ok(());
    }
    Err(Error::ResolvValue {
        what,
        value: domain.to_owned(),
    })
}
