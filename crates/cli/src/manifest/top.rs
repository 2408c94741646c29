//! The top of a manifest, and what holds between its parts.

use std::collections::BTreeMap;
use std::path::Path;

use engine::spec::{Root, User, UserNamespace};
use toml::de::DeTable;

use super::host::Host;
use super::model::{Given, Manifest, Network, RootSource, Stop};
use super::value::{host_path, name, sysctl, time};
use super::walk::{Reader, Rule, Section, Value};
use super::{keys, mount, network, process, resources, security};
use crate::diagnostic::{Code, quoted};

/// Read everything; `None` when what is required is not there. Errors are in `r`.
pub(super) fn read<'t>(
    r: &Reader,
    table: &'t DeTable<'t>,
    path: &Path,
    host: &Host<'_>,
) -> Option<Manifest> {
    let top = Section::top(r, table);
    // With these, what would be missing else is not.
    let several = top.has("container");
    let image = top.get("image");
    let rootless = several || image.is_some() || top.has("build");

    let name = container_name(&top, path, several);
    let root = root(&top, image, host, rootless);
    let process = process::read(&top, host, rootless);
    let hostname = top
        .get("hostname")
        .and_then(|v| v.parse(r, "a string", name::host));
    let init = top.get("init").and_then(|v| v.bool(r));
    let stop = top.get("stop").map(|v| stop(r, &v)).unwrap_or_default();
    let resources = top
        .get("resources")
        .map(|v| resources::read(r, &v, host))
        .unwrap_or_default();
    let mounts = top
        .get("mount")
        .map(|v| mount::read(r, &v, host))
        .unwrap_or_default();
    let network = top
        .get("network")
        .and_then(|v| network::read(r, &v))
        .unwrap_or_else(|| Given::default_of(network::bridge()));
    let networks = top
        .get("networks")
        .map(|v| network::definitions(r, &v))
        .unwrap_or_default();
    let security = top
        .get("security")
        .map(|v| security::read(r, &v, host))
        .unwrap_or_default();
    let labels = top.get("labels").map(|v| labels(r, &v)).unwrap_or_default();

    let manifest = Manifest {
        name: name?,
        root: root?,
        process: process?,
        hostname,
        init: init.unwrap_or_else(|| Given::default_of(true)),
        stop,
        resources,
        mounts,
        network,
        networks,
        security,
        labels,
    };
    check_sysctls(r, &manifest);
    check_user(r, &manifest);
    Some(manifest)
}

fn container_name(top: &Section<'_, '_>, path: &Path, several: bool) -> Option<Given<String>> {
    if let Some(value) = top.get("name") {
        return value.parse(top.r, "a string", name::container);
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    match name::container(&stem) {
        Ok(name) => Some(Given::default_of(name)),
        Err(_) if several => None,
        Err(rule) => {
            let stem = quoted(&stem);
            let why = Rule::from(format!(
                "the file's name without its ending, {stem}, cannot be one: {}",
                rule.label
            ));
            top.r.error(
                "missing key `name`".into(),
                0..0,
                why.code(Code::MissingKey),
            );
            None
        }
    }
}

/// From `image` or `rootfs`; `optional`: from what is not read here.
fn root(
    top: &Section<'_, '_>,
    image: Option<Value<'_>>,
    host: &Host<'_>,
    optional: bool,
) -> Option<Given<RootSource>> {
    let rootfs = if optional {
        top.get("rootfs")
    } else {
        let rule = Rule::from("a container needs a root file system").help(
            "`image = \"NAME\"`, `rootfs = \"./dir\"`, or `rootfs = \"host\"` for a throw-away view of this machine's own",
        );
        Some(top.require("rootfs", rule)?)
    };
    let Some(image) = image else {
        return rootfs?.parse(
            top.r,
            "a string: \"host\" or a directory",
            |text| match text {
                "host" => Ok(RootSource::Here(Root::Host)),
                text => {
                    host_path::root(host, text).map(|path| RootSource::Here(Root::Directory(path)))
                }
            },
        );
    };
    if let Some(rootfs) = rootfs {
        let at = [
            (rootfs.span(), ""),
            (image.span(), "the image is the root file system"),
        ];
        let message = "`image` and `rootfs` together".to_owned();
        top.r.conflict(message, "one of them is enough", at);
    }
    image.parse(top.r, "a string like \"nginx:1.27\"", |text| {
        text.parse()
            .map(RootSource::Image)
            .map_err(|error: ::image::Error| Rule::from(error.to_string()))
    })
}

fn stop(r: &Reader, value: &Value<'_>) -> Stop {
    let like = "a table like { signal = \"SIGTERM\", grace = \"10s\" }";
    let Some(table) = Section::open(r, &keys::STOP, value, like) else {
        return Stop::default();
    };
    let signal = table.get("signal").and_then(|v| {
        if v.is_integer() {
            let number = v.integer(r, "a signal's number, 1 to 64", 1..=64)?;
            return Some(number.map(|n| i32::try_from(n).unwrap_or_default()));
        }
        v.parse(
            r,
            "a signal's name like \"SIGTERM\" or its number",
            name::signal,
        )
    });
    let grace = table
        .get("grace")
        .and_then(|v| v.parse(r, "a string like \"10s\"", time::time));
    Stop { signal, grace }
}

fn labels(r: &Reader, value: &Value<'_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for entry in value
        .entries(r, &keys::LABELS, "a table of strings")
        .unwrap_or_default()
    {
        if entry.key().is_empty() || entry.key().chars().any(char::is_control) {
            let message = format!("bad label {}", quoted(entry.key()));
            r.error(
                message,
                entry.key_span(),
                "a label has a name, without control characters",
            );
        }
        if let Some(text) = entry.string(r, "a string") {
            labels.insert(entry.key().to_owned(), text.value.to_owned());
        }
    }
    labels
}

/// A parameter of the network namespace cannot be set in the host's.
fn check_sysctls(r: &Reader, manifest: &Manifest) {
    if manifest.network.value != Network::Host {
        return;
    }
    for entry in &manifest.security.sysctl {
        if sysctl::name(&entry.value.0) == Ok(sysctl::Owner::Net) {
            let message = format!(
                "{} cannot be set with the host's network",
                quoted(&entry.value.0)
            );
            let at = [
                (entry.place(), ""),
                (manifest.network.place(), "the network is the host's"),
            ];
            r.conflict(message, "this would change it for the whole machine", at);
        }
    }
}

/// A uid or gid outside the map of the user namespace does not exist in the container.
fn check_user(r: &Reader, manifest: &Manifest) {
    let Some(user) = &manifest.process.user else {
        return;
    };
    let (User::Name { group, .. } | User::Id { group, .. }) = &user.value;
    let gid = group.as_ref().and_then(|g| match g {
        engine::spec::Group::Id(gid) => Some(*gid),
        engine::spec::Group::Name(_) => None,
    });
    let uid = match &user.value {
        User::Id { uid, .. } => Some(*uid),
        User::Name { .. } => None,
    };
    let namespace = &manifest.security.user_namespace;
    let (has_uid, has_gid) = match &namespace.value {
        UserNamespace::Host => return,
        UserNamespace::Auto => {
            let mapped = |id: Option<u32>| id.is_none_or(|id| id < 65_536);
            (mapped(uid), mapped(gid))
        }
        UserNamespace::Explicit { uids, gids } => {
            let covers = |maps: &[engine::spec::IdMap], id: Option<u32>| {
                id.is_none_or(|id| {
                    maps.iter()
                        .any(|m| id >= m.inside && id - m.inside < m.count)
                })
            };
            (covers(uids, uid), covers(gids, gid))
        }
    };
    let what = match (has_uid, has_gid) {
        (false, _) => "user id",
        (_, false) => "group id",
        _ => return,
    };
    let message = format!("the container has no such {what}");
    match &namespace.span {
        Some(span) => {
            let at = [
                (user.place(), ""),
                (span.clone(), "these are the ids it has"),
            ];
            r.conflict(message, "not mapped", at);
        }
        None => r.error(message, user.place(), "it has the ids 0 to 65535"),
    }
}
