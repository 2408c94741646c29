//! `ctr` is killed, and the next start finds nothing in its way and leaves nothing behind.

use std::time::Duration;

use e2e::{Case, Outcome, Started, Who, case, strace};
use rustix::process::Signal;

const AGAIN: &str = "name = \"crash\"\nrootfs = \"./root\"\ncommand = [\"true\"]\n";

fn start(case: &Case) -> Started {
    case.start("name = \"crash\"\nrootfs = \"./root\"\ncommand = [\"sleep\", \"1000\"]\n")
}

/// After each kill the next start of the same name must work, and clean up: the oracle looks at what is
/// left after the last one.
fn survives(who: Who, rounds: u32) {
    case(who, |case| {
        case.root("root");
        case.run(AGAIN).ok();
        let mut random = 0x2545_f491_u32;
        for round in 0..rounds {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let started = start(case);
            // A start takes two milliseconds; the VM is slower.
            let scale = if std::env::var_os("CTR_VM").is_some() {
                20
            } else {
                1
            };
            std::thread::sleep(Duration::from_micros(u64::from(random % 4000) * scale));
            started.signal(Signal::KILL);
            assert_eq!(started.end().signal, Some(9));
            let outcome = case.run(AGAIN);
            assert_eq!(outcome.code, Some(0), "round {round}:\n{outcome}");
        }
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn killing_ctr_at_any_moment_leaves_nothing_after_the_next_start() {
    survives(Who::Root, 40);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn killing_a_users_ctr_at_any_moment_leaves_nothing_after_the_next_start() {
    survives(Who::User, 20);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_container_dies_with_its_ctr() {
    case(Who::Root, |case| {
        case.root("root");
        let mut started = case.start(
            "name = \"crash\"\nrootfs = \"./root\"\ncommand = [\"sh\", \"-c\", \"echo up; exec sleep 1000\"]\n",
        );
        assert_eq!(started.line(), "up");
        started.signal(Signal::KILL);
        // Standard output is at its end when the last process of the container is gone.
        assert_eq!(started.end().signal, Some(9));
        case.run(AGAIN).ok();
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_container_of_another_name_cleans_up_too() {
    case(Who::Root, |case| {
        case.root("root");
        let mut started = case.start(
            "name = \"crash\"\nrootfs = \"./root\"\ncommand = [\"sh\", \"-c\", \"echo up; exec sleep 1000\"]\n",
        );
        assert_eq!(started.line(), "up");
        started.signal(Signal::KILL);
        started.end();
        case.run("name = \"next\"\nrootfs = \"./root\"\ncommand = [\"true\"]\n")
            .ok();
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_signal_before_the_program_runs_ends_the_start() {
    case(Who::Root, |case| {
        case.root("root");
        for micros in (0..6000).step_by(200) {
            let started = case.start("name = \"early\"\nrootfs = \"./root\"\nstop = { grace = \"100ms\" }\ncommand = [\"sleep\", \"1000\"]\n");
            let scale = if std::env::var_os("CTR_VM").is_some() {
                20
            } else {
                1
            };
            std::thread::sleep(Duration::from_micros(micros * scale));
            started.signal(Signal::TERM);
            let outcome = started.end();
            // Before ctr takes the signals it ends by them; later it is a stop of the container.
            assert!(
                outcome.signal == Some(15)
                    || outcome.code == Some(128 + 15)
                    || outcome.code == Some(128 + 9),
                "{micros} µs: {outcome}"
            );
        }
    });
}

/// Kills whichever process makes the K-th call of `name`, K = 1, 2, … until a run makes no K-th one. The
/// call itself is made: what it makes is there when its maker dies.
fn survives_death_at(who: Who, names: &[&str]) {
    case(who, |case| {
        case.root("root");
        let manifest = case.manifest(AGAIN);
        let words = ["run".as_ref(), manifest.as_os_str()];
        for name in names {
            for k in 1.. {
                assert!(k < 400, "{name} is called without end");
                let trace = format!("trace={name}");
                let inject = format!("inject={name}:signal=KILL:when={k}");
                let (mut command, record) = strace(case, &["-e", &trace, "-e", &inject], &words);
                let killed = Outcome::of(&mut command);
                let record = std::fs::read_to_string(&record).expect("strace's record");
                if !record.contains("killed by SIGKILL") {
                    assert!(
                        k > 1,
                        "{name} is never called: it does not belong in this list"
                    );
                    break;
                }
                assert_ne!(killed.code, Some(0), "{name} number {k}:\n{killed}");
                let outcome = Outcome::of(&mut case.ctr(&words));
                assert_eq!(
                    outcome.code,
                    Some(0),
                    "after death at {name} number {k}:\n{outcome}"
                );
            }
        }
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn death_at_each_directory_and_rename_leaves_nothing_after_the_next_start() {
    survives_death_at(Who::Root, &["mkdirat", "renameat2", "unlinkat"]);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn death_at_each_clone_and_message_leaves_nothing_after_the_next_start() {
    survives_death_at(Who::Root, &["clone3", "sendmsg", "pivot_root", "seccomp"]);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn death_at_each_write_leaves_nothing_after_the_next_start() {
    survives_death_at(Who::Root, &["write"]);
}
