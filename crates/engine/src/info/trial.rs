//! What only a trial shows: whether this caller gets a user namespace, and file systems in it.
//!
//! The process that lives in it is a container's, up to the point where it would execute its
//! program: there it is held, and killed. All it made ends with it.

use ns::{Child, IdMaps, Namespaces, Program, Setgroups, Steps};
use rootfs::{Proc, Propagation, TreeBuilder};
use rustix::io::Errno;

use crate::error::errno_name;
use crate::host::Caller;
use crate::steps::Phase;

/// How a trial went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trial {
    /// It works.
    Works,
    /// The kernel refused.
    Refused {
        /// The call, as strace spells it.
        call: String,
        /// Why.
        errno: Errno,
        /// What that means here.
        hint: Option<&'static str>,
    },
    /// It did not come to that: why.
    NotTried(String),
}

/// The trials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trials {
    /// A user namespace with the caller as its root.
    pub(super) user_namespace: Trial,
    /// A procfs in it.
    pub(super) proc: Trial,
    /// A sysfs in it.
    pub(super) sysfs: Trial,
}

impl Trials {
    pub(super) fn run(caller: &Caller) -> Self {
        let user_namespace = user_namespace(caller);
        if user_namespace != Trial::Works {
            let because = || Trial::NotTried("there is no user namespace to try it in".into());
            return Self {
                user_namespace,
                proc: because(),
                sysfs: because(),
            };
        }
        Self {
            user_namespace,
            proc: mount(caller, |tree| tree.proc(&Proc::default())),
            sysfs: mount(caller, TreeBuilder::sysfs),
        }
    }
}

fn maps(caller: &Caller) -> IdMaps {
    IdMaps::own((0, 0), (caller.uid, caller.gid))
}

fn user_namespace(caller: &Caller) -> Trial {
    let made = ns::new_user_namespace(|pid| ns::write_maps(pid, &maps(caller), Setgroups::Deny));
    made.map_or_else(|error| of_ns(&error), |_ended| Trial::Works)
}

fn of_ns(error: &ns::Error) -> Trial {
    match error.errno() {
        Some(errno) => Trial::Refused {
            call: error.to_string(),
            errno,
            hint: error.hint(),
        },
        None => Trial::NotTried(error.to_string()),
    }
}

fn mount(
    caller: &Caller,
    what: impl FnOnce(&mut TreeBuilder) -> Result<std::ops::Range<usize>, rootfs::Error>,
) -> Trial {
    let mut builder = TreeBuilder::new(Propagation::Private);
    let before = builder
        .ids(0, 0, false)
        .and_then(|_| builder.scratch(None))
        .and_then(|_| builder.root_host_binds(&[]));
    let tried = match before.and_then(|_| what(&mut builder)) {
        Ok(tried) => tried,
        Err(error) => return Trial::NotTried(error.to_string()),
    };
    let tree = builder.build();
    let phase = Phase::Tree(&tree);
    // Never executed: the child is held before.
    let program = Program::new(vec![c"/".into()], vec![c"ctr".into()], Vec::new());
    let child = Child {
        namespaces: Namespaces::NEWUSER
            | Namespaces::NEWNS
            | Namespaces::NEWPID
            | Namespaces::NEWNET,
        setup: vec![&phase as &dyn Steps],
        hold: true,
        ..Child::new(&program)
    };
    let held = ns::spawn(&child).and_then(|spawned| {
        ns::write_maps(spawned.pid(), &maps(caller), Setgroups::Deny)?;
        spawned.go_until_held(&[]).map(drop)
    });
    match held {
        Ok(()) => Trial::Works,
        Err(ns::Error::Step { step, errno, .. }) if tried.contains(&step) => Trial::Refused {
            call: phase.describe(step),
            errno,
            hint: phase.hint(step, errno),
        },
        Err(ns::Error::Step { step, errno, .. }) => {
            Trial::NotTried(format!("{}: {}", phase.describe(step), errno_name(errno)))
        }
        Err(error) => Trial::NotTried(error.to_string()),
    }
}
