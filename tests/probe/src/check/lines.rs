//! A report as lines that do not depend on the run, the host's ids or the kernel's build.

use std::collections::BTreeSet;

use crate::{Mount, Report};

/// File system options that are part of what is promised. Others name ids, paths and inode widths.
const SUPER_OPTIONS: [&str; 8] = [
    "ro",
    "rw",
    "size",
    "nr_inodes",
    "mode",
    "ptmxmode",
    "max",
    "hidepid",
];

/// Everything that is promised to a program, one line each. System calls have a table of their own, and
/// what identifies the run (namespaces, host name, ids of the host) is for the caller to judge.
#[must_use]
pub fn lines(report: &Report) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let mut add = |line: String| {
        lines.insert(line.trim_end().to_owned());
    };
    for fd in report.fds.keys() {
        add(format!("fd {fd}"));
    }
    for name in report.env.keys() {
        add(format!("env {name}"));
    }
    for (name, set) in [
        ("inheritable", &report.caps.inheritable),
        ("permitted", &report.caps.permitted),
        ("effective", &report.caps.effective),
        ("bounding", &report.caps.bounding),
        ("ambient", &report.caps.ambient),
    ] {
        add(format!("caps {name}: {}", set.join(" ")));
    }
    for mount in &report.mounts {
        add(mount_line(mount));
    }
    for (name, kind) in &report.dev {
        add(format!("dev {name} {kind}"));
    }
    for file in report
        .writable
        .iter()
        .filter(|file| !file.starts_with("/proc/SELF/"))
    {
        add(format!("writable {file}"));
    }
    // A masked path and one that this kernel does not have are the same to the program: nothing there.
    for (path, seen) in &report.readable {
        let directory = seen.strip_prefix("dir of ");
        if directory.is_some_and(|entries| entries != "0") {
            add(format!("readable {path} (directory)"));
        } else if seen == "data" || seen == "opens" {
            add(format!("readable {path}"));
        }
    }
    for (family, answer) in report
        .sockets
        .iter()
        .filter(|(_, answer)| !answer.refused())
    {
        if *answer == crate::Answer::Ok {
            add(format!("socket family {family}"));
        }
    }
    for (operation, answer) in &report.operations {
        add(format!("operation {operation}: {answer}"));
    }
    process(report, &mut add);
    lines
}

fn process(report: &Report, add: &mut impl FnMut(String)) {
    add(format!("cwd {}", report.cwd));
    add(format!(
        "uid {:?} gid {:?} groups {:?}",
        report.credentials.uid, report.credentials.gid, report.credentials.groups
    ));
    add(format!("no_new_privs {}", report.no_new_privs));
    add(format!("seccomp {}", report.seccomp));
    add(format!(
        "parent {}, leads its session: {}",
        report.ppid,
        report.sid == report.pid
    ));
    add(format!("umask {:04o}", report.umask));
    add(format!(
        "signals blocked {:#x} ignored {:#x}",
        report.blocked, report.ignored
    ));
    add(format!("oom_score_adj {}", report.oom_score_adj));
    add(format!("interfaces {}", report.interfaces.join(" ")));
    add(format!(
        "controlling terminal: {}",
        report.terminal.controlling
    ));
    add(format!(
        "init is {:?} ({})",
        report.init.cmdline, report.init.comm
    ));
    for (name, target) in report
        .init
        .links
        .iter()
        .filter(|(name, _)| *name != "cwd" && *name != "root")
    {
        add(format!("init {name}: {target}"));
    }
    for (name, seen) in &report.init.files {
        add(format!("init {name}: {seen}"));
    }
    for (name, value) in &report.init.status {
        add(format!("init {name}: {}", value.replace('\t', " ")));
    }
    let shown = ["Max core file size"];
    for (name, (soft, hard)) in report
        .rlimits
        .iter()
        .filter(|(name, _)| shown.contains(&name.as_str()))
    {
        let text =
            |limit: &Option<u64>| limit.map_or("unlimited".into(), |limit| limit.to_string());
        add(format!("{name}: {}:{}", text(soft), text(hard)));
    }
}

/// Of the root the place alone: what it lies on is the host's.
fn mount_line(mount: &Mount) -> String {
    let Mount {
        at,
        fstype,
        options,
        super_options,
        propagation,
        ..
    } = mount;
    let propagation = if propagation.is_empty() {
        String::new()
    } else {
        format!(" {}", propagation.join(","))
    };
    if at == "/" {
        // Idmapped when root starts it; an ordinary user's ids are its own.
        let options: Vec<&str> = options
            .iter()
            .map(String::as_str)
            .filter(|option| *option != "idmapped")
            .collect();
        return format!("mount / {}{propagation}", options.join(","));
    }
    // A masked path is one that this kernel has: its table marks such lines as optional.
    let below = |dir: &str| at.starts_with(dir);
    if fstype == "tmpfs" && (below("/proc/") || below("/sys/")) {
        return format!("masked {at} {}{propagation}", options.join(","));
    }
    // How large and how tight the host's /dev is, is the host's.
    if fstype == "devtmpfs" {
        return format!("mount {at} {fstype}{propagation}");
    }
    let promised = |option: &&String| {
        let key = option.split('=').next().unwrap_or_default();
        SUPER_OPTIONS.contains(&key)
    };
    let super_options: Vec<&str> = super_options
        .iter()
        .filter(promised)
        .map(String::as_str)
        .collect();
    format!(
        "mount {at} {fstype} {} [{}]{propagation}",
        options.join(","),
        super_options.join(",")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_host_are_not_in_a_mount_line() {
        let mount = Mount {
            at: "/dev".into(),
            fstype: "tmpfs".into(),
            root: "/".into(),
            options: vec!["noexec".into(), "nosuid".into(), "rw".into()],
            super_options: ["gid=7", "inode64", "mode=755", "rw", "size=64k", "uid=7"]
                .map(String::from)
                .into(),
            propagation: vec![],
        };
        assert_eq!(
            mount_line(&mount),
            "mount /dev tmpfs noexec,nosuid,rw [mode=755,rw,size=64k]"
        );
    }
}
