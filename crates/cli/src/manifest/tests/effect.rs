//! Every key is honoured: it changes the `Spec`, and only its own type is taken.

use std::collections::BTreeSet;

use super::{BASE, World};
use crate::diagnostic::Code;
use crate::manifest::keys::PLACES;

/// A key, where it stands (`@`), a value that is not the default, the types it takes.
pub(super) struct Key {
    pub(super) path: &'static str,
    around: &'static str,
    valid: &'static str,
    types: &'static str,
}

const fn key(
    path: &'static str,
    around: &'static str,
    valid: &'static str,
    types: &'static str,
) -> Key {
    Key {
        path,
        around,
        valid,
        types,
    }
}

const TOP: &str = "rootfs = \"host\"\ncommand = [\"true\"]\n@\n";
const MOUNT: &str =
    "rootfs = \"host\"\ncommand = [\"true\"]\nmount = [{ @, tmpfs = \"1MiB\", at = \"/x\" }]\n";
const BIND: &str =
    "rootfs = \"host\"\ncommand = [\"true\"]\nmount = [{ @, bind = \"site\", at = \"/x\" }]\n";
const IO: &str = "rootfs = \"host\"\ncommand = [\"true\"]\nresources.io = [{ @, device = \"BLOCK\", read = \"1B/s\" }]\n";
const IO_WRITE: &str = "rootfs = \"host\"\ncommand = [\"true\"]\nresources.io = [{ @, device = \"BLOCK\", write = \"1B/s\" }]\n";
const NETWORKS: &str = "rootfs = \"host\"\ncommand = [\"true\"]\nnetworks = { lab = { @ } }\n";
const MAPS: &str =
    "rootfs = \"host\"\ncommand = [\"true\"]\nsecurity.user-namespace = { @, GIDS }\n";
const MAP: &str = "rootfs = \"host\"\ncommand = [\"true\"]\nsecurity.user-namespace.gids = [{ inside = 0, outside = 9, count = 9 }]\nsecurity.user-namespace.uids = [{ @, ";

pub(super) const KEYS: &[Key] = &[
    key("name", TOP, "\"other\"", "s"),
    key("rootfs", "command = [\"true\"]\n@\n", "\"./root\"", "s"),
    key("image", "@\n", "\"nginx:1.27\"", "s"),
    key("command", "rootfs = \"host\"\n@\n", "[\"false\"]", "a"),
    key("args", TOP, "[\"-x\"]", "a"),
    key("user", TOP, "\"1000:1000\"", "s"),
    key("workdir", TOP, "\"/srv\"", "s"),
    key("env", TOP, "{ A = \"1\" }", "t"),
    key(
        "env.host",
        "rootfs = \"host\"\ncommand = [\"true\"]\nenv = { A = { @ } }\n",
        "\"HOME\"",
        "s",
    ),
    key("hostname", TOP, "\"other\"", "s"),
    key("init", TOP, "false", "b"),
    key("tty", TOP, "true", "b"),
    key("stop", TOP, "{ grace = \"1s\" }", "t"),
    key("stop.signal", TOP, "\"SIGQUIT\"", "si"),
    key("stop.grace", TOP, "\"1s\"", "s"),
    key("resources", TOP, "{ pids = 5 }", "t"),
    key("resources.memory", TOP, "{ max = \"64MiB\" }", "t"),
    key("resources.memory.max", TOP, "\"64MiB\"", "s"),
    key("resources.memory.high", TOP, "\"64MiB\"", "s"),
    key("resources.memory.low", TOP, "\"0\"", "s"),
    key("resources.memory.min", TOP, "\"1KiB\"", "s"),
    key("resources.memory.swap", TOP, "\"max\"", "s"),
    key("resources.memory.oom", TOP, "\"kill-all\"", "s"),
    key("resources.cpu", TOP, "{ weight = 7 }", "t"),
    key("resources.cpu.max", TOP, "1.5", "fi"),
    key("resources.cpu.weight", TOP, "7", "i"),
    key("resources.cpu.cpus", TOP, "\"0-1\"", "s"),
    key("resources.cpu.mems", TOP, "\"0\"", "s"),
    key("resources.pids", TOP, "\"max\"", "si"),
    key(
        "resources.io",
        TOP,
        "[{ device = \"BLOCK\", read = \"1B/s\" }]",
        "a",
    ),
    key(
        "resources.io.device",
        "rootfs = \"host\"\ncommand = [\"true\"]\nresources.io = [{ @, read = \"1B/s\" }]\n",
        "\"BLOCK\"",
        "s",
    ),
    key("resources.io.read", IO_WRITE, "\"1MiB/s\"", "s"),
    key("resources.io.write", IO, "\"1MiB/s\"", "s"),
    key("resources.io.read-iops", IO, "9", "i"),
    key("resources.io.write-iops", IO, "9", "i"),
    key("resources.io-weight", TOP, "9", "i"),
    key("mount", TOP, "[{ tmpfs = \"1MiB\", at = \"/x\" }]", "a"),
    key(
        "mount.bind",
        "rootfs = \"host\"\ncommand = [\"true\"]\nmount = [{ @, at = \"/x\" }]\n",
        "\"site\"",
        "s",
    ),
    key(
        "mount.tmpfs",
        "rootfs = \"host\"\ncommand = [\"true\"]\nmount = [{ @, at = \"/x\" }]\n",
        "\"1MiB\"",
        "s",
    ),
    key(
        "mount.at",
        "rootfs = \"host\"\ncommand = [\"true\"]\nmount = [{ @, tmpfs = \"1MiB\" }]\n",
        "\"/x\"",
        "s",
    ),
    key("mount.read-only", MOUNT, "true", "b"),
    key("mount.owner", BIND, "\"match\"", "s"),
    key("network", TOP, "{ mode = \"host\" }", "t"),
    key("network.mode", TOP, "\"host\"", "s"),
    key("network.publish", TOP, "[\"8080:80\"]", "a"),
    key("network.dns", TOP, "[\"1.1.1.1\"]", "a"),
    key("network.aliases", TOP, "[\"www\"]", "a"),
    key("network.address", TOP, "\"10.1.2.3\"", "s"),
    key("network.rate", TOP, "\"1Mbit/s\"", "s"),
    key("network.allow", TOP, "[\"10.0.0.0/8\"]", "a"),
    key("networks", TOP, "{ lab = { internal = true } }", "t"),
    key("networks.subnets", NETWORKS, "[\"10.1.2.0/24\"]", "a"),
    key("networks.internal", NETWORKS, "true", "b"),
    key("networks.mtu", NETWORKS, "1400", "i"),
    key("networks.metadata", NETWORKS, "true", "b"),
    key("security", TOP, "{ new-privileges = true }", "t"),
    key("security.user-namespace", TOP, "\"host\"", "st"),
    key(
        "security.user-namespace.uids",
        MAPS,
        "[{ inside = 0, outside = 9, count = 9 }]",
        "a",
    ),
    key(
        "security.user-namespace.gids",
        "rootfs = \"host\"\ncommand = [\"true\"]\nsecurity.user-namespace = { @, UIDS }\n",
        "[{ inside = 0, outside = 9, count = 9 }]",
        "a",
    ),
    key("security.user-namespace.inside", MAP, "0", "i"),
    key("security.user-namespace.outside", MAP, "7", "i"),
    key("security.user-namespace.count", MAP, "7", "i"),
    key("security.capabilities", TOP, "{ add = [\"BPF\"] }", "t"),
    key("security.capabilities.add", TOP, "[\"BPF\"]", "a"),
    key("security.capabilities.drop", TOP, "[\"ALL\"]", "a"),
    key("security.seccomp", TOP, "\"./good.json\"", "s"),
    key("security.new-privileges", TOP, "true", "b"),
    key("security.read-only-root", TOP, "true", "b"),
    key("security.devices", TOP, "[\"/dev/null\"]", "a"),
    key("security.sysctl", TOP, "{ \"kernel.shmmax\" = \"1\" }", "t"),
    key("security.rlimits", TOP, "{ nofile = \"1\" }", "t"),
    key("security.landlock", TOP, "{ read = [\"/\"] }", "t"),
    key("security.landlock.read", TOP, "[\"/\"]", "a"),
    key("security.landlock.write", TOP, "[\"/tmp\"]", "a"),
    key("security.oom-score-adj", TOP, "7", "i"),
    key("security.apparmor", TOP, "\"p\"", "s"),
    key("security.selinux", TOP, "\"u:r:t\"", "s"),
    key("labels", TOP, "{ a = \"b\" }", "t"),
];

impl Key {
    /// The manifest with this key set to `value`, or without it.
    pub(super) fn manifest(&self, value: Option<&str>) -> String {
        let top = self.around.contains("\n@\n") || self.around.ends_with("@\n");
        let name = if top {
            self.path
        } else {
            self.path.rsplit('.').next().unwrap_or_default()
        };
        let assignment = value.map(|v| format!("{name} = {v}"));
        let marker = if assignment.is_none() && !top {
            "@, "
        } else {
            "@"
        };
        let mut around = self.around.to_owned();
        if around == MAP {
            let parts = ["inside = 0", "outside = 9", "count = 9"];
            let others: Vec<_> = parts.into_iter().filter(|p| !p.starts_with(name)).collect();
            around.push_str(&format!("{} }}]\n", others.join(", ")));
        }
        let map = "= [{ inside = 0, outside = 9, count = 9 }]";
        around
            .replace(marker, &assignment.unwrap_or_default())
            .replace("GIDS", &format!("gids {map}"))
            .replace("UIDS", &format!("uids {map}"))
            .replace(
                "BLOCK",
                &block_device().unwrap_or_else(|| "/dev/null".into()),
            )
    }
}

/// Some block device; machines without any cannot have a valid `io`.
fn block_device() -> Option<String> {
    use std::os::unix::fs::FileTypeExt;
    let entries = std::fs::read_dir("/dev").ok()?.flatten();
    let mut blocks = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_block_device()));
    blocks
        .next()
        .map(|e| e.path().to_string_lossy().into_owned())
}

#[test]
fn the_cases_here_are_all_keys_there_are() {
    let cases: BTreeSet<String> = KEYS.iter().map(|k| k.path.to_owned()).collect();
    let dotted = |path: &str, key: &str| match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    };
    let known = PLACES
        .iter()
        .flat_map(|p| p.keys.iter().map(|k| dotted(p.path, k)))
        .collect();
    assert_eq!(cases, known);
}

#[test]
fn a_value_of_another_type_is_refused_by_name() {
    let world = World::new();
    let samples = [
        ('s', "\"text\""),
        ('i', "7"),
        ('f', "2.5"),
        ('b', "true"),
        ('d', "2026-11-24"),
        ('a', "[1, 2]"),
        ('t', "{ x = 1 }"),
    ];
    for key in KEYS {
        for (kind, sample) in samples
            .iter()
            .filter(|(kind, _)| !key.types.contains(*kind))
        {
            let manifest = key.manifest(Some(sample));
            let report = world.read(&manifest).expect_err(&manifest);
            let wrong: Vec<_> = report
                .diagnostics
                .iter()
                .filter(|d| d.code == Code::WrongType)
                .collect();
            let [diagnostic] = wrong.as_slice() else {
                panic!("{manifest}\n{}", report.render(false));
            };
            assert_eq!(
                diagnostic.message,
                format!("wrong type for `{}`", key.path),
                "{manifest}"
            );
            assert!(
                diagnostic.label.starts_with("expected "),
                "{kind} {manifest}"
            );
            let span = diagnostic.span.clone().expect("a place");
            assert_eq!(&manifest[span], *sample, "{manifest}");
        }
    }
}

#[test]
fn every_key_changes_what_is_run() {
    let world = World::new();
    let no_origin = |spec: &engine::spec::Spec| {
        let text = format!("{spec:?}");
        let mut parts = text.split("Line(");
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            out.push_str("Default");
            out.push_str(part.split_once(')').map_or("", |(_, rest)| rest));
        }
        out
    };
    for key in KEYS
        .iter()
        .filter(|key| key.path != "security.user-namespace.inside")
    {
        if key.path.starts_with("resources.io.") || key.path == "resources.io" {
            let Some(_) = block_device() else { continue };
        }
        let with = match world.read(&key.manifest(Some(key.valid))) {
            Ok(spec) => no_origin(&spec),
            Err(report) => panic!(
                "{}\n{}",
                key.manifest(Some(key.valid)),
                report.render(false)
            ),
        };
        // A manifest that cannot be without the key differs from one that has it.
        if let Ok(without) = world.read(&key.manifest(None)) {
            assert_ne!(with, no_origin(&without), "`{}` has no effect", key.path);
        }
    }
}

#[test]
fn the_least_manifest_is_two_lines() {
    assert!(World::new().read(BASE).is_ok());
}
