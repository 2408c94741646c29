//! What a container's network costs, in microseconds: medians over fresh namespaces.
//!
//! ```text
//! # unshare --net cargo run --release -p netns --example cost
//! ```

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::slice;
use std::time::{Duration, Instant};

use netns::route::{
    Address, Configure, Kind, Link, LinkName, Master, Netns, NewLink, Peer, Prefix, Request, Route,
    SetLink, Socket,
};
use rustix::io::Errno;
use rustix::thread::UnshareFlags;

const ROUNDS: usize = 400;

/// Times by what was measured.
#[derive(Default)]
struct Times(Vec<(&'static str, Vec<f64>)>);

impl Times {
    fn measure<T, E>(
        &mut self,
        what: &'static str,
        f: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let began = Instant::now();
        let result = f()?;
        self.add(what, began.elapsed());
        Ok(result)
    }

    fn add(&mut self, what: &'static str, took: Duration) {
        let micros = took.as_secs_f64() * 1e6;
        match self.0.iter_mut().find(|(name, _)| *name == what) {
            Some((_, times)) => times.push(micros),
            None => self.0.push((what, vec![micros])),
        }
    }

    #[expect(clippy::print_stdout, reason = "what the program is for")]
    fn print(self) {
        for (name, mut times) in self.0 {
            times.sort_by(f64::total_cmp);
            let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or(0.0);
            println!("{:8.1} {:8.1} {name}", at(50), at(90));
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut host = Socket::open()?;
    let bridge = LinkName::new("ctr0")?;
    let kind = Kind::Bridge {
        multicast_snooping: false,
    };
    host.apply(&[Request::AddLink(NewLink {
        up: true,
        ..NewLink::new(bridge.clone(), kind)
    })])?;
    let mut times = Times::default();
    for round in 0..ROUNDS {
        let netns = namespace()?;
        times.measure("open a socket", Socket::open)?;
        times.measure("open a socket in another namespace", || {
            Socket::open_in(netns.as_fd())
        })?;
        let name = LinkName::new(format!("v{round}"))?;
        let bare = pair(name.clone(), &netns);
        // In turns, so that neither has the older host.
        if round % 2 == 0 {
            let whole = [Request::AddLink(NewLink {
                master: Some(bridge.clone().into()),
                up: true,
                ..bare
            })];
            times.measure("veth, bridge, up: one message", || host.apply(&whole))?;
            let list = Configure::new(container()?)?;
            let took = in_namespace(&netns, move || run(&[list]))?;
            times.add("eth0 and lo, 6 requests: one message", took);
        } else {
            let parts = [
                Request::AddLink(bare),
                Request::SetLink(SetLink {
                    master: Master::Of(bridge.clone().into()),
                    ..SetLink::new(name.clone())
                }),
                Request::SetLink(SetLink::up(name)),
            ];
            times.measure("veth, bridge, up: three messages", || {
                parts
                    .iter()
                    .try_for_each(|one| host.apply(slice::from_ref(one)))
            })?;
            let lists = container()?
                .into_iter()
                .map(|one| Configure::new(vec![one]));
            let lists = lists.collect::<Result<Vec<_>, _>>()?;
            let took = in_namespace(&netns, move || run(&lists))?;
            times.add("eth0 and lo, 6 requests: a list each", took);
        }
        times.measure("list the interfaces", || host.interfaces())?;
    }
    times.print();
    Ok(())
}

fn run(lists: &[Configure]) -> Result<Duration, Errno> {
    let began = Instant::now();
    for list in lists {
        for step in 0..list.len() {
            // SAFETY: nobody else closes files here.
            #[expect(unsafe_code, reason = "runs the steps in this very thread")]
            unsafe { list.apply(step, &[]) }?;
        }
    }
    Ok(began.elapsed())
}

/// Requests for a container with two addresses and two default routes.
fn container() -> Result<Vec<Request>, Box<dyn std::error::Error>> {
    let eth0 = LinkName::new("eth0")?;
    let address = |address: &str, length| {
        Ok::<_, Box<dyn std::error::Error>>(Request::AddAddress(Address {
            link: eth0.clone().into(),
            prefix: Prefix::new(address.parse()?, length)?,
            nodad: true,
        }))
    };
    let via = |gateway: IpAddr| Request::AddRoute(Route::default_via(gateway, eth0.clone()));
    Ok(vec![
        Request::SetLink(SetLink::up(Link::Index(1))),
        address("10.90.0.2", 24)?,
        address("fd00::2", 64)?,
        Request::SetLink(SetLink::up(eth0.clone())),
        via("10.90.0.1".parse()?),
        via("fd00::1".parse()?),
    ])
}

fn pair(name: LinkName, netns: &File) -> NewLink {
    let peer = Peer {
        netns: Some(Netns::Fd(netns.as_raw_fd())),
        ..Peer::new(LinkName::new("eth0").expect("a name"))
    };
    NewLink::new(name, Kind::Veth(peer))
}

fn namespace() -> std::io::Result<File> {
    let made = std::thread::spawn(|| {
        // SAFETY: CLONE_FILES is not among the flags.
        #[expect(unsafe_code, reason = "unshare")]
        unsafe {
            rustix::thread::unshare_unsafe(UnshareFlags::NEWNET)?;
        }
        File::open("/proc/thread-self/ns/net")
    });
    made.join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn in_namespace<T: Send>(
    netns: &File,
    f: impl FnOnce() -> Result<T, Errno> + Send,
) -> Result<T, Errno> {
    let network = Some(rustix::thread::LinkNameSpaceType::Network);
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            rustix::thread::move_into_link_name_space(netns.as_fd(), network)?;
            f()
        });
        inside
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
