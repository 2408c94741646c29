//! Exit statuses, and programs that cannot be executed.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use e2e::{Case, Outcome, Who, case};

fn manifest(command: &str) -> String {
    format!("rootfs = \"./root\"\ncommand = {command}\n")
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_programs_exit_status_is_ctrs() {
    case(Who::Root, |case| {
        case.root("root");
        let path = case.write(
            "status.toml",
            &manifest("[\"sh\", \"-c\", \"exit $1\", \"sh\"]"),
        );
        for status in [0, 1, 2, 42, 124, 125, 126, 127, 128, 129, 137, 254, 255] {
            let text = status.to_string();
            let words = ["run".as_ref(), path.as_os_str(), text.as_ref()];
            Outcome::of(&mut case.ctr(&words)).expect(status);
        }
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_program_that_a_signal_ends_gives_128_and_its_number() {
    case(Who::Root, |case| {
        case.root("root");
        for (name, number) in [
            ("TERM", 15),
            ("KILL", 9),
            ("SEGV", 11),
            ("HUP", 1),
            ("RTMIN", 34),
        ] {
            case.run(&manifest(&format!(
                "[\"sh\", \"-c\", \"kill -{number} $$; sleep 5\"]"
            )))
            .expect(128 + number)
            .says(&format!("SIG{name}"));
        }
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn without_an_init_the_program_is_pid_1_and_its_status_counts() {
    case(Who::Root, |case| {
        case.root("root");
        let text = format!(
            "{}init = false\n",
            manifest("[\"sh\", \"-c\", \"echo $$; exit 7\"]")
        );
        let outcome = case.run(&text).expect(7);
        assert_eq!(outcome.out, "1\n");
    });
}

/// Runs `command` and expects `code`, each of `words` in the message, and the line of `command`.
fn fails(case: &Case, command: &str, code: i32, words: &[&str]) {
    let mut outcome = case.run(&manifest(command)).expect(code);
    for word in words {
        outcome = outcome.says(word);
    }
    outcome.says("toml:2");
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_program_that_is_not_there_is_127_and_says_where_it_was_looked_for() {
    case(Who::Root, |case| {
        let root = case.root("root");
        fails(case, "[\"pyhton\"]", 127, &["pyhton"]);
        fails(case, "[\"shh\"]", 127, &["shh", "sh"]);
        fails(
            case,
            "[\"/bin/nothing/here\"]",
            127,
            &["/bin/nothing", "does not exist"],
        );
        symlink("/opt/gone", root.join("bin/dangling")).expect("symlink");
        fails(case, "[\"/bin/dangling\"]", 127, &["symlink", "/opt/gone"]);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_program_that_cannot_be_executed_is_126_and_says_why() {
    case(Who::Root, |case| {
        let root = case.root("root");
        let file = |name: &str, text: &str, mode: u32| {
            let path = root.join("bin").join(name);
            fs::write(&path, text).expect("write");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        };
        file("plain", "#!/bin/sh\n", 0o644);
        file("empty", "", 0o755);
        file("noshebang", "echo hello\n", 0o755);
        file("foreign", "MZ\u{1}\u{2}\u{3}\u{4}", 0o755);
        fails(case, "[\"/bin\"]", 126, &["directory"]);
        fails(case, "[\"/bin/plain\"]", 126, &["not executable", "0644"]);
        fails(case, "[\"/bin/empty\"]", 126, &["empty"]);
        fails(case, "[\"/bin/noshebang\"]", 126, &["#!/bin/sh"]);
        fails(case, "[\"/bin/foreign\"]", 126, &["/bin/foreign"]);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_script_without_its_interpreter_names_the_interpreter() {
    case(Who::Root, |case| {
        let root = case.root("root");
        let script = |name: &str, text: &str| {
            let path = root.join("bin").join(name);
            fs::write(&path, text).expect("write");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
        };
        script("python", "#!/usr/bin/python3\n");
        script("windows", "#!/bin/sh\r\necho hello\r\n");
        fails(case, "[\"/bin/python\"]", 126, &["/usr/bin/python3"]);
        fails(case, "[\"/bin/windows\"]", 126, &["Windows line ends"]);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_program_of_another_libc_names_the_loader() {
    case(Who::Root, |case| {
        let root = case.root("root");
        fs::copy(e2e::debian().join("usr/bin/sort"), root.join("bin/glibc")).expect("copy");
        fails(case, "[\"/bin/glibc\"]", 126, &["glibc", "ld-linux"]);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_bad_manifest_is_2_and_starts_nothing() {
    case(Who::Root, |case| {
        case.root("root");
        case.run("rootfs = \"./root\"\ncommand = [\"true\"]\nmemroy = 1\n")
            .expect(2)
            .says("memroy");
        case.run("rootfs = \"./absent\"\ncommand = [\"true\"]\n")
            .expect(2)
            .says("absent");
        Outcome::of(&mut case.ctr(&["run", "absent.toml"]))
            .expect(2)
            .says("absent.toml");
        Outcome::of(&mut case.ctr(&["rnu"])).expect(2);
    });
}
