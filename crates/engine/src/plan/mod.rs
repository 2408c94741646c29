//! A container's start as an ordered list of kernel operations.
//!
//! [`plan`] is pure: it makes no system call, reads no file and no clock. What it returns is what
//! a start executes, nothing else, and what `ctr plan` prints.

mod hidden;
mod ids;
mod limits;
mod network;
mod op;
mod program;
mod security;
mod tree;

pub use hidden::{NOT_FROM_HOST, host_secrets};
pub(crate) use ids::of_root as ids_of_root;
pub use ids::{Ids, Writer};
pub use limits::controllers;
pub(crate) use network::refused;
pub use op::{By, Op};
pub use program::{Exec, path as search_path};
pub use security::DEFAULT_RLIMITS;

use std::path::PathBuf;

use confine::Confinement;
use ns::Namespaces;

use crate::error::Diagnostic;
use crate::host::{Cgroup, Host, IdSource};
use crate::net::wiring::Wiring;
use crate::spec::{At, Origin, Spec};
use crate::steps::{Phase, Uts};
use crate::users::{self, Credentials};

/// What was left out or differs from what one might expect, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The line it is about.
    pub origin: Origin,
    /// One sentence.
    pub text: String,
}

impl Note {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::at(Origin::Default, text)
    }

    pub(crate) fn at(origin: Origin, text: impl Into<String>) -> Self {
        Self {
            origin,
            text: text.into(),
        }
    }
}

/// A container's start.
#[derive(Debug)]
pub struct Plan {
    /// The container's name.
    pub name: String,
    /// What the supervisor does before the clone.
    pub before: Vec<At<Op>>,
    /// The namespaces clone3 makes.
    pub namespaces: Namespaces,
    /// The container's own cgroup.
    pub cgroup: Option<PathBuf>,
    /// Where the cgroup2 hierarchy is mounted.
    pub cgroup_mount: Option<PathBuf>,
    /// What the supervisor does between the clone and GO.
    pub between: Vec<At<Op>>,
    /// What it does while the child builds its tree. The child, which needs nothing of it for that, executes
    /// nothing before all of it is done.
    pub beside: Vec<At<Op>>,
    /// The program's ids in the container.
    pub user: Credentials,
    /// The program.
    pub exec: Exec,
    /// It gets a terminal.
    pub tty: At<bool>,
    /// What one should know.
    pub notes: Vec<Note>,
    /// What was asked for and this host cannot do: the plan shows it all the same, and is not
    /// executed.
    pub unmet: Vec<Diagnostic>,
    pub(crate) uts: At<Uts>,
    pub(crate) loopback: Option<At<netns::Loopback>>,
    pub(crate) tree: tree::Tree,
    /// Its place on a network.
    pub(crate) wiring: Option<Wiring>,
    /// A process whose network namespace is entered.
    pub(crate) joined: Option<At<u32>>,
    bounding: Confinement,
    pub(crate) confinement: Confinement,
    origins: security::Origins,
    pub(crate) init: Option<Confinement>,
}

/// Which process makes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// `ctr` itself.
    Supervisor,
    /// The first process of the container, later its init.
    Init,
    /// The process that becomes the program.
    Program,
}

impl Who {
    /// As it is printed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Supervisor => "ctr",
            Self::Init => "init",
            Self::Program => "program",
        }
    }
}

/// One operation, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Who makes it.
    pub who: Who,
    /// What it is for, the same for neighbours that belong together.
    pub purpose: &'static str,
    /// As strace spells it.
    pub call: String,
    /// Which line asked for it.
    pub origin: Origin,
    /// What takes it back, when something has to.
    pub undo: Option<String>,
}

/// Plan the start of `spec` on `host`.
///
/// # Errors
/// Everything that is wrong with it, in one pass.
pub fn plan(spec: &Spec, host: &Host) -> Result<Plan, Vec<Diagnostic>> {
    let parts = parts(spec, host)?;
    let before = before(spec, host, &parts);
    let between = between(spec, &parts);
    let beside = beside(&parts);
    let Parts {
        user,
        ids,
        exec,
        group,
        security,
        tree,
        network,
        notes,
    } = parts;
    let own_net = spec.namespaces.net.value.is_own();
    let loopback = At {
        value: netns::Loopback::new(),
        origin: spec.namespaces.net.origin,
    };
    Ok(Plan {
        name: spec.name.value.clone(),
        before,
        namespaces: namespaces(ids.is_some(), own_net),
        cgroup: group.dir,
        cgroup_mount: match &host.cgroup {
            Cgroup::Place(place) => Some(place.mount_point.clone()),
            Cgroup::Unavailable { .. } => None,
        },
        between,
        beside,
        user,
        exec,
        tty: spec.process.tty.clone(),
        notes,
        unmet: group.unmet,
        uts: spec.hostname.clone().map(|hostname| Uts { hostname }),
        loopback: (own_net && !network.wired).then_some(loopback),
        tree: tree.tree,
        wiring: network.wiring,
        joined: network.joined,
        bounding: security.bounding,
        confinement: security.program,
        origins: security.origins,
        init: security.init,
    })
}

/// What a plan is put together from.
struct Parts {
    user: Credentials,
    ids: Option<At<Ids>>,
    exec: Exec,
    group: limits::Group,
    security: security::Security,
    tree: tree::Resolved,
    network: network::Resolved,
    notes: Vec<Note>,
}

/// Each part for itself, so that the problems of all are found.
fn parts(spec: &Spec, host: &Host) -> Result<Parts, Vec<Diagnostic>> {
    let user = user(spec, host).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    let ids = ids::resolve(spec, host, &user).unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    let exec = program::resolve(spec, &user).map_err(|problem| problems.push(problem));
    let group = limits::resolve(spec, host, &mut notes).map_err(|more| problems.extend(more));
    let of_ids = ids.as_ref().map(|ids| &ids.value);
    let security =
        security::resolve(spec, host, &user, of_ids).map_err(|more| problems.extend(more));
    let network = network::resolve(spec, host).unwrap_or_else(|more| {
        problems.extend(more);
        network::Resolved::default()
    });
    let texts = network.texts.clone();
    let tree =
        tree::resolve(spec, host, &user, of_ids, texts).map_err(|more| problems.extend(more));
    let (Ok(exec), Ok(group), Ok(mut security), Ok(mut tree), true) =
        (exec, group, security, tree, problems.is_empty())
    else {
        return Err(problems);
    };
    notes.append(&mut security.notes);
    notes.append(&mut tree.notes);
    notes.extend(network.notes.iter().cloned());
    if of_ids.is_some_and(|ids| ids.writer == Writer::DirectOwnId) {
        notes.push(own_id_note(host));
    }
    Ok(Parts {
        user,
        ids,
        exec,
        group,
        security,
        tree,
        network,
        notes,
    })
}

/// What could outlive a crash is made after the record that names it.
fn before(spec: &Spec, host: &Host, parts: &Parts) -> Vec<At<Op>> {
    let publish = Op::PublishState {
        dir: host.state_root.join(&spec.name.value),
    };
    let mut ops: Vec<At<Op>> = parts
        .ids
        .iter()
        .filter_map(|ids| claim(ids, host))
        .collect();
    ops.extend(parts.network.claims.iter().cloned());
    ops.push(At {
        value: publish,
        origin: spec.name.origin,
    });
    ops.extend(parts.group.ops.iter().cloned());
    ops.extend(parts.tree.before.iter().cloned());
    ops
}

/// The maps first: what follows needs them.
fn between(spec: &Spec, parts: &Parts) -> Vec<At<Op>> {
    let ids = parts.ids.iter().map(|ids| ids.clone().map(Op::WriteIds));
    let raise = parts
        .security
        .raise
        .iter()
        .map(|limit| limit.clone().map(Op::Prlimit));
    let oom = spec
        .security
        .oom_score_adj
        .iter()
        .map(|value| value.clone().map(Op::OomScoreAdj));
    ids.chain(parts.network.between.iter().cloned())
        .chain(parts.tree.between.iter().cloned())
        .chain(raise)
        .chain(oom)
        .chain([At::default_of(Op::Go {
            mounts: parts.tree.passed,
        })])
        .collect()
}

/// What nothing of the child's steps rests on, and the word that it is done.
fn beside(parts: &Parts) -> Vec<At<Op>> {
    let wire = &parts.network.beside;
    let release = (!wire.is_empty()).then(|| At::default_of(Op::Release));
    wire.iter().cloned().chain(release).collect()
}

/// The claim of the ids, where they are a range of this machine.
fn claim(ids: &At<Ids>, host: &Host) -> Option<At<Op>> {
    let (IdSource::Range { first, slot }, [map]) = (&host.ids, &ids.value.uids[..]) else {
        return None;
    };
    let claim = Op::ClaimIds {
        dir: host.state_root.join("ids"),
        slot: *slot,
    };
    (map.outside == *first).then_some(At {
        value: claim,
        origin: ids.origin,
    })
}

fn namespaces(user: bool, net: bool) -> Namespaces {
    let mut namespaces = Namespaces::NEWPID
        | Namespaces::NEWNS
        | Namespaces::NEWIPC
        | Namespaces::NEWUTS
        | Namespaces::NEWCGROUP;
    namespaces.set(Namespaces::NEWUSER, user);
    namespaces.set(Namespaces::NEWNET, net);
    namespaces
}

fn own_id_note(host: &Host) -> Note {
    let because = match &host.ids {
        IdSource::Own { because } => because.as_str(),
        _ => "its map says so",
    };
    Note::new(format!(
        "the container has one id, this user's own ({because}); programs that change users fail"
    ))
}

fn user(spec: &Spec, host: &Host) -> Result<Credentials, Diagnostic> {
    let files = users::Files {
        passwd: host.users.passwd.as_deref(),
        group: host.users.group.as_deref(),
    };
    let At { value, origin } = &spec.process.user;
    users::resolve(value, &files).map_err(|error| Diagnostic::input(*origin, error.to_string()))
}

impl Plan {
    /// What the child does while its supervisor writes its maps.
    pub(crate) fn early(&self) -> Vec<Phase<'_>> {
        let mut phases = vec![Phase::Uts(&self.uts.value), Phase::Confine(&self.bounding)];
        phases.extend(
            self.loopback
                .as_ref()
                .map(|steps| Phase::Loopback(&steps.value)),
        );
        phases
    }

    /// What the child does then: its PID 1 builds the container.
    pub(crate) fn setup(&self) -> Vec<Phase<'_>> {
        vec![Phase::Tree(&self.tree.steps)]
    }

    /// Where step `step` of `phase` comes from.
    fn origin(&self, phase: &Phase<'_>, step: usize) -> Origin {
        match phase {
            Phase::Uts(_) => self.uts.origin,
            Phase::Loopback(_) => self.loopback.as_ref().map(|l| l.origin).unwrap_or_default(),
            Phase::Tree(_) => self.tree.origin(step),
            Phase::Confine(steps) => self.origins.of(steps.part(step)),
        }
    }

    /// Every operation in words, in the order of execution. Where two processes run side by side,
    /// those of one are listed before those of the other: the first steps of the container's PID 1
    /// and the maps its supervisor writes meanwhile, its network and its tree, later the init and the program.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        let mut list = Vec::new();
        self.supervisor(&self.before, &mut list);
        list.push(self.clone_operation());
        if let Some(joined) = &self.joined {
            let call = format!("setns(</proc/{}/ns/net>, CLONE_NEWNET)", joined.value);
            list.push(operation(Who::Init, JOINED, call, joined.origin));
        }
        let own = |call: &str| operation(Who::Init, SESSION, call.into(), Origin::Default);
        list.push(own("setsid()"));
        if self.cgroup.is_some() {
            list.push(own("unshare(CLONE_NEWCGROUP)"));
        }
        for phase in self.early() {
            self.child(Who::Init, &phase, &mut list);
        }
        self.supervisor(&self.between, &mut list);
        self.supervisor(&self.beside, &mut list);
        for phase in self.setup() {
            self.child(Who::Init, &phase, &mut list);
        }
        if let Some(init) = &self.init {
            list.push(operation(
                Who::Init,
                "the program's process; this one stays as the init",
                FORK.into(),
                Origin::Default,
            ));
            self.child(Who::Init, &Phase::Confine(init), &mut list);
            list.push(operation(
                Who::Program,
                CONFINE,
                "setsid()".into(),
                Origin::Default,
            ));
        }
        let who = if self.init.is_some() {
            Who::Program
        } else {
            Who::Init
        };
        if self.tty.value {
            list.push(operation(
                who,
                "a terminal of its own",
                TTY.into(),
                self.tty.origin,
            ));
        }
        self.child(who, &Phase::Confine(&self.confinement), &mut list);
        list.push(self.exec_operation(who, 0));
        list
    }

    fn supervisor(&self, ops: &[At<Op>], list: &mut Vec<Operation>) {
        for At { value, origin } in ops {
            let mut undo = value.undo();
            for call in value.calls() {
                let operation = operation(Who::Supervisor, value.purpose(), call, *origin);
                list.push(Operation {
                    undo: undo.take(),
                    ..operation
                });
            }
        }
    }

    fn child(&self, who: Who, phase: &Phase<'_>, list: &mut Vec<Operation>) {
        for step in 0..ns::Steps::len(phase) {
            list.push(self.step(who, phase, step));
        }
    }

    fn step(&self, who: Who, phase: &Phase<'_>, step: usize) -> Operation {
        let purpose = match phase {
            Phase::Uts(_) => "its name",
            Phase::Loopback(_) => "127.0.0.1 and ::1",
            Phase::Tree(_) => self.tree.purpose(step),
            Phase::Confine(steps) if std::ptr::eq(*steps, &raw const self.bounding) => {
                "nothing of the container ever has more than these capabilities"
            }
            Phase::Confine(_) if who == Who::Init && self.init.is_some() => {
                "the init gives up what it does not need"
            }
            Phase::Confine(_) => CONFINE,
        };
        operation(who, purpose, phase.describe(step), self.origin(phase, step))
    }

    /// The clone.
    pub(crate) fn clone_operation(&self) -> Operation {
        // The kernel would take the supervisor's cgroup for the root of a cgroup namespace made here.
        let mut now = self.namespaces;
        now.set(Namespaces::NEWCGROUP, self.cgroup.is_none());
        let mut flags: Vec<String> = now
            .iter_names()
            .map(|(name, _)| format!("CLONE_{name}"))
            .collect();
        flags.push("CLONE_PIDFD".into());
        let cgroup = match &self.cgroup {
            Some(dir) => {
                flags.push("CLONE_INTO_CGROUP".into());
                format!(", cgroup=<{}>", dir.display())
            }
            None => String::new(),
        };
        let call = format!(
            "clone3({{flags={}, exit_signal=SIGCHLD{cgroup}}})",
            flags.join("|")
        );
        Operation {
            undo: Some("SIGKILL to the child, which is PID 1 of all that follow, and wait".into()),
            ..operation(
                Who::Supervisor,
                "the container's first process, in namespaces of its own",
                call,
                Origin::Default,
            )
        }
    }

    /// The execve of one candidate.
    pub(crate) fn exec_operation(&self, who: Who, candidate: usize) -> Operation {
        let path = &self.exec.candidates[candidate.min(self.exec.candidates.len() - 1)];
        let argv: Vec<String> = self
            .exec
            .argv
            .iter()
            .map(|arg| format!("{:?}", arg.to_string_lossy()))
            .collect();
        let rest = match self.exec.candidates.len() {
            1 => "",
            _ => " /* or the next directory of PATH */",
        };
        let call = format!(
            "execve({:?}, [{}], [{} variables]){rest}",
            path.to_string_lossy(),
            argv.join(", "),
            self.exec.envp.len()
        );
        operation(who, "the program", call, self.exec.origin)
    }

    /// A step of the child, by the numbers it reports, and its hint for `errno`.
    pub(crate) fn reported(
        &self,
        phase: usize,
        step: usize,
        errno: rustix::io::Errno,
    ) -> Option<(Operation, Option<&'static str>)> {
        let mut setup = self.early();
        setup.extend(self.setup());
        let (who, phase) = match phase.checked_sub(setup.len()) {
            None => (Who::Init, setup.into_iter().nth(phase)?),
            Some(0) => {
                let who = if self.init.is_some() {
                    Who::Program
                } else {
                    Who::Init
                };
                (who, Phase::Confine(&self.confinement))
            }
            Some(1) => (Who::Init, Phase::Confine(self.init.as_ref()?)),
            Some(_) => return None,
        };
        if step >= ns::Steps::len(&phase) {
            return None;
        }
        Some((self.step(who, &phase, step), phase.hint(step, errno)))
    }
}

const FORK: &str = "clone3({flags=CLONE_PIDFD, exit_signal=SIGCHLD})";
const TTY: &str = "ioctl(<container's /dev/ptmx>, TIOCGPTPEER), its master to ctr with READY";

const JOINED: &str = "the network of the other container";
const SESSION: &str = "out of the caller's terminal; its own view of cgroups";
const CONFINE: &str = "what the program may do";

fn operation(who: Who, purpose: &'static str, call: String, origin: Origin) -> Operation {
    Operation {
        who,
        purpose,
        call,
        origin,
        undo: None,
    }
}

#[cfg(test)]
mod tests;
