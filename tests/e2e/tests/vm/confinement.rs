//! What the program can see and do is what the committed table says, and never more than in Docker.

use std::collections::BTreeMap;
use std::fs;

use e2e::{Case, Outcome, Who, case};
use probe::{Answer, Report, check};

fn report(case: &Case, manifest: &str) -> Report {
    case.root("root");
    let out = case.run(manifest).ok();
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e} in {out}"))
}

const DEFAULT: &str = "name = \"probe\"\nrootfs = \"./root\"\ncommand = [\"/bin/probe\"]\n[network]\nmode = \"none\"\n";

/// What the kernel answers without any filter, in namespaces that end with it: some of the calls make
/// something (a message queue) although their arguments make no sense.
fn native(case: &Case) -> BTreeMap<u32, Answer> {
    let mut command = case.command("unshare");
    command
        .args(["-U", "-r", "-i", "-p", "-f"])
        .arg(case.dir().join("root/bin/probe"))
        .arg("--syscalls");
    let out = Outcome::of(&mut command).ok();
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e} in {out}"))
}

fn meets_the_table(who: Who) {
    case(who, |case| {
        let report = report(case, DEFAULT);
        let found = check::lines(&report);
        let wrong = check::differences(&found, check::DEFAULT);
        assert!(
            wrong.is_empty(),
            "{}\n\nall that was found:\n{}",
            wrong.join("\n"),
            join(&found)
        );
        let beyond = check::beyond_docker(&report);
        assert!(
            beyond.is_empty(),
            "more than Docker gives:\n{}",
            beyond.join("\n")
        );
    });
}

fn join(lines: &std::collections::BTreeSet<String>) -> String {
    lines
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn roots_container_is_what_the_table_says() {
    meets_the_table(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_users_container_is_what_the_table_says() {
    meets_the_table(Who::User);
}

#[cfg(target_arch = "x86_64")]
#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn every_system_call_is_answered_as_the_table_says() {
    // The caller is an ordinary user, so that the answers without a filter are not those of root.
    case(Who::User, |case| {
        let report = report(case, DEFAULT);
        let native = native(case);
        let found = check::syscall_lines(&report.syscalls, &native);
        let wrong: Vec<String> = check::differences(&found, check::SYSCALLS)
            .into_iter()
            // A call that this kernel does not have has no line.
            .filter(|line| !missing_here(line, &native))
            .collect();
        assert!(
            wrong.is_empty(),
            "{}\n\nall that was found:\n{}",
            wrong.join("\n"),
            join(&found)
        );
    });
}

#[cfg(target_arch = "x86_64")]
fn missing_here(line: &str, native: &BTreeMap<u32, Answer>) -> bool {
    let Some(rest) = line.strip_prefix("expected, not found: ") else {
        return false;
    };
    let name = rest.split(' ').next().unwrap_or_default();
    native
        .iter()
        .filter(|(number, _)| check::name(**number) == name)
        .all(|(_, answer)| *answer == Answer::Errno(38))
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_ids_of_the_container_are_not_the_hosts() {
    case(Who::Root, |case| {
        let report = report(case, DEFAULT);
        let [[0, outside, 65_536]] = report.uid_map[..] else {
            panic!("{:?}", report.uid_map)
        };
        assert!(outside >= 0x7000_0000, "{outside}");
        assert_eq!(report.gid_map, report.uid_map);
        assert_eq!(report.hostname, "probe");
        assert_eq!(report.argv, ["/bin/probe"]);
        assert_eq!(report.cgroup.lines().last(), Some("0::/"));
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn nothing_of_the_init_can_be_reached() {
    case(Who::Root, |case| {
        let report = report(case, DEFAULT);
        assert_eq!(report.init.cmdline, "ctr-init");
        for (file, seen) in report.init.links.iter().chain(&report.init.files) {
            assert!(
                seen == "EACCES" || seen == "EPERM",
                "/proc/1/{file}: {seen}"
            );
        }
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_program_in_the_container_cannot_open_the_engines_binary() {
    case(Who::Root, |case| {
        let ctr = std::env::var("CTR_BIN").expect("CTR_BIN") + "/ctr";
        let before = fs::read(&ctr).expect("read ctr");
        case.root("root");
        let script = "for pid in /proc/[0-9]*; do ( : >> $pid/exe ) 2>/dev/null && echo opened $pid; done; echo tried";
        let out = case
            .run(&format!(
                "rootfs = \"./root\"\ncommand = [\"sh\", \"-c\", \"{script}\"]\n"
            ))
            .ok();
        // Its own programs lie in its own root, where it may write, but not while they run (ETXTBSY).
        assert_eq!(out, "tried\n");
        assert!(fs::read(&ctr).expect("read ctr") == before);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn capabilities_are_added_and_dropped_by_name() {
    case(Who::Root, |case| {
        let more =
            "[security]\ncapabilities = { add = [\"NET_BIND_SERVICE\"], drop = [\"CHOWN\"] }\n";
        let report = report(
            case,
            &format!("rootfs = \"./root\"\ncommand = [\"/bin/probe\"]\n{more}"),
        );
        let expected = [
            "DAC_OVERRIDE",
            "FOWNER",
            "FSETID",
            "KILL",
            "SETGID",
            "SETUID",
            "SETPCAP",
            "NET_BIND_SERVICE",
        ];
        assert_eq!(report.caps.effective, expected);
        assert_eq!(report.caps.bounding, expected);
        let none = "rootfs = \"./root\"\ncommand = [\"/bin/probe\"]\n[security]\ncapabilities = { drop = [\"ALL\"] }\n";
        let out = case.run(none).ok();
        let report: Report = serde_json::from_str(&out).expect("a report");
        assert!(report.caps.effective.is_empty() && report.caps.bounding.is_empty());
    });
}
