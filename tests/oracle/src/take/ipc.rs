//! System V objects and keys. (POSIX ones are files below `/dev/shm` and `/dev/mqueue`.)

use std::fs;

/// Shared memory, semaphores and message queues of this IPC namespace, proc_sysvipc(5).
pub(crate) fn all() -> Vec<String> {
    ["shm", "sem", "msg"]
        .into_iter()
        .flat_map(|kind| {
            let text = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
            let ids = text.lines().skip(1).map(|line| {
                let mut fields = line.split_ascii_whitespace();
                format!(
                    "{kind} key {} id {}",
                    fields.next().unwrap_or(""),
                    fields.next().unwrap_or("")
                )
            });
            ids.collect::<Vec<_>>()
        })
        .collect()
}

/// Keys, proc_keys(5): serial number, type and description. The rest are times and counters.
pub(crate) fn keys() -> Vec<String> {
    let text = fs::read_to_string("/proc/keys").unwrap_or_default();
    text.lines()
        .map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let kept = [0, 5, 7, 8].map(|index| fields.get(index).copied().unwrap_or_default());
            kept.join(" ")
        })
        .collect()
}
