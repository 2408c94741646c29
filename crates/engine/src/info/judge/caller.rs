//! Who is asking, what they may do, and which ids their containers get.

use ns::subid::SubId;

use super::super::calls::Program;
use super::super::trial::Trial;
use super::super::{Facts, Finding, Topic};
use super::Subject;
use crate::error::errno_name;
use crate::state::{IDS_PER_CONTAINER, IdRange};

/// The first id past the ranges handed out to root's containers: what systemd leaves free ends there.
const IDS_END: u32 = 0x7ffe_0000;

fn subject(name: &'static str, purpose: &'static str) -> Subject {
    Subject {
        topic: Topic::Caller,
        name,
        purpose,
    }
}

pub(super) fn judge(facts: &Facts, findings: &mut Vec<Finding>) {
    findings.extend([
        rights(facts),
        raising(facts),
        confined(facts),
        user_namespaces(facts),
        of_others(facts),
        helpers(facts),
        ids(facts),
        state(facts),
    ]);
}

fn rights(facts: &Facts) -> Finding {
    let subject = subject("rights", "mounts of the host, idmapped, and any ids");
    let caller = &facts.caller;
    match (caller.privileged, caller.uid) {
        (true, uid) => subject.ok(format!("uid {uid}, privileged: CAP_SYS_ADMIN on this host")),
        (false, 0) => subject.limited(
            "uid 0 without CAP_SYS_ADMIN and CAP_SETUID on this host: treated as an ordinary user",
            "run ctr outside of the container or user namespace it is in",
        ),
        (false, uid) => subject.ok(format!(
            "uid {uid}, an ordinary user: all in a user namespace"
        )),
    }
}

fn raising(facts: &Facts) -> Finding {
    let subject = subject(
        "raising limits",
        "`security.rlimits` above the caller's own hard limits",
    );
    if facts.caller.may_raise_rlimits {
        return subject.ok("CAP_SYS_RESOURCE");
    }
    let remedy = if facts.caller.privileged {
        "run ctr with CAP_SYS_RESOURCE"
    } else {
        "raise the hard limits of this user in /etc/security/limits.conf (systemd: LimitNOFILE= and so on)"
    };
    subject.limited("no CAP_SYS_RESOURCE: limits can only be lowered", remedy)
}

fn confined(facts: &Facts) -> Finding {
    let subject = subject(
        "confinement",
        "nothing: what confines the caller confines its containers",
    );
    let files = &facts.files;
    let what = match (files.no_new_privs, files.filtered) {
        (false, false) => return subject.ok("none"),
        (true, false) => "no_new_privs: newuidmap cannot work",
        (false, true) => "a seccomp filter",
        (true, true) => "a seccomp filter, and no_new_privs: newuidmap cannot work",
    };
    subject.limited(
        what,
        "run ctr outside of the container or sandbox it is in, for systemd without NoNewPrivileges= and \
         SystemCallFilter=",
    )
}

/// A sysctl that keeps ordinary users from user namespaces: what it does, and its remedy.
fn forbidden(facts: &Facts) -> Option<(&'static str, &'static str)> {
    let files = &facts.files;
    if files.userns_clone == Some(0) {
        return Some((
            "kernel.unprivileged_userns_clone is 0",
            "sysctl -w kernel.unprivileged_userns_clone=1",
        ));
    }
    (files.apparmor_userns.is_some_and(|value| value != 0)).then_some((
        "kernel.apparmor_restrict_unprivileged_userns is 1: user namespaces come without capabilities",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for ctr \
         with `userns,`",
    ))
}

fn user_namespaces(facts: &Facts) -> Finding {
    let subject = subject(
        "user namespaces",
        "container root that is not the host's root",
    );
    if facts.files.max_user_namespaces == Some(0) {
        return subject.missing(
            "user.max_user_namespaces is 0",
            "sysctl -w user.max_user_namespaces=10000",
        );
    }
    let forbidden = forbidden(facts).filter(|_| !facts.caller.privileged);
    match (&facts.trials.user_namespace, forbidden) {
        (Trial::Works, None) => subject.ok("made one"),
        // It can be made, but nothing can be mounted in it.
        (Trial::Works, Some((because, remedy))) => match facts.trials.proc {
            Trial::Works => subject.ok("made one, and mounted in it"),
            _ => subject.limited(because, remedy),
        },
        (_, Some((because, remedy))) => subject.missing(because, remedy),
        (Trial::Refused { call, errno, hint }, None) => subject.missing(
            format!("{call}: {}", errno_name(*errno)),
            hint.unwrap_or("see user_namespaces(7)"),
        ),
        (Trial::NotTried(because), None) => {
            subject.limited(format!("not probed: {because}"), "see user_namespaces(7)")
        }
    }
}

fn of_others(facts: &Facts) -> Finding {
    let subject = subject("for ordinary users", "containers of users other than root");
    match (facts.files.max_user_namespaces, forbidden(facts)) {
        (Some(0), _) => subject.missing(
            "user.max_user_namespaces is 0",
            "sysctl -w user.max_user_namespaces=10000",
        ),
        (_, Some((because, remedy))) => subject.limited(because, remedy),
        (Some(max), None) => subject.ok(format!("no sysctl forbids user namespaces; up to {max}")),
        (None, None) if facts.files.namespaces.iter().any(|name| name == "user") => subject
            .limited(
                "not known: /proc/sys/user/max_user_namespaces cannot be read",
                "run ctr where nothing is mounted over /proc/sys",
            ),
        (None, None) => subject.missing(
            "no sysctl user.max_user_namespaces",
            "a kernel with CONFIG_USER_NS=y",
        ),
    }
}

fn helpers(facts: &Facts) -> Finding {
    let subject = subject(
        "newuidmap",
        "more than one id in an ordinary user's containers",
    );
    let detail = |program: &Option<Program>| match program {
        Some(program) => program.path.display().to_string(),
        None => "none".into(),
    };
    let programs = [&facts.calls.newuidmap, &facts.calls.newgidmap];
    if programs.iter().all(|program| program.is_some()) {
        let weak = programs
            .into_iter()
            .flatten()
            .find(|program| !program.raises);
        return match weak {
            None => subject.ok(programs.map(detail).join(", ")),
            Some(program) => subject.missing(
                format!("{} is not set-user-ID root", program.path.display()),
                format!("chmod u+s {}", program.path.display()),
            ),
        };
    }
    if facts.caller.privileged {
        return subject.ok("not installed; root needs none");
    }
    subject.missing(
        "newuidmap or newgidmap is not installed",
        "apt install uidmap (Fedora: shadow-utils)",
    )
}

fn ids(facts: &Facts) -> Finding {
    let subject = subject("ids", "user and group ids of a container");
    let files = &facts.files;
    let base = IdRange::first(0);
    if facts.caller.privileged {
        let end = u64::from(IDS_END);
        let clash = files.subuids.iter().find(|range| {
            u64::from(range.first) < end
                && u64::from(range.first) + u64::from(range.count) > base.into()
        });
        return match clash {
            None => subject.ok(format!("{IDS_PER_CONTAINER} each, from {base} up")),
            Some(range) => subject.limited(
                format!(
                    "/etc/subuid gives {} ids that ctr gives to containers, from {base} on",
                    range.owner
                ),
                format!("let the ranges in /etc/subuid and /etc/subgid end before {base}"),
            ),
        };
    }
    let uid = facts.caller.uid;
    let give = format!(
        "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER (uid {uid}), \
                        with a range no other user has"
    );
    match (&files.subuid, &files.subgid) {
        (Some(uids), Some(gids)) => {
            let range = |range: &SubId| format!("{} from {}", range.count, range.first);
            let detail = format!("own id, uids {}, gids {}", range(uids), range(gids));
            if uids.count.min(gids.count) < IDS_PER_CONTAINER {
                return subject.limited(format!("{detail}: fewer than {IDS_PER_CONTAINER}"), give);
            }
            subject.ok(detail)
        }
        (None, _) => subject.limited("own id only: /etc/subuid grants this user nothing", give),
        (_, None) => subject.limited("own id only: /etc/subgid grants this user nothing", give),
    }
}

fn state(facts: &Facts) -> Finding {
    let subject = subject(
        "state directory",
        "knowing and cleaning up after running containers",
    );
    let state = &facts.calls.state;
    let path = state.path.display();
    let elsewhere = "name another one with --root DIR";
    match state.there {
        None if state.writable => subject.ok(format!("{path}, made at the first start")),
        None => subject.missing(format!("{path} cannot be made by this user"), elsewhere),
        Some((owner, _)) if owner != facts.caller.uid => {
            subject.missing(format!("{path} belongs to uid {owner}"), elsewhere)
        }
        Some((_, mode)) if mode & 0o022 != 0 => subject.missing(
            format!("{path} has mode {mode:04o}: others may write into it"),
            format!("chmod 0700 {path}"),
        ),
        Some(_) if state.writable => subject.ok(path.to_string()),
        Some(_) => subject.missing(format!("{path} cannot be written"), elsewhere),
    }
}
