//! What the program and the init may do.

use confine::seccomp::{self, Arch, docker};
use confine::{CapSet, Capabilities, Confinement, Label, Resource, Rlimit};

use crate::error::Diagnostic;
use crate::host::Host;
use crate::plan::Note;
use crate::plan::ids::{Ids, Writer};
use crate::spec::{At, Network, Origin, Seccomp, Spec};
use crate::users::Credentials;

/// Soft and hard limits nobody has to ask for: descriptors as systemd sets them (a hard limit of
/// 2^30 makes programs that close or map them all one by one crawl), no core dumps, little locked
/// memory. They are only ever lowered to.
pub const DEFAULT_RLIMITS: [(&str, u64, u64); 3] = [
    ("nofile", 1024, 524_288),
    ("core", 0, 0),
    ("memlock", 8 << 20, 8 << 20),
];

/// The architecture this program was built for runs the programs of its containers too.
const NATIVE: Arch = if cfg!(target_arch = "aarch64") {
    Arch::Aarch64
} else {
    Arch::X86_64
};

/// Confinement of the program and of the init, and the limits only the supervisor can raise.
#[derive(Debug)]
pub(super) struct Security {
    pub(super) program: Confinement,
    /// The bounding set, cut before anything else of the container's: nothing of it runs with more.
    pub(super) bounding: Confinement,
    /// Where each kind of step of `program` comes from.
    pub(super) origins: Origins,
    pub(super) init: Option<Confinement>,
    pub(super) raise: Vec<At<Rlimit>>,
    pub(super) notes: Vec<Note>,
}

/// Which lines of the manifest the confinement rests on.
#[derive(Debug, Clone, Default)]
pub(super) struct Origins {
    user: Origin,
    capabilities: Origin,
    new_privileges: Origin,
    seccomp: Origin,
    landlock: Origin,
    label: Origin,
    rlimits: Vec<Origin>,
}

impl Origins {
    /// The line that asked for a step of this kind.
    pub(super) fn of(&self, part: confine::Part) -> Origin {
        use confine::Part;
        match part {
            Part::Ids | Part::SecureBits => self.user,
            Part::BoundingSet(_) | Part::Capabilities => self.capabilities,
            Part::NoNewPrivs => self.new_privileges,
            Part::Seccomp => self.seccomp,
            Part::LandlockRules(_) | Part::LandlockRestrict => self.landlock,
            Part::Label => self.label,
            Part::Rlimit(index) => self.rlimits.get(index).copied().unwrap_or_default(),
            _ => Origin::Default,
        }
    }
}

pub(super) fn resolve(
    spec: &Spec,
    host: &Host,
    user: &Credentials,
    ids: Option<&Ids>,
) -> Result<Security, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    let capabilities = capabilities(spec, &mut problems);
    let filter = filter(spec, host, capabilities, &mut problems);
    let (limits, raise) = limits(spec, host, &mut notes, &mut problems);

    let process_ids = confine::Ids {
        uid: user.uid,
        gid: user.gid,
        // Where the kernel forbids setgroups(2) the caller's groups stay, shown as 65534.
        groups: (ids.map(|ids| ids.writer) != Some(Writer::DirectOwnId))
            .then(|| user.groups.clone()),
    };
    let mut builder = Confinement::builder()
        .ids(process_ids.clone())
        .capabilities(Capabilities::for_user(capabilities, user.uid))
        .bounding_is_cut()
        .no_new_privs(!spec.security.new_privileges.value);
    if let Some(program) = filter {
        builder = builder.seccomp(program);
    }
    for limit in &limits {
        builder = builder.rlimit(limit.value);
    }
    builder = landlock(spec, host, builder, &mut notes, &mut problems);
    builder = label(spec, host, builder, &mut problems);
    let origins = origins(spec, &limits);
    let program = builder.build().map_err(|error| {
        problems.push(Diagnostic::host(
            label_origin(spec).unwrap_or_default(),
            error.to_string(),
        ));
    });
    let init = spec.init.value.then(|| init(process_ids)).transpose();
    match (program, init, problems.is_empty()) {
        (Ok(program), Ok(init), true) => {
            let bounding = Confinement::bounding(capabilities, host.last_capability);
            Ok(Security {
                program,
                bounding,
                origins,
                init,
                raise,
                notes,
            })
        }
        (_, Err(problem), _) => {
            problems.push(problem);
            Err(problems)
        }
        _ => Err(problems),
    }
}

fn init(ids: confine::Ids) -> Result<Confinement, Diagnostic> {
    Confinement::init(ids, seccomp::Program::init_filter(NATIVE))
        .map_err(|error| Diagnostic::host(Origin::Default, error.to_string()))
}

fn capabilities(spec: &Spec, problems: &mut Vec<Diagnostic>) -> CapSet {
    let mut set = CapSet::DEFAULT;
    let mut parse = |name: &At<String>| {
        CapSet::from_name(&name.value).unwrap_or_else(|error| {
            problems.push(Diagnostic::input(name.origin, error.to_string()));
            CapSet::EMPTY
        })
    };
    // As Docker has it: `drop = ["ALL"]` first, then what is added stays.
    for name in &spec.security.capabilities_drop {
        set = set.difference(parse(name));
    }
    for name in &spec.security.capabilities_add {
        set = set.union(parse(name));
    }
    set
}

fn filter(
    spec: &Spec,
    host: &Host,
    capabilities: CapSet,
    problems: &mut Vec<Diagnostic>,
) -> Option<seccomp::Program> {
    let At { value, origin } = &spec.security.seccomp;
    let (path, json) = match value {
        Seccomp::Unconfined => return None,
        Seccomp::Default => return Some(seccomp::Program::default_for(capabilities, NATIVE)),
        Seccomp::Profile { path, json } => (path, json),
    };
    let context = docker::Context {
        arch: NATIVE,
        capabilities,
        kernel: host.kernel,
    };
    let parsed = docker::parse(json, &context);
    match parsed.and_then(|parsed| seccomp::compile(&parsed.profile, NATIVE)) {
        Ok(program) => Some(program),
        Err(error) => {
            let what = format!("seccomp profile {}: {error}", path.display());
            problems.push(Diagnostic::input(*origin, what));
            None
        }
    }
}

/// The limits the program sets itself, and those whose hard limit the supervisor has to raise first.
fn limits(
    spec: &Spec,
    host: &Host,
    notes: &mut Vec<Note>,
    problems: &mut Vec<Diagnostic>,
) -> (Vec<At<Rlimit>>, Vec<At<Rlimit>>) {
    let current = |resource: Resource| host.rlimits.iter().find(|limit| limit.resource == resource);
    let mut set = Vec::new();
    let mut raise = Vec::new();
    for (name, soft, hard) in DEFAULT_RLIMITS {
        let resource = Resource::from_name(name).expect("the table holds names of the kernel");
        if spec
            .security
            .rlimits
            .iter()
            .any(|limit| limit.value.name == name)
        {
            continue;
        }
        let bound = current(resource)
            .and_then(|limit| limit.hard)
            .unwrap_or(u64::MAX);
        if bound < hard {
            notes.push(Note::new(format!("RLIMIT_{}: this process's own hard limit {bound} is below the default {hard}, and stays", name.to_uppercase())));
        }
        let (soft, hard) = (Some(soft.min(bound)), Some(hard.min(bound)));
        set.push(At::default_of(Rlimit {
            resource,
            soft,
            hard,
        }));
    }
    for At { value, origin } in &spec.security.rlimits {
        let resource = match Resource::from_name(&value.name) {
            Ok(resource) => resource,
            Err(error) => {
                problems.push(Diagnostic::input(*origin, error.to_string()));
                continue;
            }
        };
        let limit = Rlimit {
            resource,
            soft: value.soft,
            hard: value.hard,
        };
        let bound = current(resource)
            .and_then(|limit| limit.hard)
            .unwrap_or(u64::MAX);
        if value.hard.unwrap_or(u64::MAX) > bound {
            if !host.caller.may_raise_rlimits {
                problems.push(
                    Diagnostic::host(*origin, format!("the hard limit of `{}` cannot be raised above {bound}, this process's own", value.name))
                        .help("ask for no more, or start ctr with CAP_SYS_RESOURCE and a higher limit"),
                );
                continue;
            }
            let soft = current(resource).and_then(|limit| limit.soft);
            raise.push(At {
                value: Rlimit {
                    resource,
                    soft,
                    hard: value.hard,
                },
                origin: *origin,
            });
        }
        set.push(At {
            value: limit,
            origin: *origin,
        });
    }
    (set, raise)
}

fn landlock(
    spec: &Spec,
    host: &Host,
    builder: confine::Builder,
    notes: &mut Vec<Note>,
    problems: &mut Vec<Diagnostic>,
) -> confine::Builder {
    let scopes = confine::Scopes {
        // They belong to the network namespace: with the host's, its sockets are within reach.
        abstract_unix_socket: matches!(spec.namespaces.net.value, Network::Host),
        // Those of others are in other pid namespaces, a container always has its own.
        signal: false,
    };
    let Some(At { value, origin }) = &spec.security.landlock else {
        if scopes == confine::Scopes::NONE || host.landlock == confine::Abi::NONE {
            return builder;
        }
        let rules = confine::Landlock {
            scopes,
            ..confine::Landlock::default()
        };
        return builder.landlock(rules, host.landlock);
    };
    let rules = confine::Landlock {
        read: value.read.clone(),
        write: value.write.clone(),
        scopes,
    };
    for missing in rules.unenforced(host.landlock) {
        if missing == confine::Unenforced::Everything {
            problems.push(
                Diagnostic::host(*origin, "`landlock` cannot be enforced: this kernel has no Landlock")
                    .help("boot with `lsm=landlock,…` (CONFIG_SECURITY_LANDLOCK), or leave `landlock` out"),
            );
            return builder;
        }
        notes.push(Note::at(*origin, missing.to_string()));
    }
    builder.landlock(rules, host.landlock)
}

fn label(
    spec: &Spec,
    host: &Host,
    builder: confine::Builder,
    problems: &mut Vec<Diagnostic>,
) -> confine::Builder {
    match (&spec.security.apparmor, &spec.security.selinux) {
        (Some(_), Some(At { origin, .. })) => {
            problems.push(Diagnostic::input(
                *origin,
                "`apparmor` and `selinux` exclude each other",
            ));
            builder
        }
        (Some(At { value, .. }), None) => {
            builder.label(Label::AppArmor(value.clone()), host.lsms.clone())
        }
        (None, Some(At { value, .. })) => {
            builder.label(Label::SeLinux(value.clone()), host.lsms.clone())
        }
        (None, None) => builder,
    }
}

fn label_origin(spec: &Spec) -> Option<Origin> {
    let label = spec
        .security
        .apparmor
        .as_ref()
        .or(spec.security.selinux.as_ref());
    label.map(|label| label.origin)
}

fn origins(spec: &Spec, limits: &[At<Rlimit>]) -> Origins {
    let security = &spec.security;
    let asked = security
        .capabilities_add
        .iter()
        .chain(&security.capabilities_drop);
    Origins {
        user: spec.process.user.origin,
        capabilities: asked
            .map(|name| name.origin)
            .min_by_key(first_line)
            .unwrap_or_default(),
        new_privileges: security.new_privileges.origin,
        seccomp: security.seccomp.origin,
        landlock: security
            .landlock
            .as_ref()
            .map(|rules| rules.origin)
            .unwrap_or_default(),
        label: label_origin(spec).unwrap_or_default(),
        rlimits: limits.iter().map(|limit| limit.origin).collect(),
    }
}

fn first_line(origin: &Origin) -> u32 {
    match origin {
        Origin::Default | Origin::Image => u32::MAX,
        Origin::Line(line) => *line,
    }
}
