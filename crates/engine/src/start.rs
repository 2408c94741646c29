//! Execute a [`Plan`]: its operations, in its order, and nothing else.
//!
//! What was made is kept in [`Made`], and undone by [`Made::teardown`] in reverse order, going on
//! after a failure.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use netns::Sockets;
use ns::{Child, Helpers, IdMaps, Init, Running, Setgroups, Spawned, Steps, Tty};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::cause::Cause;
use crate::error::Failure;
use crate::net::{self, Claim, Held, LINGER, NetOp, Order};
use crate::plan::{By, Ids, Op, Operation, Plan, Writer};
use crate::spec::{At, IdMap, Spec};
use crate::state::{IdRange, Record, StateDir, Store};
use crate::steps::Phase;
use crate::tty;
use crate::usage::Usage;

/// What exists because of a start, in the order it was made.
#[derive(Default)]
pub(crate) struct Made {
    range: Option<IdRange>,
    state: Option<StateDir>,
    group: Option<cgroup::Group>,
    /// Where the plan puts the container's cgroup, for its record.
    group_dir: Option<PathBuf>,
    /// Where the hierarchy is mounted.
    mount_point: Option<PathBuf>,
    /// Detached mounts for the child, by slot.
    mounts: Vec<OwnedFd>,
    /// User namespaces made to idmap with.
    holders: Vec<OwnedFd>,
    /// What belongs to its network.
    net: Held,
}

/// Why a start came to nothing.
pub(crate) enum Refusal {
    /// An operation failed.
    Failed(Box<Failure>),
    /// execve(2) of every candidate failed.
    Exec(Errno),
}

impl Made {
    /// Keep the container's id range until the end.
    pub(crate) fn hold_range(&mut self, range: IdRange) {
        self.range = Some(range);
    }

    /// Keep the container's address until the end; gives the firewall's socket.
    pub(crate) fn hold_address(
        &mut self,
        claim: Claim,
    ) -> Result<&mut netns::nft::Socket, netns::Error> {
        self.net.hold(claim)
    }

    /// Close a watch on the firewall with everything else.
    pub(crate) fn close_later(&mut self, watch: OwnedFd) {
        self.net.close_later(watch);
    }

    /// The sockets on which names are asked for.
    pub(crate) fn name_sockets(&mut self) -> Option<Sockets> {
        self.net.name_sockets()
    }

    /// Do all of it: at the end the program runs. `meanwhile` is done when nothing is left to do but to wait for
    /// that.
    pub(crate) fn start<T>(
        &mut self,
        plan: &Plan,
        spec: &Spec,
        store: &Store,
        meanwhile: impl FnOnce(&mut Self) -> T,
    ) -> Result<(Running, T), Refusal> {
        self.group_dir.clone_from(&plan.cgroup);
        self.mount_point.clone_from(&plan.cgroup_mount);
        let member = plan.wiring.as_ref().map(|wiring| wiring.member.clone());
        self.net.of(store.path(), member);
        // Until both its record and its rules are there.
        let mut order = plan.wiring.as_ref().map(|_| Order::shared(store.path()));
        for op in &plan.before {
            self.perform(op, spec, store, None)
                .map_err(Refusal::Failed)?;
        }
        let started = self.clone_child(plan, |spawned, made| {
            let pid = Some(spawned.pid());
            for op in &plan.between {
                made.perform(op, spec, store, pid)
                    .map_err(Refusal::Failed)?;
            }
            let passed: Vec<BorrowedFd<'_>> = made.mounts.iter().map(AsFd::as_fd).collect();
            let mut going = spawned
                .begin(&passed)
                .map_err(|error| refusal(plan, error))?;
            for op in &plan.beside {
                made.perform(op, spec, store, pid)
                    .map_err(Refusal::Failed)?;
            }
            going.release().map_err(|error| refusal(plan, error))?;
            order.take();
            let done = meanwhile(made);
            let running = going
                .until_running()
                .map_err(|error| refusal(plan, error))?;
            Ok((running, done))
        })?;
        // Their work is done, and the mounts' descriptors are the child's now.
        self.holders.clear();
        self.mounts.clear();
        Ok(started)
    }

    fn clone_child<T>(
        &mut self,
        plan: &Plan,
        then: impl FnOnce(Spawned<'_>, &mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let (early, setup) = (plan.early(), plan.setup());
        let program = Phase::Confine(&plan.confinement);
        let init = plan.init.as_ref().map(Phase::Confine);
        let exec = ns::Program::new(
            plan.exec.candidates.clone(),
            plan.exec.argv.clone(),
            plan.exec.envp.clone(),
        );
        let group = self.group.take();
        let joined = plan.joined.as_ref().map(join).transpose()?;
        let child = Child {
            join: joined
                .iter()
                .map(|namespace| (namespace.as_fd(), ns::Namespaces::NEWNET))
                .collect(),
            namespaces: plan.namespaces,
            cgroup: group.as_ref().map(cgroup::Group::dir),
            early: early.iter().map(|phase| phase as &dyn Steps).collect(),
            setup: setup.iter().map(|phase| phase as &dyn Steps).collect(),
            init: init.as_ref().map(|phase| Init {
                confine: vec![phase as &dyn Steps],
            }),
            workload: vec![&program as &dyn Steps],
            tty: plan.tty.value.then_some(Tty {
                owner: Some(plan.user.uid),
                // Set in the child: after READY the program may ask for it before anyone here could.
                size: tty::size(),
            }),
            hold: !plan.beside.is_empty(),
            ..Child::new(&exec)
        };
        let done = ns::spawn(&child)
            .map_err(|error| refusal(plan, error))
            .and_then(|spawned| then(spawned, self));
        drop(child);
        self.group = group;
        done
    }

    fn perform(
        &mut self,
        At { value: op, origin }: &At<Op>,
        spec: &Spec,
        store: &Store,
        pid: Option<Pid>,
    ) -> Result<(), Box<Failure>> {
        let result = match op {
            Op::PublishState { .. } => self.publish(spec, store),
            Op::MakeParentGroup { dir } => make_parent_group(dir),
            Op::EnableControllers { dir, write } => enable_controllers(dir, write),
            Op::MakeGroup { dir } => self.make_group(dir),
            Op::WriteLimit { write, .. } => match &self.group {
                Some(group) => group.write(write).map_err(Into::into),
                None => Err(Errno::NOENT.into()),
            },
            Op::DeviceFilter { allowed, .. } => self.filter_devices(allowed),
            // Held already: planning needs to know the range.
            Op::ClaimIds { .. } => Ok(()),
            Op::CloneMount {
                path, recursive, ..
            } => rootfs::clone_mount(path, *recursive)
                .map(|mount| self.mounts.push(mount))
                .map_err(Into::into),
            Op::HoldUserNamespace { ids, .. } => self.hold(ids),
            Op::WriteIds(ids) => write_ids(pid, ids),
            Op::IdmapMount {
                slot,
                path,
                by,
                recursive,
            } => {
                let mount = self.mounts.get(*slot).ok_or(Errno::BADF);
                let map = |namespace: BorrowedFd<'_>| -> Result<(), Cause> {
                    Ok(rootfs::idmap_mount(
                        mount?.as_fd(),
                        path,
                        *recursive,
                        namespace,
                    )?)
                };
                self.with_namespace(*by, pid, map)
            }
            Op::Net(op) => match self.net.perform(op, spec, store, pid) {
                // A port of a dead container's: usually they are cleaned up after when this one runs.
                Err(cause) if matches!(op, NetOp::Firewall(_)) && cause.is_taken() => {
                    sweep(store, usize::MAX);
                    self.net.perform(op, spec, store, pid)
                }
                done => done,
            },
            Op::Prlimit(limit) => match pid {
                Some(pid) => confine::prlimit(pid, *limit).map_err(Into::into),
                None => Err(Errno::SRCH.into()),
            },
            Op::OomScoreAdj(value) => match pid {
                Some(pid) => {
                    write(&proc_path(pid, "oom_score_adj"), &value.to_string()).map_err(Into::into)
                }
                None => Err(Errno::SRCH.into()),
            },
            // Each is sent after the last of its list.
            Op::Go { .. } | Op::Release => Ok(()),
        };
        result.map_err(|cause: Cause| cause.failed(op, *origin))
    }

    fn publish(&mut self, spec: &Spec, store: &Store) -> Result<(), Cause> {
        let record = Record {
            name: spec.name.value.clone(),
            supervisor: std::process::id(),
            source: spec.source.clone(),
            cgroup: self.group_dir.clone(),
            network: self.net.member().cloned(),
            image: spec.image.clone(),
            labels: spec.labels.clone(),
        };
        self.state = Some(store.publish(&record, |dead| recover(store.path(), dead))?);
        Ok(())
    }

    fn make_group(&mut self, dir: &Path) -> Result<(), Cause> {
        let (parent, name) = (dir.parent(), dir.file_name());
        let (Some(parent), Some(name)) = (parent, name) else {
            return Err(Errno::INVAL.into());
        };
        let parent = directory(parent)?;
        self.group = Some(cgroup::Group::create(parent.as_fd(), name)?);
        Ok(())
    }

    fn filter_devices(&self, allowed: &[cgroup::device::DeviceRule]) -> Result<(), Cause> {
        let group = self.group.as_ref().ok_or(Errno::NOENT)?;
        cgroup::device::Program::allow_list(allowed)?.attach(group.dir())?;
        Ok(())
    }

    /// A child in a new user namespace that never goes on: its namespace lives by our descriptor.
    fn hold(&mut self, ids: &Ids) -> Result<(), Cause> {
        let nothing = ns::Program::new(vec![c"/".into()], Vec::new(), Vec::new());
        let child = Child {
            namespaces: ns::Namespaces::NEWUSER,
            ..Child::new(&nothing)
        };
        let spawned = ns::spawn(&child)?;
        write_ids(Some(spawned.pid()), ids)?;
        self.holders.push(user_namespace(spawned.pid())?);
        Ok(())
    }

    fn with_namespace(
        &self,
        by: By,
        pid: Option<Pid>,
        map: impl FnOnce(BorrowedFd<'_>) -> Result<(), Cause>,
    ) -> Result<(), Cause> {
        match by {
            By::Holder(holder) => {
                let namespace = self.holders.get(holder).ok_or(Errno::BADF)?;
                map(namespace.as_fd())
            }
            By::Container => map(user_namespace(pid.ok_or(Errno::SRCH)?)?.as_fd()),
        }
    }

    /// What the container used, from its cgroup.
    pub(crate) fn usage(&self) -> Usage {
        let path = self.group_dir.as_deref().zip(self.mount_point.as_deref());
        let path = path.and_then(|(dir, mount)| dir.strip_prefix(mount).ok());
        let path = path.map(|path| format!("/{}", path.display()));
        self.group
            .as_ref()
            .map_or_else(Usage::default, |group| Usage::of(group, path))
    }

    /// Undo everything, the last first; what fails is collected.
    pub(crate) fn teardown(mut self) -> Vec<String> {
        let mut failed = Vec::new();
        self.holders.clear();
        self.mounts.clear();
        if let Some(group) = self.group.take() {
            keep(&mut failed, group.remove_tree());
        }
        let order = self.net.order();
        let slow = self.net.teardown(&mut failed);
        if let Some(state) = self.state.take() {
            keep(&mut failed, state.remove());
        }
        drop(order);
        if let Some(range) = self.range.take() {
            keep(&mut failed, range.release());
        }
        // After all that somebody may wait for is given back. Without a process they are closed here.
        let _ = ns::linger(slow, LINGER);
        failed
    }
}

/// The network namespace of a process.
fn join(At { value: pid, origin }: &At<u32>) -> Result<OwnedFd, Refusal> {
    let call = format!("setns(</proc/{pid}/ns/net>, CLONE_NEWNET)");
    let found = i32::try_from(*pid).ok().and_then(Pid::from_raw);
    found
        .ok_or(Errno::SRCH)
        .and_then(|pid| namespace(pid, "net"))
        .map_err(|errno| {
            Refusal::Failed(Cause::from(errno).failed_operation(Operation {
                who: crate::plan::Who::Supervisor,
                purpose: "the network of the other container",
                call,
                origin: *origin,
                undo: None,
            }))
        })
}

/// Clean up after supervisors that were killed, looking at `most` containers; a failure concerns another
/// one and is logged.
pub(crate) fn sweep(store: &Store, most: usize) {
    let mut order = None;
    let swept = store.sweep(most, |dead| {
        if dead.network.is_some() && order.is_none() {
            order = Order::shared(store.path());
        }
        recover(store.path(), dead);
    });
    if let Err(error) = swept {
        tracing::warn!(%error, "cannot clean up after a dead container");
    }
}

/// Clean up what outlived a supervisor that was killed: its place on a network, its cgroup, and who is
/// left in it.
fn recover(run_root: &Path, record: &Record) {
    if let Some(member) = &record.network {
        if let Err(error) = net::remove_rules_of_the_dead(run_root, member) {
            tracing::warn!(%error, "cannot remove a dead container's firewall rules");
        }
        if let Err(error) = net::sweep(run_root, member, usize::MAX) {
            tracing::warn!(%error, "cannot free a dead container's address");
        }
    }
    let Some(dir) = &record.cgroup else { return };
    let group = match cgroup::Group::open(dir) {
        Ok(group) => group,
        // It went with its supervisor.
        Err(error) if error.errno() == Some(Errno::NOENT) => return,
        Err(error) => return tracing::warn!(%error, "cannot open a dead container's cgroup"),
    };
    if let Err(error) = group.remove_tree() {
        tracing::warn!(%error, "cannot remove a dead container's cgroup");
    }
}

/// What an error of `ns` means in words of the plan.
fn refusal(plan: &Plan, error: ns::Error) -> Refusal {
    match error {
        ns::Error::Exec { errno, .. } => Refusal::Exec(errno),
        ns::Error::Step { phase, step, errno } => {
            let reported = plan.reported(phase, step, errno);
            let (operation, hint) = reported.unwrap_or((plan.clone_operation(), None));
            let mut failure = Cause::from(errno).failed_operation(operation);
            failure.hint = hint.map(Into::into);
            Refusal::Failed(failure)
        }
        // Something of the child's that is no planned step.
        ns::Error::Own { call, errno } => {
            let operation = Operation {
                call: call.into(),
                ..plan.clone_operation()
            };
            Refusal::Failed(Cause::from(errno).failed_operation(operation))
        }
        other => Refusal::Failed(Cause::from(other).failed_operation(plan.clone_operation())),
    }
}

pub(crate) fn keep<E: Into<Cause>>(failed: &mut Vec<String>, result: Result<(), E>) {
    if let Err(error) = result {
        failed.push(error.into().to_string());
    }
}

/// Shared by all containers, so one that is there is as good.
fn make_parent_group(dir: &Path) -> Result<(), Cause> {
    match rustix::fs::mkdir(dir, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Enabled is enabled, whoever did it meanwhile.
fn enable_controllers(dir: &Path, write: &cgroup::Write) -> Result<(), Cause> {
    Ok(cgroup::Group::open(dir)?.write(write)?)
}

fn directory(path: &Path) -> Result<OwnedFd, Errno> {
    openat(
        CWD,
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

fn proc_path(pid: Pid, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/{file}", pid.as_raw_nonzero()))
}

fn user_namespace(pid: Pid) -> Result<OwnedFd, Errno> {
    namespace(pid, "user")
}

pub(crate) fn namespace(pid: Pid, kind: &str) -> Result<OwnedFd, Errno> {
    openat(
        CWD,
        proc_path(pid, &format!("ns/{kind}")),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// One write of a whole kernel file.
fn write(path: &Path, value: &str) -> Result<(), Errno> {
    let file = openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, value.as_bytes())?;
    Ok(())
}

pub(crate) fn write_ids(pid: Option<Pid>, ids: &Ids) -> Result<(), Cause> {
    let pid = pid.ok_or(Errno::SRCH)?;
    let lines = |maps: &[IdMap]| {
        let line = |map: &IdMap| ns::IdMap {
            inside: map.inside,
            outside: map.outside,
            count: map.count,
        };
        maps.iter().map(line).collect()
    };
    let maps = IdMaps {
        uids: lines(&ids.uids),
        gids: lines(&ids.gids),
    };
    match ids.writer {
        Writer::Direct => ns::write_maps(pid, &maps, Setgroups::Allow)?,
        Writer::DirectOwnId => ns::write_maps(pid, &maps, Setgroups::Deny)?,
        Writer::Newuidmap => {
            let find = |name| crate::observe::find_program(name).ok_or(Errno::NOENT);
            let helpers = Helpers {
                newuidmap: find("newuidmap")?,
                newgidmap: find("newgidmap")?,
            };
            ns::write_maps_with(&helpers, pid, &maps)?;
        }
    }
    Ok(())
}
