//! Whose socket has a port: [`proc_net_tcp`] and the descriptors in `/proc/PID/fd`.
//!
//! Used after a bind(2) has failed, for the words of the error, so it never fails itself. A process
//! whose descriptors the caller may not see (another user's) is not found.
//!
//! [`proc_net_tcp`]: https://docs.kernel.org/networking/proc_net_tcp.html

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::spec::Protocol;

/// So much of each table is read. Listening sockets stand first in those of TCP.
const TABLE_LIMIT: u64 = 4 << 20;
/// So many links are read in search of a socket.
const DESCRIPTOR_LIMIT: usize = 1 << 16;
/// `TCP_LISTEN`, include/net/tcp_states.h.
const LISTEN: u8 = 0x0a;

/// A process that has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Its pid.
    pub(crate) pid: u32,
    /// The name in `/proc/PID/comm`, as the process set it.
    pub(crate) name: String,
    /// The container whose supervisor it is.
    pub(crate) container: Option<String>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.container {
            Some(container) => write!(f, "the container `{container}` (pid {})", self.pid),
            None => write!(f, "{:?} (pid {})", self.name, self.pid),
        }
    }
}

/// A line of `/proc/net/tcp` and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    local: SocketAddr,
    state: u8,
    inode: u64,
}

/// Who keeps a socket from being bound to `wanted`. `proc` is where procfs is mounted.
pub(crate) fn holder(proc: &Path, protocol: Protocol, wanted: SocketAddr) -> Option<Holder> {
    let mut found: Vec<Entry> = Vec::new();
    for version in ["", "6"] {
        let table = proc.join(format!("net/{}{version}", protocol.name()));
        let text = read_start(&table, TABLE_LIMIT);
        let lines = text.lines().filter_map(parse);
        found.extend(lines.filter(|entry| collides(entry.local, wanted)));
    }
    // A server is what people look for; a connection that happens to have the port comes after it.
    found.sort_by_key(|entry| entry.state != LISTEN);
    let inodes: Vec<u64> = found.iter().map(|entry| entry.inode).collect();
    owner(proc, &inodes)
}

/// `  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000  0 12345 …`
fn parse(line: &str) -> Option<Entry> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = address(fields.next()?)?;
    let state = fields.nth(1).filter(|state| is_hex(state, 2))?;
    let inode = fields.nth(5)?.parse().ok()?;
    // A connection whose process has closed it, in TIME_WAIT say, has none.
    (inode != 0).then_some(Entry {
        local,
        state: u8::from_str_radix(state, 16).ok()?,
        inode,
    })
}

/// Words of 32 bits in the order of this machine's bytes, and a port.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    if !is_hex(port, 4) || !is_hex(address, address.len()) {
        return None;
    }
    let word = |at: usize| {
        let word = u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(
        address,
        u16::from_str_radix(port, 16).ok()?,
    ))
}

/// Exactly so many digits: `from_str_radix` would take a sign.
fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a socket at `other` keeps one at `wanted` from being bound, which is IPv6 alone if it is
/// IPv6. `[::]` stands for IPv4 too, unless its socket is IPv6 alone, which the table does not tell.
fn collides(other: SocketAddr, wanted: SocketAddr) -> bool {
    let (a, b) = (other.ip().to_canonical(), wanted.ip());
    let anywhere = other.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let address = match (a, b) {
        _ if anywhere => true,
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
            a == b || a.is_unspecified() || b.is_unspecified()
        }
        _ => false,
    };
    other.port() == wanted.port() && address
}

/// The process that has one of these sockets open, the first of them first.
fn owner(proc: &Path, inodes: &[u64]) -> Option<Holder> {
    if inodes.is_empty() {
        return None;
    }
    let mut best: Option<(usize, u32)> = None;
    let mut left = DESCRIPTOR_LIMIT;
    for process in std::fs::read_dir(proc).ok()?.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        for descriptor in descriptors.flatten() {
            left = left.checked_sub(1)?;
            let link = std::fs::read_link(descriptor.path());
            let inode = link
                .ok()
                .and_then(|link| socket(link.as_os_str().as_bytes()));
            let rank = inode.and_then(|inode| inodes.iter().position(|one| *one == inode));
            match rank {
                Some(0) => return Some(named(proc, pid)),
                Some(rank) if best.is_none_or(|(best, _)| rank < best) => best = Some((rank, pid)),
                _ => {}
            }
        }
    }
    best.map(|(_, pid)| named(proc, pid))
}

/// `socket:[12345]`
fn socket(link: &[u8]) -> Option<u64> {
    let number = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

fn named(proc: &Path, pid: u32) -> Holder {
    let name = read_start(&proc.join(format!("{pid}/comm")), 64);
    Holder {
        pid,
        name: name.trim_end_matches('\n').to_owned(),
        container: None,
    }
}

/// The first bytes of a file; nothing where it cannot be read.
fn read_start(path: &Path, limit: u64) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // What was read before an error is as good.
        let _ = file.take(limit).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address and a port")
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn lines_of_the_tables_are_read() {
        let check = |line: &str, expected: Option<(&str, u8, u64)>| {
            let expected = expected.map(|(local, state, inode)| Entry {
                local: at(local),
                state,
                inode,
            });
            assert_eq!(parse(line), expected, "{line:?}");
        };
        let rest = "00000000:00000000 00:00000000 00000000";
        check(
            &format!(
                "   0: 0100007F:1F90 00000000:0000 0A {rest}  1000        0 12345 1 0000000000000000 100 0 0 10 0"
            ),
            Some(("127.0.0.1:8080", 0x0a, 12345)),
        );
        check(
            &format!(
                "   1: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A {rest}     0        0 7 1"
            ),
            Some(("[::1]:22", 0x0a, 7)),
        );
        check(
            &format!(
                "  17: 0000000000000000FFFF00000100007F:0016 00000000000000000000000000000000:0000 01 {rest}     0        0 7 1"
            ),
            Some(("[::ffff:127.0.0.1]:22", 1, 7)),
        );
        check(
            &format!(
                "9999: 3500007F:0035 00000000:0000 07 {rest}   102        0 99 2 0000000000000000 0"
            ),
            Some(("127.0.0.53:53", 7, 99)),
        );
        // TIME_WAIT.
        check(
            &format!("   2: 0100007F:1F90 0100007F:D431 06 {rest}     0        0 0 3"),
            None,
        );
    }

    #[test]
    fn what_is_no_line_of_the_tables_is_passed_over() {
        let rest = "00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0";
        for line in [
            String::new(),
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode".into(),
            "0: 0100007F:1F90".into(),
            format!("0: 0100007F1F90 {rest} 5"),
            format!("0: 0100007F:+F90 {rest} 5"),
            format!("0: +100007F:1F90 {rest} 5"),
            format!("0: 0100007F:1F900 {rest} 5"),
            format!("0: 00007F:1F90 {rest} 5"),
            format!("0: :1F90 {rest} 5"),
            format!("0: é100007F:1F90 {rest} 5"),
            format!("0: {}:1F90 {rest} 5", "0".repeat(1000)),
            format!("0: 0100007F:1F90 {rest} -5"),
            format!("0: 0100007F:1F90 {rest} 99999999999999999999999"),
            format!("0: 0100007F:1F90 {rest}"),
            "0: 0100007F:1F90 00000000:0000 0A0A 0:0 0:0 0 0 0 5".into(),
            "\0 \u{7f} ::: ".into(),
        ] {
            assert_eq!(parse(&line), None, "{line:?}");
        }
    }

    #[test]
    fn a_socket_is_in_the_way_by_its_address_or_a_wildcard() {
        for (other, wanted, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:81", "127.0.0.1:80", false),
            ("127.0.0.2:80", "127.0.0.1:80", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("192.0.2.1:80", "0.0.0.0:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::1]:80", "127.0.0.1:80", false),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
            ("[::]:80", "[::1]:80", true),
            ("[2001:db8::1]:80", "[::]:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:80", "[::]:80", false),
        ] {
            assert_eq!(
                collides(at(other), at(wanted)),
                expected,
                "{other} {wanted}"
            );
        }
    }

    #[test]
    fn only_links_to_sockets_have_an_inode() {
        assert_eq!(socket(b"socket:[12345]"), Some(12345));
        for link in [
            "pipe:[5]",
            "socket:[]",
            "socket:[-1]",
            "socket:[5",
            "/socket:[5]",
            "",
        ] {
            assert_eq!(socket(link.as_bytes()), None, "{link}");
        }
    }

    #[test]
    fn a_name_from_outside_is_escaped() {
        let holder = Holder {
            pid: 7,
            name: "a\x1b[31m\"\n".into(),
            container: None,
        };
        assert_eq!(holder.to_string(), r#""a\u{1b}[31m\"\n" (pid 7)"#);
    }

    #[test]
    fn without_tables_nobody_is_found() {
        let empty = tempfile::tempdir().expect("a directory");
        assert_eq!(
            holder(empty.path(), Protocol::Tcp, at("127.0.0.1:80")),
            None
        );
    }
}
