//! Answers DNS for the names of a made network, until its standard input ends:
//! `cargo run -p netns --example names -- 127.0.0.1:5300`, then `dig -p 5300 @127.0.0.1 web`.
//!
//! Names: `web` (alias `www`) and `db`. Everything else is asked of the servers in the host's
//! `/etc/resolv.conf`.

use std::error::Error;
use std::io::Write as _;
use std::os::fd::AsFd as _;

use netns::{Holder, HostResolv, Leases, Limits, Name, Record, Server, Sockets, Subnets, Zone};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:5300").parse()?;
    let state = std::env::temp_dir().join(format!("names-{}", std::process::id()));
    std::fs::create_dir(&state)?;

    let subnets = Subnets::new(&["10.120.0.0/24".parse()?, "fd00:78::/64".parse()?])?;
    let leases = Leases::open(&state.join("leases"), subnets)?;
    let zone = Zone::open(&state.join("names"), subnets)?;
    let alive = |_: &Holder| true;
    for (name, aliases) in [("web", &["www"][..]), ("db", &[])] {
        let holder = Holder::new(name, &std::process::id().to_string())?;
        let lease = leases.lease(&holder, None, &alive)?;
        let record = Record {
            name: Name::new(name)?,
            v4: lease.v4,
            v6: lease.v6,
        };
        let aliases: Result<Vec<_>, _> = aliases.iter().map(|alias| Name::new(alias)).collect();
        zone.publish(&holder, &record, &aliases?, &alive)?;
    }

    let host = HostResolv::parse(&std::fs::read("/etc/resolv.conf")?);
    let report = |event| {
        let _ = writeln!(std::io::stderr(), "{event}");
    };
    let sockets = Sockets::bind(address)?;
    let server = Server::new(
        sockets,
        vec![zone],
        host.upstreams(),
        Limits::default(),
        Box::new(report),
    )?;
    let served = server.serve(std::io::stdin().as_fd());
    std::fs::remove_dir_all(&state)?;
    Ok(served?)
}
