//! One shape for the errors of all the crates below, on their way into a [`Failure`].

use rustix::io::Errno;

use crate::error::{Failure, StateError};
use crate::plan::{Op, Operation, Who};
use crate::spec::Origin;

/// Why an operation failed.
#[derive(Debug)]
pub(crate) struct Cause {
    errno: Option<Errno>,
    /// The call that failed, as the crate below spells it.
    call: Option<String>,
    /// What is wrong, when it is no errno.
    detail: Option<String>,
    hint: Option<String>,
}

impl Cause {
    /// Whether somebody else has what was asked for.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self.errno, Some(Errno::EXIST | Errno::BUSY))
    }

    /// The failure of `op`.
    pub(crate) fn failed(self, op: &Op, origin: Origin) -> Box<Failure> {
        let calls = op.calls();
        let call = match &self.call {
            Some(failed) => planned(&calls, failed).unwrap_or(failed).to_owned(),
            None => calls.into_iter().next_back().unwrap_or_default(),
        };
        self.failed_operation(Operation {
            who: Who::Supervisor,
            purpose: op.purpose(),
            call,
            origin,
            undo: None,
        })
    }

    /// The failure of `operation`.
    pub(crate) fn failed_operation(self, operation: Operation) -> Box<Failure> {
        let Self {
            errno,
            detail,
            hint,
            ..
        } = self;
        Box::new(Failure {
            operation,
            place: None,
            detail,
            errno,
            hint,
            left: Vec::new(),
        })
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(call) = &self.call {
            write!(f, "{call}: ")?;
        }
        match (&self.detail, self.errno) {
            (Some(detail), _) => f.write_str(detail),
            (None, Some(errno)) => f.write_str(&crate::error::errno_name(errno)),
            (None, None) => f.write_str("failed"),
        }
    }
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        Self {
            errno: Some(errno),
            call: None,
            detail: None,
            hint: None,
        }
    }
}

/// The planned call that `failed` is: of the same name (`mkdir` is `mkdirat`) and, where there are several, about a file of
/// the same name.
fn planned<'a>(calls: &'a [String], failed: &str) -> Option<&'a str> {
    let name = |call: &str| {
        let name = call.split('(').next().unwrap_or_default();
        name.strip_suffix("at").unwrap_or(name).to_owned()
    };
    let named: Vec<&String> = calls
        .iter()
        .filter(|call| name(call) == name(failed))
        .collect();
    match named[..] {
        [] => None,
        [one] => Some(one),
        _ => {
            let file = failed.split('"').nth(1)?.rsplit('/').next()?;
            named
                .into_iter()
                .find(|call| call.contains(file))
                .map(String::as_str)
        }
    }
}

/// An error and its causes, joined as they are printed.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

macro_rules! from_crate {
    ($($error:ty),*) => {$(
        impl From<$error> for Cause {
            fn from(error: $error) -> Self {
                let hint = error.hint().map(Into::into);
                let errno = error.errno();
                // An errno says it all together with the call; without one the words are all there is.
                let (call, detail) = match errno {
                    Some(_) => (Some(error.to_string()), None),
                    None => (None, Some(chain(&error))),
                };
                Self { errno, call, detail, hint }
            }
        }
    )*};
}

from_crate!(
    cgroup::Error,
    rootfs::Error,
    confine::Error,
    crate::net::pasta::PastaError,
    crate::net::ports::PortTaken,
    netns::Error,
    ns::Error,
    StateError
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_planned_call_that_failed_is_found_by_its_name_and_file() {
        let calls = [
            "write(</proc/PID/uid_map>, \"0 1000 1\\n\")".to_owned(),
            "write(</proc/PID/gid_map>, \"0 1000 1\\n\")".to_owned(),
            "renameat2(</run/ctr>, \".new\")".to_owned(),
            "mkdirat(</sys/fs/cgroup/ctr>, \"web\", 0755)".to_owned(),
        ];
        let found = |failed: &str| planned(&calls, failed);
        assert_eq!(
            found("write(\"/proc/7/gid_map\", \"0 1000 1\\n\")"),
            Some(calls[1].as_str())
        );
        assert_eq!(
            found("renameat2(\"/run/ctr/web\")"),
            Some(calls[2].as_str())
        );
        assert_eq!(
            found("mkdir(\"/sys/fs/cgroup/ctr/web\")"),
            Some(calls[3].as_str())
        );
        assert_eq!(found("flock(\"/run/ctr/web\")"), None);
    }
}
