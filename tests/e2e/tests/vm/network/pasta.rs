//! The network of an ordinary user's container.

use std::fs::{Permissions, set_permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use e2e::{Case, Outcome, Space, Who, World, case};

use super::{down, up};

/// 8080 for this host alone, 8081 for everybody.
const PUBLISHED: &str = "[network]\npublish = [\"8080:80\", \"0.0.0.0:8081:81\"]\n";

/// Runs `test` as an ordinary user of a host that has a way to another one.
fn networked(test: impl FnOnce(&Case, &World)) {
    // As udev makes it.
    let tun = Path::new("/dev/net/tun");
    set_permissions(tun, Permissions::from_mode(0o666)).expect("chmod /dev/net/tun");
    let world = World::new();
    case(Who::User, |case| test(case, &world));
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_users_container_reaches_the_world_and_is_reached_by_its_published_ports() {
    networked(|case, world| {
        let web = up(case, "web", PUBLISHED);
        let inside = Space::of(&web);
        let outside = world.peer.serve("0.0.0.0:99");
        let seen = inside.reaches("198.51.100.1:99", &outside);
        assert_eq!(seen.to_string(), "192.0.2.1");
        let here = inside.serve("0.0.0.0:80");
        world.host.reaches("127.0.0.1:8080", &here);
        // What is for this host is not for another one.
        let kind = world.peer.cannot_reach("192.0.2.1:8080", &here);
        assert_eq!(kind, ErrorKind::ConnectionRefused);
        let everywhere = inside.serve("0.0.0.0:81");
        let seen = world.peer.reaches("192.0.2.1:8081", &everywhere);
        assert_eq!(seen.to_string(), "192.0.2.2");
        drop((here, everywhere, outside));
        down([web]);
        // Nobody holds them any more.
        drop(world.host.serve("127.0.0.1:8080"));
        drop(world.host.serve("0.0.0.0:8081"));
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_port_in_use_is_refused_before_a_users_container_starts() {
    networked(|case, world| {
        case.root("root");
        let taken = world.host.serve("127.0.0.1:8080");
        case.run(
            "name = \"web\"\nrootfs = \"./root\"\ncommand = [\"echo\", \"ran\"]\n\
             [network]\npublish = [\"8080:80\"]\n",
        )
        .expect(125)
        .says("port 8080/tcp of 127.0.0.1 is taken");
        drop(taken);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn without_pasta_the_error_names_the_package() {
    // In the mount namespace of this test alone.
    let hide = ["mount", "--bind", "/dev/null", "/usr/bin/pasta"];
    Outcome::of(Command::new("/bin/busybox").args(hide)).ok();
    networked(|case, _| {
        case.root("root");
        let manifest = case.manifest(
            "name = \"web\"\nrootfs = \"./root\"\ncommand = [\"echo\", \"ran\"]\n\
             [network]\npublish = [\"8080:80\"]\n",
        );
        let outcome = Outcome::of(&mut case.ctr(&["run".as_ref(), manifest.as_os_str()]));
        assert_ne!(outcome.code, Some(0), "{outcome}");
        assert_eq!(outcome.out, "");
        outcome.says("passt");
    });
}
