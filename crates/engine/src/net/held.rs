//! What exists of a container's network: made by the operations of a plan, undone after its end.

use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use netns::firewall::Firewall;
use netns::nft::{Change, Element, Set};
use netns::route::{Netns, Request};
use netns::{Sockets, nft};
use rustix::io::Errno;
use rustix::process::Pid;

use super::claim::Claim;
use super::facts::table_name;
use super::heal;
use super::member::Member;
use super::op::NetOp;
use super::order::Order;
use super::pasta::{self, Pasta};
use super::ports;
use super::serve::DNS_PORT;
use crate::cause::Cause;
use crate::spec::Spec;
use crate::start::{keep, namespace};
use crate::state::Store;

/// After something was deleted from the firewall, closing any nfnetlink socket waits until the kernel has
/// freed it, an RCU grace period or more (`nft_rcv_nl_event` in net/netfilter/nf_tables_api.c), and everybody
/// who changes the firewall waits too. This is a multiple of what that takes.
pub(crate) const LINGER: Duration = Duration::from_millis(200);

/// In the order it is made.
#[derive(Default)]
pub(crate) struct Held {
    claim: Option<Claim>,
    /// One for everything, see [`nft::Socket::open`].
    firewall: Option<nft::Socket>,
    /// What is closed last, out of the caller's way.
    slow: Vec<OwnedFd>,
    ports: Option<ports::Reserved>,
    /// Rules of the container may exist.
    rules: bool,
    member: Option<Member>,
    /// Of the container's supervisor.
    run_root: PathBuf,
    names: Option<Sockets>,
    /// The container's network namespace, until all is there. It would live as long as this.
    namespace: Option<OwnedFd>,
    pasta: Option<Pasta>,
}

impl Held {
    /// Keep the container's address until the end.
    /// Gives the socket for all that is done to the firewall.
    pub(crate) fn hold(&mut self, claim: Claim) -> Result<&mut nft::Socket, netns::Error> {
        self.claim = Some(claim);
        Ok(self.firewall.insert(nft::Socket::open()?))
    }

    /// Close a watch on the firewall with everything else.
    pub(crate) fn close_later(&mut self, watch: OwnedFd) {
        self.slow.push(watch);
    }

    /// Whose network it is, and where its record is.
    pub(crate) fn of(&mut self, run_root: &Path, member: Option<Member>) {
        (self.run_root, self.member) = (run_root.to_owned(), member);
    }

    /// The container's place on its network.
    pub(crate) fn member(&self) -> Option<&Member> {
        self.member.as_ref()
    }

    /// The sockets on which names are asked for.
    pub(crate) fn name_sockets(&mut self) -> Option<Sockets> {
        self.names.take()
    }

    /// To be held while rules and record go, where there are rules.
    pub(crate) fn order(&self) -> Option<Order> {
        self.rules.then(|| Order::shared(&self.run_root)).flatten()
    }

    /// Execute one operation of a plan.
    pub(crate) fn perform(
        &mut self,
        op: &NetOp,
        spec: &Spec,
        store: &Store,
        pid: Option<Pid>,
    ) -> Result<(), Cause> {
        let child = || pid.ok_or(Errno::SRCH);
        match op {
            NetOp::ReservePorts { publish, loopback6 } => {
                let reserved = ports::reserve(publish, *loopback6);
                self.ports = Some(reserved.map_err(|taken| taken.among(&store.records()))?);
            }
            NetOp::Links {
                requests,
                shared: true,
                ..
            } => {
                let mut socket = netns::route::Socket::open()?;
                for request in requests {
                    match socket.apply(std::slice::from_ref(request)) {
                        Err(error) if error.errno() == Some(Errno::EXIST) => {}
                        made => made?,
                    }
                }
            }
            NetOp::Links { requests, .. } => {
                let netns = self.namespace.as_ref();
                let netns = netns.map(|namespace| Netns::Fd(namespace.as_raw_fd()));
                let ready = |request: &Request| match netns {
                    Some(netns) => request.for_container(netns),
                    None => request.clone(),
                };
                let ready: Vec<Request> = requests.iter().map(ready).collect();
                let made = netns::route::Socket::open()?.apply(&ready);
                made.map_err(|error| as_planned(error, requests))?;
            }
            NetOp::Settings(settings) => {
                netns::sysctl::apply(settings)?;
            }
            NetOp::Firewall(batch) => {
                self.firewall.as_mut().ok_or(Errno::BADF)?.commit(batch)?;
                self.rules = true;
            }
            NetOp::PublishNames { names, .. } => {
                if let (Some(claim), Some((name, aliases))) = (&mut self.claim, names.split_first())
                {
                    claim.publish(name, aliases)?;
                }
            }
            NetOp::HoldNamespace => self.namespace = Some(namespace(child()?, "net")?),
            NetOp::Inside(requests) => {
                let namespace = self.namespace.take().ok_or(Errno::BADF)?;
                let resolver = SocketAddr::new(netns::RESOLVER.into(), DNS_PORT);
                let made = netns::within(namespace.as_fd(), || {
                    netns::route::Socket::open()?.apply(requests)?;
                    Sockets::bind(resolver)
                })?;
                self.names = Some(made?);
            }
            NetOp::Pasta { program, .. } => {
                let attachment = spec.namespaces.net.value.attachment().ok_or(Errno::INVAL)?;
                let ports = self.ports.take().unwrap_or_default();
                self.pasta = Some(pasta::start(program, attachment, child()?, ports)?);
            }
            // Held already: planning needs to know the address.
            NetOp::Define { .. } | NetOp::ClaimAddress { .. } => {}
        }
        Ok(())
    }

    /// The container is dead: its interfaces go with its namespace, by themselves. What is returned is to
    /// be closed at the very end: see [`LINGER`].
    pub(crate) fn teardown(mut self, failed: &mut Vec<String>) -> Vec<OwnedFd> {
        if let Some(pasta) = self.pasta.take() {
            keep(failed, pasta.stop());
        }
        if let (true, Some(member), Some(socket)) = (self.rules, &self.member, &mut self.firewall) {
            keep(failed, remove_rules(socket, &self.run_root, member));
        }
        for error in self.claim.take().into_iter().flat_map(Claim::release) {
            failed.push(Cause::from(error).to_string());
        }
        // The other process has copies of all that is open, until it is given time to close them.
        drop(self.ports);
        self.slow.extend(self.firewall.map(OwnedFd::from));
        self.slow
    }
}

/// The error in words of the plan, which knows no descriptor.
fn as_planned(mut error: netns::Error, requests: &[Request]) -> netns::Error {
    if let netns::Error::Request { index, request, .. } = &mut error
        && let Some(planned) = requests.get(*index)
    {
        *request = planned.describe();
    }
    error
}

/// Take a dead container out of the firewall, but for what a living one has by now: its address, its
/// ports.
pub(crate) fn remove_rules_of_the_dead(run_root: &Path, dead: &Member) -> Result<(), netns::Error> {
    let firewall = Firewall::new(&table_name(run_root))?;
    let mut living = Vec::new();
    for (_, member) in heal::living(run_root) {
        living.extend(firewall.add_endpoint(&member.endpoint())?.changes);
    }
    let is_living = |set: &Set, element: &Element| {
        living.iter().any(|change| match change {
            Change::AddElements { set: of, elements } => of == set && elements.contains(element),
            _ => false,
        })
    };
    let mut socket = nft::Socket::open()?;
    let held = firewall.held(&mut socket)?;
    // The kernel deletes by the key alone: a port that leads elsewhere by now is not the dead one's.
    let is_dead = |set: &Set, element: &Element| {
        let mut sets = held.sets.iter();
        sets.any(|filled| filled.set == *set && filled.elements.contains(element))
    };
    let mut batch = firewall.remove_endpoint(&dead.endpoint())?;
    batch.changes.retain(|change| match change {
        // Each has one.
        Change::DeleteElements { set, elements } => elements
            .iter()
            .all(|element| is_dead(set, element) && !is_living(set, element)),
        _ => true,
    });
    socket.commit_removal(&batch)
}

/// Take a container out of the firewall; what is gone already is fine.
fn remove_rules(
    socket: &mut nft::Socket,
    run_root: &Path,
    member: &Member,
) -> Result<(), netns::Error> {
    let batch = Firewall::new(&table_name(run_root))?.remove_endpoint(&member.endpoint())?;
    socket.commit_removal(&batch)
}
