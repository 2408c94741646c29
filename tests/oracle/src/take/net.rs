//! Interfaces, addresses, routes, sockets and rules of every network namespace.

use std::fs;
use std::process::{Command, Stdio};

use super::processes::{Process, by_namespace};

/// Files of proc_pid_net(5) in which every line is an object.
const TABLES: [&str; 5] = [
    "route",
    "ipv6_route",
    "if_inet6",
    "packet",
    "ip_tables_names",
];

/// Parameters of the namespace that engines switch on.
const SWITCHES: [&str; 4] = [
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv6/conf/all/forwarding",
    "/proc/sys/net/ipv4/conf/all/route_localnet",
    "/proc/sys/net/ipv4/ip_unprivileged_port_start",
];

pub(crate) fn all(processes: &[Process]) -> Vec<String> {
    let mut lines = Vec::new();
    for (namespace, pid) in by_namespace(processes, "net") {
        let text =
            |name: &str| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
        let mut add = |what: &str, line: &str| lines.push(format!("{namespace} {what} {line}"));
        for name in text("dev")
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, _)| name)
        {
            add("interface", name.trim());
        }
        for table in TABLES {
            for line in text(table).lines().filter(|line| !is_heading(line)) {
                add(table, &steady(table, line));
            }
        }
        for line in text("fib_trie")
            .lines()
            .filter(|line| line.contains("/32 ") || line.contains("|--"))
        {
            add("fib", line.trim());
        }
        for protocol in ["tcp", "tcp6", "udp", "udp6", "raw"] {
            for socket in text(protocol)
                .lines()
                .filter_map(|line| listening(protocol, line))
            {
                add(protocol, &socket);
            }
        }
        for name in text("unix").lines().filter_map(unix_name) {
            add("unix socket", &name);
        }
    }
    for file in SWITCHES {
        lines.push(format!(
            "{file} {}",
            fs::read_to_string(file).unwrap_or_default().trim()
        ));
    }
    lines.extend(rules());
    lines
}

/// `route` has its heading only while there are routes.
fn is_heading(line: &str) -> bool {
    line.starts_with("Iface") || line.starts_with("sk ")
}

/// Without the counters and reference counts that traffic changes, and without the number of an interface,
/// which is another when it was made again.
fn steady(table: &str, line: &str) -> String {
    let kept = match table {
        "route" => [0, 1, 2, 3, 6, 7].as_slice(),
        "ipv6_route" => [0, 1, 2, 3, 4, 5, 8, 9].as_slice(),
        "if_inet6" => [0, 2, 3, 4, 5].as_slice(),
        _ => return line.trim().to_owned(),
    };
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    kept.iter()
        .filter_map(|index| fields.get(*index).copied())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The local address of a socket that waits: TCP in LISTEN (0A), any other.
fn listening(protocol: &str, line: &str) -> Option<String> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (local, state) = (fields.get(1)?, fields.get(3)?);
    let counts = local.contains(':') && (!protocol.starts_with("tcp") || *state == "0A");
    counts.then(|| (*local).to_owned())
}

/// The name of a socket that has one: a path, or `@` and an abstract name, which no directory shows.
fn unix_name(line: &str) -> Option<String> {
    line.split_ascii_whitespace().nth(7).map(str::to_owned)
}

/// The nftables ruleset of this namespace, where there is a program to ask for it.
fn rules() -> Vec<String> {
    let output = Command::new("nft")
        .args(["-s", "list", "ruleset"])
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let lines = placed(&text).into_iter();
            lines.map(|line| format!("nft {line}")).collect()
        }
        Ok(output) => vec![format!(
            "nft cannot list: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )],
        Err(error) => vec![format!("nft cannot be asked: {error}")],
    }
}

/// Each line of a listing with what it is in, since two sets can hold the same elements: `table inet
/// ctr: set bridges: "ctr0"`. An element is a line of its own, however many nft prints on one.
fn placed(listing: &str) -> Vec<String> {
    let mut path: Vec<&str> = Vec::new();
    let mut elements = false;
    let mut lines = Vec::new();
    for line in listing.lines().map(str::trim) {
        let mut say = |path: &[&str], what: &str| {
            lines.push([path, &[what]].concat().join(": "));
        };
        let first = line.strip_prefix("elements = {");
        if elements || first.is_some() {
            let inner = first.unwrap_or(line);
            elements = !inner.ends_with('}');
            let inner = inner.strip_suffix('}').unwrap_or(inner);
            let found = inner.split(',').map(str::trim);
            found
                .filter(|element| !element.is_empty())
                .for_each(|element| say(&path, element));
        } else if let Some(head) = line.strip_suffix(" {") {
            say(&path, head);
            path.push(head);
        } else if line == "}" {
            path.pop();
        } else if !line.is_empty() {
            say(&path, line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_of_a_set_is_a_line_with_its_place() {
        let listing = "table inet ctr {\n\tset bridges {\n\t\ttype ifname\n\t\telements = { \"ctr0\",\n\
                       \t\t\t     \"ctr1\", \"ctr2\" }\n\t}\n\n\tmap empty {\n\t\ttype ifname : mark\n\t}\n\n\
                       \tchain guard {\n\t\tip daddr 127.0.0.0/8 drop\n\t}\n}\n";
        assert_eq!(
            placed(listing),
            [
                "table inet ctr",
                "table inet ctr: set bridges",
                "table inet ctr: set bridges: type ifname",
                "table inet ctr: set bridges: \"ctr0\"",
                "table inet ctr: set bridges: \"ctr1\"",
                "table inet ctr: set bridges: \"ctr2\"",
                "table inet ctr: map empty",
                "table inet ctr: map empty: type ifname : mark",
                "table inet ctr: chain guard",
                "table inet ctr: chain guard: ip daddr 127.0.0.0/8 drop",
            ]
        );
    }

    #[test]
    fn only_sockets_that_wait_count() {
        let line = |state| {
            format!("   0: 0100007F:1F90 00000000:0000 {state} 00000000:00000000 00:00000000")
        };
        assert_eq!(
            listening("tcp", &line("0A")).as_deref(),
            Some("0100007F:1F90")
        );
        assert_eq!(listening("tcp", &line("06")), None, "TIME_WAIT");
        assert_eq!(
            listening("udp", &line("07")).as_deref(),
            Some("0100007F:1F90")
        );
    }

    #[test]
    fn traffic_is_no_difference() {
        let line =
            |uses| format!("eth0\t0000A8C0\t00000000\t0001\t0\t{uses}\t0\t00FFFFFF\t0\t0\t0");
        assert_eq!(steady("route", &line(0)), steady("route", &line(5)));
    }

    #[test]
    fn abstract_sockets_have_names_too() {
        let head = "ffff: 00000002 00000000 00010000 0001 01 12345";
        assert_eq!(
            unix_name(&format!("{head} @left")).as_deref(),
            Some("@left")
        );
        assert_eq!(unix_name(head), None);
    }
}
