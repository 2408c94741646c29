//! Ports, addresses, prefixes and rates.

use std::net::{IpAddr, Ipv4Addr};

use engine::spec::{Protocol, Publish};
use ipnet::IpNet;

use crate::diagnostic::quoted;
use crate::manifest::walk::Rule;

/// Each port costs an element of a map and a socket that keeps it free.
const MOST_PORTS: u16 = 1024;

/// `8080:80`, `0.0.0.0:443:443/tcp`, `[::1]:53:53/udp`, `8000-8009:80-89`.
pub(crate) fn publish(text: &str) -> Result<Publish, Rule> {
    let (ports, protocol) = match text.rsplit_once('/') {
        None => (text, Protocol::Tcp),
        Some((ports, "tcp")) => (ports, Protocol::Tcp),
        Some((ports, "udp")) => (ports, Protocol::Udp),
        Some((_, other)) => {
            return Err(format!("{} is not a protocol: tcp or udp", quoted(other)).into());
        }
    };
    let Some((rest, container)) = ports.rsplit_once(':') else {
        let rule = Rule::from("a port of the host and one of the container belong to it");
        return Err(match range(ports) {
            Ok(_) => rule.help(format!(
                "did you mean {}?",
                quoted(&format!("{text}:{text}"))
            )),
            Err(_) => rule,
        });
    };
    let (host, port) = match rest.rsplit_once(':') {
        None => (None, rest),
        Some((host, port)) => (Some(host_address(host)?), port),
    };
    let ((host_port, count), (container_port, containers)) = (range(port)?, range(container)?);
    if count != containers {
        return Err(format!("{count} ports of the host, but {containers} of the container").into());
    }
    if count > MOST_PORTS {
        return Err(format!("at most {MOST_PORTS} ports can be published at once").into());
    }
    Ok(Publish {
        protocol,
        host,
        host_port,
        container_port,
        count,
    })
}

fn host_address(text: &str) -> Result<IpAddr, Rule> {
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    match (inner, text.parse::<Ipv4Addr>()) {
        (_, Ok(address)) => Ok(address.into()),
        (Some(inner), _) => match inner.parse() {
            Ok(address) => Ok(IpAddr::V6(address)),
            Err(_) => Err(format!("{} is not an IPv6 address", quoted(inner)).into()),
        },
        (None, _) if text.contains(':') => {
            Err("an IPv6 address is written in brackets: \"[::1]:8080:80\"".into())
        }
        (None, _) if text == "localhost" => {
            Err("without an address it is this machine alone: \"8080:80\"".into())
        }
        (None, _) => Err(format!("{} is not an address of the host", quoted(text)).into()),
    }
}

/// (first, how many)
fn range(text: &str) -> Result<(u16, u16), Rule> {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) if !first.is_empty() => (port(first)?, port(last)?),
        _ => port(text).map(|port| (port, port))?,
    };
    if last < first {
        return Err(format!("the range {first}-{last} runs backwards").into());
    }
    Ok((first, (last - first).saturating_add(1)))
}

fn port(text: &str) -> Result<u16, Rule> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(0) => Err("there is no port 0".into()),
        Ok(port) if digits => Ok(port),
        _ if digits => Err("ports end at 65535".into()),
        _ => Err(format!("{} is not a port", quoted(text)).into()),
    }
}

/// An IPv4 or IPv6 address of one host.
pub(crate) fn address(text: &str) -> Result<IpAddr, Rule> {
    let Ok(address) = text.parse::<IpAddr>() else {
        return Err("not an address like \"192.0.2.1\" or \"2001:db8::1\"".into());
    };
    if address.is_unspecified() || address.is_multicast() {
        return Err("not the address of one host".into());
    }
    Ok(address)
}

/// An IPv4 address of one host.
pub(crate) fn address_v4(text: &str) -> Result<Ipv4Addr, Rule> {
    match address(text)? {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => Err("an IPv4 address; the IPv6 one follows from it".into()),
    }
}

/// A prefix, or one address.
pub(crate) fn prefix(text: &str) -> Result<IpNet, Rule> {
    let net: IpNet = match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
        (Ok(net), _) => net,
        (_, Ok(address)) => address.into(),
        _ => return Err("not a prefix like \"10.1.2.0/24\" or \"2001:db8::/32\"".into()),
    };
    if net.addr() != net.network() {
        let help = format!("did you mean {}?", quoted(&net.trunc().to_string()));
        return Err(Rule::from("has bits set behind its length").help(help));
    }
    Ok(net)
}

/// Bits per second: `"100Mbit/s"`.
pub(crate) fn rate(text: &str) -> Result<u64, Rule> {
    const LIKE: &str = "not a rate like \"100Mbit/s\"";
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "kbit/s" => 1_000,
        "Mbit/s" => 1_000_000,
        "Gbit/s" => 1_000_000_000,
        "" if digits > 0 => {
            return Err("the unit is missing: kbit/s, Mbit/s or Gbit/s".into());
        }
        _ if digits == 0 => return Err(LIKE.into()),
        _ => return Err("unknown unit: kbit/s, Mbit/s or Gbit/s".into()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .filter(|bits| (8_000..=400_000_000_000).contains(bits))
        .ok_or_else(|| "from 8kbit/s to 400Gbit/s".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::value::tests::check;

    #[test]
    fn ports_are_published_one_by_one_or_in_ranges() {
        let shown = |text: &str| {
            publish(text).map(|p| {
                let host = p.host.map(|host| host.to_string()).unwrap_or_default();
                let protocol = p.protocol.name();
                format!(
                    "{host} {} {} {} {protocol}",
                    p.host_port, p.container_port, p.count
                )
            })
        };
        check(
            shown,
            &[
                ("8080:80", Ok("\" 8080 80 1 tcp\"")),
                ("0.0.0.0:443:443/tcp", Ok("\"0.0.0.0 443 443 1 tcp\"")),
                ("[::1]:53:53/udp", Ok("\"::1 53 53 1 udp\"")),
                ("8000-8009:80-89", Ok("\" 8000 80 10 tcp\"")),
                ("80", Err("did you mean `80:80`?")),
                ("", Err("belong to it")),
                ("0:80", Err("no port 0")),
                ("80:65536", Err("end at 65535")),
                ("80:99999999999", Err("end at 65535")),
                ("-1:80", Err("`-1` is not a port")),
                ("80-70:80-70", Err("backwards")),
                ("80-90:80", Err("11 ports of the host, but 1")),
                ("1-10000:1-10000", Err("at most 1024")),
                ("1-65535:1-65535", Err("at most 1024")),
                ("80:80/sctp", Err("`sctp` is not a protocol")),
                ("::1:80:80", Err("in brackets")),
                ("[::z]:80:80", Err("not an IPv6 address")),
                ("localhost:80:80", Err("this machine alone")),
                ("1.2.3:80:80", Err("not an address of the host")),
                ("+80:80", Err("is not a port")),
                ("80:80; drop", Err("is not a port")),
            ],
        );
    }

    #[test]
    fn prefixes_have_no_bits_behind_their_length() {
        check(
            |text: &str| prefix(text).map(|net| net.to_string()),
            &[
                ("10.1.2.0/24", Ok("\"10.1.2.0/24\"")),
                ("2001:db8::/32", Ok("\"2001:db8::/32\"")),
                ("10.1.2.3", Ok("\"10.1.2.3/32\"")),
                ("10.1.2.3/24", Err("did you mean `10.1.2.0/24`?")),
                ("10.1.2.0/33", Err("not a prefix")),
                ("example.org", Err("not a prefix")),
            ],
        );
    }

    #[test]
    fn rates_have_one_number_and_one_unit() {
        check(
            rate,
            &[
                ("100Mbit/s", Ok("100000000")),
                ("1Gbit/s", Ok("1000000000")),
                ("8kbit/s", Ok("8000")),
                ("100", Err("the unit is missing")),
                ("100MB/s", Err("unknown unit")),
                ("fast", Err("not a rate")),
                ("0kbit/s", Err("from 8kbit/s")),
                ("99999999999999999999Gbit/s", Err("from 8kbit/s")),
            ],
        );
    }

    #[test]
    fn addresses_are_those_of_one_host() {
        check(
            |text: &str| address(text).map(|address| address.to_string()),
            &[
                ("1.1.1.1", Ok("\"1.1.1.1\"")),
                ("2001:db8::1", Ok("\"2001:db8::1\"")),
                ("0.0.0.0", Err("one host")),
                ("ff02::1", Err("one host")),
                ("1.1.1.1\nnameserver 2.2.2.2", Err("not an address")),
                ("dns.example", Err("not an address")),
            ],
        );
    }
}
