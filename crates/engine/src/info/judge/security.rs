//! Confinement, and what explains a death by it.

use super::super::{Facts, Finding, Topic};
use super::{Subject, newer};
use crate::error::errno_name;

/// The Landlock ABI with scopes.
const SCOPES: u32 = 6;

fn subject(name: &'static str, purpose: &'static str) -> Subject {
    Subject {
        topic: Topic::Security,
        name,
        purpose,
    }
}

pub(super) fn judge(facts: &Facts, findings: &mut Vec<Finding>) {
    findings.extend([
        seccomp(facts),
        notify(facts),
        landlock(facts),
        label(
            subject("AppArmor", "`security.apparmor`"),
            facts.files.lsms.apparmor,
            facts,
            "apparmor",
        ),
        label(
            subject("SELinux", "`security.selinux`"),
            facts.files.lsms.selinux,
            facts,
            "selinux",
        ),
        kmsg(facts),
    ]);
}

fn seccomp(facts: &Facts) -> Finding {
    let subject = subject("seccomp", "the filter of system calls every container has");
    match &facts.files.seccomp_actions {
        Some(actions) => subject.ok(actions.trim()),
        None => subject.missing(
            "no /proc/sys/kernel/seccomp/actions_avail",
            "a kernel with CONFIG_SECCOMP_FILTER=y",
        ),
    }
}

fn notify(facts: &Facts) -> Finding {
    let subject = subject(
        "seccomp user_notif",
        "filters that leave a call to another process to answer; not for ctr's own",
    );
    let actions = facts.files.seccomp_actions.as_deref().unwrap_or_default();
    if actions
        .split_ascii_whitespace()
        .any(|action| action == "user_notif")
    {
        subject.ok("there")
    } else {
        subject.missing("not among the actions", newer((5, 0)))
    }
}

fn landlock(facts: &Facts) -> Finding {
    let subject = subject(
        "Landlock",
        "`security.landlock`; abstract sockets and signals kept inside (ABI 6)",
    );
    match facts.calls.landlock.number() {
        0 => subject.missing(
            "not there, or not among the running security modules",
            format!(
                "a kernel with CONFIG_SECURITY_LANDLOCK=y, booted with `{}`",
                lsm_line(facts, "landlock")
            ),
        ),
        abi if abi < SCOPES => {
            subject.limited(format!("ABI {abi}: paths, no scopes"), newer((6, 12)))
        }
        abi => subject.ok(format!("ABI {abi}")),
    }
}

/// `lsm=` as it is, with one more.
fn lsm_line(facts: &Facts, module: &str) -> String {
    let running = &facts.files.lsms.list;
    // `capability` is always there and not for this list.
    let mut modules: Vec<&str> = running.iter().map(String::as_str).collect();
    modules.retain(|name| *name != "capability" && *name != module);
    modules.push(module);
    match running.is_empty() {
        true => format!("lsm=…,{module}"),
        false => format!("lsm={}", modules.join(",")),
    }
}

fn label(subject: Subject, active: bool, facts: &Facts, module: &str) -> Finding {
    if active {
        return subject.ok("active");
    }
    subject.missing(
        "not active; needed only by manifests that name a label",
        format!("boot with `{}`, and load a policy", lsm_line(facts, module)),
    )
}

fn kmsg(facts: &Facts) -> Finding {
    let subject = subject("/dev/kmsg", "naming the process that the OOM killer took");
    match facts.calls.kmsg {
        Ok(()) => subject.ok("readable"),
        Err(errno) => subject.missing(
            errno_name(errno),
            "run as root with CAP_SYSLOG, or sysctl -w kernel.dmesg_restrict=0 and give the caller \
             read permission on /dev/kmsg",
        ),
    }
}
