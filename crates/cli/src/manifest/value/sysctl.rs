//! Kernel parameters: only those that belong to a namespace the container has of its own.
//!
//! Everything else in `/proc/sys` is the host's. A value goes into one file by one write, so a newline
//! or a second assignment in it (CVE-2022-0811) has nothing to act on, and is refused all the same.

use crate::manifest::walk::Rule;

/// Parameters of the ipc namespace, ipc_namespaces(7).
const IPC: [&str; 10] = [
    "kernel.sem",
    "kernel.sem_next_id",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.msg_next_id",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_next_id",
];
const IPC_MORE: &str = "kernel.shm_rmid_forced";

/// Which namespace a parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Always the container's own.
    Ipc,
    /// The container's own unless it uses the host's network.
    Net,
}

/// The owner of a parameter that a container may set.
pub(crate) fn name(text: &str) -> Result<Owner, Rule> {
    let word = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    if text.contains('/') {
        return Err("a parameter is written with dots, like `net.core.somaxconn`".into());
    }
    if text.len() > 255 || !text.split('.').all(word) {
        return Err("not a parameter like `net.core.somaxconn`".into());
    }
    if IPC.contains(&text) || text == IPC_MORE || text.starts_with("fs.mqueue.") {
        return Ok(Owner::Ipc);
    }
    if text.starts_with("net.") {
        return Ok(Owner::Net);
    }
    let rule = Rule::from(
        "belongs to the whole machine; a container may set net.*, kernel.shm*, kernel.msg*, kernel.sem* and fs.mqueue.*",
    );
    Err(match text {
        "kernel.hostname" => rule.help("use the key `hostname`"),
        _ => rule,
    })
}

/// A value: one line, no larger than a page.
pub(crate) fn value(text: &str) -> Result<String, Rule> {
    if text.is_empty() {
        return Err("a value is not empty".into());
    }
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err("a value is one line, without control characters".into());
    }
    if text.len() > 4095 {
        return Err("the kernel takes at most 4095 bytes".into());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::value::tests::check;

    #[test]
    fn only_parameters_of_own_namespaces_can_be_set() {
        check(
            name,
            &[
                ("net.core.somaxconn", Ok("Net")),
                ("net.ipv4.conf.eth0.rp_filter", Ok("Net")),
                ("kernel.shmmax", Ok("Ipc")),
                ("kernel.shm_rmid_forced", Ok("Ipc")),
                ("kernel.msgmnb", Ok("Ipc")),
                ("kernel.sem", Ok("Ipc")),
                ("fs.mqueue.msg_max", Ok("Ipc")),
                ("fs.mqueue.", Err("not a parameter")),
                ("kernel.core_pattern", Err("whole machine")),
                ("kernel.hostname", Err("`hostname`")),
                ("kernel.shmevil", Err("whole machine")),
                ("vm.swappiness", Err("whole machine")),
                ("net..core", Err("not a parameter")),
                ("net.../kernel", Err("dots")),
                ("net.ipv4/../../kernel.core_pattern", Err("dots")),
                ("net.x=1", Err("not a parameter")),
                ("net.a\nb", Err("not a parameter")),
                ("", Err("not a parameter")),
            ],
        );
    }

    #[test]
    fn values_are_one_line() {
        check(
            value,
            &[
                ("1024", Ok("\"1024\"")),
                ("4096\t87380\t6291456", Ok("\"4096\\t87380\\t6291456\"")),
                ("1\nkernel.core_pattern=|/x", Err("one line")),
                ("", Err("not empty")),
            ],
        );
    }
}
