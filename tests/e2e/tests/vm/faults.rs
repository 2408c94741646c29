//! Each system call of a start is made to fail once: the message names it, and nothing is left.

use e2e::{Call, Case, Outcome, Who, case, strace};

const MANIFEST: &str = "name = \"faulty\"\nrootfs = \"./root\"\ncommand = [\"/bin/true\"]\n[network]\nmode = \"none\"\n";

/// Fails the K-th call of `name` in every process, K = 1, 2, … until a start makes no K-th one.
///
/// strace counts in each process for itself, so the K-th of ctr and the K-th of its child fail both
/// in one run where both get that far; the first that fails ends the start.
fn each_failure_is_named(who: Who, names: &[&str]) {
    every_nth_failure_is_named(who, names, 1, 1);
}

/// The same for K = FIRST, FIRST + STEP, …: the VM is slow, and a long list is shared by several tests.
fn every_nth_failure_is_named(who: Who, names: &[&str], first: u32, step: u32) {
    case(who, |case| {
        case.root("root");
        let manifest = case.manifest(MANIFEST);
        let words = ["run".as_ref(), manifest.as_os_str()];
        for name in names {
            let mut reached = true;
            let mut k = first;
            while reached {
                assert!(k < 400, "{name} is called without end");
                let inject = format!("inject={name}:error=ENOSPC:when={k}");
                let trace = format!("trace={name}");
                let (mut command, record) = strace(case, &["-e", &trace, "-e", &inject], &words);
                let outcome = Outcome::of(&mut command);
                let record = std::fs::read_to_string(&record).expect("strace's record");
                reached = record.contains("(INJECTED)");
                if reached {
                    judge(name, k, &outcome, &record);
                }
                k += step;
            }
            assert!(
                k > first + step,
                "{name} is never called: it does not belong in this list"
            );
        }
    });
}

/// A failure that matters is 125 with the call and the errno; one that does not is a start as usual.
fn judge(name: &str, k: u32, outcome: &Outcome, record: &str) {
    let what = format!("{name} number {k}");
    if outcome.code == Some(0) {
        let injected = Call::parse(record)
            .into_iter()
            .find(|call| call.text.contains("(INJECTED)"));
        assert!(
            harmless(name),
            "{what} failed and nobody noticed: {injected:?}"
        );
        return;
    }
    assert_eq!(outcome.code, Some(125), "{what}: {outcome}");
    assert!(outcome.err.contains("ENOSPC"), "{what}: {outcome}");
    assert!(outcome.err.contains(name), "{what}: {outcome}");
    assert!(
        outcome.err.contains("cannot start `faulty`: step "),
        "{what}: {outcome}"
    );
}

/// Calls whose failure may be passed over: undoing, and asking whether something can be had.
fn harmless(name: &str) -> bool {
    ["unlinkat", "prlimit64"].contains(&name)
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_mounts_are_named() {
    each_failure_is_named(Who::Root, &["mount", "pivot_root", "umount2"]);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_new_file_systems_are_named() {
    each_failure_is_named(Who::Root, &["fsopen", "fsmount"]);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_options_of_file_systems_are_named_odd() {
    every_nth_failure_is_named(Who::Root, &["fsconfig"], 1, 2);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_options_of_file_systems_are_named_even() {
    every_nth_failure_is_named(Who::Root, &["fsconfig"], 2, 2);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_attachments_are_named_first_of_four() {
    every_nth_failure_is_named(Who::Root, &["move_mount"], 1, 4);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_attachments_are_named_second_of_four() {
    every_nth_failure_is_named(Who::Root, &["move_mount"], 2, 4);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_attachments_are_named_third_of_four() {
    every_nth_failure_is_named(Who::Root, &["move_mount"], 3, 4);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_attachments_are_named_fourth_of_four() {
    every_nth_failure_is_named(Who::Root, &["move_mount"], 4, 4);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_clones_of_mounts_are_named_first_of_three() {
    every_nth_failure_is_named(Who::Root, &["open_tree"], 1, 3);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_clones_of_mounts_are_named_second_of_three() {
    every_nth_failure_is_named(Who::Root, &["open_tree"], 2, 3);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_clones_of_mounts_are_named_third_of_three() {
    every_nth_failure_is_named(Who::Root, &["open_tree"], 3, 3);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_attributes_of_mounts_are_named() {
    each_failure_is_named(Who::Root, &["mount_setattr"]);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_directories_and_links_are_named() {
    each_failure_is_named(Who::Root, &["mkdirat", "symlinkat"]);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_processes_and_ids_are_named() {
    each_failure_is_named(
        Who::Root,
        &[
            "clone3",
            "setresuid",
            "setresgid",
            "setgroups",
            "sethostname",
        ],
    );
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_confinement_is_named() {
    each_failure_is_named(Who::Root, &["capset", "seccomp"]);
}

/// Fails the K-th message to the kernel, K = 1, 2, …: a start of a container on a network says which
/// request it was, and the oracle finds nothing of it. Questions are asked in the same way: whether a
/// firewall that cannot be watched is reason enough is the engine's to decide.
#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_messages_of_a_network_are_named_and_nothing_is_left() {
    case(Who::Root, |case| {
        case.root("root");
        let manifest = case.manifest(
            "name = \"faulty\"\nrootfs = \"./root\"\ncommand = [\"/bin/true\"]\n\
             [network]\naliases = [\"www\"]\npublish = [\"8080:80\"]\n",
        );
        // With the log, which says what could not be undone.
        let words = ["-v".as_ref(), "run".as_ref(), manifest.as_os_str()];
        let mut refused = 0;
        for k in 1.. {
            assert!(k < 100, "sendto is called without end");
            let inject = format!("inject=sendto:error=ENOBUFS:when={k}");
            let (mut command, record) =
                strace(case, &["-e", "trace=sendto", "-e", &inject], &words);
            let outcome = Outcome::of(&mut command);
            let record = std::fs::read_to_string(&record).expect("strace's record");
            if !record.contains("(INJECTED)") {
                outcome.expect(0);
                break;
            }
            if outcome.err.contains("left behind") {
                // It was the undoing that failed: this is what mends it.
                let healed = Outcome::of(&mut case.ctr(&["network", "heal"])).ok();
                assert!(healed.contains("mended: "), "number {k}: {outcome}{healed}");
            } else if outcome.code != Some(0) {
                refused += 1;
                assert_eq!(outcome.code, Some(125), "number {k}: {outcome}");
                let says = |what: &[&str]| what.iter().any(|what| outcome.err.contains(what));
                assert!(says(&["ENOBUFS", "os error 105"]), "number {k}: {outcome}");
                assert!(
                    says(&["RTM_", "nftables", "nfnetlink"]),
                    "number {k}: {outcome}"
                );
            }
        }
        // The firewall, the cable, what is inside.
        assert!(refused >= 3, "{refused} of them matter");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_mounts_of_a_users_start_are_named() {
    // Not the user with subordinate ids: newuidmap has no privileges while it is traced.
    each_failure_is_named(Who::Nobody, &["mount", "fsmount", "pivot_root", "clone3"]);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_clones_of_a_users_start_are_named_first_of_three() {
    every_nth_failure_is_named(Who::Nobody, &["open_tree"], 1, 3);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_clones_of_a_users_start_are_named_second_of_three() {
    every_nth_failure_is_named(Who::Nobody, &["open_tree"], 2, 3);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_clones_of_a_users_start_are_named_third_of_three() {
    every_nth_failure_is_named(Who::Nobody, &["open_tree"], 3, 3);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_line_that_asked_for_the_failing_call_is_shown() {
    case(Who::Root, |case| {
        case.root("root");
        let manifest = case.manifest(
            "name = \"faulty\"\nrootfs = \"./root\"\ncommand = [\"/bin/true\"]\n\n[[mount]]\ntmpfs = \"3MiB\"\nat = \"/tmp\"\n",
        );
        let words = ["run".as_ref(), manifest.as_os_str()];
        let (mut command, record) = strace(case, &["-e", "trace=fsconfig,fsmount"], &words);
        Outcome::of(&mut command).ok();
        let record = std::fs::read_to_string(&record).expect("strace's record");
        let calls = Call::parse(&record);
        let k = number_of(&calls, "size").expect("the size of the tmpfs is set");
        let inject = format!("inject=fsconfig:error=EINVAL:when={k}");
        let (mut command, _) = strace(case, &["-e", "trace=fsconfig", "-e", &inject], &words);
        Outcome::of(&mut command)
            .expect(125)
            .says("fsconfig")
            .says("EINVAL")
            .says("toml:5")
            .says("[[mount]]");
    });
}

/// Which fsconfig of its process it is that sets `key` to 3 MiB.
fn number_of(calls: &[Call], key: &str) -> Option<usize> {
    let wanted = calls.iter().find(|call| {
        call.name == "fsconfig"
            && call.text.contains(&format!("\"{key}\""))
            && (call.text.contains("3145728") || call.text.contains("3m"))
    })?;
    let of_process = calls
        .iter()
        .filter(|call| call.name == "fsconfig" && call.pid == wanted.pid);
    Some(1 + of_process.take_while(|call| *call != wanted).count())
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn failing_writes_of_limits_are_named_with_file_and_value() {
    case(Who::Root, |case: &Case| {
        case.root("root");
        let manifest = case.manifest(&format!(
            "{MANIFEST}[resources]\nmemory = {{ max = \"64MiB\" }}\n"
        ));
        let words = ["run".as_ref(), manifest.as_os_str()];
        let (mut command, record) = strace(case, &["-e", "trace=write"], &words);
        Outcome::of(&mut command).ok();
        let calls = Call::parse(&std::fs::read_to_string(&record).expect("strace's record"));
        let wanted = calls
            .iter()
            .find(|call| call.text.contains("/memory.max>"))
            .expect("memory.max is written");
        let k = 1 + calls
            .iter()
            .filter(|call| call.pid == wanted.pid)
            .take_while(|call| *call != wanted)
            .count();
        let inject = format!("inject=write:error=EBUSY:when={k}");
        let (mut command, _) = strace(case, &["-e", "trace=write", "-e", &inject], &words);
        Outcome::of(&mut command)
            .expect(125)
            .says("memory.max")
            .says("67108864")
            .says("EBUSY")
            .says("toml:7");
    });
}
