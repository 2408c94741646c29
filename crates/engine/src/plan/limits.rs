//! The container's cgroup and its limits.

use std::path::PathBuf;

use cgroup::{
    BlockDevice, Bytes, Controllers, CpuList, CpuMax, IoMax, Limit, Limits, Micros, Write, enabling,
};

use crate::error::Diagnostic;
use crate::host::{Cgroup, Host, PathKind, Place};
use crate::plan::{Note, Op};
use crate::spec::{self, At, Origin, Resources, Spec};

/// Processes and threads nobody has to ask for: a fork bomb ends here, and the exit report says
/// which key to raise.
const DEFAULT_PIDS: u64 = 4096;

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
            return Ok(Group { unmet, ..Group::default() });
        }
    };
    let unmet = asked.iter().filter_map(|At { value: write, origin }| {
        let (controller, holder) = missing(write, place)?;
        let message = format!("the limit {write} needs the cgroup2 controller `{controller}`");
        Some(Diagnostic::host(*origin, message).help(holder))
    });
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
    Ok(Group { unmet, ..make(spec, place, writes) })
}

/// The controller a write needs and the place does not have, and who has it.
fn missing(write: &Write, place: &Place) -> Option<(cgroup::Controller, String)> {
    let controller = write.controller?;
    if place.available.contains(controller) {
        return None;
    }
    let holder = place.holders.iter().find(|(held, _)| *held == controller);
    Some((controller, holder.map_or_else(String::new, |(_, by)| by.clone())))
}

fn make(spec: &Spec, place: &Place, writes: Vec<At<Write>>) -> Group {
    let mut needed = Controllers::default();
    for controller in writes.iter().filter_map(|write| write.value.controller) {
        needed.insert(controller);
    }
    let mut ops = Vec::new();
    for level in &place.levels {
        if !level.exists {
            ops.push(At::default_of(Op::MakeParentGroup { dir: level.dir.clone() }));
        }
        if let Some(write) = enabling(level.enabled, needed) {
            let dir = level.dir.clone();
            ops.push(At::default_of(Op::EnableControllers { dir, write }));
        }
    }
    let parent = place.levels.last().map_or(&place.mount_point, |level| &level.dir);
    let dir = parent.join(&spec.name.value);
    ops.push(At { value: Op::MakeGroup { dir: dir.clone() }, origin: spec.name.origin });
    ops.extend(writes.into_iter().map(|write| {
        write.map(|write| Op::WriteLimit { dir: dir.clone(), write })
    }));
    Group { ops, dir: Some(dir), unmet: Vec::new() }
}

/// What is set although nobody asked.
fn defaults(resources: &Resources) -> Vec<Write> {
    let limits = Limits {
        pids_max: resources.pids_max.is_none().then_some(Limit::Value(DEFAULT_PIDS)),
        // A container with some of its processes killed is seldom of use.
        memory_oom_group: resources.memory_oom_group.is_none().then_some(true),
        ..Limits::default()
    };
    limits.writes()
}

/// The writes that were asked for, each with its line.
fn asked(
    resources: &Resources,
    host: &Host,
    problems: &mut Vec<Diagnostic>,
) -> Vec<At<Write>> {
    let mut collect = Collect { writes: Vec::new(), problems };
    let bytes = |limit| match limit {
        spec::Limit::Max => Limit::Max,
        spec::Limit::Value(bytes) => Limit::Value(Bytes(bytes)),
    };
    let r = resources;
    collect.one(&r.memory_max, |l, v| l.memory_max = Some(bytes(*v)));
    collect.one(&r.memory_high, |l, v| l.memory_high = Some(bytes(*v)));
    collect.one(&r.memory_low, |l, v| l.memory_low = Some(bytes(*v)));
    collect.one(&r.memory_min, |l, v| l.memory_min = Some(bytes(*v)));
    collect.one(&r.memory_swap_max, |l, v| l.memory_swap_max = Some(bytes(*v)));
    collect.one(&r.memory_oom_group, |l, v| l.memory_oom_group = Some(*v));
    collect.one(&r.cpu_max, |l, v| {
        let quota = Limit::Value(Micros(v.quota_us));
        l.cpu_max = Some(CpuMax { quota, period: Micros(v.period_us) });
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
            Ok(limit) => collect.write(*origin, Limits { io_max: vec![limit], ..Limits::default() }),
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
        let Some(At { value, origin }) = value else { return };
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
        self.writes.extend(limits.writes().into_iter().map(|value| At { value, origin }));
    }
}

fn io_max(limit: &spec::IoLimit, host: &Host) -> Result<IoMax, String> {
    let device = &limit.device;
    let facts = host.path(device).ok_or(format!("the device {device:?} does not exist"))?;
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
