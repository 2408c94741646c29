//! A container starts, is where it should be, and is gone afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use e2e::{Case, Outcome, Started, Who, case};
use rustix::process::Signal;

const HELLO: &str = "name = \"hello\"\nrootfs = \"host\"\n\
                     command = [\"sh\", \"-c\", \"echo hello from $(hostname), pid $$\"]\n";

fn says_hello(who: Who) {
    case(who, |case| {
        let out = case.run(HELLO).ok();
        assert_eq!(out, "hello from hello, pid 2\n");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_says_hello_on_the_hosts_root() {
    says_hello(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_user_with_subordinate_ids_says_hello_on_the_hosts_root() {
    says_hello(Who::User);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_user_with_one_id_says_hello_on_the_hosts_root() {
    says_hello(Who::Nobody);
}

fn says_hello_in_a_directory(who: Who) {
    case(who, |case| {
        case.root("root");
        let out = case
            .run("name = \"dir\"\nrootfs = \"./root\"\ncommand = [\"sh\", \"-c\", \"hostname; id -u; pwd; ls /\"]\n")
            .ok();
        assert_eq!(
            out,
            "dir\n0\n/\nbin\ndev\netc\nhome\nproc\nroot\nsys\ntmp\n"
        );
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_starts_a_program_in_a_directory() {
    says_hello_in_a_directory(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_user_with_subordinate_ids_starts_a_program_in_a_directory() {
    says_hello_in_a_directory(Who::User);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_user_with_one_id_starts_a_program_in_a_directory() {
    says_hello_in_a_directory(Who::Nobody);
}

/// A container that says `up` and waits for the end.
fn waiting(case: &Case) -> Started {
    case.root("root");
    let mut started = case.start(
        "name = \"waiting\"\nrootfs = \"./root\"\nstop = { grace = \"1s\" }\n\
         command = [\"sh\", \"-c\", \"trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done\"]\n",
    );
    assert_eq!(started.line(), "up");
    started
}

fn stop(started: Started) {
    started.signal(Signal::TERM);
    started.end().expect(0);
}

/// The children of a process, proc_pid_task(5).
fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("children");
    text.split_whitespace()
        .map(|pid| pid.parse().expect("a pid"))
        .collect()
}

fn namespaces(pid: u32) -> BTreeMap<String, String> {
    fs::read_dir(format!("/proc/{pid}/ns"))
        .expect("ns")
        .map(|entry| {
            let entry = entry.expect("an entry");
            let target = fs::read_link(entry.path())
                .expect("a link")
                .display()
                .to_string();
            (entry.file_name().into_string().expect("a name"), target)
        })
        .collect()
}

fn has_namespaces_of_its_own(who: Who) {
    case(who, |case| {
        let started = waiting(case);
        let init = *children(started.pid()).first().expect("an init");
        let (ours, inits) = (namespaces(std::process::id()), namespaces(init));
        for kind in ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"] {
            assert_ne!(ours[kind], inits[kind], "{kind}");
        }
        assert_eq!(ours["time"], inits["time"]);
        let program = *children(init).first().expect("a program");
        assert_eq!(inits, namespaces(program));
        stop(started);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn seven_namespaces_are_new_for_root() {
    has_namespaces_of_its_own(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn seven_namespaces_are_new_for_a_user() {
    has_namespaces_of_its_own(Who::User);
}

fn map(pid: u32, file: &str) -> Vec<[u32; 3]> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).expect("a map");
    text.lines()
        .map(|line| {
            let numbers: Vec<u32> = line
                .split_whitespace()
                .map(|word| word.parse().expect("a number"))
                .collect();
            numbers.try_into().expect("three numbers")
        })
        .collect()
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn two_containers_of_root_share_no_id() {
    case(Who::Root, |case| {
        let one = waiting(case);
        let mut other = case.start(
            "name = \"other\"\nrootfs = \"./root\"\ncommand = [\"sh\", \"-c\", \"echo up; exec sleep 1000\"]\n",
        );
        assert_eq!(other.line(), "up");
        let maps = [&one, &other].map(|started| {
            let init = *children(started.pid()).first().expect("an init");
            assert_eq!(map(init, "uid_map"), map(init, "gid_map"));
            map(init, "uid_map")
        });
        for map in &maps {
            let [[inside, _, count]] = map[..] else {
                panic!("{map:?}")
            };
            assert_eq!((inside, count), (0, 65_536));
        }
        let distance = maps[0][0][1].abs_diff(maps[1][0][1]);
        assert!(distance >= 65_536, "{maps:?}");
        other.signal(Signal::INT);
        assert_eq!(other.end().code, Some(128 + 2));
        stop(one);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_users_subordinate_ids_are_mapped_around_the_own_one() {
    case(Who::User, |case| {
        let started = waiting(case);
        let init = *children(started.pid()).first().expect("an init");
        assert_eq!(map(init, "uid_map"), [[0, 1000, 1], [1, 100_000, 65_535]]);
        assert_eq!(map(init, "gid_map"), [[0, 1000, 1], [1, 100_000, 65_535]]);
        stop(started);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_user_without_them_has_one_id_and_cannot_choose_another() {
    case(Who::Nobody, |case| {
        let started = waiting(case);
        let init = *children(started.pid()).first().expect("an init");
        assert_eq!(map(init, "uid_map"), [[0, 4711, 1]]);
        let setgroups = fs::read_to_string(format!("/proc/{init}/setgroups")).expect("setgroups");
        assert_eq!(setgroups.trim(), "deny");
        stop(started);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_same_name_twice_is_refused_and_the_first_goes_on() {
    case(Who::Root, |case| {
        let started = waiting(case);
        case.run("name = \"waiting\"\nrootfs = \"./root\"\ncommand = [\"true\"]\n")
            .expect(125)
            .says("a container named `waiting` is running");
        stop(started);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn arguments_of_the_command_line_are_appended() {
    case(Who::Root, |case| {
        case.root("root");
        let manifest =
            case.manifest("rootfs = \"./root\"\ncommand = [\"echo\", \"a\"]\nargs = [\"b\"]\n");
        let words = [
            "run".as_ref(),
            manifest.as_os_str(),
            "c d".as_ref(),
            "--e".as_ref(),
        ];
        assert_eq!(Outcome::of(&mut case.ctr(&words)).ok(), "a b c d --e\n");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_hosts_environment_stays_outside() {
    case(Who::Root, |case| {
        case.root("root");
        let manifest = case.manifest(
            "name = \"env\"\nrootfs = \"./root\"\ncommand = [\"env\"]\n\
             env = { PLAIN = \"$HOME\", TAKEN = { host = \"GIVEN\" } }\n",
        );
        let mut command = case.ctr(&["run".as_ref(), manifest.as_os_str()]);
        command
            .env("GIVEN", "a value")
            .env("SECRET", "x")
            .stdin(Stdio::null());
        let out = Outcome::of(&mut command).ok();
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines.contains(&"PLAIN=$HOME"), "{out}");
        assert!(lines.contains(&"TAKEN=a value"), "{out}");
        assert!(!out.contains("SECRET") && !out.contains("GIVEN"), "{out}");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn what_the_host_keeps_private_is_not_in_the_hosts_root() {
    case(Who::Root, |case| {
        fs::write("/tmp/canary", "x").expect("write");
        let script = "cat /etc/shadow /tmp/canary 2>/dev/null; ls -A /root /home /run /tmp";
        let out = case.run(&format!(
            "rootfs = \"host\"\ncommand = [\"sh\", \"-c\", \"{script}\"]\n"
        ));
        fs::remove_file("/tmp/canary").expect("unlink");
        assert_eq!(out.ok(), "/home:\n\n/root:\n\n/run:\n\n/tmp:\n");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn writes_to_the_hosts_root_are_gone_with_the_container() {
    case(Who::Root, |case| {
        let script = "echo x > /tmp/canary && echo x > /etc/canary && echo written";
        let outcome = case.run(&format!(
            "rootfs = \"host\"\ncommand = [\"sh\", \"-c\", \"{script}\"]\n"
        ));
        assert!(
            !fs::exists("/etc/canary").expect("stat"),
            "the container's write reached the host"
        );
        assert!(
            !fs::exists("/tmp/canary").expect("stat"),
            "the container's write reached the host"
        );
        // KERNEL(6.3): the VM's root is a tmpfs, which could not be idmapped before; /etc belongs to nobody.
        if std::env::var("CTR_VM_KERNEL").as_deref() == Ok("6.1") {
            outcome.says("/etc/canary: Permission denied");
        } else {
            assert_eq!(outcome.ok(), "written\n");
        }
    });
}
