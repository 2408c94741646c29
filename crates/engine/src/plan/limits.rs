//! lead
use std::path::PathBuf;
use crate::{error::Diagnostic, host::Host, plan::{Note, Op}, spec::{At, Spec}};
pub(super) struct Limits { pub(super) ops: Vec<At<Op>>, pub(super) dir: Option<PathBuf> }
pub(super) fn resolve(spec: &Spec, host: &Host, _notes: &mut Vec<Note>) -> Result<Limits, Vec<Diagnostic>> {
    let Some(place) = &host.cgroup.place else { return Ok(Limits { ops: vec![], dir: None }) };
    let last = place.path.last().unwrap();
    let mut ops = vec![];
    if !last.exists { ops.push(At::default_of(Op::MakeParentGroup { dir: last.dir.clone() })) }
    let dir = last.dir.join(&spec.name.value);
    ops.push(At::default_of(Op::MakeGroup { dir: dir.clone() }));
    Ok(Limits { ops, dir: Some(dir) })
}
