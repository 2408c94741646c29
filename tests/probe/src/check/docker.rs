//! Docker's defaults, as an upper bound.

use crate::{Answer, Report};

/// System calls let through, one a line; of x86_64, whose numbers the report has.
const SYSCALLS: &str = include_str!("../../docker/syscalls.txt");

/// The rest of the profile: `cap NAME`, `family NUMBER`, `masked PATH`, `read-only PATH`.
const PROFILE: &str = include_str!("../../docker/profile.txt");

fn profile(kind: &str) -> impl Iterator<Item = &'static str> {
    PROFILE
        .lines()
        .filter_map(move |line| line.strip_prefix(kind)?.strip_prefix(' '))
}

/// Everything in `report` that Docker would not give by default. Empty is good.
#[must_use]
pub fn beyond_docker(report: &Report) -> Vec<String> {
    let mut beyond = Vec::new();
    capabilities(report, &mut beyond);
    paths(report, &mut beyond);
    for (family, answer) in &report.sockets {
        let known = profile("family").any(|known| known == family.to_string());
        if *answer == Answer::Ok && !known {
            beyond.push(format!("sockets of family {family} can be had"));
        }
    }
    if cfg!(target_arch = "x86_64") {
        calls(report, &mut beyond);
    }
    if report.seccomp != 2 {
        beyond.push("there is no seccomp filter".into());
    }
    beyond
}

fn capabilities(report: &Report, beyond: &mut Vec<String>) {
    let sets = [
        &report.caps.permitted,
        &report.caps.effective,
        &report.caps.bounding,
    ];
    for name in sets.into_iter().flatten() {
        if !profile("cap").any(|known| known == name) {
            beyond.push(format!("capability {name}"));
        }
    }
    for name in report.caps.inheritable.iter().chain(&report.caps.ambient) {
        beyond.push(format!("inheritable or ambient capability {name}"));
    }
}

fn paths(report: &Report, beyond: &mut Vec<String>) {
    for path in profile("masked") {
        let seen = report.readable.get(path).map_or("ENOENT", String::as_str);
        if seen == "data" || (seen.starts_with("dir of ") && seen != "dir of 0") {
            beyond.push(format!("{path} can be read: {seen}"));
        }
    }
    for path in profile("read-only") {
        let below = |file: &&String| {
            file.strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        for file in report.writable.iter().filter(below) {
            beyond.push(format!("{file} can be written"));
        }
    }
    for file in report
        .writable
        .iter()
        .filter(|file| file.starts_with("/sys/"))
    {
        beyond.push(format!("{file} can be written"));
    }
}

/// `uretprobe` and `uprobe` of x86_64: kernels that have them let them pass every filter
/// (`__secure_computing` in kernel/seccomp.c), and kill whoever calls them outside of a probe's code.
const UNFILTERED: [u32; 2] = [335, 336];

fn calls(report: &Report, beyond: &mut Vec<String>) {
    for (number, answer) in report
        .syscalls
        .iter()
        .filter(|(number, _)| !UNFILTERED.contains(number))
    {
        if answer.refused() || matches!(answer, Answer::Skipped(_)) {
            continue;
        }
        let name = syscalls::Sysno::new(*number as usize).map(|sysno| sysno.name());
        let known = name.is_some_and(|name| SYSCALLS.lines().any(|known| known == name));
        if !known {
            beyond.push(format!(
                "system call {} ({number}) answers: {answer}",
                name.unwrap_or("?")
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_profile_is_of_a_known_kind() {
        for line in PROFILE.lines().filter(|line| !line.starts_with('#')) {
            let kind = line.split(' ').next().unwrap_or_default();
            assert!(
                ["cap", "family", "masked", "read-only"].contains(&kind),
                "{line:?}"
            );
        }
        assert_eq!(profile("cap").count(), 14);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn every_call_of_the_list_is_one_of_this_architecture() {
        for name in SYSCALLS.lines().filter(|line| !line.starts_with('#')) {
            assert!(
                syscalls::Sysno::iter().any(|sysno| sysno.name() == name),
                "{name}"
            );
        }
    }
}
