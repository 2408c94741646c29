//! Plans compared as lists of operations: no machine is touched.

use std::path::PathBuf;
use std::time::Duration;

use cgroup::Controllers;

use super::*;
use crate::error::Fault;
use crate::host::{Caller, IdSource, Level, PathFacts, PathKind, Peer, Place, UserFiles};
use crate::net::Defined;
use crate::net::facts::NetFacts;
use crate::net::wiring::Address;
use crate::spec::{
    self, At, Attachment, DEFAULT_NETWORK, Limit, Mount, MountSource, Network, Origin, Owner,
    Process, Protocol, Publish, Resources, Root, Seccomp, Security, Spec, Stop, User,
    UserNamespace,
};

fn spec() -> Spec {
    Spec {
        name: At::line(1, "web".into()),
        source: "web.toml".into(),
        root: At::line(2, Root::Directory("/srv/root".into())),
        read_only_root: At::default(),
        process: Process {
            argv: At::line(3, vec!["sh".into()]),
            env: vec![At::default_of(("PATH".into(), "/usr/bin:/bin".into()))],
            workdir: At::default_of("/".into()),
            user: At::default_of(User::Id {
                uid: 0,
                group: None,
            }),
            tty: At::default(),
        },
        namespaces: spec::Namespaces {
            user: At::default_of(UserNamespace::Auto),
            net: At::default_of(Network::None),
        },
        networks: Vec::new(),
        hostname: At::default_of("web".into()),
        init: At::default_of(true),
        stop: Stop {
            signal: At::default_of(15),
            grace: At::default_of(Duration::from_secs(10)),
        },
        mounts: Vec::new(),
        devices: Vec::new(),
        sysctls: Vec::new(),
        masked_paths: Vec::new(),
        readonly_paths: Vec::new(),
        resources: Resources::default(),
        security: Security {
            capabilities_add: Vec::new(),
            capabilities_drop: Vec::new(),
            seccomp: At::default_of(Seccomp::Default),
            new_privileges: At::default(),
            rlimits: Vec::new(),
            oom_score_adj: None,
            landlock: None,
            apparmor: None,
            selinux: None,
        },
        image: None,
        labels: Default::default(),
    }
}

/// Root on a host with all controllers.
fn root_host() -> Host {
    let level = |dir: &str, exists| Level {
        dir: dir.into(),
        exists,
        enabled: Controllers::parse("memory"),
    };
    Host {
        caller: Caller {
            uid: 0,
            gid: 0,
            privileged: true,
            may_raise_rlimits: true,
        },
        ids: IdSource::Range {
            first: 0x7000_0000,
            slot: 0,
        },
        cgroup: Cgroup::Place(Place {
            mount_point: "/sys/fs/cgroup".into(),
            levels: vec![
                level("/sys/fs/cgroup", true),
                level("/sys/fs/cgroup/ctr", true),
            ],
            available: Controllers::parse("cpuset cpu io memory pids"),
            holders: Vec::new(),
        }),
        paths: Default::default(),
        top_level: Vec::new(),
        users: UserFiles::default(),
        rlimits: Vec::new(),
        landlock: confine::Abi::NONE,
        kernel: (6, 12),
        last_capability: confine::Capability::LAST,
        lsms: Default::default(),
        resolv_conf: None,
        net: None,
        pasta: None,
        peer: None,
        root: Default::default(),
        state_root: "/run/ctr".into(),
    }
}

fn user_host() -> Host {
    Host {
        caller: Caller {
            uid: 1000,
            gid: 1000,
            ..Caller::default()
        },
        ids: IdSource::Own {
            because: "newuidmap is not installed".into(),
        },
        cgroup: Cgroup::Unavailable {
            because: "nothing is delegated".into(),
            help: "ask".into(),
        },
        ..root_host()
    }
}

fn calls(plan: &Plan) -> Vec<String> {
    plan.operations()
        .into_iter()
        .map(|operation| operation.call)
        .collect()
}

fn place_of(plan: &Plan, start: &str) -> usize {
    let calls = calls(plan);
    calls
        .iter()
        .position(|call| call.starts_with(start))
        .unwrap_or_else(|| {
            panic!(
                "no operation starts with {start:?} in\n{}",
                calls.join("\n")
            )
        })
}

#[test]
fn what_could_outlive_a_crash_is_made_after_the_record_that_names_it() {
    let plan = plan(&spec(), &root_host()).expect("a plan");
    assert!(
        place_of(&plan, "renameat2") < place_of(&plan, "mkdirat(</sys/fs/cgroup/ctr>, \"web\"")
    );
    assert!(place_of(&plan, "mkdirat(</sys/fs/cgroup/ctr>, \"web\"") < place_of(&plan, "clone3"));
}

#[test]
fn a_mount_is_idmapped_only_when_the_maps_it_takes_are_written() {
    let plan = plan(&spec(), &root_host()).expect("a plan");
    let maps = place_of(&plan, "write(</proc/PID/gid_map>");
    let idmap = place_of(&plan, "mount_setattr(<clone of /srv/root>");
    let go = place_of(&plan, "sendmsg(child, GO, SCM_RIGHTS, [1 mounts])");
    assert!(maps < idmap && idmap < go);
}

#[test]
fn the_program_is_confined_last_and_its_filter_is_the_last_of_all() {
    let plan = plan(&spec(), &root_host()).expect("a plan");
    let operations = plan.operations();
    let [.., filter, exec] = &operations[..] else {
        panic!("too few operations")
    };
    assert!(
        filter.call.starts_with("seccomp(SECCOMP_SET_MODE_FILTER"),
        "{}",
        filter.call
    );
    assert!(
        exec.call.starts_with("execve(\"/usr/bin/sh\""),
        "{}",
        exec.call
    );
    assert_eq!((exec.who, exec.origin), (Who::Program, Origin::Line(3)));
}

#[test]
fn limits_are_written_with_the_line_that_asked_and_only_missing_controllers_are_enabled() {
    let mut spec = spec();
    spec.resources.memory_max = Some(At::line(9, Limit::Value(64 << 20)));
    let plan = plan(&spec, &root_host()).expect("a plan");
    let operations = plan.operations();
    let limit = operations
        .iter()
        .find(|o| o.call == "write(</sys/fs/cgroup/ctr/web/memory.max>, \"67108864\")")
        .expect("the limit");
    assert_eq!(limit.origin, Origin::Line(9));
    let enabling = "write(</sys/fs/cgroup/cgroup.subtree_control>, \"+pids\")";
    assert!(
        operations.iter().any(|o| o.call == enabling),
        "memory is enabled already"
    );
}

#[test]
fn a_limit_without_its_controller_is_refused_and_a_default_is_left_out_with_a_note() {
    let mut host = root_host();
    let Cgroup::Place(place) = &mut host.cgroup else {
        unreachable!()
    };
    place.available = Controllers::parse("hugetlb");
    place.holders = vec![(cgroup::Controller::Pids, "cgroup v1 holds it".into())];
    let plan_of_defaults = plan(&spec(), &host).expect("defaults are no reason to refuse");
    let notes: Vec<&str> = plan_of_defaults
        .notes
        .iter()
        .map(|n| n.text.as_str())
        .collect();
    assert!(
        notes
            .iter()
            .any(|n| n.contains("pids.max = 4096") && n.contains("v1 holds it"))
    );

    let mut asked = spec();
    asked.resources.pids_max = Some(At::line(7, Limit::Value(10)));
    let problems = plan(&asked, &host).expect("it is shown all the same").unmet;
    assert_eq!(problems.len(), 1);
    assert_eq!(
        (problems[0].origin, problems[0].fault),
        (Origin::Line(7), Fault::Host)
    );
    assert!(
        problems[0].message.contains("`pids`"),
        "{}",
        problems[0].message
    );
}

#[test]
fn an_ordinary_user_needs_no_cgroup_until_a_limit_is_asked_for() {
    let plan_without = plan(&spec(), &user_host()).expect("no limit was asked for");
    assert_eq!(plan_without.cgroup, None);
    let mut asked = spec();
    asked.resources.memory_max = Some(At::line(4, Limit::Value(64 << 20)));
    let problems = plan(&asked, &user_host())
        .expect("it is shown all the same")
        .unmet;
    assert_eq!(problems[0].origin, Origin::Line(4));
    assert_eq!(problems[0].help.as_deref(), Some("ask"));
}

#[test]
fn an_ordinary_user_clones_no_mount_of_the_host() {
    let plan = plan(&spec(), &user_host()).expect("a plan");
    let supervisor: Vec<String> = plan
        .operations()
        .into_iter()
        .filter(|o| o.who == Who::Supervisor)
        .map(|o| o.call)
        .collect();
    assert!(
        !supervisor.iter().any(|call| call.starts_with("open_tree")),
        "{supervisor:?}"
    );
    assert!(supervisor.contains(&"write(</proc/PID/setgroups>, \"deny\")".into()));
    assert!(supervisor.contains(&"write(</proc/PID/uid_map>, \"0 1000 1\\n\")".into()));
}

#[test]
fn a_user_beyond_the_id_map_is_refused_by_the_line_that_names_it() {
    let mut spec = spec();
    spec.process.user = At::line(
        5,
        User::Id {
            uid: 70_000,
            group: None,
        },
    );
    let problems = plan(&spec, &root_host()).expect_err("65 536 ids");
    assert_eq!(
        (problems[0].origin, problems[0].fault),
        (Origin::Line(5), Fault::Input)
    );
    assert!(
        problems[0].message.contains("uid 70000"),
        "{}",
        problems[0].message
    );
}

#[test]
fn matching_owners_by_root_takes_a_user_namespace_that_maps_one_id() {
    let mut spec = spec();
    let source = MountSource::Bind {
        path: "/home/me/site".into(),
        owner: Owner::Match,
    };
    let mount = Mount {
        source,
        at: "/site".into(),
        read_only: false,
    };
    spec.mounts = vec![At::line(8, mount)];
    let mut host = root_host();
    let facts = PathFacts {
        kind: PathKind::Directory,
        uid: 1000,
        gid: 1000,
        device: None,
    };
    host.paths.insert(PathBuf::from("/home/me/site"), facts);
    let plan = plan(&spec, &host).expect("a plan");
    let operations = plan.operations();
    let map = "write(</proc/PID/uid_map>, \"1000 1879048192 1\\n\")";
    assert!(operations.iter().any(|o| o.call == map), "{operations:#?}");
    let idmap = operations
        .iter()
        .find(|o| o.call.starts_with("mount_setattr(<clone of /home/me/site>"))
        .expect("the mount is mapped");
    assert_eq!(idmap.origin, Origin::Line(8));
    assert!(idmap.call.contains("a user namespace made for it"));
}

#[test]
fn every_problem_is_found_in_one_pass() {
    let mut spec = spec();
    spec.process.user = At::line(
        5,
        User::Id {
            uid: 70_000,
            group: None,
        },
    );
    spec.security.capabilities_add = vec![At::line(6, "NET_RAWW".into())];
    spec.devices = vec![At::line(7, "/dev/nothing".into())];
    let problems = plan(&spec, &root_host()).expect_err("three problems");
    let mut lines: Vec<Origin> = problems.iter().map(|problem| problem.origin).collect();
    lines.sort();
    assert_eq!(lines, [Origin::Line(5), Origin::Line(6), Origin::Line(7)]);
}

#[test]
fn a_failing_step_of_the_child_is_found_by_its_numbers() {
    let plan = plan(&spec(), &root_host()).expect("a plan");
    let (operation, _) = plan
        .reported(0, 0, rustix::io::Errno::PERM)
        .expect("the first step");
    assert_eq!(operation.call, "sethostname(\"web\", 3)");
    let last = plan.confinement.len() - 1;
    let (operation, _) = plan
        .reported(4, last, rustix::io::Errno::PERM)
        .expect("the filter");
    assert_eq!(operation.who, Who::Program);
    assert!(plan.reported(9, 0, rustix::io::Errno::PERM).is_none());
}

/// On the usual network, whose bridge is not there yet.
fn networked() -> (Spec, Host) {
    let mut spec = spec();
    let mut asked = Attachment::new(At::default_of(DEFAULT_NETWORK.into()));
    asked.publish = vec![At::line(
        5,
        Publish {
            protocol: Protocol::Tcp,
            host: None,
            host_port: 8080,
            container_port: 80,
            count: 1,
        },
    )];
    spec.namespaces.net = At::line(4, Network::Bridge(Box::new(asked)));
    let mut host = root_host();
    host.net = Some(NetFacts {
        network: Defined {
            name: DEFAULT_NETWORK.into(),
            bridge: "ctr0".into(),
            subnets: vec![
                "10.120.0.0/24".parse().expect("a prefix"),
                "fd00:1:2::/64".parse().expect("a prefix"),
            ],
            internal: false,
            mtu: 1500,
            metadata: false,
        },
        new: true,
        path: "/var/lib/ctr/networks/default.json".into(),
        bridge: false,
        tables: false,
        table: "ctr".into(),
        bridge_netfilter: false,
        forwarding: vec![
            netns::sysctl::Setting::new("net/ipv4/conf/up0/forwarding", "1").expect("a parameter"),
        ],
        address: Address {
            v4: [10, 120, 0, 9].into(),
            v6: Some("fd00:1:2::9".parse().expect("an address")),
        },
        veth: "ctrv1".into(),
        resolv: Default::default(),
        owner: "1:2".into(),
    });
    (spec, host)
}

#[test]
fn a_container_on_a_network_gets_a_bridge_an_address_and_its_port() {
    let (spec, host) = networked();
    let plan = plan(&spec, &host).expect("a plan");
    let calls = calls(&plan);
    for expected in [
        "RTM_NEWLINK bridge \"ctr0\"",
        "RTM_NEWADDR 10.120.0.1/24 dev \"ctr0\"",
        "write(\"/proc/sys/net/ipv4/conf/up0/forwarding\", \"1\")",
        "add element inet ctr published4_at { 127.0.0.1 . tcp . 8080 : 10.120.0.9 . 80 }",
        "RTM_NEWLINK veth \"ctrv1\"",
        "RTM_NEWADDR 10.120.0.9/24 dev \"eth0\"",
        "RTM_NEWADDR fd00:1:2::9/64 dev \"eth0\" nodad",
    ] {
        assert!(
            calls.iter().any(|call| call.starts_with(expected)),
            "{expected}: {calls:#?}"
        );
    }
    let at = |text: &str| {
        calls
            .iter()
            .position(|call| call.contains(text))
            .expect("planned")
    };
    let order = [
        "clone3(",
        "/proc/PID/ns/net",
        "sendmsg(child, GO, SCM_RIGHTS",
        "RTM_NEWLINK veth",
        "RTM_NEWADDR 10.120.0.9/24",
        "sendmsg(child, GO)",
        "execve(",
    ];
    assert!(
        order.is_sorted_by_key(|text| at(text)),
        "its namespace comes first, its tree meanwhile, and the program last: {calls:#?}"
    );
    assert!(
        calls[at("clone3(")].contains("CLONE_NEWNET"),
        "made by clone3, for the supervisor uses it"
    );
    assert!(!calls.iter().any(|call| call == "unshare(CLONE_NEWNET)"));
    assert!(
        plan.notes
            .iter()
            .any(|note| note.text.contains("up0/forwarding")),
        "{:?}",
        plan.notes
    );
}

#[test]
fn kernel_parameters_of_interfaces_are_set_when_these_are_there() {
    let (mut spec, host) = networked();
    spec.sysctls = vec![At::line(
        9,
        ("net.ipv4.conf.eth0.rp_filter".into(), "1".into()),
    )];
    let calls = calls(&plan(&spec, &host).expect("a plan"));
    let at = |text: &str| {
        let mut all = calls.iter();
        all.position(|call| call.contains(text)).expect("planned")
    };
    assert!(at("/proc/PID/ns/net") < at("RTM_NEWLINK veth"));
    assert!(at("RTM_NEWADDR 10.120.0.9/24") < at("sendmsg(child, GO, SCM_RIGHTS"));
    assert!(
        !calls.iter().any(|call| call == "sendmsg(child, GO)"),
        "it is not held"
    );
}

#[test]
fn what_a_network_has_is_not_made_again() {
    let (spec, mut host) = networked();
    let facts = host.net.as_mut().expect("facts");
    (facts.bridge, facts.tables, facts.forwarding) = (true, true, Vec::new());
    let calls = calls(&plan(&spec, &host).expect("a plan"));
    for absent in [
        "RTM_NEWLINK bridge",
        "add table",
        "/proc/sys/net/ipv4/conf/ctr0",
    ] {
        assert!(
            !calls.iter().any(|call| call.contains(absent)),
            "{absent}: {calls:#?}"
        );
    }
    assert!(
        calls
            .iter()
            .any(|call| call.starts_with("add element inet ctr published4_at"))
    );
}

#[test]
fn an_internal_network_has_no_way_out_and_asks_nobody() {
    let (spec, mut host) = networked();
    host.net.as_mut().expect("facts").network.internal = true;
    let plan = plan(&spec, &host).expect("a plan");
    assert!(
        !calls(&plan)
            .iter()
            .any(|call| call.contains("RTM_NEWROUTE") && call.contains("eth0"))
    );
    assert!(plan.wiring.expect("wired").upstreams.is_empty());
}

#[test]
fn a_rate_holds_in_both_directions() {
    let (mut spec, host) = networked();
    if let Network::Bridge(asked) = &mut spec.namespaces.net.value {
        asked.rate = Some(At::line(6, 1_000_000_000));
    }
    let calls = calls(&plan(&spec, &host).expect("a plan"));
    let limited = calls.iter().filter(|call| call.contains("tbf")).count();
    assert_eq!(limited, 2, "{calls:#?}");
}

#[test]
fn a_container_that_shares_a_network_needs_one_that_runs() {
    let mut spec = spec();
    spec.namespaces.net = At::line(4, Network::Container("db".into()));
    let problems = plan(&spec, &root_host()).expect_err("nobody is there");
    assert!(problems[0].message.contains("`db`"), "{problems:?}");
    let mut host = root_host();
    host.peer = Some(Peer {
        pid: 4711,
        resolv_conf: None,
    });
    let calls = calls(&plan(&spec, &host).expect("a plan"));
    assert!(
        calls
            .iter()
            .any(|call| call == "setns(</proc/4711/ns/net>, CLONE_NEWNET)")
    );
    assert!(
        !calls.iter().any(|call| call.contains("CLONE_NEWNET|")),
        "{calls:#?}"
    );
}

#[test]
fn without_pasta_an_ordinary_user_has_no_network_unless_one_is_asked_for() {
    let (mut spec, _) = networked();
    let problems = plan(&spec, &user_host()).expect_err("asked for");
    assert!(
        problems[0]
            .help
            .as_ref()
            .is_some_and(|help| help.contains("passt")),
        "{problems:?}"
    );
    spec.namespaces.net = At::default_of(Network::Bridge(Box::new(Attachment::new(
        At::default_of(DEFAULT_NETWORK.into()),
    ))));
    let plan = plan(&spec, &user_host()).expect("degraded");
    assert!(
        plan.notes.iter().any(|note| note.text.contains("passt")),
        "{:?}",
        plan.notes
    );
    assert!(
        calls(&plan)
            .iter()
            .any(|call| call.starts_with("clone3(") && call.contains("CLONE_NEWNET"))
    );
}
