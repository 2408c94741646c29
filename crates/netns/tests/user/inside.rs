//! Namespaces for a test, and more of them within.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use netns::route::{Link, LinkName, Netns, Request, Socket};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::common::in_namespaces;

/// As [`in_namespaces`] with a network namespace, which is to be the host's.
pub(crate) fn on_a_host(name: &str, body: fn()) {
    in_namespaces(name, UnshareFlags::NEWNET, body);
}

/// Whether the machine must have what is called `feature`: the VM says what it has, and there a test
/// fails that misses it.
pub(crate) fn announced(feature: &str) -> bool {
    std::env::var("CTR_VM_FEATURES").is_ok_and(|all| all.split(',').any(|one| one == feature))
}

/// Says that a kind of thing was not tested, unless it was announced.
#[expect(clippy::print_stderr, reason = "what did not run must be seen")]
pub(crate) fn not_tested(feature: &str) {
    assert!(!announced(feature), "{feature} is announced and missing");
    eprintln!("NOT TESTED: this kernel has no {feature}");
}

/// Another network namespace of the same user namespace.
pub(crate) struct Other(OwnedFd);

impl Other {
    pub(crate) fn new() -> Self {
        let made = thread::spawn(|| {
            // SAFETY: CLONE_FILES is not among the flags.
            #[expect(unsafe_code, reason = "unshare")]
            unsafe {
                rustix::thread::unshare_unsafe(UnshareFlags::NEWNET)?;
            }
            std::fs::File::open("/proc/thread-self/ns/net").map(OwnedFd::from)
        });
        Self(made.join().expect("thread").expect("new network namespace"))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// As a request has it.
    pub(crate) fn netns(&self) -> Netns {
        use std::os::fd::AsRawFd;
        Netns::Fd(self.0.as_raw_fd())
    }

    pub(crate) fn socket(&self) -> Socket {
        Socket::open_in(self.fd()).expect("socket in the other namespace")
    }

    /// Runs `f` in a thread inside.
    pub(crate) fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.fd(), Some(LinkNameSpaceType::Network))
                    .expect("setns");
                f()
            });
            inside.join().expect("thread in the other namespace")
        })
    }
}

pub(crate) fn name(name: &str) -> LinkName {
    LinkName::new(name).expect("name")
}

pub(crate) fn link(of: &str) -> Link {
    name(of).into()
}

/// Applies the requests, and fails with all that the error says.
#[track_caller]
pub(crate) fn apply(socket: &mut Socket, requests: &[Request]) {
    if let Err(error) = socket.apply(requests) {
        panic!("{error}: {:?}, hint: {:?}", error.errno(), error.hint());
    }
}

#[test]
fn another_namespace_has_an_interface_list_of_its_own() {
    on_a_host(
        "inside::another_namespace_has_an_interface_list_of_its_own",
        || {
            let (one, two) = (Other::new(), Other::new());
            let bridge = Request::AddLink(netns::route::NewLink::new(
                name("br0"),
                netns::route::Kind::Bridge {
                    multicast_snooping: false,
                },
            ));
            apply(&mut one.socket(), &[bridge]);
            assert!(one.socket().index_of(&name("br0")).is_ok());
            let missing = two.socket().index_of(&name("br0")).expect_err("not there");
            assert_eq!(missing.errno(), Some(Errno::NODEV));
            assert!(missing.to_string().contains("SIOCGIFINDEX"), "{missing}");
        },
    );
}
