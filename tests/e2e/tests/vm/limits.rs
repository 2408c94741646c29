//! Limits hold, can be seen from outside, and the report says when they were hit.

use std::fs;
use std::path::PathBuf;

use e2e::{Case, Outcome, Started, Who, case, debian};
use rustix::process::Signal;

/// The cgroup of the container `name`, wherever cgroup2 is mounted.
fn group(name: &str) -> PathBuf {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let mount = mountinfo
        .lines()
        .find(|line| line.contains(" - cgroup2 "))
        .and_then(|line| line.split(' ').nth(4))
        .expect("cgroup2 is mounted");
    let mut dirs = vec![PathBuf::from(mount)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("read a cgroup").flatten() {
            let path = entry.path();
            if path.is_dir() && path.ends_with(format!("ctr/{name}")) {
                return path;
            }
            if path.is_dir() {
                dirs.push(path);
            }
        }
    }
    panic!("no cgroup ctr/{name}");
}

/// A container that waits, with these lines in `[resources]`.
fn waiting(case: &Case, resources: &str) -> Started {
    case.root("root");
    let mut started = case.start(&format!(
        "name = \"limited\"\nrootfs = \"./root\"\ncommand = [\"sh\", \"-c\", \"echo up; exec sleep 1000\"]\n\
         [resources]\n{resources}\n"
    ));
    assert_eq!(started.line(), "up");
    started
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn each_limit_is_in_its_file() {
    case(Who::Root, |case| {
        let started = waiting(
            case,
            "memory = { max = \"64MiB\", high = \"48MiB\", low = \"8MiB\", swap = \"0\", oom = \"kill-all\" }\n\
             cpu = { max = 1.5, weight = 50, cpus = \"0\" }\npids = 32\n",
        );
        let group = group("limited");
        for (file, value) in [
            ("memory.max", "67108864"),
            ("memory.high", "50331648"),
            ("memory.low", "8388608"),
            ("memory.oom.group", "1"),
            ("cpu.max", "150000 100000"),
            ("cpu.weight", "50"),
            ("cpuset.cpus", "0"),
            ("pids.max", "32"),
        ] {
            let found = fs::read_to_string(group.join(file)).expect(file);
            assert_eq!(found.trim(), value, "{file}");
        }
        let members = fs::read_to_string(group.join("cgroup.procs")).expect("cgroup.procs");
        assert!(
            !members.lines().any(|pid| pid == started.pid().to_string()),
            "ctr is not in it"
        );
        assert_eq!(members.lines().count(), 2, "the init and the program");
        started.signal(Signal::KILL);
        started.end();
        // The next start cleans up after the killed one.
        case.run("name = \"limited\"\nrootfs = \"./root\"\ncommand = [\"true\"]\n")
            .ok();
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn too_much_memory_ends_the_container_and_the_report_says_who_was_killed() {
    case(Who::Root, |case| {
        let debian = debian();
        let manifest = case.manifest(&format!(
            "name = \"eater\"\nrootfs = {debian:?}\n\
             command = [\"python3\", \"-c\", \"b = bytearray(256 << 20)\\nfor i in range(0, len(b), 4096): b[i] = 1\"]\n\
             [resources]\nmemory = {{ max = \"64MiB\", swap = \"0\" }}\n"
        ));
        let report = case.dir().join("report.json");
        let words = [
            "run".as_ref(),
            "--exit-report".as_ref(),
            report.as_os_str(),
            manifest.as_os_str(),
        ];
        let outcome = Outcome::of(&mut case.ctr(&words))
            .expect(137)
            .says("killed by the kernel: memory.max=64MiB exceeded (peak ")
            .says("1 OOM kill, victim \"python3\" pid ");
        let text = fs::read_to_string(&report).expect("the report");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(json["outcome"]["kind"], "oom-killed", "{outcome}{text}");
        assert_eq!(json["exit_code"], 137);
        assert_eq!(json["memory"]["max"], 64 << 20);
        assert_eq!(json["victim"]["comm"], "python3");
        assert!(json["memory"]["peak"].as_u64() <= Some(64 << 20), "{text}");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn an_ordinary_end_is_reported_as_json_too() {
    case(Who::Root, |case| {
        case.root("root");
        let manifest = case.manifest(
            "name = \"short\"\nrootfs = \"./root\"\ncommand = [\"sh\", \"-c\", \"exit 9\"]\n[labels]\nteam = \"infra\"\n",
        );
        let report = case.dir().join("report.json");
        let words = [
            "run".as_ref(),
            "--exit-report".as_ref(),
            report.as_os_str(),
            manifest.as_os_str(),
        ];
        Outcome::of(&mut case.ctr(&words))
            .expect(9)
            .says("exited with status 9");
        let text = fs::read_to_string(&report).expect("the report");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            json["outcome"],
            serde_json::json!({ "kind": "exited", "code": 9 })
        );
        assert_eq!(json["labels"]["team"], "infra");
        assert_eq!(json["name"], "short");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_fork_bomb_stops_at_pids_max_and_the_host_can_still_fork() {
    case(Who::Root, |case| {
        case.root("root");
        let outcome = case.run(
            "rootfs = \"./root\"\ncommand = [\"sh\", \"-c\", \"for i in $(seq 100); do sleep 1000 & done; exit 8\"]\n\
             [resources]\npids = 16\n",
        );
        // The shell gives up at the first fork that fails; how it ends is its own affair.
        assert_ne!(outcome.code, Some(0), "{outcome}");
        outcome.says("pids.max=16 was reached");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn cpu_max_throttles() {
    case(Who::Root, |case| {
        case.root("root");
        let manifest = case.manifest(
            "rootfs = \"./root\"\ncommand = [\"timeout\", \"2\", \"sh\", \"-c\", \"while :; do :; done\"]\n\
             [resources]\ncpu = { max = 0.2 }\n",
        );
        let report = case.dir().join("report.json");
        let words = [
            "run".as_ref(),
            "--exit-report".as_ref(),
            report.as_os_str(),
            manifest.as_os_str(),
        ];
        Outcome::of(&mut case.ctr(&words));
        let text = fs::read_to_string(&report).expect("the report");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let throttled = json["cpu"]["throttled_us"].as_u64().expect("a number");
        let (usage, duration) = (
            json["cpu"]["usage_us"].as_u64(),
            json["duration_us"].as_u64(),
        );
        assert!(throttled > 0, "{text}");
        let (usage, duration) = (usage.expect("a number"), duration.expect("a number"));
        assert!(usage < duration / 2, "{usage} of {duration} µs");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_user_without_a_delegated_cgroup_is_told_that_a_limit_cannot_be_had() {
    case(Who::Nobody, |case| {
        case.root("root");
        case.run("rootfs = \"./root\"\ncommand = [\"true\"]\n[resources]\nmemory = { max = \"64MiB\" }\n")
            .expect(125)
            .says("toml:4");
    });
}
