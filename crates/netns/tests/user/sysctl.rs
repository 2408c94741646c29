//! Kernel parameters of a namespace.

use netns::Error;
use netns::route::{Kind, NewLink, Request, Socket};
use netns::sysctl::{self, Setting};
use rustix::io::Errno;

use crate::inside::{Other, apply, name, on_a_host};

fn set(key: &str, value: &str) -> Setting {
    Setting::new(key, value).expect("setting")
}

fn bridge() -> Request {
    Request::AddLink(NewLink::new(
        name("ctr0.5"),
        Kind::Bridge {
            multicast_snooping: false,
        },
    ))
}

#[test]
fn what_changes_is_told_and_taken_back_and_what_is_so_already_is_left_alone() {
    on_a_host(
        "sysctl::what_changes_is_told_and_taken_back_and_what_is_so_already_is_left_alone",
        || {
            apply(&mut Socket::open().expect("socket"), &[bridge()]);
            let wanted = [
                set("net/ipv4/conf/ctr0.5/route_localnet", "1"),
                set("net/ipv4/conf/ctr0.5/forwarding", "1"),
                set("net/ipv6/conf/ctr0.5/forwarding", "1"),
                set("net/ipv6/conf/ctr0.5/accept_ra", "0"),
                set("net/ipv6/conf/ctr0.5/disable_ipv6", "0"),
            ];
            let before = sysctl::apply(&wanted).expect("apply");
            assert!(before.contains(&set("net/ipv4/conf/ctr0.5/route_localnet", "0")));
            assert!(!before.iter().any(|was| was.key().ends_with("disable_ipv6")));
            for setting in &wanted {
                assert_eq!(sysctl::read(setting.key()).expect("read"), setting.value());
            }
            assert_eq!(sysctl::apply(&wanted).expect("again"), []);
            sysctl::apply(&before).expect("back");
            let now = sysctl::read("net/ipv4/conf/ctr0.5/route_localnet").expect("read");
            assert_eq!(now, "0");
        },
    );
}

#[test]
fn another_namespace_is_entered_for_it_and_this_one_stays_as_it_is() {
    on_a_host(
        "sysctl::another_namespace_is_entered_for_it_and_this_one_stays_as_it_is",
        || {
            let other = Other::new();
            let key = "net/ipv4/ip_forward";
            let was = sysctl::read(key).expect("read");
            let opposite = if was == "1" { "0" } else { "1" };
            let inside = other.run(|| sysctl::read(key)).expect("read");
            let turned = if inside == "1" { "0" } else { "1" };
            let before = sysctl::apply_in(other.fd(), &[set(key, turned)]).expect("apply");
            assert_eq!(before, [set(key, &inside)]);
            assert_eq!(other.run(|| sysctl::read(key)).expect("read"), turned);
            assert_eq!(sysctl::read(key).expect("read"), was);
            assert_ne!(was, opposite);
        },
    );
}

#[test]
fn a_missing_parameter_is_enoent_with_what_was_changed_before_it() {
    on_a_host(
        "sysctl::a_missing_parameter_is_enoent_with_what_was_changed_before_it",
        || {
            apply(&mut Socket::open().expect("socket"), &[bridge()]);
            let error = sysctl::apply(&[
                set("net/ipv4/conf/ctr0.5/route_localnet", "1"),
                set("net/ipv4/conf/nothere/forwarding", "1"),
            ])
            .expect_err("no such interface");
            assert_eq!(error.errno(), Some(Errno::NOENT));
            assert!(error.hint().is_some_and(|hint| hint.contains("interface")));
            assert!(error.to_string().contains("nothere/forwarding"), "{error}");
            let Error::Sysctl { changed, .. } = error else {
                panic!("{error:?}");
            };
            assert_eq!(changed, [set("net/ipv4/conf/ctr0.5/route_localnet", "0")]);

            let error = sysctl::apply(&[set("net/ipv4/conf/ctr0.5/forwarding", "many")]);
            let error = error.expect_err("no number");
            assert_eq!(error.errno(), Some(Errno::INVAL));
            assert!(error.to_string().contains("\"many\""), "{error}");
        },
    );
}
