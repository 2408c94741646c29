//! What a manifest becomes.

use std::path::PathBuf;
use std::time::Duration;

use engine::spec::{
    At, CpuMax, Group, Limit, MountSource, Network, Origin, Owner, Rlimit, Root, Seccomp, User,
    UserNamespace,
};

use super::{BASE, World};
use crate::manifest::parse;

const WHOLE: &str = r#"name = "web"
rootfs = "./root"
command = ["nginx", "-g"]
args = ["daemon off;"]
user = "nginx:33"
workdir = "/srv"
env = { TZ = "UTC", HOME = { host = "HOME" } }
tty = true
stop = { signal = "SIGQUIT", grace = "1m" }

[resources]
memory = { max = "256MiB", high = "200MiB", swap = "0", oom = "kill-all" }
cpu = { max = 1.5, weight = 50, cpus = "0-1" }
pids = 64

[[mount]]
bind = "./link"
at = "/usr/share/nginx/html"
read-only = true
owner = "match"
[[mount]]
tmpfs = "64MiB"
at = "/tmp"

[network]
mode = "host"

[security]
user-namespace = "host"
capabilities = { add = ["CAP_NET_RAW"], drop = ["KILL"] }
seccomp = "./good.json"
rlimits = { nofile = "1024:unlimited" }

[labels]
team = "infra"
"#;

#[test]
fn every_value_comes_with_its_line() {
    let world = World::new();
    let spec = world.read(WHOLE).expect("it is right");
    assert_eq!(spec.name, At::line(1, "web".to_owned()));
    assert_eq!(
        spec.root,
        At::line(2, Root::Directory(world.folder().join("root")))
    );
    let argv = ["nginx", "-g", "daemon off;"].map(str::to_owned).to_vec();
    assert_eq!(spec.process.argv, At::line(3, argv));
    let user = User::Name {
        user: "nginx".into(),
        group: Some(Group::Id(33)),
    };
    assert_eq!(spec.process.user, At::line(5, user));
    assert_eq!(spec.process.workdir, At::line(6, PathBuf::from("/srv")));
    let home = At::line(7, ("HOME".to_owned(), "/home/me".to_owned()));
    assert!(spec.process.env.contains(&home));
    assert_eq!(spec.process.tty, At::line(8, true));
    assert_eq!(spec.stop.signal, At::line(9, 3));
    assert_eq!(spec.stop.grace, At::line(9, Duration::from_secs(60)));
    assert_eq!(
        spec.resources.memory_max,
        Some(At::line(12, Limit::Value(256 << 20)))
    );
    assert_eq!(spec.resources.memory_oom_group, Some(At::line(12, true)));
    let cpu = CpuMax {
        quota_us: 150_000,
        period_us: 100_000,
    };
    assert_eq!(spec.resources.cpu_max, Some(At::line(13, cpu)));
    assert_eq!(
        spec.resources.pids_max,
        Some(At::line(14, Limit::Value(64)))
    );
    // A mount's line is its header; its source is what the link leads to.
    assert_eq!(spec.mounts[0].origin, Origin::Line(16));
    let bind = MountSource::Bind {
        path: world.folder().join("site"),
        owner: Owner::Match,
    };
    assert_eq!(spec.mounts[0].value.source, bind);
    assert!(spec.mounts[0].value.read_only);
    assert_eq!(
        spec.mounts[1].value.source,
        MountSource::Tmpfs { bytes: 64 << 20 }
    );
    assert_eq!(spec.namespaces.net, At::line(26, Network::Host));
    assert_eq!(spec.namespaces.user, At::line(29, UserNamespace::Host));
    assert_eq!(
        spec.security.capabilities_add,
        [At::line(30, "NET_RAW".to_owned())]
    );
    assert!(
        matches!(&spec.security.seccomp.value, Seccomp::Profile { json, .. } if json.contains("SCMP"))
    );
    let rlimit = Rlimit {
        name: "nofile".into(),
        soft: Some(1024),
        hard: None,
    };
    assert_eq!(spec.security.rlimits, [At::line(32, rlimit)]);
    assert_eq!(spec.labels["team"], "infra");
}

#[test]
fn what_nobody_wrote_is_a_default() {
    let spec = World::new().read(BASE).expect("it is right");
    assert_eq!(spec.name, At::default_of("x".to_owned()));
    assert_eq!(spec.hostname, At::default_of("x".to_owned()));
    assert_eq!(spec.init, At::default_of(true));
    assert_eq!(spec.stop.signal, At::default_of(15));
    assert_eq!(spec.stop.grace, At::default_of(Duration::from_secs(10)));
    assert_eq!(spec.process.workdir, At::default_of(PathBuf::from("/")));
    assert_eq!(
        spec.process.user,
        At::default_of(User::Id {
            uid: 0,
            group: None
        })
    );
    let usual = At::default_of(engine::spec::DEFAULT_NETWORK.to_owned());
    let attachment = engine::spec::Attachment::new(usual);
    assert_eq!(
        spec.namespaces.net,
        At::default_of(Network::Bridge(Box::new(attachment)))
    );
    assert_eq!(spec.namespaces.user, At::default_of(UserNamespace::Auto));
    let names: Vec<_> = spec
        .process
        .env
        .iter()
        .map(|v| v.value.0.as_str())
        .collect();
    assert_eq!(names, ["PATH"]);
    assert!(spec.resources.pids_max.is_none());
}

#[test]
fn a_terminal_brings_a_term_unless_one_is_given() {
    let world = World::new();
    let term = |text: &str| {
        let spec = world.read(text).expect("it is right");
        let term = spec.process.env.iter().find(|v| v.value.0 == "TERM");
        term.map(|v| v.value.1.clone())
    };
    assert_eq!(term(&format!("{BASE}tty = true")).as_deref(), Some("xterm"));
    assert_eq!(
        term(&format!("{BASE}tty = true\nenv.TERM = \"vt100\"")).as_deref(),
        Some("vt100")
    );
    assert_eq!(term(BASE), None);
}

#[test]
fn arguments_of_the_command_line_come_last_and_are_bounded() {
    let world = World::new();
    let source = crate::diagnostic::Source::new("x.toml".into(), format!("{BASE}args = [\"a\"]"));
    let loaded = parse(source, "x.toml".as_ref(), &world.folder(), &world.options());
    let loaded = loaded.expect("it is right");
    let spec = loaded.spec(&["b".into()], None).expect("it is right");
    assert_eq!(spec.process.argv.value, ["true", "a", "b"]);
    let long = loaded
        .spec(&["x".repeat(128 << 10)], None)
        .expect_err("too long");
    assert!(
        long.render(false).contains("128 KiB"),
        "{}",
        long.render(false)
    );
    let many = loaded
        .spec(&vec!["x".repeat(1000); 3000], None)
        .expect_err("too many");
    assert!(
        many.render(false).contains("ARG_MAX"),
        "{}",
        many.render(false)
    );
}

#[test]
fn the_order_of_keys_does_not_matter_but_that_of_mounts_does() {
    let world = World::new();
    let spec = world.read(
        "[[mount]]\ntmpfs = \"1MiB\"\nat = \"/a\"\n[[mount]]\ntmpfs = \"1MiB\"\nat = \"/a/b\"\n",
    );
    // Only what is missing is wrong: a mount below an earlier one is fine.
    let report = spec.expect_err("no rootfs, no command");
    assert_eq!(report.diagnostics.len(), 2, "{}", report.render(false));
}
