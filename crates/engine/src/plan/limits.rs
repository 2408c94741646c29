//! The container's cgroup and its limits.

use std::path::PathBuf;

use cgroup::device::{Access, DeviceRule, DeviceType};
use cgroup::{
    BlockDevice, Bytes, Controller, Controllers, CpuList, CpuMax, IoMax, Limit, Limits, Micros,
    Write, enabling,
};

use crate::error::Diagnostic;
use crate::host::{Cgroup, Host, PathKind, Place};
use crate::plan::{Note, Op};
use crate::spec::{self, At, Origin, Resources, Spec, UserNamespace};

/// Processes and threads nobody has to ask for: a fork bomb ends here, and the exit report says
/// which key to raise.
const DEFAULT_PIDS: u64 = 4096;

/// null, zero, full, random, urandom, tty, ptmx, and every pseudo-terminal: character devices.
const USUAL_DEVICES: [(u32, Option<u32>); 8] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(2)),
    (136, None),
];

/// The container's group and the operations that make it.
#[derive(Default)]
pub(super) struct Group {
    pub(super) ops: Vec<At<Op>>,
    /// `None`: it stays in the group of its supervisor.
    pub(super) dir: Option<PathBuf>,
    /// Limits that were asked for and that this host cannot set.
    pub(super) unmet: Vec<Diagnostic>,
}

pub(super) fn resolve(
    spec: &Spec,
    host: &Host,
    notes: &mut Vec<Note>,
) -> Result<Group, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let asked = asked(&spec.resources, host, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let place = match &host.cgroup {
        Cgroup::Place(place) => place,
        Cgroup::Unavailable { because, help } => {
            let unmet = asked.iter().map(|At { value, origin }| {
                let message = format!("the limit {value} needs a cgroup: {because}");
                Diagnostic::host(*origin, message).help(help)
            });
            let unmet = unmet.collect();
            notes.push(Note::new(format!(
                "no cgroup of its own, so no default limits either: {because}"
            )));
            return Ok(Group {
                unmet,
                ..Group::default()
            });
        }
    };
    let unmet = asked.iter().filter_map(
        |At {
             value: write,
             origin,
         }| {
            let (controller, holder) = missing(write, place)?;
            let message = format!("the limit {write} needs the cgroup2 controller `{controller}`");
            Some(Diagnostic::host(*origin, message).help(holder))
        },
    );
    let unmet = unmet.collect();
    let mut writes = asked;
    for write in defaults(&spec.resources) {
        match missing(&write, place) {
            None => writes.push(At::default_of(write)),
            Some((controller, holder)) => notes.push(Note::new(format!(
                "the default {write} is left out: no controller `{controller}`: {holder}"
            ))),
        }
    }
    Ok(Group {
        unmet,
        ..make(spec, host, place, writes)
    })
}

/// The controllers of the limits that are asked for.
#[must_use]
pub fn controllers(resources: &Resources) -> Controllers {
    let r = resources;
    let memory = [
        &r.memory_max,
        &r.memory_high,
        &r.memory_low,
        &r.memory_min,
        &r.memory_swap_max,
    ]
    .iter()
    .any(|limit| limit.is_some());
    let mut needed = Controllers::default();
    for (asked, controller) in [
        (memory || r.memory_oom_group.is_some(), Controller::Memory),
        (
            r.cpu_max.is_some() || r.cpu_weight.is_some(),
            Controller::Cpu,
        ),
        (
            r.cpuset_cpus.is_some() || r.cpuset_mems.is_some(),
            Controller::Cpuset,
        ),
        (!r.io.is_empty() || r.io_weight.is_some(), Controller::Io),
        (r.pids_max.is_some(), Controller::Pids),
    ] {
        if asked {
            needed.insert(controller);
        }
    }
    needed
}

/// The controller a write needs and the place does not have, and who has it.
fn missing(write: &Write, place: &Place) -> Option<(Controller, String)> {
    let controller = write.controller?;
    if place.available.contains(controller) {
        return None;
    }
    let holder = place.holders.iter().find(|(held, _)| *held == controller);
    Some((
        controller,
        holder.map_or_else(String::new, |(_, by)| by.clone()),
    ))
}

fn make(spec: &Spec, host: &Host, place: &Place, writes: Vec<At<Write>>) -> Group {
    let mut needed = Controllers::default();
    for controller in writes.iter().filter_map(|write| write.value.controller) {
        needed.insert(controller);
    }
    let mut ops = Vec::new();
    for level in &place.levels {
        if !level.exists {
            ops.push(At::default_of(Op::MakeParentGroup {
                dir: level.dir.clone(),
            }));
        }
        if let Some(write) = enabling(level.enabled, needed) {
            let dir = level.dir.clone();
            ops.push(At::default_of(Op::EnableControllers { dir, write }));
        }
    }
    let parent = place
        .levels
        .last()
        .map_or(&place.mount_point, |level| &level.dir);
    let dir = parent.join(&spec.name.value);
    ops.push(At {
        value: Op::MakeGroup { dir: dir.clone() },
        origin: spec.name.origin,
    });
    ops.extend(writes.into_iter().map(|write| {
        write.map(|write| Op::WriteLimit {
            dir: dir.clone(),
            write,
        })
    }));
    // In a user namespace of its own no node can be made, and what is bound is the user's choice.
    if spec.namespaces.user.value == UserNamespace::Host {
        let allowed = devices(spec, host);
        let origin = spec.namespaces.user.origin;
        ops.push(At {
            value: Op::DeviceFilter {
                dir: dir.clone(),
                allowed,
            },
            origin,
        });
    }
    Group {
        ops,
        dir: Some(dir),
        unmet: Vec::new(),
    }
}

/// What may be opened: what /dev has, terminals, and what was asked for.
fn devices(spec: &Spec, host: &Host) -> Vec<DeviceRule> {
    let access = Access {
        read: true,
        write: true,
        mknod: false,
    };
    let rule = |device_type, major, minor| DeviceRule {
        device_type: Some(device_type),
        major: Some(major),
        minor,
        access,
    };
    let usual = USUAL_DEVICES.map(|(major, minor)| rule(DeviceType::Char, major, minor));
    let asked = spec.devices.iter().filter_map(|device| {
        let facts = host.path(&device.value)?;
        let (major, minor) = facts.device?;
        let device_type = match facts.kind {
            PathKind::BlockDevice => DeviceType::Block,
            _ => DeviceType::Char,
        };
        Some(rule(device_type, major, Some(minor)))
    });
    usual.into_iter().chain(asked).collect()
}

/// What is set although nobody asked.
fn defaults(resources: &Resources) -> Vec<Write> {
    let limits = Limits {
        pids_max: resources
            .pids_max
            .is_none()
            .then_some(Limit::Value(DEFAULT_PIDS)),
        // A container with some of its processes killed is seldom of use.
        memory_oom_group: resources.memory_oom_group.is_none().then_some(true),
        ..Limits::default()
    };
    limits.writes()
}

/// The writes that were asked for, each with its line.
fn asked(resources: &Resources, host: &Host, problems: &mut Vec<Diagnostic>) -> Vec<At<Write>> {
    let mut collect = Collect {
        writes: Vec::new(),
        problems,
    };
    let bytes = |limit| match limit {
        spec::Limit::Max => Limit::Max,
        spec::Limit::Value(bytes) => Limit::Value(Bytes(bytes)),
    };
    let r = resources;
    collect.one(&r.memory_max, |l, v| l.memory_max = Some(bytes(*v)));
    collect.one(&r.memory_high, |l, v| l.memory_high = Some(bytes(*v)));
    collect.one(&r.memory_low, |l, v| l.memory_low = Some(bytes(*v)));
    collect.one(&r.memory_min, |l, v| l.memory_min = Some(bytes(*v)));
    collect.one(&r.memory_swap_max, |l, v| {
        l.memory_swap_max = Some(bytes(*v))
    });
    collect.one(&r.memory_oom_group, |l, v| l.memory_oom_group = Some(*v));
    collect.one(&r.cpu_max, |l, v| {
        let quota = Limit::Value(Micros(v.quota_us));
        l.cpu_max = Some(CpuMax {
            quota,
            period: Micros(v.period_us),
        });
    });
    collect.one(&r.cpu_weight, |l, v| l.cpu_weight = Some(*v));
    collect.list(&r.cpuset_cpus, |l, list| l.cpuset_cpus = Some(list));
    collect.list(&r.cpuset_mems, |l, list| l.cpuset_mems = Some(list));
    collect.one(&r.pids_max, |l, v| {
        l.pids_max = Some(match v {
            spec::Limit::Max => Limit::Max,
            spec::Limit::Value(count) => Limit::Value(*count),
        });
    });
    collect.one(&r.io_weight, |l, v| l.io_weight = Some(*v));
    for At { value, origin } in &r.io {
        match io_max(value, host) {
            Ok(limit) => collect.write(
                *origin,
                Limits {
                    io_max: vec![limit],
                    ..Limits::default()
                },
            ),
            Err(problem) => collect.problems.push(Diagnostic::input(*origin, problem)),
        }
    }
    collect.writes
}

struct Collect<'a> {
    writes: Vec<At<Write>>,
    problems: &'a mut Vec<Diagnostic>,
}

impl Collect<'_> {
    fn one<T>(&mut self, value: &Option<At<T>>, set: impl FnOnce(&mut Limits, &T)) {
        if let Some(At { value, origin }) = value {
            let mut limits = Limits::default();
            set(&mut limits, value);
            self.write(*origin, limits);
        }
    }

    fn list(&mut self, value: &Option<At<String>>, set: impl FnOnce(&mut Limits, CpuList)) {
        let Some(At { value, origin }) = value else {
            return;
        };
        match CpuList::parse(value) {
            Some(list) => {
                let mut limits = Limits::default();
                set(&mut limits, list);
                self.write(*origin, limits);
            }
            None => {
                let message = format!("{value:?} is not a list like \"0-3,7\"");
                self.problems.push(Diagnostic::input(*origin, message));
            }
        }
    }

    fn write(&mut self, origin: Origin, limits: Limits) {
        self.writes.extend(
            limits
                .writes()
                .into_iter()
                .map(|value| At { value, origin }),
        );
    }
}

fn io_max(limit: &spec::IoLimit, host: &Host) -> Result<IoMax, String> {
    let device = &limit.device;
    let facts = host
        .path(device)
        .ok_or(format!("the device {device:?} does not exist"))?;
    let (PathKind::BlockDevice, Some((major, minor))) = (facts.kind, facts.device) else {
        return Err(format!("{device:?} is not a block device"));
    };
    Ok(IoMax {
        device: BlockDevice { major, minor },
        rbps: limit.rbps.map(Limit::Value),
        wbps: limit.wbps.map(Limit::Value),
        riops: limit.riops.map(Limit::Value),
        wiops: limit.wiops.map(Limit::Value),
    })
}
