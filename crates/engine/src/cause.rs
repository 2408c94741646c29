//! One shape for the errors of all the crates below, on their way into a [`Failure`].

use rustix::io::Errno;

use crate::error::{Failure, StateError};
use crate::plan::{Op, Operation, Who};
use crate::spec::Origin;

/// Why an operation failed.
#[derive(Debug)]
pub(crate) struct Cause {
    errno: Option<Errno>,
    /// The crate's own words; `None` when the errno says it all.
    detail: Option<String>,
    hint: Option<String>,
}

impl Cause {
    /// The failure of `op`.
    pub(crate) fn failed(self, op: &Op, origin: Origin) -> Box<Failure> {
        let call = op.calls().into_iter().last().unwrap_or_default();
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
            detail: None,
            hint: None,
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
                Self { errno: error.errno(), detail: Some(chain(&error)), hint }
            }
        }
    )*};
}

from_crate!(
    cgroup::Error,
    rootfs::Error,
    confine::Error,
    ns::Error,
    StateError
);
