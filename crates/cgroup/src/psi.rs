//! Pressure: for how much of the time processes waited for CPU, memory or I/O ([PSI]).
//!
//! Of a group (`memory.pressure`) and of the whole machine (`/proc/pressure/memory`), as averages and
//! totals, and as triggers: a descriptor that is polled for `POLLPRI` and becomes ready when the
//! stalls within a window pass a threshold.
//!
//! [PSI]: https://docs.kernel.org/accounting/psi.html

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io;

use crate::keyed::{Parsed, pairs, parse_error};
use crate::units::parse_u64;
use crate::{Error, Group, Micros, Percent};

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// A CPU.
    Cpu,
    /// Memory: reclaim, refaults, swap.
    Memory,
    /// Block I/O.
    Io,
    /// Time lost to interrupts, since Linux 6.1 with `CONFIG_IRQ_TIME_ACCOUNTING`.
    Irq,
}

impl Resource {
    /// The file of a group.
    pub fn file(self) -> &'static str {
        match self {
            Self::Cpu => "cpu.pressure",
            Self::Memory => "memory.pressure",
            Self::Io => "io.pressure",
            Self::Irq => "irq.pressure",
        }
    }
}

/// Who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stall {
    /// At least one process.
    Some,
    /// All that could run.
    Full,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Some => "some",
            Self::Full => "full",
        })
    }
}

/// One line of a pressure file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Average {
    /// Share of the last 10 s.
    pub avg10: Percent,
    /// Share of the last 60 s.
    pub avg60: Percent,
    /// Share of the last 300 s.
    pub avg300: Percent,
    /// Since the group was made.
    pub total: Micros,
}

/// A pressure file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Psi {
    /// At least one process waited; not there for [`Resource::Irq`].
    pub some: Option<Average>,
    /// All waited. For [`Resource::Cpu`] since Linux 5.13, and of the whole machine always 0.
    pub full: Option<Average>,
}

impl Psi {
    /// Reads the text of a pressure file.
    ///
    /// # Errors
    ///
    /// [`Error::Parse`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut psi = Self::default();
        for line in text.lines() {
            let (who, rest) = line
                .split_once(' ')
                .ok_or_else(|| parse_error("pressure", line))?;
            match who {
                "some" => psi.some = Some(average(line, rest)?),
                "full" => psi.full = Some(average(line, rest)?),
                _ => {}
            }
        }
        Ok(psi)
    }
}

fn average(line: &str, rest: &str) -> Result<Average, Error> {
    let mut average = Average::default();
    for pair in pairs("pressure", rest) {
        let (key, value) = pair?;
        let wrong = || parse_error("pressure", line);
        match key {
            "avg10" => average.avg10 = Percent::parse(value).ok_or_else(wrong)?,
            "avg60" => average.avg60 = Percent::parse(value).ok_or_else(wrong)?,
            "avg300" => average.avg300 = Percent::parse(value).ok_or_else(wrong)?,
            "total" => average.total = Micros(parse_u64(value).ok_or_else(wrong)?),
            _ => {}
        }
    }
    Ok(average)
}

macro_rules! of_resource {
    ($($(#[$doc:meta])* $name:ident $file:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name(pub Psi);

        impl Parsed for $name {
            const FILE: &'static str = $file;

            fn parse(text: &str) -> Result<Self, Error> {
                Psi::parse(text).map(Self)
            }
        }
    )*};
}

of_resource! {
    /// `cpu.pressure`.
    CpuPressure "cpu.pressure";
    /// `memory.pressure`.
    MemoryPressure "memory.pressure";
    /// `io.pressure`.
    IoPressure "io.pressure";
}

/// When to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// Who waits.
    pub stall: Stall,
    /// For how long within the window.
    pub stalled: Micros,
    /// 500 ms to 10 s; without CAP_SYS_RESOURCE a multiple of 2 s (Linux 6.6).
    pub window: Micros,
}

/// `some 150000 1000000`
impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.stall, self.stalled, self.window)
    }
}

/// A trigger. It ends when it is dropped.
#[derive(Debug)]
pub struct Trigger {
    fd: OwnedFd,
}

/// Polled for `POLLPRI`: the threshold was passed, at most once per window. `POLLERR`: the group is
/// gone.
impl AsFd for Trigger {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Group {
    /// The pressure of the group now.
    ///
    /// # Errors
    ///
    /// [`Error::Read`]: `EOPNOTSUPP` when it is not measured (`psi=0`), `ENOENT` without
    /// `CONFIG_PSI`.
    pub fn pressure(&self, resource: Resource) -> Result<Psi, Error> {
        Psi::parse(&self.read(resource.file())?)
    }

    /// Sets a trigger.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] as [`Group::pressure`]; [`Error::Write`]: `EINVAL` for a threshold or window
    /// that the kernel does not take, `EPERM` without `CAP_SYS_RESOURCE` before Linux 6.6.
    pub fn trigger(&self, resource: Resource, threshold: Threshold) -> Result<Trigger, Error> {
        let file = resource.file();
        let fd = self.open_file(file, OFlags::RDWR | OFlags::NONBLOCK)?;
        let value = threshold.to_string();
        io::retry_on_intr(|| io::write(&fd, value.as_bytes()))
            .map_err(|source| self.write_error(file, &value, source))?;
        Ok(Trigger { fd })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_lines_are_read_in_hundredths() {
        let text = "some avg10=1.23 avg60=0.05 avg300=100.00 total=55\n\
                    full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        let psi = Psi::parse(text).expect("psi");
        let some = psi.some.expect("some");
        assert_eq!((some.avg10, some.avg60), (Percent(123), Percent(5)));
        assert_eq!((some.avg300, some.total), (Percent::FULL, Micros(55)));
        assert_eq!(psi.full.expect("full").total, Micros(7));
    }

    #[test]
    fn irq_pressure_has_no_some_line() {
        let psi = Psi::parse("full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n").expect("psi");
        assert_eq!(psi.some, None);
        assert_eq!(psi.full, Some(Average::default()));
    }

    #[test]
    fn a_broken_average_is_an_error_with_its_line() {
        let error = Psi::parse("some avg10=x avg60=0.00").expect_err("broken");
        assert!(error.to_string().contains("some avg10=x"), "{error}");
    }

    #[test]
    fn a_threshold_is_spelled_in_microseconds() {
        let threshold = Threshold {
            stall: Stall::Full,
            stalled: Micros(150_000),
            window: Micros(1_000_000),
        };
        assert_eq!(threshold.to_string(), "full 150000 1000000");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(some|full|avg10=|total=|[0-9. =\n]|\\PC){0,60}") {
            let _ = Psi::parse(&text);
        }
    }
}
