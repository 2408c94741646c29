//! Requests that a child applies to its own new network namespace between clone and exec.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, netdevice};

use super::answer;
use super::encode::encode;
use super::hint;
use super::request::Request;
use super::types::{Link, LinkName};
use crate::{Error, sys};

/// The longest batch: it is copied onto the child's stack, where the numbers of the interfaces are
/// filled in.
const LIMIT: usize = 8 * 1024;
/// Stands for the number of the n-th interface until that is known: no ifindex, which is a positive
/// int, has this bit.
const UNKNOWN: u32 = 1 << 31;

/// Steps that apply [`Request`]s in the network namespace of the process that runs them: `lo` up, the
/// addresses of `eth0`, the interface up, default routes.
///
/// Everything is encoded in the parent. The child asks for the number of each interface named (an
/// interface born in a namespace has the number that was next there), sends all requests at once, and
/// has one step per request for its answer, so that a failing step is a failing request:
///
/// ```
/// use netns::route::{Configure, LinkName, Request, Route, SetLink};
///
/// let eth0 = LinkName::new("eth0")?;
/// let list = Configure::new(vec![
///     Request::SetLink(SetLink::up(eth0.clone())),
///     Request::AddRoute(Route::default_via("10.90.0.1".parse()?, eth0)),
/// ])?;
/// let steps: Vec<_> = (0..list.len()).map(|step| list.describe(step)).collect();
/// assert_eq!(
///     steps,
///     [
///         "socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_ROUTE)",
///         r#"ioctl(3<route socket>, SIOCGIFINDEX, {ifr_name="eth0"})"#,
///         "sendto(3<route socket>, 2 requests, 88 bytes)",
///         r#"recvfrom(3<route socket>) for RTM_SETLINK "eth0" up"#,
///         r#"recvfrom(3<route socket>) for RTM_NEWROUTE 0.0.0.0/0 via 10.90.0.1 dev "eth0""#,
///         "close(3<route socket>)",
///     ]
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Kernel
///
/// [`netlink(7)`], `SIOCGIFINDEX` of [`netdevice(7)`]. Needs `CAP_NET_ADMIN` in the user namespace
/// that owns the network namespace.
///
/// [`netlink(7)`]: https://man7.org/linux/man-pages/man7/netlink.7.html
/// [`netdevice(7)`]: https://man7.org/linux/man-pages/man7/netdevice.7.html
#[derive(Debug)]
pub struct Configure {
    requests: Vec<Request>,
    batch: Box<[u8]>,
    names: Vec<LinkName>,
    /// Where in the batch the number of `names[n]` belongs.
    places: Vec<(usize, usize)>,
    /// What the child found out.
    indices: Box<[Cell<u32>]>,
    /// A plain number: nothing may be dropped between clone and exec, and what the last step did not
    /// close is `CLOEXEC`.
    socket: Cell<RawFd>,
}

/// What a step number stands for.
enum Step<'a> {
    Socket,
    Index(usize, &'a LinkName),
    Send,
    Answer(&'a Request),
    Close,
}

impl Configure {
    /// Encodes the requests; nothing is asked of the kernel.
    ///
    /// # Errors
    ///
    /// [`Error::NotInOneBatch`] for a request whose interface is made or renamed by an earlier one, or
    /// that is for a container not known yet; [`Error::BatchTooLong`] beyond 8 KiB, some 100 requests.
    pub fn new(requests: Vec<Request>) -> Result<Self, Error> {
        let mut names: BTreeMap<LinkName, usize> = BTreeMap::new();
        let mut batch = Vec::new();
        let mut places = Vec::new();
        let mut names_change = false;
        for (sequence, request) in requests.iter().enumerate() {
            let mut index = |link: &Link| match link {
                Link::Index(index) if *index < UNKNOWN => Ok(*index),
                Link::Name(name) if !names_change => {
                    let next = names.len();
                    let number = *names.entry(name.clone()).or_insert(next);
                    Ok(UNKNOWN | number as u32)
                }
                _ => Err(Errno::NODEV),
            };
            let start = batch.len();
            // The number of the answer: no list of 8 KiB has 2^32 requests.
            encode(request, sequence as u32, &mut index, &mut batch).map_err(|_unencodable| {
                Error::NotInOneBatch {
                    request: request.describe(),
                }
            })?;
            places.extend(unknown(&batch[start..]).map(|(at, name)| (start + at, name)));
            names_change |= request.changes_name();
        }
        if batch.len() > LIMIT {
            return Err(Error::BatchTooLong {
                bytes: batch.len(),
                limit: LIMIT,
            });
        }
        let mut ordered: Vec<_> = names.into_iter().collect();
        ordered.sort_unstable_by_key(|&(_, number)| number);
        Ok(Self {
            requests,
            batch: batch.into(),
            indices: ordered.iter().map(|_| Cell::new(0)).collect(),
            names: ordered.into_iter().map(|(name, _)| name).collect(),
            places,
            socket: Cell::new(-1),
        })
    }

    /// How many steps there are.
    #[expect(clippy::len_without_is_empty, reason = "the list is never empty")]
    pub fn len(&self) -> usize {
        3 + self.names.len() + self.requests.len()
    }

    /// What the list applies.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    fn step(&self, step: usize) -> Option<Step<'_>> {
        let send = 1 + self.names.len();
        match step {
            0 => Some(Step::Socket),
            step if step < send => Some(Step::Index(step - 1, self.names.get(step - 1)?)),
            step if step == send => Some(Step::Send),
            step => match self.requests.get(step - send - 1) {
                Some(request) => Some(Step::Answer(request)),
                None if step + 1 == self.len() => Some(Step::Close),
                None => None,
            },
        }
    }

    /// The step as strace would spell it, with the request that an answer is for; an empty string past
    /// the end.
    pub fn describe(&self, step: usize) -> String {
        match self.step(step) {
            Some(Step::Socket) => {
                "socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_ROUTE)".to_owned()
            }
            Some(Step::Index(_, name)) => {
                format!("ioctl(3<route socket>, SIOCGIFINDEX, {{ifr_name={name}}})")
            }
            Some(Step::Send) => format!(
                "sendto(3<route socket>, {} requests, {} bytes)",
                self.requests.len(),
                self.batch.len()
            ),
            Some(Step::Answer(request)) => format!("recvfrom(3<route socket>) for {request}"),
            Some(Step::Close) => "close(3<route socket>)".to_owned(),
            None => String::new(),
        }
    }

    /// What to do about a failure of this step, where errno alone misleads.
    pub fn hint(&self, step: usize, errno: Errno) -> Option<&'static str> {
        match (self.step(step)?, errno) {
            (Step::Answer(request), _) => hint::request(request, errno),
            (Step::Index(..), Errno::NODEV) => {
                Some("no interface of that name is in the new network namespace")
            }
            (Step::Socket, Errno::PERM | Errno::ACCESS | Errno::AFNOSUPPORT) => Some(
                "no privilege is needed for this: a seccomp filter or LSM around ctr refuses it",
            ),
            _ => None,
        }
    }

    /// Runs one step. Steps run in order, from 0, in one process.
    ///
    /// `passed` is not used: the list needs nothing from the parent.
    ///
    /// # Errors
    ///
    /// What the kernel says, see [`Configure::hint`]; `EINVAL` for a step past the end. The kernel has
    /// carried out the requests after a failed one as well, where it could.
    ///
    /// # Safety
    ///
    /// The process must own the file descriptor that step 0 made until the last step closed it: nothing
    /// else may close it in between. Async-signal-safe: it neither allocates nor locks.
    #[expect(
        unsafe_code,
        reason = "the contract of a step between clone and exec is the caller's"
    )]
    pub unsafe fn apply(&self, step: usize, _passed: &[RawFd]) -> Result<(), Errno> {
        let Some(step) = self.step(step) else {
            return Err(Errno::INVAL);
        };
        if let Step::Socket = step {
            self.socket.set(sys::route_socket()?);
            return Ok(());
        }
        let number = self.socket.get();
        if number < 0 {
            return Err(Errno::BADF);
        }
        // SAFETY: it is open: step 0 made it, and the caller lets nobody close it before the last.
        let socket = unsafe { BorrowedFd::borrow_raw(number) };
        match step {
            Step::Index(n, name) => {
                let index = netdevice::name_to_index(socket, name.as_str())?;
                self.indices.get(n).ok_or(Errno::INVAL)?.set(index);
                Ok(())
            }
            Step::Send => self.send(socket),
            Step::Answer(_) => receive(socket),
            Step::Socket | Step::Close => {
                // SAFETY: the caller lets nobody else close it, and the register forgets it here.
                unsafe { sys::close(self.socket.replace(-1)) }
            }
        }
    }

    fn send(&self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut copy = [0; LIMIT];
        let batch = copy.get_mut(..self.batch.len()).ok_or(Errno::MSGSIZE)?;
        batch.copy_from_slice(&self.batch);
        for &(at, name) in &self.places {
            let index = self.indices.get(name).ok_or(Errno::INVAL)?.get();
            batch
                .get_mut(at..at + 4)
                .ok_or(Errno::INVAL)?
                .copy_from_slice(&index.to_ne_bytes());
        }
        // All or nothing: a datagram. The kernel carries it out before the call returns.
        rustix::net::send(socket, batch, SendFlags::empty()).map(drop)
    }
}

/// Where a message has the number of an interface that is not known, and of which.
fn unknown(message: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    numbers_of_interfaces(message).filter_map(|at| {
        let word = u32::from_ne_bytes(message.get(at..at + 4)?.try_into().ok()?);
        (word & UNKNOWN != 0).then_some((at, (word & !UNKNOWN) as usize))
    })
}

/// The places of a message that hold an ifindex: in the header of all but routes, and the attributes
/// `IFLA_LINK` and `IFLA_MASTER` of a link, `RTA_OIF` of a route.
fn numbers_of_interfaces(message: &[u8]) -> impl Iterator<Item = usize> {
    let kind = message.get(4..6).map_or(0, |bytes| {
        u16::from_ne_bytes(bytes.try_into().unwrap_or_default())
    });
    let route = matches!(kind, libc::RTM_NEWROUTE | libc::RTM_DELROUTE);
    let link = matches!(kind, libc::RTM_NEWLINK | libc::RTM_SETLINK);
    let (body, wanted): (usize, &'static [u16]) = match (route, link) {
        (true, _) => (28, &[libc::RTA_OIF]),
        (_, true) => (32, &[libc::IFLA_LINK, libc::IFLA_MASTER]),
        _ => (message.len(), &[]),
    };
    let header = (!route).then_some(20);
    let mut at = body;
    let attributes = std::iter::from_fn(move || {
        let length = u16::from_ne_bytes(message.get(at..at + 2)?.try_into().ok()?);
        let kind = u16::from_ne_bytes(message.get(at + 2..at + 4)?.try_into().ok()?);
        let here = at;
        at += usize::from(length.max(4)).next_multiple_of(4);
        Some((kind, here + 4))
    });
    header.into_iter().chain(
        attributes
            .filter(move |(kind, _)| wanted.contains(kind))
            .map(|(_, value)| value),
    )
}

/// Takes the next answer, which is that to the next request: the kernel answers in order.
fn receive(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    // Header, errno and the header of the request; a refused request that follows is cut off.
    let mut answer = [0; 36];
    let (received, _) = rustix::net::recv(socket, &mut answer, RecvFlags::DONTWAIT)?;
    if received < 20 {
        return Err(Errno::BADMSG);
    }
    let code = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    answer::errno(code).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::super::request::{Address, Kind, Master, NewLink, Route, SetLink};
    use super::super::types::{Netns, Prefix};
    use super::*;

    fn name(name: &str) -> LinkName {
        LinkName::new(name).expect("name")
    }

    fn batch() -> Vec<Request> {
        let gateway = "10.90.0.1".parse().expect("address");
        vec![
            Request::SetLink(SetLink::up(Link::Index(1))),
            Request::AddAddress(Address {
                link: name("eth0").into(),
                prefix: Prefix::new("10.90.0.2".parse().expect("address"), 24).expect("prefix"),
                nodad: false,
            }),
            Request::SetLink(SetLink::up(name("eth0"))),
            Request::AddRoute(Route::default_via(gateway, name("eth0"))),
            Request::SetLink(SetLink {
                master: Master::Of(name("br0").into()),
                ..SetLink::new(name("eth1"))
            }),
        ]
    }

    #[test]
    fn each_number_that_is_not_known_has_one_place_and_no_other_word_is_touched() {
        let list = Configure::new(batch()).expect("list");
        assert_eq!(list.names, [name("eth0"), name("br0")]);
        let places: Vec<_> = list.places.iter().map(|&(_, name)| name).collect();
        assert_eq!(places, [0, 0, 1]);
        for &(at, name) in &list.places {
            let word = u32::from_ne_bytes(list.batch[at..at + 4].try_into().expect("word"));
            assert_eq!(word, UNKNOWN | name as u32);
        }
    }

    #[test]
    fn every_step_is_described_and_nothing_past_the_end() {
        let list = Configure::new(batch()).expect("list");
        assert_eq!(list.len(), 3 + 2 + 5);
        for step in 0..list.len() {
            assert!(!list.describe(step).is_empty(), "{step}");
        }
        assert_eq!(list.describe(list.len()), "");
        assert_eq!(list.describe(list.len() - 1), "close(3<route socket>)");
        assert_eq!(list.hint(list.len(), Errno::PERM), None);
        assert!(list.hint(4, Errno::PERM).is_some());
    }

    #[test]
    #[expect(unsafe_code, reason = "calls steps out of order on purpose")]
    fn steps_out_of_order_or_range_are_refused_by_errno() {
        let list = Configure::new(batch()).expect("list");
        for step in 1..list.len() {
            // SAFETY: no socket was made, so there is none that anybody could close.
            let result = unsafe { list.apply(step, &[]) };
            assert_eq!(result, Err(Errno::BADF), "{}", list.describe(step));
        }
        // SAFETY: as above.
        let result = unsafe { list.apply(list.len(), &[]) };
        assert_eq!(result, Err(Errno::INVAL));
    }

    #[test]
    fn what_cannot_be_encoded_beforehand_is_refused_beforehand() {
        let route = Route::default_via("10.0.0.1".parse().expect("address"), name("x1"));
        let renamed = SetLink {
            name: Some(name("x1")),
            ..SetLink::new(name("eth0"))
        };
        let unknown_container = NewLink {
            netns: Some(Netns::Container),
            ..NewLink::new(name("x1"), Kind::Ifb)
        };
        for requests in [
            vec![Request::SetLink(renamed), Request::AddRoute(route)],
            vec![Request::AddLink(unknown_container)],
        ] {
            let refused = Configure::new(requests);
            assert!(
                matches!(refused, Err(Error::NotInOneBatch { .. })),
                "{refused:?}"
            );
        }
        let many = (0..400).map(|_| Request::SetLink(SetLink::up(Link::Index(1))));
        let refused = Configure::new(many.collect());
        assert!(
            matches!(refused, Err(Error::BatchTooLong { .. })),
            "{refused:?}"
        );
    }
}
