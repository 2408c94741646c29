//! `[[mount]]`.

use std::path::{Path, PathBuf};

use engine::spec::{MountSource, Owner};

use super::host::Host;
use super::keys;
use super::model::{Given, Mount};
use super::value::{host_path, path, size};
use super::walk::{Reader, Rule, Section, Value};
use crate::diagnostic::{Code, quoted_path};

/// Each costs the kernel a lookup at every path below it, and us a comparison with all others.
const MOST: usize = 500;

pub(super) fn read(r: &Reader, value: &Value<'_>, host: &Host<'_>) -> Vec<Given<Mount>> {
    let entries = value
        .array(r, "an array of tables: [[mount]]")
        .unwrap_or_default();
    if entries.len() > MOST {
        let message = format!("{} mounts", entries.len());
        r.error(
            message,
            value.key_span(),
            format!("at most {MOST} are supported"),
        );
        return Vec::new();
    }
    let mounts: Vec<_> = entries
        .iter()
        .filter_map(|entry| mount(r, entry, host))
        .collect();
    for (i, later) in mounts.iter().enumerate() {
        for earlier in &mounts[..i] {
            check_pair(r, &earlier.value, &later.value);
        }
    }
    mounts
}

fn mount(r: &Reader, value: &Value<'_>, host: &Host<'_>) -> Option<Given<Mount>> {
    let table = Section::open(
        r,
        &keys::MOUNT,
        value,
        "a table like { bind = \"./site\", at = \"/srv\" }",
    )?;
    let at = table
        .require("at", "where in the container")
        .and_then(|v| v.parse(r, "a string like \"/srv\"", path::mount_target));
    let read_only = table
        .get("read-only")
        .and_then(|v| v.bool(r))
        .is_some_and(|b| b.value);
    let owner = table
        .get("owner")
        .and_then(|v| Some((v.span(), owner(r, &v)?)));
    let bind = table.get("bind");
    let tmpfs = table.get("tmpfs");
    let source = match (bind, tmpfs) {
        (Some(bind), Some(tmpfs)) => {
            let at = [
                (tmpfs.key_span(), ""),
                (bind.key_span(), "this is the other one"),
            ];
            r.conflict(
                "both `bind` and `tmpfs`".into(),
                "a mount has one source",
                at,
            );
            return None;
        }
        (Some(bind), None) => bind_source(r, &bind, owner.map(|(_, owner)| owner), host),
        (None, Some(tmpfs)) => {
            if let Some((span, _)) = owner {
                let message = "`owner` is for `bind`".to_owned();
                r.error(message, span, "a tmpfs belongs to the container");
            }
            let bytes = tmpfs
                .parse(r, "a string like \"64MiB\"", size::tmpfs)?
                .value;
            Some(MountSource::Tmpfs { bytes })
        }
        // What is there instead was reported already.
        (None, None) if table.has_unknown() => return None,
        (None, None) => {
            let rule = Rule::from("a mount has a source")
                .help("`bind = \"./dir\"` or `tmpfs = \"64MiB\"`");
            let message = "missing key `mount.bind` or `mount.tmpfs`".to_owned();
            r.error(message, table.span(), rule.code(Code::MissingKey));
            return None;
        }
    };
    Some(Given::new(
        Mount {
            source: source?,
            at: at?,
            read_only,
        },
        value.span(),
    ))
}

fn bind_source(
    r: &Reader,
    value: &Value<'_>,
    owner: Option<Owner>,
    host: &Host<'_>,
) -> Option<MountSource> {
    let path = value.parse(r, "a string like \"./site\"", |text| {
        host_path::bind_source(host, text)
    })?;
    Some(MountSource::Bind {
        path: path.value,
        owner: owner.unwrap_or(Owner::Host),
    })
}

fn owner(r: &Reader, value: &Value<'_>) -> Option<Owner> {
    let parsed = value.parse(r, "a string: \"match\" or \"host\"", |text| match text {
        "match" => Ok(Owner::Match),
        "host" => Ok(Owner::Host),
        _ => Err(Rule::from("one of \"match\" and \"host\"")),
    });
    parsed.map(|given| given.value)
}

/// What the order of two mounts makes impossible.
fn check_pair(r: &Reader, earlier: &Mount, later: &Mount) {
    let (a, b) = (&earlier.at, &later.at);
    let shown = |at: &Given<PathBuf>| quoted_path(&at.value);
    let at = |why| [(b.place(), ""), (a.place(), why)];
    if a.value == b.value {
        r.conflict(
            format!("two mounts at {}", shown(a)),
            "the first would be hidden",
            at("first mounted here"),
        );
    } else if a.value.starts_with(&b.value) {
        let message = format!(
            "the mount at {} would hide the one at {}",
            shown(b),
            shown(a)
        );
        r.conflict(
            message,
            "it comes after the mount below it",
            at("would be hidden"),
        );
    } else if let Ok(rest) = b.value.strip_prefix(&a.value)
        && earlier.read_only
        && !has_mount_point(&earlier.source, rest)
    {
        let message = format!("nowhere to mount {}", shown(b));
        let rest = quoted_path(rest);
        let rule = format!("the mount around it is read-only and has no {rest}");
        r.conflict(message, rule, at("read-only"));
    }
}

/// Whether a mount point is there, so that none needs to be made in what is read-only.
fn has_mount_point(source: &MountSource, rest: &Path) -> bool {
    match source {
        MountSource::Bind { path, .. } => path.join(rest).exists(),
        MountSource::Tmpfs { .. } => false,
    }
}
