//! What a container does not see, or only sees read-only.
//!
//! Of `/proc` and `/sys` at least what Docker hides, of the host's own tree what
//! docs/decisions/0003-host-root-and-secrets.md argues for.

use crate::spec::{Root, Spec};

/// What `rootfs = "host"` shows empty and writable, and its mode.
pub(super) const HOST_EMPTY: [(&str, u32); 7] = [
    ("/home", 0o755),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/tmp", 0o1777),
    ("/var/tmp", 0o1777),
    ("/mnt", 0o755),
    ("/media", 0o755),
];

/// Entries of `/` that an ordinary user's `rootfs = "host"` does not take over: what the engine makes
/// itself, what is to be empty, and what root would have masked.
pub const NOT_FROM_HOST: [&str; 12] = [
    "proc",
    "sys",
    "dev",
    "home",
    "root",
    "run",
    "tmp",
    "mnt",
    "media",
    "boot",
    "srv",
    "lost+found",
];

/// What `rootfs = "host"` hides from container root, whose files those would be: see
/// docs/decisions/0003-host-root-and-secrets.md.
pub(super) const HOST_SECRETS: [&str; 34] = [
    "/boot",
    "/etc/NetworkManager/system-connections",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/krb5.keytab",
    "/etc/kubernetes",
    "/etc/letsencrypt",
    "/etc/mysql/debian.cnf",
    "/etc/openvpn",
    "/etc/polkit-1",
    "/etc/ppp",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/wireguard",
    "/lost+found",
    "/srv",
    "/var/backups",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/ctr",
    "/var/lib/docker",
    "/var/lib/kubelet",
    "/var/lib/mysql",
    "/var/lib/NetworkManager",
    "/var/lib/postgresql",
    "/var/lib/private",
    "/var/lib/redis",
    "/var/log",
    "/var/mail",
    "/var/spool",
];

/// Hidden in every container, when they are there: they tell everyone about the host.
pub(super) const MASKED: [&str; 18] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/config.gz",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/modules",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_stats",
    "/sys/class/dmi",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/bpf",
    "/sys/hypervisor",
    "/sys/kernel",
    "/sys/module",
];

/// Hidden besides where container root is host root. Anyone else the kernel refuses: they belong to
/// host root and are for nobody else, and each mask would cost 8 µs.
pub(super) const MASKED_FROM_HOST_ROOT: [&str; 10] = [
    "/proc/kcore",
    "/proc/kmsg",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/mtrr",
    "/proc/slabinfo",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/proc/vmallocinfo",
];

/// Read-only in every container: parameters of its own namespaces are the manifest's to set.
pub(super) const READ_ONLY: [&str; 1] = ["/proc/sys"];

/// Read-only besides where container root is host root; anyone else may not write there.
pub(super) const READ_ONLY_FOR_HOST_ROOT: [&str; 4] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/tty"];

/// What `rootfs = "host"` hides besides, for [`observe`](crate::observe::observe) to look whether it is there.
pub fn host_secrets(spec: &Spec) -> impl Iterator<Item = &'static str> {
    let host = spec.root.value == Root::Host;
    HOST_SECRETS.into_iter().filter(move |_| host)
}
