//! Prints, or with `apply` executes, the firewall of one network with one container: run it in a
//! network namespace of its own, `unshare --net cargo run --example firewall -- apply`.

use netns::firewall::{Endpoint, Firewall, HostAddress, Network, Prefix, Protocol, Published};
use netns::nft::Socket;

#[expect(clippy::print_stdout, reason = "what an example is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let firewall = Firewall::new("ctr")?;
    let subnet = |address: &str, length| -> Result<Prefix, std::net::AddrParseError> {
        Ok(Prefix {
            address: address.parse()?,
            length,
        })
    };
    let network = Network {
        bridge: "ctr0".into(),
        subnets: vec![subnet("10.88.0.0", 24)?, subnet("fd00:88::", 64)?],
        internal: false,
        metadata_allowed: false,
    };
    let web = Endpoint {
        bridge: "ctr0".into(),
        veth: "ctrv0a1b2c3d".into(),
        v4: Some("10.88.0.2".parse()?),
        v6: Some("fd00:88::2".parse()?),
        egress: Some(vec![subnet("192.0.2.0", 24)?]),
        published: vec![Published {
            protocol: Protocol::Tcp,
            address: HostAddress::AnyV4,
            host_port: 8080,
            port: 80,
        }],
    };
    let (networks, endpoints) = ([network], [web]);
    let batch = firewall.whole(&networks, &endpoints)?;
    print!("{batch}");
    if std::env::args().nth(1).as_deref() == Some("apply") {
        let mut socket = Socket::open()?;
        socket.commit(&batch)?;
        let held = firewall.held(&mut socket)?;
        for difference in firewall.differences(&networks, &endpoints, &held)? {
            println!("{difference}");
        }
    }
    Ok(())
}
