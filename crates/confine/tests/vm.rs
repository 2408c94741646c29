//! What needs several ids or rights in the initial user namespace.

#![allow(unsafe_code, reason = "raw system calls")]

#[path = "common/process.rs"]
mod process;

use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use confine::seccomp::{Arch, Program};
use confine::{
    CapSet, Capabilities, Capability, Confinement, Ids, IoClass, IoPriority, OomScoreAdj, Policy,
    Resource, Rlimit, Scheduler,
};
use process::{
    Ended, apply, caps, field_of, fork, isolated, number, status, syscall, try_step, wait,
};
use rustix::io::Errno;
use rustix::process::Pid;

fn default_filter() -> Program {
    Program::default_for(CapSet::DEFAULT, Arch::NATIVE)
}

fn ids(uid: u32) -> Ids {
    Ids {
        uid,
        gid: uid,
        groups: Some(vec![uid, 3000]),
    }
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn another_user_has_exactly_its_ids_and_no_capability() {
    isolated(|| {
        let confinement = Confinement::builder()
            .ids(ids(1000))
            .capabilities(Capabilities::for_user(CapSet::DEFAULT, 1000))
            .no_new_privs(true)
            .seccomp(default_filter())
            .build()
            .unwrap();
        apply(&confinement);
        assert_eq!(status("Uid"), "1000\t1000\t1000\t1000");
        assert_eq!(status("Gid"), "1000\t1000\t1000\t1000");
        assert_eq!(status("Groups"), "1000 3000");
        for field in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            assert_eq!(caps(field), CapSet::EMPTY, "{field}");
        }
        assert_eq!(caps("CapBnd"), CapSet::DEFAULT);
        assert_eq!(syscall(number("setresuid"), &[0, 0, 0]), Err(Errno::PERM));
    });
}

/// After the change from 0 only NO_SETUID_FIXUP can have kept them; it must not stay behind.
#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn ambient_capabilities_reach_the_program_of_another_user() {
    let bind = CapSet::from(Capability::NET_BIND_SERVICE);
    let sets = Capabilities {
        effective: bind,
        permitted: bind,
        inheritable: bind,
        bounding: bind,
        ambient: bind,
    };
    isolated(|| {
        let builder = Confinement::builder()
            .ids(ids(1000))
            .capabilities(sets)
            .no_new_privs(true);
        apply(&builder.seccomp(default_filter()).build().unwrap());
        let get_securebits = 27;
        assert_eq!(syscall(number("prctl"), &[get_securebits]), Ok(0));
        let output = Command::new("cat")
            .arg("/proc/self/status")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        for field in ["CapEff", "CapPrm", "CapAmb", "CapBnd"] {
            assert_eq!(
                field_of(&text, field),
                format!("{:016x}", bind.bits()),
                "{field}"
            );
        }
        assert_eq!(field_of(&text, "NoNewPrivs"), "1");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn another_user_is_filtered_without_no_new_privs() {
    isolated(|| {
        let builder = Confinement::builder()
            .ids(ids(1000))
            .capabilities(Capabilities::for_user(CapSet::DEFAULT, 1000))
            .seccomp(default_filter());
        apply(&builder.build().unwrap());
        assert_eq!(
            (status("NoNewPrivs").as_str(), status("Seccomp").as_str()),
            ("0", "2")
        );
        assert_eq!(
            (caps("CapPrm"), caps("CapBnd")),
            (CapSet::EMPTY, CapSet::DEFAULT)
        );
        assert_eq!(status("Uid"), "1000\t1000\t1000\t1000");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_init_can_signal_a_workload_that_changed_its_user() {
    isolated(|| {
        let workload = fork(|| {
            let changed = Confinement::builder().ids(ids(2000)).build().unwrap();
            apply(&changed);
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        let program = Program::init_filter(Arch::NATIVE);
        apply(&Confinement::init(ids(1000), program).unwrap());
        let terminate = [workload as u64, libc::SIGTERM as u64];
        assert_eq!(syscall(number("kill"), &terminate), Ok(0));
        assert_eq!(wait(workload), Ended::Killed(libc::SIGTERM));
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn every_capability_leaves_the_bounding_set() {
    isolated(|| {
        let builder = Confinement::builder()
            .capabilities(Capabilities::NONE)
            .last_capability(confine::caps::last_supported());
        apply(&builder.build().unwrap());
        assert_eq!(caps("CapBnd"), CapSet::EMPTY);
    });
}

/// A child that does nothing until it is killed.
fn with_child(body: impl FnOnce(Pid)) {
    let child = fork(|| {
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    body(Pid::from_raw(child).unwrap());
    // SAFETY: no pointers; the child is ours and not yet waited for.
    unsafe { libc::kill(child, libc::SIGKILL) };
    wait(child);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_parent_raises_a_childs_hard_limit() {
    isolated(|| {
        let low = Rlimit {
            resource: Resource::MEMLOCK,
            soft: Some(4096),
            hard: Some(4096),
        };
        apply(&Confinement::builder().rlimit(low).build().unwrap());
        with_child(|pid| {
            let high = Rlimit {
                soft: None,
                hard: None,
                ..low
            };
            confine::prlimit(pid, high).unwrap();
            let text =
                std::fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_nonzero())).unwrap();
            let line = text
                .lines()
                .find(|line| line.starts_with("Max locked memory"))
                .unwrap();
            assert_eq!(line.matches("unlimited").count(), 2, "{line}");
        });
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn oom_score_adj_can_be_lowered_for_a_child() {
    isolated(|| {
        with_child(|pid| {
            let proc = std::fs::File::open("/proc").unwrap();
            OomScoreAdj::new(-900)
                .unwrap()
                .write(proc.as_fd(), pid)
                .unwrap();
            let file = format!("/proc/{}", OomScoreAdj::file(pid));
            assert_eq!(std::fs::read_to_string(file).unwrap().trim(), "-900");
        });
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn realtime_scheduling_and_io_are_taken_on() {
    isolated(|| {
        let confinement = Confinement::builder()
            .scheduler(Scheduler {
                policy: Policy::Rr,
                priority: 5,
                ..Scheduler::default()
            })
            .io_priority(IoPriority {
                class: IoClass::RealTime,
                level: 3,
            })
            .build()
            .unwrap();
        apply(&confinement);
        let round_robin = 2;
        assert_eq!(syscall(number("sched_getscheduler"), &[0]), Ok(round_robin));
        assert_eq!(syscall(number("ioprio_get"), &[1, 0]), Ok(1 << 13 | 3));
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_process_without_capabilities_cannot_get_them_back() {
    isolated(|| {
        apply(
            &Confinement::builder()
                .capabilities(Capabilities::NONE)
                .build()
                .unwrap(),
        );
        let again = Confinement::builder()
            .capabilities(Capabilities::for_user(CapSet::DEFAULT, 0))
            .build()
            .unwrap();
        let capset = (0..again.len())
            .find(|&step| again.describe(step).starts_with("capset"))
            .unwrap();
        assert_eq!(try_step(&again, capset), Err(Errno::PERM));
    });
}
