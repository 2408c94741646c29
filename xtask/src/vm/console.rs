//! Judges a run by its results and by what the kernel said.

use guest::{Event, Outcome};

/// What the kernel says when something went wrong in it, not in a test.
const FAULTS: &[&str] = &[
    "BUG: ",
    "Oops: ",
    "Oops [#",
    "general protection fault",
    "Kernel panic",
    "kernel BUG at",
    "WARNING: CPU:",
    "WARNING: possible",
    "detected stall",
    "self-detected stall",
    "detected stalls on",
    "blocked for more than",
    "soft lockup",
    "hard LOCKUP",
    "KASAN:",
    "UBSAN:",
    "refcount_t: ",
];
/// How much of a console is shown when a VM ends without a word.
const TAIL_LINES: usize = 30;

/// Reads a run line by line.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    planned: Option<usize>,
    passed: usize,
    failed: Vec<String>,
    current: Option<String>,
    end: Option<(usize, usize)>,
    said: bool,
    /// What the kernel said during the current test; shown when the test fails.
    kernel: Vec<String>,
    /// What the current test printed, as it was shown.
    output: Vec<String>,
    report: Vec<String>,
    troubles: Vec<String>,
    tail: Vec<String>,
}

/// What came out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Tests that passed.
    pub(crate) passed: usize,
    /// Names of those that did not.
    pub(crate) failed: Vec<String>,
    /// What those said, for the end of a long log.
    pub(crate) report: Vec<String>,
    /// Reasons not to believe in the counts; with any of them the VM failed.
    pub(crate) troubles: Vec<String>,
}

impl Judge {
    /// Takes a line of results; returns what is to be shown.
    pub(crate) fn line(&mut self, line: &str) -> Vec<String> {
        let Some(event) = Event::parse(line) else {
            self.troubles
                .push(format!("a line of results that is none: {line:?}"));
            return Vec::new();
        };
        match event {
            Event::Hello { kernel } => {
                self.said = true;
                vec![format!("Linux {kernel} is up")]
            }
            Event::Plan { tests } => {
                self.planned = Some(tests);
                vec![format!("{tests} tests")]
            }
            Event::Start { suite, test } => {
                self.current = Some(format!("{suite}::{test}"));
                self.kernel.clear();
                self.output.clear();
                Vec::new()
            }
            Event::Finish {
                suite,
                test,
                outcome,
                millis,
            } => self.finish(format!("{suite}::{test}"), outcome, millis),
            Event::Output(text) => {
                let line = format!("    | {text}");
                self.output.push(line.clone());
                vec![line]
            }
            Event::Kernel(text) => {
                self.fault(&text);
                self.kernel.push(text);
                Vec::new()
            }
            Event::Trouble(text) => {
                self.troubles.push(text);
                Vec::new()
            }
            Event::End { passed, failed } => {
                self.end = Some((passed, failed));
                Vec::new()
            }
        }
    }

    fn finish(&mut self, name: String, outcome: Outcome, millis: u64) -> Vec<String> {
        self.current = None;
        let mut lines = Vec::new();
        if outcome != Outcome::Passed {
            lines.extend(
                self.kernel
                    .drain(..)
                    .map(|text| format!("    kernel: {text}")),
            );
        }
        lines.push(format!("{name} ... {} ({millis} ms)", outcome.word()));
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed | Outcome::TimedOut => {
                self.report.append(&mut self.output);
                self.report.extend(lines.iter().cloned());
                self.failed.push(name);
            }
        }
        lines
    }

    fn fault(&mut self, line: &str) {
        if FAULTS.iter().any(|fault| line.contains(fault)) {
            let during = self.current.as_deref().unwrap_or("no test");
            self.troubles
                .push(format!("the kernel said during {during}: {line}"));
        }
    }

    /// Takes the whole console once the VM has ended.
    pub(crate) fn console(&mut self, text: &str) {
        for line in text.lines() {
            self.fault(line);
        }
        let lines: Vec<_> = text.lines().collect();
        let tail = lines.len().saturating_sub(TAIL_LINES);
        self.tail = lines[tail..].iter().map(|&line| line.to_owned()).collect();
    }

    /// Adds everything up.
    ///
    /// `cut` says why the VM was ended from outside; `qemu` is what QEMU itself printed.
    pub(crate) fn verdict(mut self, cut: Option<String>, qemu: &str) -> Verdict {
        if let Some(why) = cut {
            self.troubles.push(format!("the VM was ended: {why}"));
        }
        if let Some(test) = self.current.take() {
            self.troubles.push(format!("the VM ended during {test}"));
            self.failed.push(test);
        }
        let ran = self.passed + self.failed.len();
        match (self.planned, self.end) {
            (Some(0), Some(_)) => self.troubles.push("no test matches".to_owned()),
            (Some(planned), Some(end)) => {
                if planned != ran || end != (self.passed, self.failed.len()) {
                    self.troubles.push(format!(
                        "{planned} tests were listed and {ran} have a result; the last line says \
                         {} passed, {} failed",
                        end.0, end.1
                    ));
                }
            }
            (_, None) => {
                let state = if self.said {
                    "no last line"
                } else {
                    "the guest never came up"
                };
                let mut text = format!("{state}; the console ends:\n{}", self.tail.join("\n"));
                if !qemu.is_empty() {
                    text.push_str(&format!("\nand QEMU said:\n{qemu}"));
                }
                self.troubles.push(text);
            }
            (None, Some(_)) => self.troubles.push("no list of tests".to_owned()),
        }
        Verdict {
            passed: self.passed,
            failed: self.failed,
            report: self.report,
            troubles: self.troubles,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "hello\t6.1.0\nplan\t2\nstart\ta\tx\nfinish\ta\tx\tok\t1\nstart\ta\ty\n\
                        finish\ta\ty\tok\t1\nend\t2\t0";

    fn judge(results: &str, console: &str, cut: Option<&str>) -> Verdict {
        let mut judge = Judge::default();
        for line in results.lines() {
            judge.line(line);
        }
        judge.console(console);
        judge.verdict(cut.map(str::to_owned), "")
    }

    #[track_caller]
    fn says(verdict: &Verdict, part: &str) {
        assert!(
            verdict.troubles.iter().any(|t| t.contains(part)),
            "{verdict:?}"
        );
    }

    #[test]
    fn a_run_with_all_results_and_a_last_line_is_believed() {
        let verdict = judge(GOOD, "[    1.0] systemd-free and quiet\n", None);
        assert_eq!(
            verdict,
            Verdict {
                passed: 2,
                failed: vec![],
                report: vec![],
                troubles: vec![]
            }
        );
    }

    #[test]
    fn a_failed_test_is_named_and_no_failure_of_the_vm() {
        let verdict = judge(
            "hello\tk\nplan\t1\nstart\ta\tx\noutput\tpanicked\nfinish\ta\tx\tfailed\t1\nend\t0\t1",
            "",
            None,
        );
        assert_eq!(
            verdict,
            Verdict {
                passed: 0,
                failed: vec!["a::x".into()],
                report: vec!["    | panicked".into(), "a::x ... failed (1 ms)".into()],
                troubles: vec![]
            }
        );
    }

    #[test]
    fn a_test_that_timed_out_has_failed() {
        let verdict = judge(
            "hello\tk\nplan\t1\nstart\ta\tx\nfinish\ta\tx\ttimed-out\t60000\nend\t0\t1",
            "",
            None,
        );
        assert_eq!(
            verdict,
            Verdict {
                passed: 0,
                failed: vec!["a::x".into()],
                report: vec!["a::x ... timed-out (60000 ms)".into()],
                troubles: vec![]
            }
        );
    }

    #[test]
    fn a_missing_last_line_is_a_failure_of_the_vm_and_of_the_running_test() {
        let verdict = judge(
            "hello\tk\nplan\t2\nstart\ta\tx\nfinish\ta\tx\tok\t1\nstart\ta\ty",
            "Kernel panic - not syncing: Attempted to kill init!\n---[ end",
            None,
        );
        assert_eq!(
            (verdict.passed, &verdict.failed[..]),
            (1, &["a::y".to_owned()][..])
        );
        says(&verdict, "the VM ended during a::y");
        says(&verdict, "no last line");
        says(&verdict, "Kernel panic");
    }

    #[test]
    fn a_guest_that_never_came_up_shows_its_console() {
        let verdict = judge("", "VFS: Unable to mount root fs\n", None);
        says(&verdict, "never came up");
        says(&verdict, "Unable to mount root fs");
    }

    #[test]
    fn a_count_that_differs_from_the_list_is_a_failure_of_the_vm() {
        says(
            &judge(
                "hello\tk\nplan\t2\nstart\ta\tx\nfinish\ta\tx\tok\t1\nend\t1\t0",
                "",
                None,
            ),
            "2 tests were listed",
        );
        says(
            &judge(
                "hello\tk\nplan\t1\nstart\ta\tx\nfinish\ta\tx\tok\t1\nend\t2\t0",
                "",
                None,
            ),
            "1 tests were listed",
        );
        says(&judge("hello\tk\nend\t0\t0", "", None), "no list");
        says(
            &judge("hello\tk\nplan\t0\nend\t0\t0", "", None),
            "no test matches",
        );
    }

    #[test]
    fn a_hang_says_why_the_vm_was_ended() {
        says(
            &judge(
                "hello\tk\nplan\t1\nstart\ta\tx",
                "",
                Some("silent for 300 s"),
            ),
            "silent for 300 s",
        );
    }

    #[test]
    fn kernel_faults_are_failures_of_the_vm_wherever_they_are_said() {
        for fault in [
            "BUG: kernel NULL pointer dereference, address: 0000000000000008",
            "Oops: 0000 [#1] PREEMPT SMP NOPTI",
            "general protection fault, probably for non-canonical address 0xdead",
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "rcu: INFO: rcu_sched self-detected stall on CPU",
            "INFO: task kworker/u4:1:31 blocked for more than 120 seconds.",
            "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [a:1]",
            "WARNING: CPU: 1 PID: 77 at fs/namespace.c:1191 cleanup_mnt+0x1",
            "refcount_t: underflow; use-after-free.",
        ] {
            says(&judge(GOOD, &format!("[   12.5] {fault}\n"), None), fault);
            let during = GOOD.replace("finish\ta\ty", &format!("kernel\t{fault}\nfinish\ta\ty"));
            says(&judge(&during, "", None), "during a::y");
        }
    }

    #[test]
    fn what_tests_provoke_is_no_fault() {
        let said = "Memory cgroup out of memory: Killed process 81 (a)\noom-kill:constraint=CONSTRAINT_MEMCG\n";
        assert_eq!(judge(GOOD, said, None).troubles, Vec::<String>::new());
    }

    #[test]
    fn garbled_results_are_not_believed() {
        says(
            &judge(
                &GOOD.replace("finish\ta\tx\tok\t1\n", "finish\ta\n"),
                "",
                None,
            ),
            "that is none",
        );
    }

    #[test]
    fn trouble_of_the_guest_is_a_failure_of_the_vm() {
        let told = format!("trouble\tfinit_module(\"/modules/veth.ko\"): ENOEXEC\n{GOOD}");
        says(&judge(&told, "", None), "veth.ko");
    }
}
