//! Locks, BPF programs, loop devices.

use std::fs;

use crate::sys;

/// proc_locks(5) without the running number at the start of a line.
pub(crate) fn locks() -> Vec<String> {
    let text = fs::read_to_string("/proc/locks").unwrap_or_default();
    text.lines()
        .filter_map(|line| Some(line.split_once(": ")?.1.to_owned()))
        .collect()
}

/// Ids of the loaded programs; or why they cannot be listed, which is then the same before and after.
pub(crate) fn bpf_programs() -> Vec<String> {
    match sys::bpf_program_ids() {
        Ok(ids) => ids.into_iter().map(|id| format!("id {id}")).collect(),
        Err(error) => vec![format!("cannot be listed: {error}")],
    }
}

/// Loop devices with a file behind them.
pub(crate) fn loop_devices() -> Vec<String> {
    let entries = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let file = fs::read_to_string(entry.path().join("loop/backing_file")).ok()?;
            Some(format!("{} {}", entry.file_name().display(), file.trim()))
        })
        .collect()
}
