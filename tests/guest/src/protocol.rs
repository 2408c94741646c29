//! The lines that the guest writes to its results port.

use std::fmt;

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its process ended with status 0.
    Passed,
    /// Its process ended with another status, or by a signal.
    Failed,
    /// It was killed at its time limit.
    TimedOut,
}

impl Outcome {
    /// Its word in a line of results.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Passed, Self::Failed, Self::TimedOut]
            .into_iter()
            .find(|o| o.word() == word)
    }
}

/// One line of results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The guest is up; `uname -r` of its kernel.
    Hello {
        /// As `uname -r` says it.
        kernel: String,
    },
    /// How many tests were listed, and so how many results must follow.
    Plan {
        /// Number of tests.
        tests: usize,
    },
    /// A test starts.
    Start {
        /// Name of the test binary.
        suite: String,
        /// Name of the test in it.
        test: String,
    },
    /// A test ended.
    Finish {
        /// Name of the test binary.
        suite: String,
        /// Name of the test in it.
        test: String,
        /// How.
        outcome: Outcome,
        /// How long its process lived, in the guest's milliseconds.
        millis: u64,
    },
    /// A line that the test printed; sent for tests that did not pass.
    Output(String),
    /// A line of the kernel's log, of level warning or worse.
    Kernel(String),
    /// The guest itself could not do something that the tests rely on.
    Trouble(String),
    /// The last line.
    End {
        /// Tests that passed.
        passed: usize,
        /// Tests that did not.
        failed: usize,
    },
}

impl Event {
    /// Reads one line, without its newline.
    ///
    /// `None` when the line is none of ours: garbled, cut, or of another version.
    pub fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once('\t')?;
        let mut fields = rest.split('\t');
        let event = match word {
            "output" => return Some(Self::Output(rest.to_owned())),
            "kernel" => return Some(Self::Kernel(rest.to_owned())),
            "trouble" => return Some(Self::Trouble(rest.to_owned())),
            "hello" => Self::Hello {
                kernel: fields.next()?.to_owned(),
            },
            "plan" => Self::Plan {
                tests: fields.next()?.parse().ok()?,
            },
            "start" => Self::Start {
                suite: fields.next()?.to_owned(),
                test: fields.next()?.to_owned(),
            },
            "finish" => Self::Finish {
                suite: fields.next()?.to_owned(),
                test: fields.next()?.to_owned(),
                outcome: Outcome::parse(fields.next()?)?,
                millis: fields.next()?.parse().ok()?,
            },
            "end" => Self::End {
                passed: fields.next()?.parse().ok()?,
                failed: fields.next()?.parse().ok()?,
            },
            _ => return None,
        };
        fields.next().is_none().then_some(event)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello { kernel } => write!(f, "hello\t{kernel}"),
            Self::Plan { tests } => write!(f, "plan\t{tests}"),
            Self::Start { suite, test } => write!(f, "start\t{suite}\t{test}"),
            Self::Finish {
                suite,
                test,
                outcome,
                millis,
            } => {
                write!(f, "finish\t{suite}\t{test}\t{}\t{millis}", outcome.word())
            }
            Self::Output(text) => write!(f, "output\t{text}"),
            Self::Kernel(text) => write!(f, "kernel\t{text}"),
            Self::Trouble(text) => write!(f, "trouble\t{text}"),
            Self::End { passed, failed } => write!(f, "end\t{passed}\t{failed}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_survives_the_line() {
        for event in [
            Event::Hello {
                kernel: "6.1.0-56-cloud-amd64".into(),
            },
            Event::Plan { tests: 12 },
            Event::Start {
                suite: "ns-vm".into(),
                test: "a::b".into(),
            },
            Event::Finish {
                suite: "ns-vm".into(),
                test: "a::b".into(),
                outcome: Outcome::TimedOut,
                millis: 60_000,
            },
            Event::Output("left: 1\tright: 2".into()),
            Event::Kernel("BUG: kernel NULL pointer dereference".into()),
            Event::Trouble("cannot load veth".into()),
            Event::End {
                passed: 11,
                failed: 1,
            },
        ] {
            assert_eq!(Event::parse(&event.to_string()), Some(event));
        }
    }

    #[test]
    fn a_cut_or_foreign_line_is_no_event() {
        for line in [
            "",
            "end",
            "end\t3",
            "end\t3\t0\t0",
            "finish\ta\tb\tok",
            "finish\ta\tb\tgood\t1",
            "x\ty",
        ] {
            assert_eq!(Event::parse(line), None, "{line:?}");
        }
    }
}
