//! Processes, and what is seen through them: descriptors, namespaces, mounts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// `PF_KTHREAD` of the kernel's `include/linux/sched.h`: kernel threads come and go by themselves.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// A process, proc_pid_stat(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    comm: String,
    state: char,
    start: u64,
}

/// Every process of this pid namespace but the kernel's own threads.
pub(crate) fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .collect()
}

fn parse(stat: &str) -> Option<Process> {
    // The name is in parentheses, and may contain them.
    let (head, tail) = stat.rsplit_once(") ")?;
    let (pid, comm) = head.split_once(" (")?;
    let fields: Vec<&str> = tail.split(' ').collect();
    let flags: u64 = fields.get(6)?.parse().ok()?;
    (flags & KERNEL_THREAD == 0).then_some(())?;
    Some(Process {
        pid: pid.parse().ok()?,
        comm: comm.to_owned(),
        state: fields.first()?.chars().next()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

/// Of the state only whether it is a zombie: the others change all the time.
pub(crate) fn lines(processes: &[Process]) -> Vec<String> {
    processes
        .iter()
        .map(|process| {
            let zombie = if process.state == 'Z' {
                " (zombie)"
            } else {
                ""
            };
            let cgroup =
                fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).unwrap_or_default();
            let cgroup = cgroup
                .lines()
                .find_map(|line| line.strip_prefix("0::"))
                .unwrap_or("");
            let Process {
                pid, comm, start, ..
            } = process;
            format!("{pid} {comm} started at {start} in cgroup {cgroup}{zombie}")
        })
        .collect()
}

/// Open descriptors of this process, which is looking at the moment.
pub(crate) fn own_descriptors() -> Vec<String> {
    let pid = std::process::id();
    let listing = format!("/proc/{pid}/fd");
    open_files(pid)
        .into_iter()
        .filter(|(_, target)| *target != listing)
        .map(|(fd, target)| format!("{pid} has {fd} -> {target}"))
        .collect()
}

/// Open descriptors of every other process.
pub(crate) fn descriptors(processes: &[Process]) -> Vec<String> {
    let own = std::process::id();
    let others = processes.iter().filter(|process| process.pid != own);
    others
        .flat_map(|process| {
            open_files(process.pid)
                .into_iter()
                .map(move |file| (process, file))
        })
        .map(|(process, (fd, target))| {
            format!("{} ({}) has {fd} -> {target}", process.pid, process.comm)
        })
        .collect()
}

/// Files that are gone from their directory and still take space, because somebody has them open.
pub(crate) fn deleted(processes: &[Process]) -> Vec<String> {
    processes
        .iter()
        .flat_map(|process| {
            open_files(process.pid)
                .into_iter()
                .map(move |file| (process, file))
        })
        .filter(|(_, (_, target))| target.ends_with(" (deleted)"))
        .map(|(process, (fd, target))| {
            format!("{target}, by {} ({}) as {fd}", process.pid, process.comm)
        })
        .collect()
}

fn open_files(pid: u32) -> Vec<(String, String)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?.display().to_string();
            Some((entry.file_name().into_string().ok()?, target))
        })
        .collect()
}

/// Every namespace that a thread is in, or that somebody holds by a descriptor.
pub(crate) fn namespaces(processes: &[Process]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for process in processes {
        let tasks = fs::read_dir(format!("/proc/{}/task", process.pid))
            .into_iter()
            .flatten()
            .flatten();
        for task in tasks {
            found.extend(links(&task.path().join("ns")));
        }
        let held = open_files(process.pid)
            .into_iter()
            .map(|(_, target)| target);
        found.extend(held.filter(|target| is_namespace(target)));
    }
    found.into_iter().collect()
}

fn links(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.display().to_string()))
        .collect()
}

/// `net:[4026531840]`
fn is_namespace(target: &str) -> bool {
    target.split_once(":[").is_some_and(|(kind, _)| {
        ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"].contains(&kind)
    })
}

/// One process of each namespace of a kind.
pub(crate) fn by_namespace(processes: &[Process], kind: &str) -> BTreeMap<String, u32> {
    processes
        .iter()
        .filter_map(|process| {
            let link = fs::read_link(format!("/proc/{}/ns/{kind}", process.pid)).ok()?;
            Some((link.display().to_string(), process.pid))
        })
        .collect()
}

/// The mounts of every mount namespace: mount point, type, source, options. The numbers at the start of
/// a line would tell of mounts that came and went.
pub(crate) fn mounts(processes: &[Process]) -> Vec<String> {
    let mut lines = Vec::new();
    for (namespace, pid) in by_namespace(processes, "mnt") {
        let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for line in text.lines() {
            let rest = line.splitn(4, ' ').nth(3).unwrap_or(line);
            let times = seen.entry(rest.to_owned()).or_default();
            *times += 1;
            let again = if *times > 1 {
                format!(" (number {times})")
            } else {
                String::new()
            };
            lines.push(format!("{namespace} {rest}{again}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(comm: &str, state: char, flags: u64) -> String {
        format!("7 ({comm}) {state} 1 7 7 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0")
    }

    #[test]
    fn a_name_may_contain_parentheses() {
        let process = parse(&stat("a) Z 1 (b", 'S', 0x40_0000)).expect("a process");
        assert_eq!((process.pid, process.state, process.start), (7, 'S', 4711));
        assert_eq!(process.comm, "a) Z 1 (b");
    }

    #[test]
    fn threads_of_the_kernel_do_not_count() {
        assert_eq!(
            parse(&stat("kworker/0:1", 'I', 0x420_8060 | KERNEL_THREAD)),
            None
        );
    }

    #[test]
    fn a_link_to_a_namespace_is_told_from_a_pipe() {
        assert!(is_namespace("net:[4026531840]"));
        assert!(!is_namespace("pipe:[1234]"));
        assert!(!is_namespace("/tmp/net:"));
    }
}
