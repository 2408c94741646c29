//! Asking again: what is worth it, how often, and after how long.

use std::error::Error as _;
use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

use super::Settings;
use crate::error::Error;

/// The longest wait that is not the registry's own wish.
const LONGEST: Duration = Duration::from_secs(10);

/// Between two looks at whether anybody still wants to wait.
const LOOK: Duration = Duration::from_millis(100);

/// Attempts at one thing.
pub(super) struct Attempts {
    left: u32,
    wait: Duration,
    patience: Duration,
    /// No attempt begins after this.
    until: Option<Instant>,
}

impl Attempts {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            left: settings.attempts.saturating_sub(1),
            wait: settings.backoff,
            patience: settings.patience,
            until: None,
        }
    }

    /// A single attempt, where something else can be tried.
    pub(super) fn one() -> Self {
        Self {
            left: 0,
            wait: Duration::ZERO,
            patience: Duration::ZERO,
            until: None,
        }
    }

    /// None of them later than this.
    pub(super) fn until(self, until: Instant) -> Self {
        Self {
            until: Some(until),
            ..self
        }
    }

    /// Waits before the next attempt at `what`, or says that there is none. While it waits, `go_on` answers
    /// whether it still should.
    pub(super) fn again(
        &mut self,
        error: Error,
        what: &dyn Display,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), Error> {
        if self.left == 0 || !is_transient(&error) {
            return Err(error);
        }
        let asked = match &error {
            Error::Status {
                retry_after: Some(asked),
                ..
            } if *asked > self.patience => return Err(error),
            Error::Status {
                retry_after: Some(asked),
                ..
            } => *asked,
            _ => Duration::ZERO,
        };
        let time = asked.max(self.wait);
        if self
            .until
            .is_some_and(|until| until.saturating_duration_since(Instant::now()) < time)
        {
            return Err(error);
        }
        self.left -= 1;
        if !wait(time, go_on) {
            let what = what.to_string();
            return Err(Error::GivenUp { what });
        }
        self.wait = (self.wait * 2).min(LONGEST);
        Ok(())
    }

    /// Runs something until it works, is not worth trying, or is not wanted any more.
    pub(super) fn run<T>(
        mut self,
        what: &dyn Display,
        go_on: &mut dyn FnMut() -> bool,
        mut attempt: impl FnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(error) => self.again(error, what, go_on)?,
            }
        }
    }
}

/// Waits in short pieces; `false` if it was given up.
fn wait(time: Duration, go_on: &mut dyn FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while go_on() {
        match time.checked_sub(begun.elapsed()) {
            None | Some(Duration::ZERO) => return true,
            Some(left) => thread::sleep(left.min(LOOK)),
        }
    }
    false
}

fn is_transient(error: &Error) -> bool {
    match error {
        Error::Transport { .. } => !is_untrusted(error),
        Error::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
        _ => false,
    }
}

fn below(error: &Error) -> Option<&ureq::Error> {
    error.source()?.downcast_ref::<ureq::Error>()
}

/// The other side's certificate is not one that we trust.
pub(super) fn is_untrusted(error: &Error) -> bool {
    let certificate = |error: &rustls::Error| matches!(error, rustls::Error::InvalidCertificate(_));
    match below(error) {
        Some(ureq::Error::Rustls(error)) => certificate(error),
        Some(ureq::Error::Io(error)) => error
            .get_ref()
            .and_then(|inner| inner.downcast_ref())
            .is_some_and(certificate),
        _ => false,
    }
}

/// Nobody is there at all.
pub(super) fn is_refused(error: &Error) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
    match below(error) {
        Some(ureq::Error::Io(error)) => {
            matches!(
                error.kind(),
                ConnectionRefused | HostUnreachable | NetworkUnreachable | TimedOut
            )
        }
        Some(ureq::Error::HostNotFound) => true,
        _ => false,
    }
}
