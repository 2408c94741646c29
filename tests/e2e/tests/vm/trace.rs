//! The plan is what happens: a real start, traced, makes the calls of `ctr plan`, in its order, and no
//! other call that changes something.

use std::fs;

use e2e::{Call, Case, Outcome, Who, case, strace};
use serde_json::Value;

/// Calls that change something on the machine or in the process, but for memory, descriptors and
/// reading. `openat` and `openat2` count when they create, `prlimit64` when it sets, `ioctl` when it is
/// one of a few.
const CHANGING: &str = "mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,\
                        mknod,mknodat,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,truncate,ftruncate,setxattr,\
                        lsetxattr,fsetxattr,mount,umount2,pivot_root,chroot,open_tree,move_mount,fsopen,fsconfig,fsmount,\
                        fspick,mount_setattr,clone,clone3,fork,vfork,unshare,setns,execve,sethostname,setdomainname,setuid,\
                        setgid,setresuid,setresgid,setreuid,setregid,setfsuid,setfsgid,setgroups,capset,seccomp,bpf,\
                        setsid,landlock_create_ruleset,landlock_add_rule,landlock_restrict_self,keyctl,personality,\
                        sched_setscheduler,ioprio_set,setpriority,setrlimit,openat,openat2,write";

fn plan(case: &Case, manifest: &std::path::Path) -> Vec<(String, String)> {
    let out = Outcome::of(&mut case.ctr(&[
        "plan".as_ref(),
        "--format".as_ref(),
        "json".as_ref(),
        manifest.as_os_str(),
    ]))
    .ok();
    let json: Value = serde_json::from_str(&out).expect("JSON");
    let operations = json["operations"].as_array().expect("operations");
    operations
        .iter()
        .map(|operation| {
            let text = |key: &str| operation[key].as_str().expect(key).to_owned();
            (text("process"), text("call"))
        })
        .collect()
}

/// Whether a traced call counts; some do only with certain arguments.
fn changes(call: &Call) -> bool {
    match call.name.as_str() {
        "openat" | "openat2" => call.text.contains("O_CREAT"),
        // Of writes those to kernel files: what the processes tell each other is a socket's or a pipe's.
        "write" => call.text.contains("</proc/") || call.text.contains("</sys/"),
        _ => true,
    }
}

fn name(call: &str) -> &str {
    call.split('(').next().unwrap_or(call)
}

fn follows_the_plan(who: Who, manifest: &str) {
    case(who, |case| {
        case.root("root");
        let manifest = case.manifest(manifest);
        let planned = plan(case, &manifest);
        let trace = format!("trace={CHANGING}");
        let (mut command, record) = strace(
            case,
            &["-e", &trace],
            &["run".as_ref(), manifest.as_os_str()],
        );
        Outcome::of(&mut command).ok();
        let record = fs::read_to_string(record).expect("strace's record");
        let calls: Vec<Call> = Call::parse(&record).into_iter().filter(changes).collect();
        // Processes in the order of their first call: ctr, its child, the child's child.
        let mut pids: Vec<u32> = Vec::new();
        for call in &calls {
            if !pids.contains(&call.pid) {
                pids.push(call.pid);
            }
        }
        assert_eq!(pids.len(), 3, "{record}");
        for (process, pid) in ["ctr", "init", "program"].into_iter().zip(pids) {
            let planned: Vec<&str> = planned
                .iter()
                .filter(|(of, call)| of == process && traced(call))
                .map(|(_, call)| name(call))
                .collect();
            let made: Vec<&Call> = calls.iter().filter(|call| call.pid == pid).collect();
            let mut names: Vec<&str> = made.iter().map(|call| call.name.as_str()).collect();
            if process == "ctr" {
                // strace starts it; after the last of the plan it undoes.
                names.remove(0);
                names.truncate(planned.len());
            }
            assert_eq!(
                names,
                planned,
                "{process}:\n{}\n\n{record}",
                planned_text(&planned)
            );
        }
    });
}

/// Whether strace was asked for such calls.
fn traced(call: &str) -> bool {
    CHANGING
        .split(',')
        .any(|traced| traced.trim() == name(call))
}

fn planned_text(planned: &[&str]) -> String {
    planned.join("\n")
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
         [security]\nread-only-root = true\nsysctl = { \"net.core.somaxconn\" = \"9\" }\n\
         landlock = { read = [\"/\"], write = [\"/tmp\"] }\n",
    );
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_users_start_makes_the_calls_of_its_plan_and_no_other() {
    follows_the_plan(
        Who::Nobody,
        "name = \"traced\"\nrootfs = \"./root\"\ncommand = [\"/bin/true\"]\n",
    );
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn planning_changes_nothing() {
    case(Who::Root, |case| {
        case.root("root");
        let manifest =
            case.manifest("name = \"planned\"\nrootfs = \"./root\"\ncommand = [\"/bin/true\"]\n");
        let trace = format!("trace={CHANGING}");
        let (mut command, record) = strace(
            case,
            &["-e", &trace],
            &["plan".as_ref(), manifest.as_os_str()],
        );
        Outcome::of(&mut command).ok();
        let record = fs::read_to_string(record).expect("strace's record");
        let calls: Vec<Call> = Call::parse(&record)
            .into_iter()
            .filter(changes)
            .skip(1)
            .collect();
        assert!(calls.is_empty(), "{calls:?}");
    });
}
