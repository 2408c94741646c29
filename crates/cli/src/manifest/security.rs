//! `[security]`: what the process may do.

use std::path::PathBuf;

use engine::spec::{Landlock, Rlimit, Seccomp, UserNamespace};

use super::host::Host;
use super::model::{Given, Security};
use super::value::{host_path, path, privilege, sysctl};
use super::walk::{Reader, Rule, Section, Value};
use super::{file, keys, user_namespace};
use crate::diagnostic::{Code, quoted};

pub(super) fn read(r: &Reader, value: &Value<'_>, host: &Host<'_>) -> Security {
    let mut security = Security::default();
    let Some(table) = Section::open(r, &keys::SECURITY, value, "a table like [security]") else {
        return security;
    };
    let namespace = table
        .get("user-namespace")
        .and_then(|v| user_namespace::read(r, &v));
    security.user_namespace = namespace.unwrap_or_else(|| Given::default_of(UserNamespace::Auto));
    if let Some(value) = table.get("capabilities") {
        (security.capabilities_add, security.capabilities_drop) = capabilities(r, &value);
    }
    if let Some(profile) = table.get("seccomp").and_then(|v| seccomp(r, &v, host)) {
        security.seccomp = profile;
    }
    let flag = |key| table.get(key).and_then(|v: Value<'_>| v.bool(r));
    security.new_privileges = flag("new-privileges").unwrap_or_else(|| Given::default_of(false));
    security.read_only_root = flag("read-only-root").unwrap_or_else(|| Given::default_of(false));
    let devices = table.get("devices");
    security.devices = devices.map(|v| devices_of(r, &v, host)).unwrap_or_default();
    security.sysctl = table
        .get("sysctl")
        .map(|v| sysctls(r, &v))
        .unwrap_or_default();
    security.rlimits = table
        .get("rlimits")
        .map(|v| rlimits(r, &v))
        .unwrap_or_default();
    security.landlock = table.get("landlock").and_then(|v| landlock(r, &v));
    security.oom_score_adj = table.get("oom-score-adj").and_then(|v| {
        let number = v.integer(r, "an integer from -1000 to 1000", -1000..=1000)?;
        Some(number.map(|n| i32::try_from(n).unwrap_or_default()))
    });
    security.apparmor = table
        .get("apparmor")
        .and_then(|v| v.parse(r, "a profile's name", privilege::apparmor));
    security.selinux = table.get("selinux").and_then(|v| {
        v.parse(
            r,
            "a string like \"system_u:system_r:container_t:s0\"",
            privilege::selinux,
        )
    });
    security
}

type Capabilities = (Vec<Given<String>>, Vec<Given<String>>);

fn capabilities(r: &Reader, value: &Value<'_>) -> Capabilities {
    let like = "a table like { add = [\"NET_RAW\"], drop = [\"ALL\"] }";
    let Some(table) = Section::open(r, &keys::CAPABILITIES, value, like) else {
        return Capabilities::default();
    };
    let list = |key: &'static str, parse: fn(&str) -> Result<String, Rule>| {
        table
            .get(key)
            .map(|v| unique(r, &v, "a string like \"NET_RAW\"", parse))
            .unwrap_or_default()
    };
    let add = list("add", privilege::capability_to_add);
    let drop = list("drop", privilege::capability_to_drop);
    if let Some(all) = drop.iter().find(|d| d.value == "ALL") {
        for other in drop.iter().filter(|d| d.value != "ALL") {
            let at = [(other.place(), ""), (all.place(), "drops every one")];
            r.conflict(
                format!("{} is dropped twice", quoted(&other.value)),
                "leave it out",
                at,
            );
        }
    }
    for added in &add {
        if let Some(dropped) = drop.iter().find(|d| d.value == added.value) {
            let message = format!("{} is both added and dropped", quoted(&added.value));
            let at = [(dropped.place(), ""), (added.place(), "added here")];
            r.conflict(message, "leave out one of them", at);
        }
    }
    (add, drop)
}

/// An array of strings in which nothing stands twice.
fn unique<T: PartialEq>(
    r: &Reader,
    value: &Value<'_>,
    like: &str,
    parse: impl Fn(&str) -> Result<T, Rule>,
) -> Vec<Given<T>> {
    let mut found: Vec<Given<T>> = Vec::new();
    let expected = format!(
        "an array of strings, each {}",
        like.strip_prefix("a string ").unwrap_or(like)
    );
    for entry in value.array(r, &expected).unwrap_or_default() {
        let Some(item) = entry.parse(r, like, &parse) else {
            continue;
        };
        if let Some(twin) = found.iter().find(|f| f.value == item.value) {
            let at = [(item.place(), ""), (twin.place(), "first here")];
            r.conflict("the same entry twice".into(), "leave it out", at);
        }
        found.push(item);
    }
    found
}

fn devices_of(r: &Reader, value: &Value<'_>, host: &Host<'_>) -> Vec<Given<PathBuf>> {
    unique(r, value, "a string like \"/dev/fuse\"", |text| {
        host_path::device(host, text)
    })
}

fn seccomp(r: &Reader, value: &Value<'_>, host: &Host<'_>) -> Option<Given<Seccomp>> {
    let like = "a string: \"default\", \"unconfined\" or a profile's path like \"./profile.json\"";
    value.parse(r, like, |text| match text {
        "default" => Ok(Seccomp::Default),
        "unconfined" => Ok(Seccomp::Unconfined),
        text if ["/", "./", "../"]
            .iter()
            .any(|start| text.starts_with(start)) =>
        {
            let (path, _) = host_path::existing(host, text)?;
            let json = file::read(&path).map_err(|e| Rule::from(e.message).code(Code::NotFound))?;
            if let Err(e) = serde_json::from_str::<serde::de::IgnoredAny>(&json) {
                return Err(format!("the profile is not JSON: {e}").into());
            }
            Ok(Seccomp::Profile { path, json })
        }
        _ => Err(
            "one of \"default\", \"unconfined\", or a path that starts with `/`, `./` or `../`"
                .into(),
        ),
    })
}

fn sysctls(r: &Reader, value: &Value<'_>) -> Vec<Given<(String, String)>> {
    let mut found = Vec::new();
    let entries = value.entries(
        r,
        &keys::SYSCTL,
        "a table like { \"net.core.somaxconn\" = \"1024\" }",
    );
    for entry in entries.unwrap_or_default() {
        if entry.is_table() && !entry.key().contains('.') {
            let help = "a parameter's name needs quotes: \"net.core.somaxconn\" = \"1024\"";
            entry.wrong_type(r, "a string", Some(help.to_owned()));
            continue;
        }
        if let Err(rule) = sysctl::name(entry.key()) {
            r.error(
                format!("bad kernel parameter {}", quoted(entry.key())),
                entry.key_span(),
                rule,
            );
            continue;
        }
        if let Some(text) = entry.parse(r, "a string like \"1024\"", sysctl::value) {
            found.push(text.map(|text| (entry.key().to_owned(), text)));
        }
    }
    found
}

fn rlimits(r: &Reader, value: &Value<'_>) -> Vec<Given<Rlimit>> {
    let mut found = Vec::new();
    let entries = value.entries(
        r,
        &keys::RLIMITS,
        "a table like { nofile = \"1024:524288\" }",
    );
    for entry in entries.unwrap_or_default() {
        if let Err(rule) = privilege::rlimit_name(entry.key()) {
            let message = format!("unknown key {}", quoted(entry.key()));
            r.error(message, entry.key_span(), rule.code(Code::UnknownKey));
            continue;
        }
        let like = "a string like \"1024:524288\"";
        found.extend(entry.parse(r, like, |text| privilege::rlimit(entry.key(), text)));
    }
    found
}

fn landlock(r: &Reader, value: &Value<'_>) -> Option<Given<Landlock>> {
    let like = "a table like { read = [\"/usr\"], write = [\"/data\"] }";
    let table = Section::open(r, &keys::LANDLOCK, value, like)?;
    let paths = |v: Value<'_>| {
        let found = unique(r, &v, "a string like \"/usr\"", path::absolute);
        found.into_iter().map(|p| p.value).collect::<Vec<_>>()
    };
    let read = table.get("read").map(paths).unwrap_or_default();
    let write = table.get("write").map(paths).unwrap_or_default();
    if !table.has("read") && !table.has("write") && !table.has_unknown() {
        value.bad(
            r,
            "allows nothing, not even to start the program: give `read` or `write` paths",
        );
    }
    Some(Given::new(Landlock { read, write }, value.span()))
}
