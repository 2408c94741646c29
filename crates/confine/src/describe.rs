//! Steps in words: for the parent only, these allocate.

use rustix::io::Errno;
use rustix::thread::CapabilitiesSecureBits;

use crate::confinement::Step;
use crate::landlock::{access_names, scope_names};

/// As strace spells the call.
pub(crate) fn step(step: &Step) -> String {
    match step {
        Step::Label(write) => write.describe(),
        Step::Umask(mode) if *mode > 0o77 => format!("umask(0{mode:o})"),
        Step::Umask(mode) => format!("umask({mode:03o})"),
        Step::Personality(domain) => format!("personality({})", domain.name()),
        Step::Scheduler(scheduler) => format!("sched_setattr(0, {}, 0)", scheduler.describe()),
        Step::IoPriority(priority) => {
            format!("ioprio_set(IOPRIO_WHO_PROCESS, 0, {})", priority.describe())
        }
        Step::LandlockCreate { fs, scoped } => format!(
            "landlock_create_ruleset({{handled_access_fs={}, handled_access_net=0, scoped={}}}, 24, 0)",
            access_names(*fs),
            scope_names(*scoped)
        ),
        Step::LandlockRule(_, rule) => format!(
            "landlock_add_rule(ruleset, LANDLOCK_RULE_PATH_BENEATH, {{allowed_access={}, parent_fd={:?}}}, 0)",
            access_names(rule.access),
            rule.path
        ),
        Step::DropBounding(capability) => format!("prctl(PR_CAPBSET_DROP, {capability})"),
        Step::SecureBits(bits) => format!("prctl(PR_SET_SECUREBITS, {})", secure_bits(*bits)),
        Step::SetGroups(groups) => {
            let list: Vec<String> = groups.iter().map(|gid| gid.as_raw().to_string()).collect();
            format!("setgroups({}, [{}])", list.len(), list.join(", "))
        }
        Step::SetResGid(gid) => format!("setresgid({0}, {0}, {0})", gid.as_raw()),
        Step::SetResUid(uid) => format!("setresuid({0}, {0}, {0})", uid.as_raw()),
        Step::CapSet(sets) => format!(
            "capset({{version=_LINUX_CAPABILITY_VERSION_3, pid=0}}, \
             {{effective={}, permitted={}, inheritable={}}})",
            sets.effective, sets.permitted, sets.inheritable
        ),
        Step::AmbientClear => "prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)".to_owned(),
        Step::AmbientRaise(capability) => {
            format!("prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, {capability}, 0, 0)")
        }
        Step::NoNewPrivs => "prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)".to_owned(),
        Step::LandlockRestrict => "landlock_restrict_self(ruleset, 0)".to_owned(),
        Step::Rlimit(_, rlimit) => format!("prlimit64(0, {}, {rlimit}, NULL)", rlimit.resource),
        Step::Seccomp { program, listen } => format!(
            "seccomp(SECCOMP_SET_MODE_FILTER, {}, {{len={}}})",
            program.flag_names(*listen),
            program.instructions().len()
        ),
    }
}

fn secure_bits(bits: CapabilitiesSecureBits) -> String {
    let names = [
        (CapabilitiesSecureBits::NO_ROOT, "SECBIT_NOROOT"),
        (
            CapabilitiesSecureBits::NO_ROOT_LOCKED,
            "SECBIT_NOROOT_LOCKED",
        ),
        (
            CapabilitiesSecureBits::NO_SETUID_FIXUP,
            "SECBIT_NO_SETUID_FIXUP",
        ),
        (
            CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED,
            "SECBIT_NO_SETUID_FIXUP_LOCKED",
        ),
        (CapabilitiesSecureBits::KEEP_CAPS, "SECBIT_KEEP_CAPS"),
        (
            CapabilitiesSecureBits::KEEP_CAPS_LOCKED,
            "SECBIT_KEEP_CAPS_LOCKED",
        ),
        (
            CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE,
            "SECBIT_NO_CAP_AMBIENT_RAISE",
        ),
        (
            CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED,
            "SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED",
        ),
    ];
    let set: Vec<&str> = names
        .iter()
        .filter(|(bit, _)| bits.contains(*bit))
        .map(|(_, name)| *name)
        .collect();
    if set.is_empty() {
        "0".to_owned()
    } else {
        set.join("|")
    }
}

/// What misleads in the errno of these calls.
pub(crate) fn hint(step: &Step, errno: Errno) -> Option<&'static str> {
    match (step, errno) {
        (Step::SetGroups(_), Errno::PERM) => Some(
            "setgroups is off in a user namespace whose gid_map an unprivileged user wrote; ask for no groups, \
             or have ids delegated in /etc/subgid",
        ),
        (Step::SetGroups(_) | Step::SetResGid(_) | Step::SetResUid(_), Errno::INVAL) => {
            Some("the id is not mapped in the container's user namespace")
        }
        (Step::SetResUid(_), Errno::AGAIN) => Some("RLIMIT_NPROC of the user is exhausted"),
        (Step::DropBounding(_) | Step::SecureBits(_), Errno::PERM) => {
            Some("CAP_SETPCAP is missing in the user namespace of the process")
        }
        (Step::CapSet(_), Errno::PERM) => {
            Some("a capability asked for is not in the permitted set the process has")
        }
        (Step::AmbientRaise(_), Errno::PERM) => Some(
            "the capability is not permitted and inheritable, or SECBIT_NO_CAP_AMBIENT_RAISE is set",
        ),
        (Step::Scheduler(_), Errno::PERM) => {
            Some("this policy or nice value needs CAP_SYS_NICE in the initial user namespace")
        }
        (Step::IoPriority(_), Errno::PERM) => {
            Some("the realtime class needs CAP_SYS_NICE in the initial user namespace")
        }
        (Step::Seccomp { .. }, Errno::ACCESS) => Some(
            "a filter needs no_new_privs, or CAP_SYS_ADMIN in the user namespace of the process",
        ),
        (Step::Seccomp { .. }, Errno::INVAL) => Some(
            "CONFIG_SECCOMP_FILTER is not built in, or the kernel does not know one of the flags",
        ),
        (Step::Seccomp { .. }, Errno::NOMEM) => {
            Some("the filters already on this process and this one exceed 32768 instructions")
        }
        (Step::Seccomp { .. }, Errno::BUSY) => {
            Some("another filter of this process already has a listener")
        }
        _ => None,
    }
}
