//! The OCI runtimes, and a `config.json` that asks of them what `ctr` does by default.
//!
//! Alike: the seven namespaces, 65 536 ids, the mounts, Docker's masked and read-only paths, the eight
//! capabilities, no_new_privs, rlimits, a cgroup of its own with `pids.max` where the machine has the
//! controller.
//!
//! Different, in favour of the runtimes: no device filter (crun 1.8 cannot make one without
//! CAP_SYS_RESOURCE; `ctr` makes one where it can), no init (PID 1 is the program), fewer masks, no
//! report. Without seccomp in `crun` and `runc`, which the requirements are held against; with a filter
//! of as many calls in `crun+seccomp` and `runc+seccomp`, which is the fair comparison.

use std::path::Path;

use serde_json::{Value, json};

use super::programs;

/// One runtime and its bundle, a directory of the same name.
pub(super) struct Bundle {
    pub(super) name: &'static str,
    pub(super) note: &'static str,
    runtime: &'static str,
    seccomp: bool,
}

/// All of them.
pub(super) const BUNDLES: &[Bundle] = &[
    Bundle {
        name: "crun",
        note: "equivalent bundle, but no seccomp and no init",
        runtime: "crun",
        seccomp: false,
    },
    Bundle {
        name: "crun+seccomp",
        note: "with an allow-list of Docker's size",
        runtime: "crun",
        seccomp: true,
    },
    Bundle {
        name: "runc",
        note: "equivalent bundle, but no seccomp and no init",
        runtime: "runc",
        seccomp: false,
    },
    Bundle {
        name: "runc+seccomp",
        note: "with an allow-list of Docker's size",
        runtime: "runc",
        seccomp: true,
    },
];

/// The calls that Docker's default profile allows on x86_64, one a line.
const ALLOWED: &str = include_str!("../../../tests/probe/docker/syscalls.txt");

/// The command line that runs `bundle` once. State lives below the private /run.
pub(super) fn argv(bundle: &Bundle, place: &Path) -> Vec<String> {
    let dir = place.join(bundle.name).display().to_string();
    let state = format!("/run/{}", bundle.runtime);
    let program = programs::installed(bundle.runtime);
    let mut argv = vec![program.as_str(), "--root", &state];
    if bundle.runtime == "crun" {
        argv.push("--cgroup-manager=cgroupfs");
    }
    let id = format!("bench-{}-{{n}}", bundle.name.replace('+', "-"));
    argv.extend(["run", "--bundle", &dir, &id]);
    argv.into_iter().map(str::to_owned).collect()
}

/// The `config.json` of `bundle`.
pub(super) fn config(bundle: &Bundle, root: &Path) -> Value {
    let mut config = json!({
        "ociVersion": "1.0.0",
        "process": process(),
        "root": { "path": root, "readonly": false },
        "hostname": "bench",
        "mounts": mounts(),
        "linux": {
            "cgroupsPath": "/bench",
            "namespaces": namespaces(),
            "uidMappings": ids(),
            "gidMappings": ids(),
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
                "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
                "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    if bundle.seccomp {
        let names: Vec<&str> = ALLOWED
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }],
        });
    }
    config
}

fn process() -> Value {
    let capabilities = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
    ];
    json!({
        "terminal": false,
        "user": { "uid": 0, "gid": 0 },
        "args": ["/bin/true"],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "cwd": "/",
        "capabilities": {
            "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            "inheritable": [], "ambient": [],
        },
        "rlimits": [{ "type": "RLIMIT_CORE", "hard": 0, "soft": 0 }],
        "noNewPrivileges": true,
    })
}

fn namespaces() -> Value {
    let kinds = ["user", "pid", "mount", "network", "ipc", "uts", "cgroup"];
    kinds
        .map(|kind| json!({ "type": kind }))
        .into_iter()
        .collect()
}

fn ids() -> Value {
    json!([{ "containerID": 0, "hostID": 0x7000_0000, "size": 65_536 }])
}

fn mounts() -> Value {
    let mount = |at: &str, kind: &str, options: &[&str]| json!({ "destination": at, "type": kind, "source": kind, "options": options });
    let device = ["nosuid", "noexec", "nodev"];
    json!([
        mount("/proc", "proc", &device),
        mount(
            "/dev",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"]
        ),
        mount(
            "/dev/pts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5"
            ]
        ),
        mount(
            "/dev/shm",
            "tmpfs",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]
        ),
        mount("/dev/mqueue", "mqueue", &device),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"]
        ),
    ])
}
