//! Pretend machines: two network namespaces each, a host and another machine that reaches it by a veth pair.
//!
//! Each engine has its own, so that none passes the rules of the others.

use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use super::programs::installed;
use super::running::{command, words};
use crate::cmd;

/// The address of every host towards its other machine.
pub(super) const ADDRESS: &str = "192.0.2.1";

/// One pretend machine, and the other one.
#[derive(Debug)]
pub(super) struct Host {
    name: &'static str,
}

impl Host {
    /// Makes both namespaces.
    ///
    /// # Errors
    ///
    /// What ip(8) says.
    pub(super) fn new(name: &'static str) -> Result<Self> {
        let other = format!("{name}-other");
        ip(&format!("netns add {name}"))?;
        ip(&format!("netns add {other}"))?;
        ip(&format!(
            "-n {name} link add wan type veth peer name wan netns {other}"
        ))?;
        for (at, address) in [(name, ADDRESS), (&other, "192.0.2.2")] {
            ip(&format!("-n {at} link set lo up"))?;
            ip(&format!("-n {at} link set wan up"))?;
            ip(&format!("-n {at} address add {address}/24 dev wan"))?;
        }
        Ok(Self { name })
    }

    /// The words that make a command run on the host.
    pub(super) fn here(&self) -> Vec<String> {
        enter(self.name)
    }

    /// The words that make a command run on the other machine.
    pub(super) fn other(&self) -> Vec<String> {
        enter(&format!("{}-other", self.name))
    }
}

/// What an administrator makes by hand: a bridge, two namespaces with a veth pair each, and a rule for each
/// port that leads to the first. The same shape as an engine's network, and nothing else.
#[derive(Debug)]
pub(super) struct ByHand {
    pub(super) host: Host,
}

impl ByHand {
    /// The first namespace, where servers run.
    pub(super) const SERVER: &str = "10.88.0.2";

    /// Makes it; `ports` lead from the host's address to the first namespace's: (host, namespace).
    ///
    /// # Errors
    ///
    /// What ip(8), sh(1) or nft(8) say.
    pub(super) fn new(ports: &[(u16, u16)]) -> Result<Self> {
        let host = Host::new("byhand")?;
        ip("-n byhand link add bridge0 type bridge")?;
        ip("-n byhand address add 10.88.0.1/24 dev bridge0")?;
        ip("-n byhand link set bridge0 up")?;
        for (name, address) in [("byhand-a", Self::SERVER), ("byhand-b", "10.88.0.3")] {
            ip(&format!("netns add {name}"))?;
            ip(&format!(
                "-n byhand link add {name} type veth peer name eth0 netns {name}"
            ))?;
            ip(&format!("-n byhand link set {name} master bridge0 up"))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} link set eth0 up"))?;
            ip(&format!("-n {name} address add {address}/24 dev eth0"))?;
            ip(&format!("-n {name} route add default via 10.88.0.1"))?;
        }
        let mut forward = host.here();
        forward.extend([installed("sh"), "-c".into()]);
        forward.push("echo 1 >/proc/sys/net/ipv4/ip_forward".into());
        cmd::output(&mut command(&forward))?;
        rules(&host, &ruleset(ports))?;
        Ok(Self { host })
    }

    /// The words that make a command run where the servers are.
    pub(super) fn server(&self) -> Vec<String> {
        enter("byhand-a")
    }

    /// The words that make a command run in the second namespace.
    pub(super) fn client(&self) -> Vec<String> {
        enter("byhand-b")
    }
}

fn ruleset(ports: &[(u16, u16)]) -> String {
    let elements: Vec<String> = ports
        .iter()
        .map(|(host, to)| format!("{host} : {} . {to}", ByHand::SERVER))
        .collect();
    format!(
        "table ip byhand {{
            map ports {{ type inet_service : ipv4_addr . inet_service; elements = {{ {} }}; }}
            chain in {{
                type nat hook prerouting priority dstnat;
                ip daddr {ADDRESS} dnat ip to tcp dport map @ports
            }}
            chain out {{
                type nat hook postrouting priority srcnat;
                ip saddr 10.88.0.0/24 oifname wan masquerade
            }}
        }}\n",
        elements.join(", ")
    )
}

fn rules(host: &Host, text: &str) -> Result<()> {
    let mut argv = host.here();
    argv.extend([installed("nft"), "-f".into(), "-".into()]);
    let mut nft = command(&argv)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start nft")?;
    let mut input = nft.stdin.take().context("stdin is a pipe")?;
    input.write_all(text.as_bytes()).context("write to nft")?;
    drop(input);
    let output = nft.wait_with_output().context("wait for nft")?;
    ensure!(
        output.status.success(),
        "nft: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// nsenter(1) and not `ip netns exec`, which mounts a new /sys without cgroups.
fn enter(namespace: &str) -> Vec<String> {
    vec![
        installed("nsenter"),
        format!("--net=/run/netns/{namespace}"),
    ]
}

fn ip(arguments: &str) -> Result<()> {
    let mut argv = vec![installed("ip")];
    argv.extend(words(arguments));
    cmd::output(&mut command(&argv)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_leads_to_the_server_by_one_map() {
        let text = ruleset(&[(5201, 5201), (8080, 80)]);
        assert!(
            text.contains("elements = { 5201 : 10.88.0.2 . 5201, 8080 : 10.88.0.2 . 80 };"),
            "{text}"
        );
        assert_eq!(text.matches(" dnat ").count(), 1, "{text}");
    }
}
