//! Signals are passed on, and the dead are reaped.

use std::time::{Duration, Instant};

use e2e::{Who, case, patience};
use rustix::process::Signal;

/// A shell that answers SIG`name` with status `status`.
fn trap(name: &str, status: u32) -> String {
    format!(
        "rootfs = \"./root\"\nstop = {{ grace = \"30s\" }}\n\
         command = [\"sh\", \"-c\", \"trap 'echo got {name}; exit {status}' {name}; echo up; while :; do sleep 0.1; done\"]\n"
    )
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn signals_to_ctr_reach_the_program() {
    case(Who::Root, |case| {
        case.root("root");
        for (name, signal) in [
            ("TERM", Signal::TERM),
            ("INT", Signal::INT),
            ("USR1", Signal::USR1),
            ("QUIT", Signal::QUIT),
        ] {
            let mut started = case.start(&trap(name, 33));
            assert_eq!(started.line(), "up");
            started.signal(signal);
            let outcome = started.end().expect(33);
            assert_eq!(outcome.out, format!("up\ngot {name}\n"));
        }
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_user_stops_a_container_as_root_does() {
    case(Who::User, |case| {
        case.root("root");
        let mut started = case.start(&trap("TERM", 5));
        assert_eq!(started.line(), "up");
        started.signal(Signal::TERM);
        started.end().expect(5);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_manifests_stop_signal_stands_for_sigterm() {
    case(Who::Root, |case| {
        case.root("root");
        let text = trap("QUIT", 34).replace("grace", "signal = \"SIGQUIT\", grace");
        let mut started = case.start(&text);
        assert_eq!(started.line(), "up");
        started.signal(Signal::TERM);
        started.end().expect(34);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_program_that_ignores_the_stop_is_killed_after_the_grace_period() {
    case(Who::Root, |case| {
        case.root("root");
        let mut started = case.start(
            "rootfs = \"./root\"\nstop = { grace = \"300ms\" }\n\
             command = [\"sh\", \"-c\", \"trap '' TERM; echo up; while :; do sleep 0.1; done\"]\n",
        );
        assert_eq!(started.line(), "up");
        let begin = Instant::now();
        started.signal(Signal::TERM);
        started.end().expect(128 + 9).says("stop.grace");
        assert!(begin.elapsed() >= Duration::from_millis(300));
        assert!(begin.elapsed() < patience(10));
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_second_sigterm_ends_the_wait() {
    case(Who::Root, |case| {
        case.root("root");
        let mut started = case.start(
            "rootfs = \"./root\"\nstop = { grace = \"1000s\" }\n\
             command = [\"sh\", \"-c\", \"trap 'echo asked' TERM; echo up; while :; do sleep 0.1; done\"]\n",
        );
        assert_eq!(started.line(), "up");
        started.signal(Signal::TERM);
        assert_eq!(started.line(), "asked");
        started.signal(Signal::TERM);
        started.end().expect(128 + 9).says("SIGKILL");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn orphans_are_reaped_by_the_init() {
    case(Who::Root, |case| {
        case.root("root");
        // Each subshell dies before its child, which then belongs to PID 1.
        let script = "for i in 1 2 3 4 5; do (sleep 0.05 &) ; done; sleep 1; \
                      for status in /proc/[0-9]*/status; do grep -q '^State:.Z' $status && echo zombie $status; done; echo looked";
        let out = case
            .run(&format!(
                "rootfs = \"./root\"\ncommand = [\"sh\", \"-c\", \"{script}\"]\n"
            ))
            .ok();
        assert_eq!(out, "looked\n");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn what_the_program_left_running_ends_with_it() {
    case(Who::Root, |case| {
        case.root("root");
        // The oracle finds the sleepers if they live on.
        let script = "sleep 1000 & (setsid sleep 1000 &); trap '' TERM; exit 3";
        case.run(&format!(
            "rootfs = \"./root\"\ncommand = [\"sh\", \"-c\", \"{script}\"]\n"
        ))
        .expect(3);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_program_starts_with_every_signal_at_its_default() {
    case(Who::Root, |case| {
        case.root("root");
        let manifest = case.manifest(
            "rootfs = \"./root\"\ncommand = [\"grep\", \"-E\", \"^Sig(Blk|Ign)\", \"/proc/self/status\"]\n",
        );
        // A caller that ignores signals, as nohup does, and one that blocks none.
        let script = "trap '' HUP INT PIPE TERM; exec \"$@\"";
        let mut command = case.command("sh");
        let ctr = case.ctr(&["run".as_ref(), manifest.as_os_str()]);
        command
            .args(["-c", script, "sh"])
            .arg(ctr.get_program())
            .args(ctr.get_args());
        let out = e2e::Outcome::of(&mut command).ok();
        assert_eq!(
            out,
            "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
        );
    });
}
