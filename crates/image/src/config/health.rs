//! `Healthcheck`, which is Docker's and in no specification of OCI; what it means is said with
//! [`docker run`].
//!
//! [`docker run`]: https://docs.docker.com/reference/dockerfile/#healthcheck

use std::time::Duration;

use serde::Deserialize;

use super::{refuse, strings};
use crate::error::Error;
use crate::json::{FREE, Keys};

const KEY: &str = "Healthcheck";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Raw {
    test: Option<Vec<String>>,
    /// Nanoseconds, as the next three.
    #[serde(default)]
    interval: i64,
    #[serde(default)]
    timeout: i64,
    #[serde(default)]
    start_period: i64,
    #[serde(default)]
    start_interval: i64,
    #[serde(default)]
    retries: i64,
}

pub(super) static KEYS: Keys = Keys::object(&[
    ("Test", &FREE),
    ("Interval", &FREE),
    ("Timeout", &FREE),
    ("StartPeriod", &FREE),
    ("StartInterval", &FREE),
    ("Retries", &FREE),
]);

/// How to ask a program whether it is well. What is `None` was left to the engine.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What is asked.
    pub probe: Probe,
    /// Between two probes.
    pub interval: Option<Duration>,
    /// Of one probe.
    pub timeout: Option<Duration>,
    /// At the start, when failures do not count.
    pub start_period: Option<Duration>,
    /// Between two probes at the start.
    pub start_interval: Option<Duration>,
    /// Failures in a row that make the program unwell.
    pub retries: Option<u32>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Nothing, although an image below had a probe.
    None,
    /// A program with its arguments.
    Exec(Vec<String>),
    /// A line for the image's shell.
    Shell(String),
}

impl Health {
    /// `None` where no test is given: the value is inherited, and there is nobody to inherit from.
    pub(super) fn check(raw: Raw) -> Result<Option<Self>, Error> {
        let test = raw.test.unwrap_or_default();
        strings(KEY, &test)?;
        let words: Vec<&str> = test.iter().map(String::as_str).collect();
        let probe = match words[..] {
            [] => return Ok(None),
            ["NONE"] => Probe::None,
            ["CMD", program, ..] if !program.is_empty() => Probe::Exec(test[1..].to_vec()),
            ["CMD-SHELL", line] if !line.is_empty() => Probe::Shell(line.to_owned()),
            [first, ..] => {
                return Err(refuse(
                    KEY,
                    first,
                    "it is NONE, CMD and a program, or CMD-SHELL and a line",
                ));
            }
        };
        let retries = match u32::try_from(raw.retries) {
            Ok(0) => None,
            Ok(retries) => Some(retries),
            Err(_) => {
                return Err(refuse(
                    KEY,
                    &raw.retries.to_string(),
                    "Retries is a number of 32 bits",
                ));
            }
        };
        Ok(Some(Self {
            probe,
            interval: duration(raw.interval)?,
            timeout: duration(raw.timeout)?,
            start_period: duration(raw.start_period)?,
            start_interval: duration(raw.start_interval)?,
            retries,
        }))
    }
}

fn duration(nanoseconds: i64) -> Result<Option<Duration>, Error> {
    match u64::try_from(nanoseconds) {
        Ok(0) => Ok(None),
        // Docker's own bound: no kernel could probe that often.
        Ok(1..1_000_000) => Err(refuse(
            KEY,
            &nanoseconds.to_string(),
            "a time is in nanoseconds, and at least 1 ms",
        )),
        Ok(nanoseconds) => Ok(Some(Duration::from_nanos(nanoseconds))),
        Err(_) => Err(refuse(
            KEY,
            &nanoseconds.to_string(),
            "a time is not negative",
        )),
    }
}
