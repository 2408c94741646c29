//! System calls and file systems.

use std::path::PathBuf;

use rustix::io::Errno;

use super::super::calls::Answer;
use super::super::trial::Trial;
use super::super::{Facts, Finding, Topic, files};
use super::{Subject, newer};
use crate::error::errno_name;

/// The oldest kernel that is tested.
const OLDEST: (u32, u32) = (6, 1);

const FILTER: &str = "allow it in the seccomp filter this process runs behind (a container engine's profile), \
                      or run ctr outside of it";

fn subject(name: &'static str, purpose: &'static str) -> Subject {
    Subject {
        topic: Topic::Kernel,
        name,
        purpose,
    }
}

pub(super) fn judge(facts: &Facts, findings: &mut Vec<Finding>) {
    let calls = &facts.calls;
    findings.extend([
        version(facts),
        clone3(facts),
        subject(
            "CLONE_INTO_CGROUP",
            "a container is born in its cgroup, which spares a move of milliseconds",
        )
        .by_version(facts, (5, 7)),
        call(
            subject(
                "pidfd",
                "signals and waiting that no recycled pid can mislead",
            ),
            calls.pidfd,
            (5, 3),
        ),
        subject(
            "close_range",
            "nothing the caller left open reaches the program",
        )
        .by_version(facts, (5, 11)),
        mount_api(facts),
        call(
            subject(
                "openat2",
                "no look-up below a container's root leads out of it",
            ),
            calls.openat2,
            (5, 6),
        ),
        mount_setattr(facts),
        idmapped(facts),
        overlay(facts),
        namespaces(facts),
        time(facts),
        own_mount(
            subject("procfs", "/proc of the container's own processes"),
            &facts.trials.proc,
            &facts.files.over_proc,
        ),
        own_mount(
            subject("sysfs", "/sys of the container's own network"),
            &facts.trials.sysfs,
            &facts.files.over_sys,
        ),
    ]);
}

fn version(facts: &Facts) -> Finding {
    let subject = subject("version", "all of it: older kernels are not tested");
    let release = &facts.files.release;
    if release.is_empty() {
        subject.missing(
            "/proc/sys/kernel/osrelease cannot be read",
            "mount -t proc proc /proc",
        )
    } else if files::version(release) >= OLDEST {
        subject.ok(release)
    } else {
        subject.missing(release, newer(OLDEST))
    }
}

fn clone3(facts: &Facts) -> Finding {
    let subject = subject(
        "clone3",
        "one call makes a container's process and namespaces",
    );
    match &facts.trials.user_namespace {
        Trial::Works => subject.ok("with CLONE_PIDFD"),
        Trial::Refused {
            errno: Errno::NOSYS,
            ..
        } => subject.missing("refused with ENOSYS", FILTER),
        // Refused for what was asked of it, so it is there.
        Trial::Refused { .. } | Trial::NotTried(_) => subject.by_version(facts, (5, 3)),
    }
}

/// A call that answers unless the kernel lacks it or a filter hides it.
fn call(subject: Subject, answer: Answer, since: (u32, u32)) -> Finding {
    match answer {
        Ok(()) => subject.ok("answers"),
        Err(Errno::NOSYS) => {
            let (major, minor) = since;
            let remedy = format!("it is there since Linux {major}.{minor}: {FILTER}");
            subject.missing("refused with ENOSYS", remedy)
        }
        Err(errno) => subject.missing(format!("refused with {}", errno_name(errno)), FILTER),
    }
}

fn mount_api(facts: &Facts) -> Finding {
    let subject = subject(
        "new mount API",
        "mounts are made detached, and attached by descriptor",
    );
    let tried = matches!(facts.trials.proc, Trial::Works);
    match facts.calls.open_tree {
        // The path given names nothing.
        Ok(()) | Err(Errno::NOENT) => subject.ok("fsopen, open_tree, move_mount"),
        Err(Errno::NOSYS) => call(subject, facts.calls.open_tree, (5, 2)),
        Err(_) if tried => subject.ok("fsopen, open_tree, move_mount; in a user namespace"),
        Err(Errno::PERM) if !facts.caller.privileged => {
            subject.ok("there; this caller may use it in a user namespace only")
        }
        Err(errno) => subject.limited(format!("open_tree: {}", errno_name(errno)), FILTER),
    }
}

fn mount_setattr(facts: &Facts) -> Finding {
    let subject = subject(
        "mount_setattr",
        "read-only and nosuid for a mount and all below",
    );
    match facts.calls.mount_setattr {
        Err(Errno::PERM) if !facts.caller.privileged => {
            subject.ok("there; this caller may use it in a user namespace only")
        }
        answer => call(subject, answer, (5, 12)),
    }
}

fn idmapped(facts: &Facts) -> Finding {
    let subject = subject(
        "idmapped mounts",
        "files keep their owners on disk and belong to the container's ids inside",
    );
    match files::version(&facts.files.release) {
        version if version < (5, 19) => subject.missing("by version", newer((5, 19))),
        version if version < (6, 3) => subject.limited(
            "by version: not of tmpfs",
            "boot Linux 6.3 or later, or keep what is bound on a disk's file system",
        ),
        _ => subject.ok("by version: layers of overlays, tmpfs; asked of root only"),
    }
}

fn overlay(facts: &Facts) -> Finding {
    let subject = subject("overlayfs", "layered and throw-away roots");
    if facts.files.overlay {
        subject.ok("in /proc/filesystems")
    } else if facts.files.overlay_module {
        subject.limited(
            "a module that is not loaded; the first overlay mount loads it where modules may be loaded",
            "modprobe overlay",
        )
    } else {
        subject.missing(
            "neither in /proc/filesystems nor among this kernel's modules",
            "modprobe overlay (CONFIG_OVERLAY_FS); `rootfs = \"DIR\"` needs none",
        )
    }
}

fn namespaces(facts: &Facts) -> Finding {
    let subject = subject("namespaces", "what a container has of its own");
    let needed = [
        ("cgroup", "CONFIG_CGROUPS"),
        ("ipc", "CONFIG_IPC_NS"),
        ("mnt", "CONFIG_NAMESPACES"),
        ("net", "CONFIG_NET_NS"),
        ("pid", "CONFIG_PID_NS"),
        ("user", "CONFIG_USER_NS"),
        ("uts", "CONFIG_UTS_NS"),
    ];
    let has = |name: &str| facts.files.namespaces.iter().any(|own| own == name);
    let (there, missing): (Vec<_>, Vec<_>) = needed.into_iter().partition(|(name, _)| has(name));
    if missing.is_empty() {
        return subject.ok(there.map_names());
    }
    let configs: Vec<String> = missing
        .iter()
        .map(|(_, config)| format!("{config}=y"))
        .collect();
    subject.missing(
        format!("no {}", missing.map_names()),
        format!("a kernel with {}", configs.join(" ")),
    )
}

trait Names {
    fn map_names(&self) -> String;
}

impl Names for Vec<(&str, &str)> {
    fn map_names(&self) -> String {
        self.iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn time(facts: &Facts) -> Finding {
    let subject = subject(
        "time namespace",
        "a monotonic clock of its own, when asked for",
    );
    if facts.files.namespaces.iter().any(|name| name == "time") {
        subject.ok("there")
    } else {
        subject.missing("no /proc/self/ns/time", "a kernel with CONFIG_TIME_NS=y")
    }
}

/// A file system of its own in a user namespace.
fn own_mount(subject: Subject, trial: &Trial, over: &[PathBuf]) -> Finding {
    let covered = || {
        let over: Vec<String> = over.iter().map(|path| path.display().to_string()).collect();
        format!("covered by {}", over.join(", "))
    };
    let uncover = "run ctr where the outer one is not covered by other mounts (not in a container), or \
                   start the outer container without masked paths";
    match trial {
        Trial::Works => subject.ok("tried in a user namespace"),
        Trial::Refused { errno, .. } if !over.is_empty() => subject.missing(
            format!("{}, outer one {}", errno_name(*errno), covered()),
            uncover,
        ),
        Trial::Refused { call, errno, hint } => subject.missing(
            format!("{call}: {}", errno_name(*errno)),
            hint.unwrap_or(uncover),
        ),
        Trial::NotTried(because) if over.is_empty() => subject.limited(
            format!("not probed: {because}"),
            "allow user namespaces, see below",
        ),
        Trial::NotTried(because) => subject.limited(
            format!("not probed: {because}; the outer one is {}", covered()),
            uncover,
        ),
    }
}
