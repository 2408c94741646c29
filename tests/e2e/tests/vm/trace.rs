//! The plan is what happens: a real start, traced, makes the calls of `ctr plan`, in its order, and no
//! other call that changes something.

use std::fs;

use e2e::{Call, Case, Outcome, Who, case, strace};
use serde_json::Value;

/// Calls that change something on the machine or in the process. Not: memory, descriptors, reading,
/// and what the processes of a start tell each other. Of some only a part counts, see [`changes`].
const CHANGING: [&str; 59] = [
    "mkdir",
    "mkdirat",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "rmdir",
    "mknod",
    "mknodat",
    "chmod",
    "fchmod",
    "fchmodat",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "open_tree",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "mount_setattr",
    "clone",
    "clone3",
    "fork",
    "vfork",
    "unshare",
    "setns",
    "execve",
    "sethostname",
    "setuid",
    "setgid",
    "setresuid",
    "setresgid",
    "setgroups",
    "capset",
    "seccomp",
    "bpf",
    "setsid",
    "landlock_create_ruleset",
    "landlock_add_rule",
    "landlock_restrict_self",
    "openat",
    "openat2",
    "write",
    "prctl",
    "prlimit64",
];

/// Whether a call, planned or traced, counts.
fn changes(call: &str) -> bool {
    let argument = |text: &str| call.contains(text);
    match name(call) {
        "openat" | "openat2" => argument("O_CREAT"),
        // To a file; not to a pipe, a socket, a terminal.
        "write" => call
            .split('<')
            .nth(1)
            .is_some_and(|path| path.starts_with('/') || is_place(path)),
        "prctl" => [
            "PR_CAPBSET_DROP",
            "PR_SET_NO_NEW_PRIVS",
            "PR_SET_SECUREBITS",
            "PR_CAP_AMBIENT",
        ]
        .into_iter()
        .any(argument),
        "prlimit64" => !argument(", NULL, "),
        // Asks which version the kernel has.
        "landlock_create_ruleset" => !argument("LANDLOCK_CREATE_RULESET_VERSION"),
        // Asks the kernel whether this process has one thread, and changes nothing.
        "unshare" => !argument("CLONE_THREAD"),
        other => CHANGING.contains(&other),
    }
}

/// Where a plan has the container's own places for a path: `root/etc/hosts`, `scratch/store/0`.
fn is_place(path: &str) -> bool {
    ["root/", "scratch/", "store/"]
        .into_iter()
        .any(|place| path.starts_with(place))
}

fn name(call: &str) -> &str {
    call.split(['(', ',', ' ']).next().unwrap_or(call)
}

/// An operation of a plan: calls that are made together, or not at all when something is there or not.
#[derive(Debug)]
struct Planned {
    text: String,
    names: Vec<String>,
    optional: bool,
}

impl Planned {
    fn parse(text: &str) -> Self {
        let optional = [
            " if missing",
            " unless missing",
            " where missing",
            " or EEXIST",
        ]
        .into_iter()
        .any(|condition| text.ends_with(condition));
        let calls = match text.split_once("(…") {
            // `mkdirat, mknodat(…, S_IFREG|0644) of <root/etc/hosts> where missing`
            Some((names, _)) => names.split(", ").collect(),
            None => text.split("; ").collect::<Vec<_>>(),
        };
        let counting = calls.into_iter().filter(|call| changes(call));
        Self {
            text: text.to_owned(),
            names: counting.map(|call| name(call).to_owned()).collect(),
            optional,
        }
    }

    /// How many of the calls that were made are this operation.
    fn matches(&self, made: &[&Call]) -> Option<usize> {
        if !self.optional {
            let same = made
                .iter()
                .map(|call| &call.name)
                .take(self.names.len())
                .eq(self.names.iter());
            return same.then_some(self.names.len());
        }
        // Directories on the way to a place may be missing too; each other call is made once or not.
        let mut taken = 0;
        for name in &self.names {
            let most = if name == "mkdirat" { usize::MAX } else { 1 };
            let repeated = made[taken..]
                .iter()
                .take(most)
                .take_while(|call| call.name == *name);
            taken += repeated.count();
        }
        Some(taken)
    }
}

fn plan(case: &Case, manifest: &std::path::Path) -> Vec<(String, Planned)> {
    let words = [
        "plan".as_ref(),
        "--format".as_ref(),
        "json".as_ref(),
        manifest.as_os_str(),
    ];
    let out = Outcome::of(&mut case.ctr(&words)).ok();
    let json: Value = serde_json::from_str(&out).expect("JSON");
    let operations = json["operations"].as_array().expect("operations");
    let text = |operation: &Value, key: &str| operation[key].as_str().expect("a string").to_owned();
    operations
        .iter()
        .map(|operation| {
            (
                text(operation, "process"),
                Planned::parse(&text(operation, "call")),
            )
        })
        .filter(|(_, planned)| !planned.names.is_empty())
        .collect()
}

/// Runs a manifest under strace: what counts of each process, in the order of their first calls.
fn traced(case: &Case, words: &[&std::ffi::OsStr]) -> Vec<Vec<Call>> {
    let trace = format!("trace={}", CHANGING.join(","));
    let (mut command, record) = strace(case, &["-e", &trace], words);
    Outcome::of(&mut command).ok();
    let record = fs::read_to_string(record).expect("strace's record");
    let mut processes: Vec<Vec<Call>> = Vec::new();
    for call in Call::parse(&record)
        .into_iter()
        .filter(|call| changes(&call.text) && call.succeeded())
    {
        match processes.iter_mut().find(|calls| calls[0].pid == call.pid) {
            Some(calls) => calls.push(call),
            None => processes.push(vec![call]),
        }
    }
    processes
}

fn follows_the_plan(who: Who, manifest: &str) {
    case(who, |case| {
        case.root("root");
        let manifest = case.manifest(manifest);
        let planned = plan(case, &manifest);
        let processes = traced(case, &["run".as_ref(), manifest.as_os_str()]);
        assert_eq!(
            processes.len(),
            3,
            "ctr, the init, the program: {processes:#?}"
        );
        for (process, calls) in ["ctr", "init", "program"].into_iter().zip(&processes) {
            // strace's own start of ctr.
            let skip = usize::from(process == "ctr");
            let mut made: Vec<&Call> = calls.iter().skip(skip).collect();
            for (_, operation) in planned.iter().filter(|(of, _)| of == process) {
                match operation.matches(&made) {
                    Some(taken) => drop(made.drain(..taken)),
                    None => panic!(
                        "{process}: planned is\n  {}\nand made was\n  {}",
                        operation.text,
                        made.iter()
                            .take(3)
                            .map(|call| call.text.as_str())
                            .collect::<Vec<_>>()
                            .join("\n  ")
                    ),
                }
            }
            // What is left of ctr's is the undoing; the process is to close what takes long to close.
            let undo = ["write", "rmdir", "unlinkat", "clone"];
            let rest: Vec<_> = made
                .iter()
                .filter(|call| process != "ctr" || !undo.contains(&call.name.as_str()))
                .collect();
            assert!(
                rest.is_empty(),
                "{process} made, and the plan does not have: {rest:#?}"
            );
        }
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_start_makes_the_calls_of_its_plan_and_no_other() {
    follows_the_plan(
        Who::Root,
        "name = \"traced\"\nrootfs = \"./root\"\ncommand = [\"/bin/true\"]\n[network]\nmode = \"none\"\n",
    );
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_start_with_everything_makes_the_calls_of_its_plan_and_no_other() {
    follows_the_plan(
        Who::Root,
        "name = \"traced\"\nrootfs = \"./root\"\ncommand = [\"/bin/true\"]\nuser = \"1000\"\n\
         [resources]\nmemory = { max = \"64MiB\" }\npids = 10\n\
         [[mount]]\ntmpfs = \"1MiB\"\nat = \"/tmp\"\n\
         [[mount]]\nbind = \"./root\"\nat = \"/deep/er\"\nread-only = true\n\
         [security]\nread-only-root = true\nsysctl = { \"net.ipv4.ip_default_ttl\" = \"9\" }\n\
         landlock = { read = [\"/\"], write = [\"/tmp\"] }\n[network]\nmode = \"none\"\n",
    );
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_start_on_the_hosts_root_makes_the_calls_of_its_plan_and_no_other() {
    follows_the_plan(
        Who::Root,
        "name = \"traced\"\nrootfs = \"host\"\ncommand = [\"true\"]\n[network]\nmode = \"none\"\n",
    );
}

/// What goes to the kernel by netlink is no call of its own here.
#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_start_on_a_network_makes_the_calls_of_its_plan_and_no_other() {
    follows_the_plan(
        Who::Root,
        "name = \"traced\"\nrootfs = \"./root\"\ncommand = [\"/bin/true\"]\n\
         [network]\naliases = [\"www\", \"shop\"]\npublish = [\"8080:80\"]\n",
    );
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_users_start_makes_the_calls_of_its_plan_and_no_other() {
    follows_the_plan(
        Who::Nobody,
        "name = \"traced\"\nrootfs = \"./root\"\ncommand = [\"/bin/true\"]\n[network]\nmode = \"none\"\n",
    );
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn planning_changes_nothing() {
    case(Who::Root, |case| {
        case.root("root");
        let manifest =
            case.manifest("name = \"planned\"\nrootfs = \"./root\"\ncommand = [\"/bin/true\"]\n");
        let processes = traced(case, &["plan".as_ref(), manifest.as_os_str()]);
        let made: Vec<&Call> = processes.iter().flatten().skip(1).collect();
        assert!(made.is_empty(), "{made:#?}");
    });
}
