//! `ctr run` from beginning to end: observe, plan, start, supervise, undo, report.

use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ns::{Running, WaitStatus};
use rustix::io::Errno;
use tracing::debug;

use crate::doctor::{self, Diagnosis};
use crate::error::{Diagnostic, Error, ExecFailure};
use crate::kmsg;
use crate::net::begin as net;
use crate::net::serve::Service;
use crate::observe::{Look, caller, observe};
use crate::plan::{Plan, plan};
use crate::report::{Ending, ExitReport, Facts, Timestamp, Victim};
use crate::spec::{Origin, Spec, UserNamespace};
use crate::start::{Made, Refusal, sweep};
use crate::state::{IdRange, Store, default_root};
use crate::supervise::{End, Signals, Supervisor};
use crate::tty::Tty;
use crate::usage::Usage;

/// Where the engine keeps its things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The run root.
    pub state_root: PathBuf,
    /// Where networks and images are kept.
    pub data_root: PathBuf,
}

impl Options {
    /// The usual place of the calling user, or `root`.
    #[must_use]
    pub fn of_caller(root: Option<&Path>) -> Self {
        let xdg = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let uid = rustix::process::geteuid().as_raw();
        let state_root = match root {
            Some(root) => std::path::absolute(root)
                .unwrap_or_else(|_| root.into())
                .join("run"),
            None => default_root(uid, xdg.as_deref()),
        };
        let data_root = match root {
            Some(root) => std::path::absolute(root)
                .unwrap_or_else(|_| root.into())
                .join("lib"),
            None => default_data_root(uid),
        };
        Self {
            state_root,
            data_root,
        }
    }
}

/// `/var/lib/ctr`, or an ordinary user's own place as the XDG base directory specification has it.
fn default_data_root(uid: u32) -> PathBuf {
    let root = PathBuf::from("/var/lib/ctr");
    if uid == 0 {
        return root;
    }
    let absolute = |name| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local/share")))
        .map_or(root, |data| data.join("ctr"))
}

/// The plan of a start that is not made, [`Plan::unmet`] included. Nothing is changed on the host.
///
/// # Errors
/// What is wrong with the spec on this host.
pub fn explain(spec: &Spec, options: &Options) -> Result<Plan, Vec<Diagnostic>> {
    let slot = IdRange::preferred(&spec.name.value);
    let caller = caller();
    let net = net::propose(spec, options, &caller).map_err(|problem| vec![problem])?;
    let host = observe(spec, caller, &options.state_root, slot, net, Look::Explain)?;
    plan(spec, &host)
}

/// Run `spec` in the foreground until it ends.
///
/// # Errors
/// [`Error`]; whatever had been made was undone, but for what [`Failure::left`](crate::error::Failure)
/// names.
pub fn run(spec: &Spec, options: &Options) -> Result<ExitReport, Error> {
    let clock = Clock::start();
    let signals = Signals::take().map_err(|errno| Error::Supervise {
        call: "signalfd4",
        errno,
    })?;
    let store = Store::open(&options.state_root)?;
    let mut made = Made::default();
    let plan = match prepare(spec, options, &store, &mut made) {
        Ok(plan) => plan,
        Err(error) => {
            made.teardown();
            return Err(error);
        }
    };
    clock.lap("planned");
    for note in &plan.notes {
        tracing::info!("{}", note.text);
    }
    // The container is on its way by itself meanwhile, so this is no part of its start.
    let meanwhile = |made: &mut Made| {
        let share = store.share();
        if share > 0 {
            sweep(&store, share);
            sweep_claims(&store, &plan, share);
        }
        net::service(&plan, options, made)
    };
    let (mut running, service) = match made.start(&plan, spec, &store, meanwhile) {
        Ok(started) => started,
        Err(refusal) => return Err(undo(refusal, &plan, spec, made)),
    };
    clock.lap("started");
    let pid = program_pid(&running);
    let tty = running.pty.take().map(Tty::new);
    let mut supervisor = Supervisor {
        running: &running,
        signals: &signals,
        stop: &spec.stop,
        tty,
        service,
    };
    let end = supervisor.run();
    if end.is_err() {
        // It must not go on without a supervisor.
        let _ = ns::pidfd::send_signal(running.pidfd.as_fd(), libc::SIGKILL);
        let _ = ns::pidfd::wait(running.pidfd.as_fd());
    }
    clock.lap("ended");
    let usage = made.usage();
    if let Some(watch) = supervisor.service.and_then(Service::into_watch) {
        made.close_later(watch);
    }
    for problem in made.teardown() {
        tracing::warn!(problem, "left behind");
    }
    clock.lap("undone");
    let end = end.map_err(|errno| Error::Supervise {
        call: "waitid",
        errno,
    })?;
    Ok(report(spec, pid, &clock, end, usage))
}

/// Claim what planning needs, observe and plan.
fn prepare(spec: &Spec, options: &Options, store: &Store, made: &mut Made) -> Result<Plan, Error> {
    let mut slot = IdRange::preferred(&spec.name.value);
    let caller = caller();
    if caller.privileged && spec.namespaces.user.value == UserNamespace::Auto {
        // Ids are the machine's, whichever run root is used.
        let range = match default_root(0, None) {
            usual if usual == options.state_root => IdRange::claim(store, slot)?,
            usual => IdRange::claim(&Store::open(&usual)?, slot)?,
        };
        slot = range.slot();
        made.hold_range(range);
    }
    let attachment = spec.namespaces.net.value.attachment();
    if attachment.is_some_and(|asked| asked.address.is_some()) {
        // Rules for a dead container at this address must not be met by this one.
        sweep(store, usize::MAX);
    }
    let net = net::claim(spec, options, &caller, made)
        .map_err(|problem| Error::Refused(vec![problem]))?;
    let host = observe(spec, caller, &options.state_root, slot, net, Look::Start)
        .map_err(Error::Refused)?;
    let plan = plan(spec, &host).map_err(Error::Refused)?;
    if plan.unmet.is_empty() {
        Ok(plan)
    } else {
        Err(Error::Refused(plan.unmet))
    }
}

/// Take back what was made and say why it came to nothing.
fn undo(refusal: Refusal, plan: &Plan, spec: &Spec, made: Made) -> Error {
    let left = made.teardown();
    match refusal {
        Refusal::Failed(mut failure) => {
            failure.left = left;
            let operations = plan.operations();
            failure.place = operations
                .iter()
                .position(|operation| operation.call == failure.operation.call)
                .map(|index| (index + 1, operations.len()));
            Error::Failed(failure)
        }
        Refusal::Exec(errno) => {
            let diagnosis = diagnose(spec, errno);
            Error::Exec(Box::new(ExecFailure {
                diagnosis,
                origin: plan.exec.origin,
                left,
            }))
        }
    }
}

/// Why execve(2) failed, from what lies in the container's root.
fn diagnose(spec: &Spec, errno: Errno) -> Diagnosis {
    let Ok(layers) = crate::observe::layers(spec) else {
        let path = PathBuf::from(&spec.process.argv.value[0]);
        return Diagnosis::Other { path, errno };
    };
    let layers: Vec<_> = layers.iter().map(AsFd::as_fd).collect();
    let env: Vec<_> = spec
        .process
        .env
        .iter()
        .map(|env| env.value.clone())
        .collect();
    let request = doctor::Request {
        layers: &layers,
        argv: &spec.process.argv.value,
        env: &env,
        workdir: &spec.process.workdir.value,
        who: None,
        mounts: &mount_points(spec),
        machine: doctor::Machine::NATIVE,
    };
    doctor::explain(&request, errno)
}

/// Where nothing may be executed from: what the engine mounts itself.
fn mount_points(spec: &Spec) -> Vec<doctor::MountPoint> {
    let ours = ["/proc", "/sys", "/dev"].map(|at| (at.into(), true, Origin::Default));
    let asked = spec
        .mounts
        .iter()
        .map(|mount| (mount.value.at.clone(), false, mount.origin));
    ours.into_iter()
        .chain(asked)
        .map(|(at, noexec, origin)| doctor::MountPoint { at, noexec, origin })
        .collect()
}

/// The program's pid on the host, proc_pid_fdinfo(5). Nothing is decided by it: signals go to the pidfd.
fn program_pid(running: &Running) -> Option<u32> {
    let Some(pidfd) = &running.workload_pidfd else {
        return u32::try_from(running.pid.as_raw_nonzero().get()).ok();
    };
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = crate::observe::read_bounded(path.as_ref(), 4096).ok()?;
    let text = String::from_utf8(text).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
}

/// Free the address of a container that died before its record was published: it left no more than
/// that claim.
fn sweep_claims(store: &Store, plan: &Plan, most: usize) {
    if let Some(wiring) = &plan.wiring
        && let Err(error) = crate::net::sweep(store.path(), &wiring.member, most)
    {
        tracing::warn!(%error, "cannot free a dead container's address");
    }
}

fn report(spec: &Spec, pid: Option<u32>, clock: &Clock, end: End, usage: Usage) -> ExitReport {
    let ending = match end.status {
        WaitStatus::Exited(code) => Ending::Exited(code),
        WaitStatus::Signaled {
            signal,
            core_dumped,
        } => Ending::Signaled {
            signal,
            core_dumped,
        },
    };
    let killed = usage
        .memory
        .is_some_and(|memory| memory.events.oom_kill > 0);
    let victim = killed.then(|| {
        let cgroup = usage.path.as_deref().unwrap_or_default();
        let found = kmsg::victim(cgroup, clock.monotonic, monotonic());
        Victim::from_log(found, cgroup)
    });
    ExitReport::new(Facts {
        name: spec.name.value.clone(),
        id: clock.id(),
        source: spec.source.clone(),
        pid,
        started: clock.started,
        finished: Timestamp::now(),
        duration: clock.at.elapsed(),
        ending,
        memory: usage.memory,
        pids: usage.pids,
        cpu: usage.cpu,
        victim,
        signals: end.sent,
        labels: spec.labels.clone(),
    })
}

/// When things happened.
struct Clock {
    started: Timestamp,
    at: Instant,
    /// CLOCK_MONOTONIC, which is what the kernel's log counts by.
    monotonic: Duration,
}

impl Clock {
    fn start() -> Self {
        Self {
            started: Timestamp::now(),
            at: Instant::now(),
            monotonic: monotonic(),
        }
    }

    /// An id for this run: no two of a name can start at the same nanosecond.
    fn id(&self) -> String {
        let since = self
            .started
            .0
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        format!("{:x}", since.as_nanos())
    }

    /// Log how long it took up to here.
    fn lap(&self, what: &'static str) {
        debug!(at = ?self.at.elapsed(), "{what}");
    }
}

fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}
