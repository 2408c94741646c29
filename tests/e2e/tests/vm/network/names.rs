//! Containers find each other, and the rest of the world, by name.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use e2e::{Case, Outcome, Space, Started, debian, wait_for};
use rustix::process::Signal;

use super::{addresses_of, down, network, networked, up};

/// Says of each `NAME FAMILY` in its arguments what the C library finds, and whom it reaches there at
/// port 80.
const DIAL: &str = r#"
import socket, sys
for word in sys.argv[1:]:
    name, family = word.split("/")
    family = {"4": socket.AF_INET, "6": socket.AF_INET6}[family]
    found = socket.getaddrinfo(name, 80, family, socket.SOCK_STREAM)
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(60)
        s.connect(found[0][4])
        print(word, found[0][4][0], s.recv(16).decode())
"#;

/// Runs [`DIAL`] in a container with these lines at the end of its manifest.
fn dial(case: &Case, names: &[&str], lines: &str) -> Outcome {
    let manifest = case.manifest(&format!(
        "name = \"client\"\nrootfs = {:?}\ncommand = [\"python3\", \"-c\", {DIAL:?}]\n{lines}",
        debian()
    ));
    let mut words = vec![OsString::from("run"), manifest.into_os_string()];
    words.extend(names.iter().map(OsString::from));
    Outcome::of(&mut case.ctr(&words))
}

/// Greets `count` clients of a container with its name.
fn greet(container: &Started, name: &'static str, count: usize) -> thread::JoinHandle<()> {
    let listener = Space::of(container).run(|| TcpListener::bind("[::]:80"));
    let listener = listener.expect("listen");
    thread::spawn(move || {
        for _ in 0..count {
            let (mut stream, _) = listener.accept().expect("accept");
            stream.write_all(name.as_bytes()).expect("greet");
        }
    })
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn containers_reach_each_other_by_name_and_alias_in_both_families() {
    networked(|case, _| {
        let web = up(case, "web", "[network]\naliases = [\"www\", \"shop\"]\n");
        let db = up(case, "db", "");
        let servers = [greet(&web, "web", 5), greet(&db, "db", 1)];
        let asked = ["web/4", "web/6", "www/4", "shop/6", "WWW/4", "db/6"];
        let out = dial(case, &asked, "").ok();
        let [web4, web6] = addresses_of(&web);
        let [_, db6] = addresses_of(&db);
        let expected = [
            format!("web/4 {web4} web"),
            format!("web/6 {web6} web"),
            format!("www/4 {web4} web"),
            format!("shop/6 {web6} web"),
            format!("WWW/4 {web4} web"),
            format!("db/6 {db6} db"),
        ];
        assert_eq!(out.lines().collect::<Vec<_>>(), expected);
        for server in servers {
            server.join().expect("no panic");
        }
        down([web, db]);
        dial(case, &["web/4"], "").expect(1).says("socket.gaierror");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_name_in_use_is_refused_and_names_its_holder() {
    networked(|case, _| {
        let web = up(case, "web", "[network]\naliases = [\"www\"]\n");
        for (name, aliases) in [
            ("www", ""),
            ("other", "aliases = [\"www\"]"),
            ("other", "aliases = [\"web\"]"),
        ] {
            case.run(&format!(
                "name = {name:?}\nrootfs = \"./root\"\ncommand = [\"true\"]\n[network]\n{aliases}\n"
            ))
            .expect(125)
            .says("is held by `web`");
        }
        // On another network it is somebody else's.
        case.run(
            "name = \"www\"\nrootfs = \"./root\"\ncommand = [\"true\"]\n\
             [network]\nmode = \"second\"\naliases = [\"web\"]\n[networks.second]\n",
        )
        .ok();
        down([web]);
        network(case, &["rm", "second"]).ok();
    });
}

/// Answers queries that come to `socket` until `done`: each A with 203.0.113.7. How many there were.
fn answer(socket: &UdpSocket, done: &AtomicBool) -> usize {
    let mut count = 0;
    let mut query = [0; 512];
    let limit = Some(Duration::from_millis(100));
    socket.set_read_timeout(limit).expect("a limit");
    loop {
        let last = done.load(Ordering::Relaxed);
        match socket.recv_from(&mut query) {
            Ok((length, from)) => {
                socket
                    .send_to(&reply(&query[..length]), from)
                    .expect("answer");
                count += 1;
            }
            Err(_) if last => return count,
            Err(_) => {}
        }
    }
}

/// RFC 1035: the header with QR set, the question, and an answer that points at the question's name.
fn reply(query: &[u8]) -> Vec<u8> {
    let name = query[12..].iter().position(|byte| *byte == 0);
    let end = 12 + name.expect("the end of a name") + 5;
    let mut reply = query[..end].to_vec();
    reply[2] |= 0x80;
    reply[6..12].fill(0);
    let asks_for_a = reply[end - 4..end - 2] == [0, 1];
    if asks_for_a {
        reply[7] = 1;
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 7]);
    }
    reply
}

/// Runs `nslookup NAME` in a container beside an upstream server; how often that was asked.
fn look_up(case: &Case, upstream: &UdpSocket, name: &str, lines: &str) -> (Outcome, usize) {
    let client = case.start(&format!(
        "name = \"client\"\nrootfs = \"./root\"\ncommand = [\"nslookup\", {name:?}]\n{lines}"
    ));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let server = scope.spawn(|| answer(upstream, &done));
        let outcome = client.end();
        done.store(true, Ordering::Relaxed);
        (outcome, server.join().expect("no panic"))
    })
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn other_names_are_asked_of_the_hosts_resolvers_or_of_those_that_the_manifest_names() {
    networked(|case, world| {
        case.root("root");
        let resolv = fs::read_to_string("/etc/resolv.conf").expect("resolv.conf");
        assert!(resolv.contains("nameserver 127.0.0.1\n"), "{resolv}");
        let upstream = world.host.udp("127.0.0.1:53");
        let (outcome, asked) = look_up(case, &upstream, "example.org", "");
        assert!(outcome.ok().contains("203.0.113.7"));
        assert!(asked > 0);
        let upstream = world.peer.udp("192.0.2.2:53");
        let lines = "[network]\ndns = [\"192.0.2.2\"]\n";
        let (outcome, asked) = look_up(case, &upstream, "example.org", lines);
        assert!(outcome.ok().contains("203.0.113.7"));
        assert!(asked > 0);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn on_an_internal_network_the_names_of_the_world_are_refused_and_nobody_is_asked() {
    networked(|case, world| {
        let lines = "[network]\nmode = \"inner\"\n[networks.inner]\ninternal = true\n";
        let web = up(case, "web", lines);
        let upstream = world.host.udp("127.0.0.1:53");
        let (outcome, asked) = look_up(case, &upstream, "example.org", lines);
        let text = outcome.to_string();
        assert!(
            outcome.code != Some(0) && text.contains("REFUSED"),
            "{text}"
        );
        assert_eq!(asked, 0);
        // The same server would have answered.
        let (outcome, asked) = look_up(case, &upstream, "example.org", "");
        assert!(outcome.ok().contains("203.0.113.7"));
        assert!(asked > 0);
        let [v4, v6] = addresses_of(&web).map(|address| address.to_string());
        let (outcome, _) = look_up(case, &upstream, "web", lines);
        let out = outcome.ok();
        assert!(out.contains(&v4) && out.contains(&v6), "{out}");
        // The other way round.
        let (outcome, _) = look_up(case, &upstream, &v6, lines);
        let out = outcome.ok();
        assert!(out.contains("name = web"), "{out}");
        down([web]);
        network(case, &["rm", "inner"]).ok();
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn resolv_conf_and_hosts_are_the_containers_own() {
    networked(|case, _| {
        case.root("root");
        let out = case.run(
            "name = \"web\"\nrootfs = \"./root\"\ncommand = [\"cat\", \"/etc/resolv.conf\", \"/etc/hosts\"]\n",
        );
        let out = out.ok();
        assert!(out.contains("nameserver 127.0.0.11\n"), "{out}");
        assert!(!out.contains("nameserver 127.0.0.1\n"), "{out}");
        let own: Vec<_> = out.lines().filter(|line| line.ends_with("web")).collect();
        assert_eq!(own.len(), 2, "one of each family: {out}");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_web_server_is_fetched_from_by_name_by_the_hosts_address_and_on_the_host() {
    networked(|case, world| {
        let root = case.root("root");
        fs::write(root.join("home/page"), "served\n").expect("write");
        let web = case.start(
            "name = \"web\"\nrootfs = \"./root\"\ncommand = [\"httpd\", \"-f\", \"-p\", \"80\", \"-h\", \"/home\"]\n\
             [network]\naliases = [\"www\"]\npublish = [\"0.0.0.0:8081:80\"]\n",
        );
        wait_for("the server listens", || {
            world
                .host
                .dial("127.0.0.1:8081", Duration::from_secs(1))
                .ok()
        });
        let fetch = |from: &str| {
            let url = format!("http://{from}/page");
            case.run(&format!(
                "name = \"client\"\nrootfs = \"./root\"\ncommand = [\"wget\", \"-q\", \"-O\", \"-\", {url:?}]\n"
            ))
        };
        for from in ["web", "www", "192.0.2.1:8081"] {
            assert_eq!(fetch(from).ok(), "served\n", "{from}");
        }
        let words = ["-q", "-O", "-", "http://127.0.0.1:8081/page"];
        let here = Outcome::of(case.command("wget").args(words)).ok();
        assert_eq!(here, "served\n");
        web.signal(Signal::TERM);
        web.end().expect(128 + 15);
        fetch("web").expect(1);
    });
}
