//! Capabilities, resource limits, LSM labels.

use engine::spec::Rlimit;

use crate::diagnostic::quoted;
use crate::manifest::keys::{closest, did_you_mean};
use crate::manifest::walk::Rule;

/// capabilities(7), all of Linux 6.18.
pub(crate) const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Every name of getrlimit(2), lower case and without `RLIMIT_`.
pub(crate) const RLIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// A capability, as `NET_RAW`.
pub(crate) fn capability(text: &str) -> Result<String, Rule> {
    let bare = text.strip_prefix("CAP_").unwrap_or(text);
    if CAPABILITIES.contains(&bare) {
        return Ok(bare.to_owned());
    }
    let upper = bare.to_ascii_uppercase();
    let upper = upper.strip_prefix("CAP_").unwrap_or(&upper);
    Err(match CAPABILITIES.iter().find(|c| **c == upper) {
        Some(exact) => format!("did you mean {}?", quoted(exact)).into(),
        None => match closest(upper, CAPABILITIES.iter().copied()) {
            Some(close) => format!("no such capability; did you mean {}?", quoted(close)).into(),
            None => {
                "no such capability; names are those of capabilities(7), like \"NET_RAW\"".into()
            }
        },
    })
}

/// A capability to add.
pub(crate) fn capability_to_add(text: &str) -> Result<String, Rule> {
    match text {
        "ALL" | "CAP_ALL" => Err("capabilities are added one by one, by name".into()),
        _ => capability(text),
    }
}

/// A capability to drop, or `ALL`.
pub(crate) fn capability_to_drop(text: &str) -> Result<String, Rule> {
    match text {
        "ALL" => Ok(text.to_owned()),
        _ => capability(text),
    }
}

/// Whether there is such a resource limit.
pub(crate) fn rlimit_name(text: &str) -> Result<(), Rule> {
    if RLIMITS.contains(&text) {
        return Ok(());
    }
    let lower = text.to_ascii_lowercase();
    let bare = lower.strip_prefix("rlimit_").unwrap_or(&lower);
    let words = RLIMITS.iter().copied();
    Err(match RLIMITS.iter().find(|name| **name == bare) {
        Some(name) => format!("did you mean {}?", quoted(name)).into(),
        None => did_you_mean(bare, words).into(),
    })
}

/// `"soft:hard"`, or one number for both.
pub(crate) fn rlimit(name: &str, text: &str) -> Result<Rlimit, Rule> {
    let (soft, hard) = text.split_once(':').unwrap_or((text, text));
    let (soft, hard) = (rlimit_number(soft)?, rlimit_number(hard)?);
    if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
        return Err("the soft limit (first) is above the hard limit (second)".into());
    }
    Ok(Rlimit {
        name: name.to_owned(),
        soft,
        hard,
    })
}

fn rlimit_number(text: &str) -> Result<Option<u64>, Rule> {
    if text == "unlimited" {
        return Ok(None);
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("not a limit like \"1024:524288\", \"1024\" or \"unlimited\"".into());
    }
    // RLIM_INFINITY is the largest number; it has a word of its own.
    match text.parse::<u64>() {
        Ok(n) if n != u64::MAX => Ok(Some(n)),
        _ => Err("too large a number; there is the word \"unlimited\"".into()),
    }
}

/// An AppArmor profile's name.
pub(crate) fn apparmor(text: &str) -> Result<String, Rule> {
    if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
        return Err("a profile's name is one line of 1 to 255 bytes".into());
    }
    Ok(text.to_owned())
}

/// An SELinux context.
pub(crate) fn selinux(text: &str) -> Result<String, Rule> {
    let printable = |c: char| c.is_ascii_graphic();
    let fields: Vec<&str> = text.splitn(4, ':').collect();
    if text.len() > 255
        || fields.len() < 3
        || fields.iter().any(|f| f.is_empty())
        || !text.chars().all(printable)
    {
        return Err("a label has the form user:role:type or user:role:type:level".into());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::value::tests::check;

    #[test]
    fn capabilities_are_known_by_name() {
        check(
            capability_to_add,
            &[
                ("NET_RAW", Ok("\"NET_RAW\"")),
                ("CAP_NET_RAW", Ok("\"NET_RAW\"")),
                ("net_raw", Err("did you mean `NET_RAW`?")),
                ("cap_net_raw", Err("did you mean `NET_RAW`?")),
                ("NET_RWA", Err("did you mean `NET_RAW`?")),
                ("ALL", Err("one by one")),
                ("", Err("no such capability")),
                ("SUPERPOWERS", Err("no such capability")),
            ],
        );
        check(
            capability_to_drop,
            &[("ALL", Ok("\"ALL\"")), ("all", Err("no such capability"))],
        );
    }

    #[test]
    fn a_soft_limit_is_not_above_its_hard_limit() {
        check(
            |t| rlimit("nofile", t).map(|r| (r.soft, r.hard)),
            &[
                ("1024:524288", Ok("(Some(1024), Some(524288))")),
                ("0", Ok("(Some(0), Some(0))")),
                ("1:unlimited", Ok("(Some(1), None)")),
                ("unlimited", Ok("(None, None)")),
                ("2:1", Err("above the hard limit")),
                ("unlimited:1", Err("above the hard limit")),
                ("18446744073709551615", Err("unlimited")),
                ("-1", Err("not a limit")),
                ("1:2:3", Err("not a limit")),
                ("", Err("not a limit")),
                ("1k", Err("not a limit")),
            ],
        );
        check(
            rlimit_name,
            &[
                ("nofile", Ok("()")),
                ("RLIMIT_NOFILE", Err("did you mean `nofile`?")),
                ("nofiles", Err("did you mean `nofile`?")),
                ("xyz", Err("one of: as, core")),
            ],
        );
    }

    #[test]
    fn labels_are_one_line() {
        check(
            apparmor,
            &[
                ("my-profile", Ok("\"my-profile\"")),
                ("", Err("1 to 255")),
                ("a\nb", Err("one line")),
            ],
        );
        check(
            selinux,
            &[
                ("u:r:t", Ok("\"u:r:t\"")),
                (
                    "system_u:system_r:container_t:s0:c1,c2",
                    Ok("\"system_u:system_r:container_t:s0:c1,c2\""),
                ),
                ("t", Err("user:role:type")),
                ("a::c", Err("user:role:type")),
                ("a:b:c\n", Err("user:role:type")),
            ],
        );
    }
}
