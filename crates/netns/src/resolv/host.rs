//! The host's `/etc/resolv.conf`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

/// Servers that glibc and musl use (`MAXNS`).
const MAX_SERVERS: usize = 3;
const PORT: u16 = 53;

/// What the host's `/etc/resolv.conf` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostResolv {
    /// The servers, in order, at most three; none means the host's own port 53.
    pub nameservers: Vec<Nameserver>,
    /// The search domains.
    pub search: Vec<String>,
    /// Lines that make no sense and were left out, by number from 1.
    pub ignored: Vec<usize>,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nameserver {
    /// Its address.
    pub address: IpAddr,
    /// The interface of a link-local one (`fe80::1%eth0`).
    pub interface: Option<String>,
}

impl HostResolv {
    /// Reads the file as resolvers do: the last `search` or `domain` counts, comments start with `#`
    /// or `;`, and what makes no sense is left out. Never fails: a host with an odd file resolves
    /// names, too. `options` are not read; they are about the host's servers, and the timeouts of
    /// [`Server`](crate::Server) are its own.
    pub fn parse(text: &[u8]) -> Self {
        let mut found = Self::default();
        for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
            let line = String::from_utf8_lossy(line);
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let ignored = match words.next() {
                Some("nameserver") => match words.next().and_then(Nameserver::parse) {
                    Some(server) => {
                        if found.nameservers.len() < MAX_SERVERS {
                            found.nameservers.push(server);
                        }
                        false
                    }
                    None => true,
                },
                Some("search" | "domain") => {
                    let good = |word: &&str| *word == "." || super::check_domain("", word).is_ok();
                    let (good, bad): (Vec<&str>, Vec<&str>) = words.partition(good);
                    // The root as a search domain (systemd-resolved writes it) is none.
                    found.search = good
                        .into_iter()
                        .filter(|word| *word != ".")
                        .map(str::to_owned)
                        .collect();
                    !bad.is_empty()
                }
                Some("options" | "sortlist") | None => false,
                Some(_) => true,
            };
            if ignored {
                found.ignored.push(number);
            }
        }
        found
    }

    /// Where to send queries from the network namespace of the calling thread, which must be the
    /// host's: its servers may be on its loopback, as systemd-resolved's 127.0.0.53 is. A link-local
    /// server of an interface that does not exist is left out.
    pub fn upstreams(&self) -> Vec<SocketAddr> {
        if self.nameservers.is_empty() {
            return vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))];
        }
        self.nameservers
            .iter()
            .filter_map(Nameserver::socket_address)
            .collect()
    }
}

impl Nameserver {
    fn parse(word: &str) -> Option<Self> {
        let (address, interface) = match word.split_once('%') {
            Some((address, interface)) => (address, Some(interface)),
            None => (word, None),
        };
        let named = |name: &str| (1..16).contains(&name.len()) && !name.contains(['/', '%']);
        if interface.is_some_and(|name| !named(name)) {
            return None;
        }
        Some(Self {
            address: address.parse().ok()?,
            interface: interface.map(str::to_owned),
        })
    }

    fn socket_address(&self) -> Option<SocketAddr> {
        let (IpAddr::V6(address), Some(interface)) = (self.address, &self.interface) else {
            return Some(SocketAddr::new(self.address, PORT));
        };
        let index = interface.parse().ok().or_else(|| index_of(interface))?;
        Some(SocketAddrV6::new(address, PORT, 0, index).into())
    }
}

fn index_of(interface: &str) -> Option<u32> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None).ok()?;
    netdevice::name_to_index(socket, interface).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(text: &str) -> Vec<String> {
        let parsed = HostResolv::parse(text.as_bytes());
        let address = |server: &Nameserver| server.address.to_string();
        parsed.nameservers.iter().map(address).collect()
    }

    #[test]
    fn servers_and_the_last_search_line_count() {
        let text = "# by hand\r\n\nnameserver 10.0.0.1 # first\nsearch a.example\n\
                    \tnameserver\t2001:db8::1\ndomain b.example\nsearch c.example. d_e.example\n\
                    options ndots:5 edns0\n";
        let parsed = HostResolv::parse(text.as_bytes());
        assert_eq!(servers(text), ["10.0.0.1", "2001:db8::1"]);
        assert_eq!(parsed.search, ["c.example.", "d_e.example"]);
        assert_eq!(parsed.ignored, [0usize; 0]);
    }

    #[test]
    fn nonsense_is_left_out_and_named() {
        let text = "nameserver\nnameserver dns.example\nnameserver 1.2.3\nsearch a b/c d\n\
                    bogus 1\nnameserver 10.0.0.1\nnameserver fe80::1%\n\u{feff}\n";
        let parsed = HostResolv::parse(text.as_bytes());
        assert_eq!(servers(text), ["10.0.0.1"]);
        assert_eq!(parsed.search, ["a", "d"]);
        assert_eq!(parsed.ignored, [1, 2, 3, 4, 5, 7, 8]);
    }

    #[test]
    fn three_servers_are_used_as_by_libc_and_none_means_the_local_one() {
        let text = "nameserver 1.0.0.1\n".repeat(5);
        assert_eq!(servers(&text).len(), 3);
        let local = HostResolv::parse(b"").upstreams();
        assert_eq!(local, ["127.0.0.1:53".parse().expect("address")]);
    }

    #[test]
    fn the_root_as_a_search_domain_is_none() {
        assert!(HostResolv::parse(b"search .\n").search.is_empty());
    }

    #[test]
    fn a_link_local_server_keeps_its_interface() {
        let parsed = HostResolv::parse(b"nameserver fe80::1%lo\nnameserver fe80::2%no-such-if0\n");
        assert_eq!(parsed.nameservers[0].interface.as_deref(), Some("lo"));
        let upstreams = parsed.upstreams();
        assert_eq!(upstreams.len(), 1, "{upstreams:?}");
        assert!(matches!(upstreams[0], SocketAddr::V6(address) if address.scope_id() == 1));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(text in proptest::collection::vec(0u8.., 0..300)) {
            let parsed = HostResolv::parse(&text);
            proptest::prop_assert!(parsed.nameservers.len() <= MAX_SERVERS);
        }

        #[test]
        fn any_lines_are_read(
            lines in proptest::collection::vec("(nameserver|search|domain|options|x)[ \t%:.#a-f0-9]{0,30}", 0..9)
        ) {
            let parsed = HostResolv::parse(lines.join("\n").as_bytes());
            proptest::prop_assert!(parsed.ignored.len() <= lines.len());
        }
    }
}
