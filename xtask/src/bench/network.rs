//! Traffic: iperf3 from container to container and from another machine through a published port, and short
//! connections through a published port, beside a network of the same shape that was made by hand, and Docker's.
//!
//! Taking turns, in the opposite order every other round.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::engines::{Docker, Engines};
use super::hosts::{ADDRESS, ByHand, Host};
use super::inside::{Found, Series, Tools};
use super::running::{self, Running, command, words};
use crate::cmd;

/// What is unpacked for a root file system with iperf3.
pub(super) const PACKAGES: &[&str] = &["iperf3", "libc6", "libiperf0", "libsctp1", "libssl3"];

const ROUNDS: usize = 5;
const SECONDS: u32 = 2;
/// Clients that connect at the same time.
const CLIENTS: u32 = 4;

/// The names of the series.
pub(super) const BRIDGE: &str = "iperf3 through the bridge";
pub(super) const PORT: &str = "iperf3 through a port";
pub(super) const RATED: &str = "iperf3 to a container with rate = \"1Gbit/s\"";
pub(super) const CONNECTIONS: &str = "connections through a port";
/// Whose they are.
pub(super) const CTR: &str = "ctr";
pub(super) const BY_HAND: &str = "by hand";
pub(super) const DOCKER: &str = "docker";

/// For a server behind a port to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where ctr's iperf3 listens, without a rate and with one.
const SERVER: &str = "10.99.0.20";
const RATED_SERVER: &str = "10.99.0.21";

/// A measurement that is repeated in turn with others.
struct Turn<'t> {
    what: &'static str,
    who: &'static str,
    unit: &'static str,
    once: Box<dyn Fn() -> Result<f64> + 't>,
}

/// All of it.
///
/// # Errors
///
/// The pretend machines or ctr's containers on them cannot be made.
pub(super) fn measure(tools: &Tools) -> Result<Found> {
    let mut found = Found::default();
    let ctr = Host::new("ctr")?;
    let by_hand = ByHand::new(&[(5201, 5201), (8080, 80)])?;
    let mut series = Vec::new();
    if let Some(iperf) = &tools.iperf {
        match throughput(tools, iperf, &ctr, &by_hand) {
            Ok(measured) => series.extend(measured),
            Err(error) => found.missing.push(format!("iperf3: {error:#}")),
        }
    }
    series.extend(connections(tools, &ctr, &by_hand, &mut found.missing)?);
    found.series = series;
    Ok(found)
}

fn throughput(tools: &Tools, iperf: &Path, ctr: &Host, by_hand: &ByHand) -> Result<Vec<Series>> {
    let write = |name: &str, text: String| {
        fs::write(tools.place.join(name), text).with_context(|| format!("write {name}"))
    };
    let port = "publish = [\"0.0.0.0:5201:5201\"]";
    write(
        "iperf-server.toml",
        manifest("iperf-server", SERVER, "\"-s\", \"--forceflush\"", port),
    )?;
    let rate = "rate = \"1Gbit/s\"";
    write(
        "iperf-rated.toml",
        manifest(
            "iperf-rated",
            RATED_SERVER,
            "\"-s\", \"--forceflush\"",
            rate,
        ),
    )?;
    for (name, server) in [
        ("iperf-client", SERVER),
        ("iperf-rated-client", RATED_SERVER),
    ] {
        let client = format!("\"-c\", \"{server}\", \"-t\", \"{SECONDS}\", \"-J\"");
        let text = manifest(name, "10.99.0.30", &client, "");
        write(&format!("{name}.toml"), text)?;
    }
    let iperf = loaded(iperf)?;
    let server = "Server listening";
    let argv = join(ctr.here(), tools.ctr_run("iperf-server.toml"));
    let _ctr = Running::ready(&argv, server, &running::log(&tools.place, "iperf-ctr"))?;
    let argv = join(ctr.here(), tools.ctr_run("iperf-rated.toml"));
    let _rated = Running::ready(&argv, server, &running::log(&tools.place, "iperf-rated"))?;
    let argv = join(by_hand.server(), iperf.clone());
    let argv = join(argv, words("-s --forceflush"));
    let _by_hand = Running::ready(&argv, server, &running::log(&tools.place, "iperf-by-hand"))?;

    let to = |place: Vec<String>, address: &str| {
        let arguments = format!("-c {address} -t {SECONDS} -J");
        join(join(place, iperf.clone()), words(&arguments))
    };
    let commands = [
        (
            BRIDGE,
            CTR,
            join(ctr.here(), tools.ctr_run("iperf-client.toml")),
        ),
        (
            RATED,
            CTR,
            join(ctr.here(), tools.ctr_run("iperf-rated-client.toml")),
        ),
        (BRIDGE, BY_HAND, to(by_hand.client(), ByHand::SERVER)),
        (PORT, CTR, to(ctr.other(), ADDRESS)),
        (PORT, BY_HAND, to(by_hand.host.other(), ADDRESS)),
    ];
    let turns: Vec<Turn<'_>> = commands
        .into_iter()
        .map(|(what, who, argv)| Turn {
            what,
            who,
            unit: "Gbit/s",
            once: Box::new(move || gigabits(&cmd::output(&mut command(&argv))?)),
        })
        .collect();
    take_turns(&turns)
}

/// iperf3 in a container with a name and an address, on a network of its own.
fn manifest(name: &str, address: &str, arguments: &str, port: &str) -> String {
    format!(
        "name = \"{name}\"\nrootfs = \"./iperf\"\ncommand = [\"/usr/bin/iperf3\", {arguments}]\n\
         [network]\nmode = \"traffic\"\naddress = \"{address}\"\n{port}\n\
         [networks.traffic]\nsubnets = [\"10.99.0.0/24\"]\n"
    )
}

/// iperf3 of a root file system, outside of it: by its own loader, with its own libraries.
fn loaded(root: &Path) -> Result<Vec<String>> {
    let libraries = root.join(format!("lib/{}-linux-gnu", std::env::consts::ARCH));
    let loader = fs::read_dir(&libraries)
        .with_context(|| format!("read {}", libraries.display()))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path: &PathBuf| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with("ld-linux")
        })
        .with_context(|| format!("no dynamic linker in {}", libraries.display()))?;
    let path = format!(
        "{}:{}/usr/lib/{}-linux-gnu",
        libraries.display(),
        root.display(),
        std::env::consts::ARCH
    );
    Ok(vec![
        loader.display().to_string(),
        "--library-path".into(),
        path,
        root.join("usr/bin/iperf3").display().to_string(),
    ])
}

/// What the receiver counted, from `iperf3 -J`.
fn gigabits(text: &str) -> Result<f64> {
    let said: serde_json::Value = serde_json::from_str(text).context("iperf3's JSON")?;
    if let Some(error) = said["error"].as_str() {
        bail!("iperf3: {error}");
    }
    said["end"]["sum_received"]["bits_per_second"]
        .as_f64()
        .map(|bits| bits / 1e9)
        .context("iperf3 says nothing of bits per second")
}

fn connections(
    tools: &Tools,
    ctr: &Host,
    by_hand: &ByHand,
    missing: &mut Vec<String>,
) -> Result<Vec<Series>> {
    let path = tools.place.join("accept.toml");
    let manifest = "name = \"accept\"\nrootfs = \"./root\"\ncommand = [\"/bin/peer\", \"accept\", \"80\"]\n\
                    network = { publish = [\"0.0.0.0:8080:80\"] }\n";
    fs::write(&path, manifest).with_context(|| format!("write {}", path.display()))?;
    let argv = join(ctr.here(), tools.ctr_run("accept.toml"));
    let log = running::log(&tools.place, "accept-ctr");
    let _ctr = Running::ready(&argv, "listening", &log)?;
    let peer = tools.peer.display().to_string();
    let argv = join(
        by_hand.server(),
        vec![peer.clone(), "accept".into(), "80".into()],
    );
    let log = running::log(&tools.place, "accept-by-hand");
    let _by_hand = Running::ready(&argv, "listening", &log)?;

    let turns = vec![
        connect(&peer, CTR, ctr),
        connect(&peer, BY_HAND, &by_hand.host),
    ];
    let Some(root) = &tools.engines else {
        return take_turns(&turns);
    };
    let engines = Engines::new(root, &tools.place.join("engines"));
    beside_docker(&engines, &peer, turns, missing)
}

fn beside_docker<'t>(
    engines: &Engines,
    peer: &str,
    mut turns: Vec<Turn<'t>>,
    missing: &mut Vec<String>,
) -> Result<Vec<Series>> {
    let host = Host::new("docker")?;
    let docker = match Docker::start(engines, &host.here()) {
        Ok(docker) => docker,
        Err(error) => {
            missing.push(format!("docker's connections: {error:#}"));
            return take_turns(&turns);
        }
    };
    let turn = connect(peer, DOCKER, &host);
    let serving = docker
        .serve("8080:80", "/bin/peer accept 80")
        .and_then(|container| answers(&turn).map(|()| container));
    match &serving {
        Ok(_container) => turns.push(turn),
        Err(error) => missing.push(format!("docker's connections: {error:#}")),
    }
    take_turns(&turns)
}

/// Waits until a turn can be taken.
fn answers(turn: &Turn<'_>) -> Result<()> {
    let start = Instant::now();
    loop {
        match (turn.once)() {
            Ok(_) => return Ok(()),
            Err(error) if start.elapsed() > PATIENCE => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// All in turn, there and back again.
fn take_turns(turns: &[Turn<'_>]) -> Result<Vec<Series>> {
    let mut series: Vec<Series> = turns
        .iter()
        .map(|turn| Series {
            what: turn.what.into(),
            who: turn.who.into(),
            unit: turn.unit.into(),
            values: Vec::new(),
        })
        .collect();
    for round in 0..ROUNDS {
        for step in 0..turns.len() {
            let index = if round % 2 == 0 {
                step
            } else {
                turns.len() - 1 - step
            };
            let turn = &turns[index];
            let value = (turn.once)().with_context(|| format!("{}, {}", turn.what, turn.who))?;
            series[index].values.push(value);
        }
    }
    Ok(series)
}

/// Connections from the other machine to a port of the host, for a time.
fn connect<'t>(peer: &str, who: &'static str, host: &Host) -> Turn<'t> {
    let milliseconds = 1000 * SECONDS;
    let line = format!("connect {ADDRESS}:8080 {milliseconds} {CLIENTS}");
    let argv = join(join(host.other(), vec![peer.into()]), words(&line));
    Turn {
        what: CONNECTIONS,
        who,
        unit: "1/s",
        once: Box::new(move || per_second(&cmd::output(&mut command(&argv))?)),
    }
}

/// From what `peer connect` writes.
fn per_second(text: &str) -> Result<f64> {
    let mut numbers = text.trim_end().split('\t').map(str::parse::<f64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(connections)), Some(Ok(nanoseconds))) if nanoseconds > 0.0 => {
            Ok(connections / nanoseconds * 1e9)
        }
        _ => bail!("peer wrote {text:?}"),
    }
}

fn join(mut one: Vec<String>, other: Vec<String>) -> Vec<String> {
    one.extend(other);
    one
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn turns_go_there_and_back_again() {
        let order = RefCell::new(Vec::new());
        let turn = |who: &'static str, value: f64| {
            let order = &order;
            Turn {
                what: "",
                who,
                unit: "",
                once: Box::new(move || {
                    order.borrow_mut().push(who);
                    Ok(value)
                }),
            }
        };
        let series = take_turns(&[turn("a", 1.0), turn("b", 2.0)]).expect("values");
        assert_eq!(order.borrow()[..4], ["a", "b", "b", "a"]);
        assert_eq!(series[0].values, [1.0; ROUNDS]);
        assert_eq!(series[1].values, [2.0; ROUNDS]);
    }

    #[test]
    fn what_the_receiver_counted_is_taken() {
        let said = r#"{ "end": { "sum_sent": { "bits_per_second": 3e9 },
                                 "sum_received": { "bits_per_second": 2.5e9 } } }"#;
        assert_eq!(gigabits(said).expect("a number"), 2.5);
        let error = gigabits(r#"{ "error": "unable to connect" }"#).expect_err("an error");
        assert_eq!(error.to_string(), "iperf3: unable to connect");
        let error = gigabits("{}").expect_err("nothing");
        assert_eq!(error.to_string(), "iperf3 says nothing of bits per second");
    }

    #[test]
    fn connections_are_counted_by_the_second() {
        assert_eq!(per_second("3000\t1500000000\n").expect("a number"), 2000.0);
        for garbled in ["", "3000", "3000\t0\n", "x\t1"] {
            let error = per_second(garbled).expect_err("no number");
            assert_eq!(error.to_string(), format!("peer wrote {garbled:?}"));
        }
    }
}
