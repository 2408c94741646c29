//! What others break, and what the dead leave.

use std::fs;
use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

use e2e::{Case, Outcome, Space, Started, World, patience, strace, wait_for};
use netns::route::{LinkName, Request};
use rustix::process::Signal;

use super::{addresses_of, at, down, network, networked, nft, up};

const PUBLISHED: &str = "[network]\npublish = [\"8080:80\", \"0.0.0.0:8081:80\"]\n";

/// The number of the table `inet ctr`: one that is made anew has a higher one.
fn table(case: &Case) -> Option<u32> {
    // `table inet ctr { # handle 7`
    let words = ["-a", "list", "table", "inet", "ctr"];
    let listed = Outcome::of(case.command("nft").args(words));
    let (_, number) = listed.out.lines().next()?.split_once("# handle ")?;
    Some(number.parse().expect("a number"))
}

/// Breaks the firewall while two containers run, and waits until it is whole again.
fn healed(case: &Case, world: &World, breaks: &[&str]) {
    let web = up(case, "web", PUBLISHED);
    let client = up(case, "client", "");
    let before = table(case).expect("the table");
    nft(case, breaks);
    wait_for("the table is there again", || {
        table(case).filter(|table| *table > before)
    });
    let server = Space::of(&web).serve("[::]:80");
    let outside = world.peer.serve("[::]:99");
    world.host.reaches("127.0.0.1:8080", &server);
    let seen = world.peer.reaches("192.0.2.1:8081", &server);
    assert_eq!(seen.to_string(), "192.0.2.2");
    let seen = Space::of(&client).reaches("192.0.2.2:99", &outside);
    assert_eq!(seen.to_string(), "192.0.2.1");
    // What it keeps away is kept away again.
    let [v4, _] = addresses_of(&web);
    let kind = world.peer.cannot_reach(&at(v4, 80), &server);
    assert_eq!(kind, ErrorKind::TimedOut);
    let out = network(case, &["heal"]).ok();
    assert!(out.starts_with("all is as it should be\n"), "{out}");
    // Two supervisors have seen it, and both may have written it. They do not go on at what the other wrote.
    wait_for("the table stays", || {
        let now = table(case)?;
        thread::sleep(Duration::from_secs(1));
        (table(case) == Some(now)).then_some(now)
    });
    drop((server, outside));
    down([web, client]);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_flushed_ruleset_is_written_anew_by_the_supervisors() {
    networked(|case, world| healed(case, world, &["flush", "ruleset"]));
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_deleted_table_is_written_anew_by_the_supervisors() {
    networked(|case, world| healed(case, world, &["delete", "table", "inet", "ctr"]));
}

/// Whether a container's supervisor is the one that watches the firewall: it has the FIFO open for writing,
/// proc_pid_fdinfo(5).
fn watches(container: &Started) -> bool {
    let process = format!("/proc/{}", container.pid());
    let fds = fs::read_dir(format!("{process}/fd")).expect("its descriptors");
    fds.flatten()
        .filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.ends_with("net/.watch")))
        .filter_map(|fd| {
            let number = fd.file_name().into_string().ok()?;
            fs::read_to_string(format!("{process}/fdinfo/{number}")).ok()
        })
        .any(|info| {
            let mut lines = info.lines();
            let flags = lines.find_map(|line| line.strip_prefix("flags:"));
            flags.is_some_and(|flags| flags.trim().ends_with('2'))
        })
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn one_supervisor_watches_and_when_it_is_killed_another_one_does() {
    networked(|case, world| {
        let first = up(case, "first", "");
        wait_for("it watches", || watches(&first).then_some(()));
        let web = up(case, "web", PUBLISHED);
        let client = up(case, "client", "");
        thread::sleep(Duration::from_millis(500));
        assert!(!watches(&web) && !watches(&client), "one is enough");
        first.signal(Signal::KILL);
        assert_eq!(first.end().signal, Some(9));
        let before = table(case).expect("the table");
        nft(case, &["flush", "ruleset"]);
        wait_for("the table is there again", || {
            table(case).filter(|table| *table > before)
        });
        assert_ne!(watches(&web), watches(&client), "one of them");
        let server = Space::of(&web).serve("[::]:80");
        world.host.reaches("127.0.0.1:8080", &server);
        // The next start cleans up after the dead.
        case.run("name = \"other\"\nrootfs = \"./root\"\ncommand = [\"true\"]\n")
            .ok();
        drop(server);
        down([web, client]);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn heal_makes_a_deleted_bridge_again_and_says_so() {
    networked(|case, world| {
        let web = up(case, "web", PUBLISHED);
        let client = up(case, "client", "");
        let server = Space::of(&web).serve("[::]:80");
        world.host.reaches("127.0.0.1:8080", &server);
        let bridge = LinkName::new("ctr0").expect("a name");
        let mut route = world.host.route();
        route
            .apply(&[Request::DeleteLink(bridge.into())])
            .expect("delete the bridge");
        world.host.cannot_reach("127.0.0.1:8080", &server);
        let out = network(case, &["heal"]).ok();
        assert!(out.contains("made again: bridge ctr0\n"), "{out}");
        world.host.reaches("127.0.0.1:8080", &server);
        world.host.reaches("[::1]:8080", &server);
        world.peer.reaches("192.0.2.1:8081", &server);
        for address in addresses_of(&web) {
            Space::of(&client).reaches(&at(address, 80), &server);
        }
        let outside = world.peer.serve("[::]:99");
        Space::of(&web).reaches("192.0.2.2:99", &outside);
        let out = network(case, &["heal"]).ok();
        assert!(out.starts_with("all is as it should be\n"), "{out}");
        drop((server, outside));
        down([web, client]);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn what_a_killed_supervisor_held_is_had_by_the_next_container() {
    networked(|case, world| {
        let first = up(case, "first", "");
        let [some, _] = addresses_of(&first);
        down([first]);
        let lines = format!(
            "[network]\naddress = \"{some}\"\naliases = [\"www\"]\n\
             publish = [\"8080:80\", \"0.0.0.0:8081:80/udp\"]\n"
        );
        // Of the same name, and then of others.
        for name in ["web", "web", "next"] {
            let web = up(case, name, &lines);
            let server = Space::of(&web).serve("[::]:80");
            world.host.reaches("127.0.0.1:8080", &server);
            drop(server);
            web.signal(Signal::KILL);
            assert_eq!(web.end().signal, Some(9));
        }
        let web = up(case, "last", &lines);
        assert_eq!(addresses_of(&web)[0], some);
        let server = Space::of(&web).serve("[::]:80");
        world.host.reaches("127.0.0.1:8080", &server);
        // It is the living one's, also when the next start has cleaned up after the dead.
        case.run("name = \"other\"\nrootfs = \"./root\"\ncommand = [\"true\"]\n")
            .ok();
        world.host.reaches("127.0.0.1:8080", &server);
        drop(server);
        down([web]);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_port_of_a_killed_supervisor_leads_to_the_next_container_at_another_address() {
    networked(|case, world| {
        let first = up(case, "first", PUBLISHED);
        let dead = addresses_of(&first)[0];
        first.signal(Signal::KILL);
        assert_eq!(first.end().signal, Some(9));
        let second = up(case, "second", PUBLISHED);
        assert_ne!(addresses_of(&second)[0], dead, "by its name it has another");
        let server = Space::of(&second).serve("[::]:80");
        world.host.reaches("127.0.0.1:8080", &server);
        world.peer.reaches("192.0.2.1:8081", &server);
        drop(server);
        second.signal(Signal::KILL);
        second.end();
        // Whoever gets the dead one's address has nothing of what that one published.
        let third = up(case, "third", &format!("[network]\naddress = \"{dead}\"\n"));
        let server = Space::of(&third).serve("[::]:80");
        world.peer.cannot_reach("192.0.2.1:8081", &server);
        drop(server);
        down([third]);
    });
}

/// Kills the start of a network's first container at its K-th call of `name`, K = 1, 2, … until it comes
/// through. Whatever was made until then, the second container has a network that is whole.
fn survives_death_at(name: &str) {
    const FRESH: &str = "[network]\nmode = \"fresh\"\npublish = [\"8080:80\"]\n[networks.fresh]\n";
    networked(|case, world| {
        case.root("root");
        let manifest = case.manifest(&format!(
            "name = \"first\"\nrootfs = \"./root\"\ncommand = [\"true\"]\n{FRESH}"
        ));
        let words = ["run".as_ref(), manifest.as_os_str()];
        for k in 1.. {
            assert!(k < 100, "{name} is called without end");
            let trace = format!("trace={name}");
            let inject = format!("inject={name}:signal=KILL:when={k}");
            let (mut command, record) = strace(case, &["-e", &trace, "-e", &inject], &words);
            Outcome::of(&mut command);
            let record = fs::read_to_string(&record).expect("strace's record");
            let died = record.contains("killed by SIGKILL");
            let second = up(case, "second", FRESH);
            let server = Space::of(&second).serve("[::]:80");
            for to in ["127.0.0.1:8080", "[::1]:8080"] {
                world.host.reaches(to, &server);
            }
            let outside = world.peer.serve("[::]:99");
            for to in ["192.0.2.2:99", "[2001:db8::2]:99"] {
                Space::of(&second).reaches(to, &outside);
            }
            drop((server, outside));
            down([second]);
            network(case, &["rm", "fresh"]).ok();
            if !died {
                assert!(k > 1, "{name} is never called: it does not belong here");
                break;
            }
        }
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn death_at_each_message_to_the_kernel_leaves_no_network_that_is_half_made() {
    survives_death_at("sendto");
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn death_at_each_setting_leaves_no_network_that_is_half_made() {
    survives_death_at("write");
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_network_that_is_removed_leaves_nothing_and_one_in_use_is_not_removed() {
    networked(|case, world| {
        let web = up(
            case,
            "web",
            "[network]\nmode = \"second\"\npublish = [\"8080:80\"]\n[networks.second]\n",
        );
        network(case, &["rm", "second"])
            .expect(125)
            .says("`second` is in use by web");
        let server = Space::of(&web).serve("[::]:80");
        world.host.reaches("127.0.0.1:8080", &server);
        drop(server);
        down([web]);
        assert!(nft(case, &["list", "ruleset"]).contains("\"ctr1\""));
        network(case, &["rm", "second"]).ok();
        network(case, &["rm", "second"])
            .expect(125)
            .says("no network `second`");
        // And the oracle looks at the rest.
        assert!(!nft(case, &["list", "ruleset"]).contains("\"ctr1\""));
        let dialled = world.host.dial("127.0.0.1:8080", patience(5));
        assert_eq!(
            dialled.expect_err("nobody").kind(),
            ErrorKind::ConnectionRefused
        );
    });
}
