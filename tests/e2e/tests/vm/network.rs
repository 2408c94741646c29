//! Networks, judged from where packets come from and go to: see [`World`].

mod addresses;
mod names;
mod pasta;
mod policy;
mod ports;
mod repair;
mod services;

use std::net::IpAddr;

use e2e::{Case, Outcome, Space, Started, Who, World, case};
use rustix::process::Signal;
use serde_json::Value;

/// Runs `test` as root of a host that has a way to another one.
fn networked(test: impl FnOnce(&Case, &World)) {
    // Before the oracle's first look, and gone after its last.
    let world = World::new();
    case(Who::Root, |case| test(case, &world));
}

/// A container that waits, with these lines at the end of its manifest.
fn up(case: &Case, name: &str, lines: &str) -> Started {
    if !case.dir().join("root").exists() {
        case.root("root");
    }
    let mut started = case.start(&format!(
        "name = {name:?}\nrootfs = \"./root\"\ncommand = [\"sh\", \"-c\", \"echo up; exec sleep 1000\"]\n{lines}"
    ));
    assert_eq!(started.line(), "up");
    started
}

/// Ends containers of [`up`].
fn down<const N: usize>(containers: [Started; N]) {
    for container in &containers {
        container.signal(Signal::TERM);
    }
    for container in containers {
        container.end().expect(128 + 15);
    }
}

/// `ctr network WORDS`.
fn network(case: &Case, words: &[&str]) -> Outcome {
    Outcome::of(&mut case.ctr(&[&["network"], words].concat()))
}

/// A network as `ctr network inspect` shows it.
fn inspect(case: &Case, name: &str) -> Value {
    let out = network(case, &["inspect", name, "--format", "json"]).ok();
    serde_json::from_str(&out).expect("JSON")
}

/// IPv4, then IPv6: of a container.
fn addresses_of(container: &Started) -> [IpAddr; 2] {
    let found = Space::of(container).addresses("eth0");
    found.try_into().expect("one address of each family")
}

/// The same, of a bridge: what a server sees of whoever has no address of his own that it could answer.
fn gateways(world: &World, bridge: &str) -> [IpAddr; 2] {
    let mut found = world.host.addresses(bridge);
    found.retain(|address| !address.is_loopback());
    found.try_into().expect("one address of each family")
}

/// `ADDRESS:PORT`.
fn at(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

/// `nft WORDS`, what it says.
fn nft(case: &Case, words: &[&str]) -> String {
    Outcome::of(case.command("nft").args(words)).ok()
}
