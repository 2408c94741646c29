//! Signals by their names in [signal(7)], or by number.
//!
//! [signal(7)]: https://man7.org/linux/man-pages/man7/signal.7.html

use super::refuse;
use crate::error::Error;

/// From 1 up, as on every architecture but alpha, mips, parisc and sparc.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// The C library keeps 32 and 33 for itself.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

pub(super) fn parse(text: &str) -> Result<i32, Error> {
    number(text).ok_or_else(|| refuse("StopSignal", text, "is no signal of Linux"))
}

fn number(text: &str) -> Option<i32> {
    let plain = |text: &str| -> Option<i32> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        text.parse().ok()
    };
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let found = if let Some(number) = plain(text) {
        Some(number)
    } else if let Some(at) = NAMES.iter().position(|known| *known == name) {
        i32::try_from(at + 1).ok()
    } else if let Some(offset) = name.strip_prefix("RTMIN") {
        match offset.strip_prefix('+') {
            Some(offset) => plain(offset).and_then(|offset| RTMIN.checked_add(offset)),
            None => offset.is_empty().then_some(RTMIN),
        }
    } else if let Some(offset) = name.strip_prefix("RTMAX") {
        match offset.strip_prefix('-') {
            Some(offset) => plain(offset)
                .map(|offset| RTMAX - offset)
                .filter(|n| *n >= RTMIN),
            None => offset.is_empty().then_some(RTMAX),
        }
    } else {
        None
    };
    found.filter(|number| (1..=RTMAX).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_of_signals_are_read() {
        for (text, is) in [
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("SIGQUIT", Some(3)),
            ("SIGWINCH", Some(28)),
            ("9", Some(9)),
            ("SIGRTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("64", Some(64)),
            ("0", None),
            ("65", None),
            ("999", None),
            ("-9", None),
            ("+9", None),
            ("99999999999", None),
            ("SIGWAT", None),
            ("SIG", None),
            ("SIGRTMIN+31", None),
            ("SIGRTMIN+2147483647", None),
            ("SIGRTMAX-31", None),
        ] {
            assert_eq!(number(text), is, "{text}");
        }
    }
}
