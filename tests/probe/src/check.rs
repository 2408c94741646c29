//! What a report should say.

mod docker;
mod lines;

use std::collections::{BTreeMap, BTreeSet};

pub use docker::beyond_docker;
pub use lines::lines;

use crate::Answer;

/// What `ctr` gives a program by default, with `network = "none"` and a directory as root.
pub const DEFAULT: &str = include_str!("../expected/default.txt");

/// What the system calls answer under the default filter, on this architecture.
#[cfg(target_arch = "x86_64")]
pub const SYSCALLS: &str = include_str!("../expected/syscalls.x86_64.txt");

/// Compares [`lines()`] with a table: each line that is on one side only.
///
/// In the table `#` starts a comment line, and a line that starts with `?` may be missing: it depends
/// on how the kernel was built.
#[must_use]
pub fn differences(found: &BTreeSet<String>, table: &str) -> Vec<String> {
    let mut optional = BTreeSet::new();
    let mut expected = BTreeSet::new();
    for line in table.lines().map(str::trim_end) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.strip_prefix('?') {
            Some(line) => optional.insert(line.trim_start().to_owned()),
            None => expected.insert(line.to_owned()),
        };
    }
    let missing = expected
        .difference(found)
        .map(|line| format!("expected, not found: {line}"));
    let unknown = found
        .difference(&expected)
        .filter(|line| !optional.contains(*line));
    missing
        .chain(unknown.map(|line| format!("found, not expected: {line}")))
        .collect()
}

/// The name of a system call, or its number when it has none yet.
#[must_use]
pub fn name(number: u32) -> String {
    syscalls::Sysno::new(number as usize)
        .map_or_else(|| number.to_string(), |sysno| sysno.name().to_owned())
}

/// One line for each call that this kernel has, `native` being what it answers outside of any
/// container: `NAME reached`, or `NAME` and how it was refused. A number that the kernel does not have
/// is only mentioned when the filter lets it through… to nowhere today, to a new call tomorrow.
#[must_use]
pub fn syscall_lines(
    inside: &BTreeMap<u32, Answer>,
    native: &BTreeMap<u32, Answer>,
) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for (number, answer) in inside {
        let missing = matches!(native.get(number), Some(Answer::Errno(libc::ENOSYS)) | None);
        let name = name(*number);
        let line = match answer {
            Answer::Skipped(_) => continue,
            answer if answer.refused() && missing => continue,
            answer if answer.refused() => format!("{name} {answer}"),
            Answer::Ok | Answer::Errno(_) => format!("{name} reached"),
            other => format!("{name} {other}"),
        };
        lines.insert(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(lines: &[&str]) -> BTreeSet<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn each_line_on_one_side_only_is_a_difference() {
        let table = "# head\n\na 1\nb 2\n? c 3\n";
        assert!(differences(&set(&["a 1", "b 2"]), table).is_empty());
        assert!(differences(&set(&["a 1", "b 2", "c 3"]), table).is_empty());
        assert_eq!(
            differences(&set(&["a 1", "d 4"]), table),
            ["expected, not found: b 2", "found, not expected: d 4"]
        );
    }

    #[test]
    fn a_call_that_the_kernel_lacks_tells_nothing_of_the_filter() {
        let read = syscalls::Sysno::read as u32;
        let (missing, refused) = (Answer::Errno(libc::ENOSYS), Answer::Errno(libc::EPERM));
        let native = BTreeMap::from([(read, Answer::Errno(libc::EBADF)), (600, missing.clone())]);
        let inside =
            |answer: &Answer| BTreeMap::from([(read, answer.clone()), (600, missing.clone())]);
        assert_eq!(
            syscall_lines(&inside(&refused), &native),
            set(&["read EPERM"])
        );
        assert_eq!(
            syscall_lines(&inside(&native[&read]), &native),
            set(&["read reached"])
        );
    }
}
