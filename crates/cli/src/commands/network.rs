//! `ctr network`: networks of this machine, who is on them, and where published ports lead.

use std::fmt::Write as _;

use clap::{Subcommand, ValueEnum};
use engine::Options;
use engine::net::manage::{self, Explained, Mended, Overview};
use engine::net::{Defined, NetworkError};
use engine::spec::{NetworkSpec, Protocol};
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::args::Global;
use crate::exit::{self, CommandResult};
use crate::manifest::{network_name, network_prefix};
use crate::output;

/// Arguments of `ctr network`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the networks
    Ls(Shown),
    /// Describe a new network; its bridge is made with its first container
    Create(Create),
    /// Remove networks that nobody is on
    Rm(Names),
    /// Show a network and the containers on it
    Inspect(Inspect),
    /// Put bridges and firewall rules back to what they should be
    Heal(Shown),
    /// Tell what a packet to a port of this host meets, and where it ends
    Explain(Explain),
}

#[derive(Debug, clap::Args)]
struct Shown {
    /// How it is shown
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Its name
    #[arg(value_parser = network_name)]
    name: String,
    /// An IPv4 or IPv6 subnet, like 10.1.2.0/24; chosen when left out
    #[arg(long, value_name = "SUBNET", value_parser = network_prefix)]
    subnet: Vec<IpNet>,
    /// No way out of it, and none into it
    #[arg(long)]
    internal: bool,
    /// Containers may reach the metadata service of clouds, 169.254.169.254
    #[arg(long)]
    metadata: bool,
    /// Largest packet
    #[arg(long, value_parser = clap::value_parser!(u16).range(1280..))]
    mtu: Option<u16>,
}

#[derive(Debug, clap::Args)]
struct Names {
    /// Which
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Inspect {
    /// Which
    name: String,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, clap::Args)]
struct Explain {
    /// A port of this host, like 8080 or 53/udp
    #[arg(value_parser = port)]
    port: (Protocol, u16),
    #[command(flatten)]
    shown: Shown,
}

fn port(text: &str) -> Result<(Protocol, u16), String> {
    let (number, protocol) = match text.split_once('/') {
        None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Protocol::Tcp),
        Some((number, "udp")) => (number, Protocol::Udp),
        Some((_, other)) => return Err(format!("`{other}` is not a protocol: tcp or udp")),
    };
    match number.parse() {
        Ok(0) | Err(_) => Err("a port is a number from 1 to 65535".into()),
        Ok(port) => Ok((protocol, port)),
    }
}

pub(super) fn run(args: &Args, global: &Global) -> CommandResult {
    let options = Options::of_caller(global.root.as_deref());
    let text = match &args.command {
        Command::Ls(shown) => manage::list(&options).map(|all| match shown.format {
            Format::Text => table(&all),
            Format::Json => pretty(&all.iter().map(overview).collect()),
        }),
        Command::Create(asked) => {
            create(&options, asked).map(|network| format!("{}\n", network.name))
        }
        Command::Rm(asked) => asked
            .names
            .iter()
            .try_for_each(|name| manage::remove(&options, name))
            .map(|()| String::new()),
        Command::Inspect(asked) => {
            manage::inspect(&options, &asked.name).map(|found| match asked.shown.format {
                Format::Text => details(&found),
                Format::Json => pretty(&overview(&found)),
            })
        }
        Command::Heal(shown) => manage::mend(&options).map(|mended| match shown.format {
            Format::Text => healed(&mended),
            Format::Json => pretty(&json!({
                "bridges": mended.bridges,
                "firewall": mended.firewall,
                "blockers": mended.blockers,
            })),
        }),
        Command::Explain(asked) => {
            let (protocol, port) = asked.port;
            manage::explain(&options, protocol, port).map(|ways| match asked.shown.format {
                Format::Text => ways.iter().map(way).collect::<Vec<_>>().join("\n"),
                Format::Json => pretty(&ways.iter().map(way_json).collect()),
            })
        }
    };
    match text {
        Ok(text) => {
            output::stdout(&text)?;
            Ok(exit::SUCCESS)
        }
        Err(error) => Ok(failed(&error)),
    }
}

fn create(options: &Options, asked: &Create) -> Result<Defined, NetworkError> {
    let spec = NetworkSpec {
        name: asked.name.clone(),
        subnets: asked.subnet.clone(),
        internal: asked.internal,
        mtu: asked.mtu,
        metadata: asked.metadata,
    };
    manage::create(options, &spec)
}

fn failed(error: &NetworkError) -> u8 {
    output::error(error);
    if let Some(hint) = error.hint() {
        output::stderr(&format!("help: {hint}\n"));
    }
    exit::ENGINE
}

fn table(all: &[Overview]) -> String {
    let mut out = String::new();
    let width = |of: fn(&Overview) -> usize, least| all.iter().map(of).fold(least, usize::max);
    let name = width(|o| o.network.name.len(), 4);
    let bridge = width(|o| o.network.bridge.len(), 6);
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{:name$}  {:bridge$}  CONTAINERS  SUBNETS",
        "NAME", "BRIDGE"
    );
    for Overview {
        network, members, ..
    } in all
    {
        let _ = writeln!(
            out,
            "{:name$}  {:bridge$}  {:<10}  {}{}",
            network.name,
            network.bridge,
            members.len(),
            subnets(network),
            if network.internal { "  internal" } else { "" },
        );
    }
    out
}

fn subnets(network: &Defined) -> String {
    let nets: Vec<String> = network.subnets.iter().map(ToString::to_string).collect();
    nets.join(" ")
}

fn details(overview: &Overview) -> String {
    let network = &overview.network;
    let mut out = format!(
        "{}\n  bridge    {} ({})\n  subnets   {}\n  mtu       {}\n  way out   {}\n  metadata  {}\n",
        network.name,
        network.bridge,
        if overview.present {
            "up"
        } else {
            "made with the first container"
        },
        subnets(network),
        network.mtu,
        if network.internal {
            "none (internal)"
        } else {
            "by the host's addresses"
        },
        if network.metadata {
            "reachable"
        } else {
            "dropped"
        },
    );
    if let Some(statistics) = &overview.statistics {
        let _ = writeln!(
            out,
            "  traffic   {} bytes in, {} bytes out",
            statistics.rx_bytes, statistics.tx_bytes
        );
    }
    for (name, member) in &overview.members {
        let v6 = member.v6.map(|v6| format!(" {v6}")).unwrap_or_default();
        let _ = writeln!(
            out,
            "  container {name}  {}{v6}  {}",
            member.v4, member.veth
        );
        for publish in &member.publish {
            let _ = writeln!(out, "    publishes {}", published(publish));
        }
    }
    out
}

fn published(publish: &engine::spec::Publish) -> String {
    let host = match publish.host {
        None => "127.0.0.1 and ::1".into(),
        Some(host) => host.to_string(),
    };
    let last = publish.count - 1;
    let range = |first: u16| match last {
        0 => first.to_string(),
        _ => format!("{first}-{}", first + last),
    };
    format!(
        "{} port {} as {}/{}",
        host,
        range(publish.host_port),
        range(publish.container_port),
        publish.protocol.name()
    )
}

fn overview(overview: &Overview) -> Value {
    let members: Vec<Value> = overview
        .members
        .iter()
        .map(|(name, member)| json!({ "name": name, "member": member }))
        .collect();
    json!({ "network": overview.network, "present": overview.present, "containers": members })
}

fn healed(mended: &Mended) -> String {
    let mut out = String::new();
    for bridge in &mended.bridges {
        let _ = writeln!(out, "made again: bridge {bridge}");
    }
    for difference in &mended.firewall {
        let _ = writeln!(out, "mended: {difference}");
    }
    if out.is_empty() {
        out.push_str("all is as it should be\n");
    }
    for blocker in &mended.blockers {
        let _ = writeln!(out, "not ours to mend: {blocker}");
    }
    out
}

fn way(explained: &Explained) -> String {
    let mut out = format!("from {} to {}:\n", explained.from, explained.address);
    for hop in &explained.trace.hops {
        let _ = writeln!(
            out,
            "  {:<12} {}\n    rule: {}\n    {}",
            hop.hook.to_string(),
            hop.chain,
            hop.rule,
            hop.outcome
        );
    }
    for doubt in &explained.trace.doubts {
        let _ = writeln!(out, "  perhaps: {doubt}");
    }
    let _ = match &explained.container {
        Some(name) => writeln!(out, "  ends at `{name}`: {}", explained.trace.end),
        None => writeln!(out, "  ends at {}", explained.trace.end),
    };
    out
}

fn way_json(explained: &Explained) -> Value {
    let hops: Vec<Value> = explained
        .trace
        .hops
        .iter()
        .map(|hop| {
            json!({
                "hook": hop.hook.to_string(),
                "chain": hop.chain,
                "rule": hop.rule,
                "outcome": hop.outcome,
            })
        })
        .collect();
    json!({
        "from": explained.from,
        "address": explained.address,
        "hops": hops,
        "doubts": explained.trace.doubts,
        "end": explained.trace.end.to_string(),
        "container": explained.container,
    })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
