//! Real programs in a real system.

use e2e::{Case, Outcome, Who, case, debian};

const LIMITS: &str =
    "[resources]\nmemory = { max = \"256MiB\", swap = \"0\" }\ncpu = { max = 1.0 }\npids = 64\n";

fn run(case: &Case, command: &str, more: &str) -> Outcome {
    case.run(&format!(
        "name = \"debian\"\nrootfs = {:?}\ncommand = {command}\n{more}",
        debian()
    ))
}

fn real_programs(who: Who, more: &str) {
    case(who, |case| {
        let out = run(
            case,
            "[\"sh\", \"-c\", \"cat /etc/debian_version; exit 0\"]",
            more,
        )
        .ok();
        assert!(out.starts_with("12."), "{out}");
        let sum = "[\"python3\", \"-c\", \"import os, sys; print(sum(range(101)), os.getuid(), sys.version_info[0])\"]";
        assert_eq!(run(case, sum, more).ok(), "5050 0 3\n");
        let out = run(case, "[\"apt-get\", \"--version\"]", more).ok();
        assert!(out.starts_with("apt 2.6"), "{out}");
        let out = run(
            case,
            "[\"bash\", \"-c\", \"type -p perl && perl -e 'print 6 * 7'\"]",
            more,
        )
        .ok();
        assert_eq!(out, "/usr/bin/perl\n42");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn real_programs_run_for_root_within_limits() {
    real_programs(Who::Root, LIMITS);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn real_programs_run_for_a_user() {
    real_programs(Who::User, "");
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn real_programs_run_for_a_user_with_one_id() {
    real_programs(Who::Nobody, "");
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn threads_and_children_of_python_work_under_the_filter() {
    case(Who::Root, |case| {
        let script = "import _thread, os, time\\nl = _thread.allocate_lock()\\nl.acquire()\\n_thread.start_new_thread(l.release, ())\\nl.acquire()\\n\
                      p = os.fork()\\nif p == 0: os._exit(4)\\nprint(os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]))";
        assert_eq!(
            run(
                case,
                &format!("[\"python3\", \"-c\", \"{script}\"]"),
                LIMITS
            )
            .ok(),
            "4\n"
        );
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn files_of_root_look_like_roots_to_container_root() {
    case(Who::Root, |case| {
        let out = run(
            case,
            "[\"stat\", \"-c\", \"%U %u\", \"/etc/passwd\", \"/usr/bin/perl\"]",
            "",
        )
        .ok();
        assert_eq!(out, "root 0\nroot 0\n");
    });
}
