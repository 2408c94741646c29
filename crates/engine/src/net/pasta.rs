//! The network of an ordinary user's container: the program [`pasta(1)`], Debian's package passt.
//!
//! An ordinary user can make no interface on the host. pasta makes a tap device inside the container's
//! network namespace and passes what comes out of it on by ordinary sockets of its own, on the host. The
//! container gets the addresses and routes of the host's interface with the default route.
//!
//! # The process
//!
//! It stays in the foreground: so it is the supervisor's own child, held by the pidfd that clone3 gave,
//! and gets SIGKILL when the supervisor dies (`PR_SET_PDEATHSIG`). In the background it would be init's
//! child, and 2023_03_09 (Debian 12) does not even notice that the namespace it serves has no process
//! left, since it keeps that alive itself; later versions look every second whether the container's
//! PID 1 is still there, and end. Setting the death signal before execve is enough: entering a user
//! namespace that is a child of one's own and owned by oneself does not clear it (`cred_cap_issubset`,
//! kernel/cred.c). Tried with versions 2023_03_09, 2025_05_03 and 2026_10_02.
//!
//! It is ready when it has written its pid (`--pid`): the ports are bound and the interface is set up
//! then. The file is a pipe, `/dev/stdout`, so nothing has to be watched or removed. Nor has it a path:
//! the AppArmor profile that comes with 2023_03_09 lets it write files below `/tmp` and in the home
//! directory alone, not below `/run`.
//!
//! # What it needs
//!
//! `/dev/net/tun`, open to everyone as udev makes it. A default route on the host, up to 2023_03_09. The
//! container's PID 1 must be in its network namespace already and still waiting for GO: later it is not
//! dumpable, and an ordinary user cannot open its namespaces.
//!
//! # What it does not do
//!
//! - Another network than the default one, addresses of the caller's choice, names, limits: see
//!   [`unsupported`].
//! - A port without an address is published on 127.0.0.1, not on `::1` too. pasta accepts a connection
//!   before it knows whether the container does: to a server on IPv4 alone, as most are, a client that
//!   tries `::1` first would be connected, then cut off, and not go on to 127.0.0.1. Up to 2023_03_09 a
//!   port can be published on one address alone anyway.
//! - Up to 2023_03_09 a server that speaks first is not heard from another host before the client has said
//!   something: pasta acknowledges the container's SYN with the first data only.
//! - Up to 2023_03_09 queries by TCP are not passed to the resolver; nothing comes back from port 53/udp
//!   of the container; a connection from the host itself to a port that is published on the host's own
//!   address is not answered; and of a range of ports some may be missing without a word, which is why
//!   [`start`] takes [`Reserved`].
//! - What the host can reach, the container can, but the host's loopback: also 169.254.169.254.
//! - Whoever listens on the container's `127.0.0.1` alone is reached through a published port by some
//!   versions only.
//!
//! Only options that 2023_03_09 knows are used.
//!
//! [`pasta(1)`]: https://passt.top/builds/latest/web/passt.1.html

use std::ffi::{CString, OsString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ns::{Child, Pid, Running, Steps, WaitStatus, pidfd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::error::Diagnostic;
use crate::net::ports::Reserved;
use crate::spec::{At, Attachment, DEFAULT_NETWORK, Origin, Protocol, Publish};
use crate::stdio::Stdio;

/// The container's address of the host's first IPv4 resolver. Nothing else has it: link-local, as
/// others use it with pasta too.
pub(crate) const RESOLVER: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
/// The same for the first IPv6 resolver, which pasta tells apart by the family of the address.
pub(crate) const RESOLVER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x53));

/// The interface in the container.
const INTERFACE: &str = "eth0";
/// Where pasta writes its pid: a pipe of ours.
const PID_FILE: &str = "/dev/stdout";
/// It takes some milliseconds.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Between SIGTERM, which it ends on at once, and SIGKILL.
const END_WITHIN: Duration = Duration::from_secs(2);
/// So much of what it says is kept.
const SAID_LIMIT: usize = 4096;

/// A pasta that serves a container. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Pasta {
    pidfd: OwnedFd,
    /// Kept open for what it may say later, which nobody reads: a full pipe loses it.
    _stderr: OwnedFd,
}

/// pasta could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PastaError {
    /// A call of ours failed.
    #[error("{call}")]
    Call {
        /// As strace spells it.
        call: &'static str,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// It could not be executed.
    #[error("cannot run {program:?}")]
    Run {
        /// Where it lies.
        program: PathBuf,
        /// Why.
        #[source]
        source: ns::Error,
    },
    /// It ended, with these words.
    #[error("{program:?}: {said}")]
    Refused {
        /// Where it lies.
        program: PathBuf,
        /// What it wrote to stderr, or how it ended.
        said: String,
    },
    /// It neither ended nor got ready.
    #[error("{program:?} was not ready within {} s", READY_WITHIN.as_secs())]
    Late {
        /// Where it lies.
        program: PathBuf,
    },
}

impl PastaError {
    /// What the kernel said to us.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call { errno, .. } => Some(*errno),
            Self::Run { source, .. } => source.errno(),
            Self::Refused { .. } | Self::Late { .. } => None,
        }
    }

    /// What to do about it, where the message does not say.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        let Self::Refused { said, .. } = self else {
            return None;
        };
        // In the words of the versions named above; an unknown one has no hint.
        let hints = [
            // "tun socket", "/dev/net/tun"
            (
                "tun",
                "it needs /dev/net/tun, open to everyone (modprobe tun)",
            ),
            (
                "Overlapping port",
                "this version of pasta can publish a port on one address alone",
            ),
            (
                "External interface not usable",
                "this version of pasta needs a default route on the host",
            ),
            (
                "Failed to bind",
                "the port is taken, below net.ipv4.ip_unprivileged_port_start, or its address is not this machine's",
            ),
            (
                "PID file",
                "a security module keeps pasta from writing into the pipe of its stdout",
            ),
        ];
        hints
            .into_iter()
            .find_map(|(words, hint)| said.contains(words).then_some(hint))
    }
}

/// Where it is installed.
pub(crate) fn find() -> Option<PathBuf> {
    crate::observe::find_program("pasta")
}

/// What pasta cannot give, each with the line that asks for it.
pub(crate) fn unsupported(attachment: &Attachment) -> Vec<Diagnostic> {
    let refuse = |origin: Origin, key: &str, why: &str| {
        let message = format!("`{key}` needs root: {why}");
        Diagnostic::host(origin, message).help("run it as root, or leave the key out")
    };
    let Attachment {
        network,
        publish: _,
        dns: _,
        aliases,
        address,
        rate,
        allow,
    } = attachment;
    let other = (network.value != DEFAULT_NETWORK).then(|| {
        let why = format!("`{}` is a bridge of the host", network.value);
        refuse(network.origin, "network.mode", &why)
    });
    let aliases = aliases.first().map(|at| {
        refuse(
            at.origin,
            "network.aliases",
            "an ordinary user's containers share no network",
        )
    });
    let address = address.as_ref().map(|at| {
        refuse(
            at.origin,
            "network.address",
            "an ordinary user's container has the host's address",
        )
    });
    let rate = rate
        .as_ref()
        .map(|at| refuse(at.origin, "network.rate", "pasta(1) has no limit"));
    let allow = allow
        .as_ref()
        .map(|at| refuse(at.origin, "network.allow", "pasta(1) has no packet filter"));
    [other, aliases, address, rate, allow]
        .into_iter()
        .flatten()
        .collect()
}

/// What the container's resolv.conf names. `upstream`: the resolvers of the attachment, or the host's.
pub(crate) fn resolvers(upstream: &[IpAddr]) -> Vec<IpAddr> {
    let any = |v4: bool| upstream.iter().any(|address| address.is_ipv4() == v4);
    let mut resolvers = Vec::new();
    if any(true) || upstream.is_empty() {
        resolvers.push(RESOLVER);
    }
    if any(false) {
        resolvers.push(RESOLVER_V6);
    }
    resolvers
}

/// Its arguments, without the name of the program.
pub(crate) fn arguments(attachment: &Attachment, pid: &str, pid_file: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = [
        "--foreground",
        "--quiet",
        "--config-net",
        "--ns-ifname",
        INTERFACE,
        // The interface is set up already, so nobody has to ask.
        "--no-dhcp",
        "--no-dhcpv6",
        "--no-ra",
        // Nothing of the host's loopback can be reached from inside.
        "--no-map-gw",
        "--tcp-ns",
        "none",
        "--udp-ns",
        "none",
    ]
    .map(OsString::from)
    .into();
    let mut option = |name: &str, value: OsString| arguments.extend([name.into(), value]);
    for resolver in [RESOLVER, RESOLVER_V6] {
        option("--dns-forward", resolver.to_string().into());
    }
    for dns in &attachment.dns {
        option("--dns", dns.value.to_string().into());
    }
    for (name, protocol) in [
        ("--tcp-ports", Protocol::Tcp),
        ("--udp-ports", Protocol::Udp),
    ] {
        let ports = ports(&attachment.publish, protocol);
        if ports.is_empty() {
            // UDP by default follows TCP.
            option(name, "none".into());
        }
        for port in ports {
            option(name, port.into());
        }
    }
    option("--pid", pid_file.into());
    arguments.push(pid.into());
    arguments
}

/// `127.0.0.1/8080-8081:80-81`. One for each line of the manifest: newer versions take no more than 255.
fn ports(publish: &[At<Publish>], protocol: Protocol) -> Vec<String> {
    let publish = publish.iter().map(|at| at.value);
    publish
        .filter(|publish| publish.protocol == protocol)
        .map(|publish| {
            let ports = |first: u16| match publish.count {
                0 | 1 => first.to_string(),
                count => format!("{first}-{}", u32::from(first) + u32::from(count) - 1),
            };
            let address = publish.host.unwrap_or(Ipv4Addr::LOCALHOST.into());
            let (from, to) = (ports(publish.host_port), ports(publish.container_port));
            format!("{address}/{from}:{to}")
        })
        .collect()
}

/// The call of [`start`], as strace spells it.
pub(crate) fn describe(program: &Path, attachment: &Attachment) -> String {
    let arguments = arguments(attachment, "PID", Path::new(PID_FILE));
    let arguments: Vec<String> = arguments
        .iter()
        .map(|argument| match argument.to_string_lossy() {
            pid if pid == "PID" => pid.into_owned(),
            argument => format!("{argument:?}"),
        })
        .collect();
    format!("execve({program:?}, [\"pasta\", {}])", arguments.join(", "))
}

/// Run it for the namespaces of `pid`, and wait until it is ready.
///
/// `reserved` says that the ports are free; they are given up at the last moment.
///
/// # Errors
///
/// [`PastaError::Refused`] with its own words: a port was taken meanwhile, no `/dev/net/tun`, namespaces
/// that cannot be entered. [`ns::Error::Threads`] in a process with several threads.
pub(crate) fn start(
    program: &Path,
    attachment: &Attachment,
    pid: Pid,
    reserved: Reserved,
) -> Result<Pasta, PastaError> {
    let pid = pid.as_raw_nonzero().to_string();
    let arguments = arguments(attachment, &pid, Path::new(PID_FILE));
    let call = |call| move |errno| PastaError::Call { call, errno };
    let null = openat(
        CWD,
        "/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(call("openat(\"/dev/null\")"))?;
    // Not blocking: it must never wait for somebody to read what it says.
    let pipe = || pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK);
    let (stdout, its_stdout) = pipe().map_err(call("pipe2(O_NONBLOCK|O_CLOEXEC)"))?;
    let (stderr, its_stderr) = pipe().map_err(call("pipe2(O_NONBLOCK|O_CLOEXEC)"))?;
    let string = |bytes: &[u8]| CString::new(bytes).map_err(|_nul| Errno::INVAL);
    let path = string(program.as_os_str().as_bytes()).map_err(call("execve"))?;
    // By this name it knows that it is not to be passt.
    let mut argv = vec![c"pasta".to_owned()];
    for argument in &arguments {
        argv.push(string(argument.as_bytes()).map_err(call("execve"))?);
    }
    let exec = ns::Program::new(vec![path], argv, Vec::new());
    let child = Child {
        workload: vec![&Stdio as &dyn Steps],
        ..Child::new(&exec)
    };
    drop(reserved);
    let passed = [null.as_fd(), its_stdout.as_fd(), its_stderr.as_fd()];
    let running = ns::spawn(&child)
        .and_then(|spawned| spawned.go(&passed))
        .map_err(|source| PastaError::Run {
            program: program.into(),
            source,
        })?;
    let Running { pidfd, .. } = running;
    // Or their end would never be seen.
    drop((null, its_stdout, its_stderr));
    Pasta {
        pidfd,
        _stderr: stderr,
    }
    .until_ready(program, &stdout)
}

impl Pasta {
    /// Becomes readable for poll(2) when it has ended.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    fn until_ready(self, program: &Path, stdout: &OwnedFd) -> Result<Self, PastaError> {
        let call = |call| move |errno| PastaError::Call { call, errno };
        let deadline = Instant::now() + READY_WITHIN;
        let mut said = Said::default();
        let mut pid = [0; 16];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let ready = wait(&[stdout, &self._stderr], left).map_err(call("poll"))?;
            if !ready {
                return Err(PastaError::Late {
                    program: program.into(),
                });
            }
            let ended = said.read(&self._stderr);
            match rustix::io::read(stdout, &mut pid) {
                // Its pid, which is known.
                Ok(1..) => return Ok(self),
                Ok(0) => break,
                Err(Errno::AGAIN | Errno::INTR) if !ended => {}
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(errno) => return Err(call("read")(errno)),
            }
        }
        // It has closed its stdout, which it does by ending.
        let status = self.end(END_WITHIN).map_err(call("waitid"))?;
        said.read(&self._stderr);
        Err(PastaError::Refused {
            program: program.into(),
            said: said.words().unwrap_or_else(|| status.to_string()),
        })
    }

    /// End it, and wait for its end. It may have ended before, with the container.
    ///
    /// # Errors
    ///
    /// What a healthy kernel never says of one's own child.
    pub(crate) fn stop(self) -> Result<(), Errno> {
        match pidfd::send_signal(self.pidfd(), libc::SIGTERM) {
            Ok(()) | Err(Errno::SRCH) => self.end(END_WITHIN).map(drop),
            Err(errno) => Err(errno),
        }
    }

    /// Reap it; killed, when it does not end in time.
    fn end(&self, within: Duration) -> Result<WaitStatus, Errno> {
        if !wait(&[&self.pidfd], within)? {
            pidfd::send_signal(self.pidfd(), libc::SIGKILL)?;
        }
        pidfd::wait(self.pidfd())
    }
}

impl Drop for Pasta {
    fn drop(&mut self) {
        // ESRCH: reaped.
        if pidfd::send_signal(self.pidfd(), libc::SIGKILL).is_ok() {
            let _ = pidfd::wait(self.pidfd());
        }
    }
}

/// Wait until one of them can be read. `false`: none could in time.
fn wait(fds: &[&OwnedFd], within: Duration) -> Result<bool, Errno> {
    let deadline = Instant::now() + within;
    let mut fds: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::new(*fd, PollFlags::IN))
        .collect();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut fds, Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The last of what it said on stderr.
#[derive(Debug, Default)]
struct Said(Vec<u8>);

impl Said {
    /// Take what is there. `true`: nothing more will come.
    fn read(&mut self, stderr: &OwnedFd) -> bool {
        let mut chunk = [0; 1024];
        loop {
            match rustix::io::read(stderr, &mut chunk) {
                Ok(0) => return true,
                Ok(read) => {
                    self.0.extend_from_slice(&chunk[..read]);
                    let beyond = self.0.len().saturating_sub(SAID_LIMIT);
                    self.0.drain(..beyond);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return errno != Errno::AGAIN,
            }
        }
    }

    /// Its lines, without the complaints about a missing syslog.
    fn words(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.0);
        let lines: Vec<String> = text
            .lines()
            .filter(|line| !(line.starts_with("Failed to send ") && line.ends_with(" to syslog")))
            .map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>())
            .filter(|line| !line.trim().is_empty())
            .collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment() -> Attachment {
        Attachment::new(At::default_of(DEFAULT_NETWORK.to_owned()))
    }

    fn publish(
        protocol: Protocol,
        host: Option<&str>,
        ports: (u16, u16),
        count: u16,
    ) -> At<Publish> {
        At::default_of(Publish {
            protocol,
            host: host.map(|host| host.parse().expect("an address")),
            host_port: ports.0,
            container_port: ports.1,
            count,
        })
    }

    fn words(attachment: &Attachment) -> String {
        let arguments = arguments(attachment, "4711", "/dev/stdout".as_ref());
        let words: Vec<String> = arguments
            .into_iter()
            .map(|argument| argument.into_string().expect("UTF-8"))
            .collect();
        words.join(" ")
    }

    const FIXED: &str = "--foreground --quiet --config-net --ns-ifname eth0 --no-dhcp --no-dhcpv6 --no-ra \
                         --no-map-gw --tcp-ns none --udp-ns none \
                         --dns-forward 169.254.1.1 --dns-forward fd00::53";

    #[test]
    fn nothing_is_forwarded_that_nobody_asked_for() {
        assert_eq!(
            words(&attachment()),
            format!("{FIXED} --tcp-ports none --udp-ports none --pid /dev/stdout 4711")
        );
    }

    #[test]
    fn each_published_range_is_one_option() {
        let mut attachment = attachment();
        attachment.publish = vec![
            publish(Protocol::Tcp, None, (8080, 80), 1),
            publish(Protocol::Udp, Some("192.0.2.1"), (53, 53), 1),
            publish(Protocol::Tcp, Some("2001:db8::1"), (9000, 100), 3),
        ];
        assert_eq!(
            words(&attachment),
            format!(
                "{FIXED} --tcp-ports 127.0.0.1/8080:80 --tcp-ports 2001:db8::1/9000-9002:100-102 \
                 --udp-ports 192.0.2.1/53:53 --pid /dev/stdout 4711"
            )
        );
    }

    #[test]
    fn resolvers_of_the_manifest_take_the_place_of_the_hosts() {
        let mut attachment = attachment();
        attachment.dns = ["192.0.2.53", "2001:db8::53"]
            .map(|address| At::default_of(address.parse().expect("an address")))
            .into();
        let words = words(&attachment);
        assert!(
            words.contains(" --dns 192.0.2.53 --dns 2001:db8::53 "),
            "{words}"
        );
    }

    #[test]
    fn resolv_conf_names_a_resolver_for_each_family_that_has_one() {
        let check = |upstream: &[&str], expected: &[IpAddr]| {
            let upstream: Vec<IpAddr> = upstream
                .iter()
                .map(|address| address.parse().expect("an address"))
                .collect();
            assert_eq!(resolvers(&upstream), expected, "{upstream:?}");
        };
        check(&[], &[RESOLVER]);
        check(&["127.0.0.53", "192.0.2.53"], &[RESOLVER]);
        check(&["2001:db8::53"], &[RESOLVER_V6]);
        check(&["2001:db8::53", "192.0.2.53"], &[RESOLVER, RESOLVER_V6]);
    }

    #[test]
    fn what_pasta_cannot_give_is_refused_by_key_and_line() {
        assert_eq!(unsupported(&attachment()), []);
        let attachment = Attachment {
            network: At::line(1, "office".into()),
            publish: Vec::new(),
            dns: Vec::new(),
            aliases: vec![At::line(2, "db".into()), At::line(3, "sql".into())],
            address: Some(At::line(4, Ipv4Addr::new(10, 1, 2, 3))),
            rate: Some(At::line(5, 1000)),
            allow: Some(At::line(6, Vec::new())),
        };
        let refused: Vec<(Origin, String)> = unsupported(&attachment)
            .into_iter()
            .map(|problem| {
                let key = problem.message.split('`').nth(1).unwrap_or_default();
                (problem.origin, key.to_owned())
            })
            .collect();
        let expected = [
            (1, "network.mode"),
            (2, "network.aliases"),
            (4, "network.address"),
            (5, "network.rate"),
            (6, "network.allow"),
        ];
        assert_eq!(
            refused,
            expected.map(|(line, key)| (Origin::Line(line), key.to_owned()))
        );
    }

    #[test]
    fn the_call_is_spelled_with_a_placeholder_for_the_pid() {
        let call = describe("/usr/bin/pasta".as_ref(), &attachment());
        assert!(
            call.starts_with(r#"execve("/usr/bin/pasta", ["pasta", "--foreground", "#),
            "{call}"
        );
        assert!(
            call.ends_with(r#", "--pid", "/dev/stdout", PID])"#),
            "{call}"
        );
    }

    #[test]
    fn its_words_are_kept_without_noise_and_control_characters() {
        let said = Said(
            b"Failed to send 45 bytes to syslog\nFailed to bind any port for '-t 1', exiting\n\n\x1b[1mx\n"
                .into(),
        );
        let words = said.words().expect("some");
        assert_eq!(words, "Failed to bind any port for '-t 1', exiting; [1mx");
        let refused = PastaError::Refused {
            program: "/usr/bin/pasta".into(),
            said: words,
        };
        assert!(
            refused
                .hint()
                .is_some_and(|hint| hint.contains("port is taken"))
        );
        assert_eq!(
            Said(b"Failed to send 45 bytes to syslog\n".into()).words(),
            None
        );
    }

    #[test]
    fn what_it_says_is_bounded_and_its_end_is_seen() {
        let (ours, its) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).expect("a pipe");
        let mut said = Said::default();
        assert!(!said.read(&ours));
        for _ in 0..3 {
            rustix::io::write(&its, &[b'a'; 4000]).expect("room");
        }
        rustix::io::write(&its, b"end").expect("room");
        assert!(!said.read(&ours));
        assert_eq!(said.0.len(), SAID_LIMIT);
        assert!(said.0.ends_with(b"aend"));
        drop(its);
        assert!(said.read(&ours));
    }
}
