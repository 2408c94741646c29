//! Signals by name and by number, [`signal(7)`].
//!
//! The numbers are those of the architecture this was compiled for. Real-time signals count from 34,
//! as glibc, musl's users and every container engine count them: the kernel's own first one is 32,
//! and the C libraries keep some for their threads.
//!
//! [`signal(7)`]: https://man7.org/linux/man-pages/man7/signal.7.html

use std::borrow::Cow;

/// First real-time signal a program may use, `SIGRTMIN` of glibc.
pub const RTMIN: i32 = 34;

/// Last real-time signal, `SIGRTMAX`.
pub const RTMAX: i32 = 64;

/// Standard signals. Of two names for one number the first is the one shown.
const TABLE: &[(&str, i32)] = &[
    ("SIGHUP", libc::SIGHUP),
    ("SIGINT", libc::SIGINT),
    ("SIGQUIT", libc::SIGQUIT),
    ("SIGILL", libc::SIGILL),
    ("SIGTRAP", libc::SIGTRAP),
    ("SIGABRT", libc::SIGABRT),
    ("SIGIOT", libc::SIGIOT),
    ("SIGBUS", libc::SIGBUS),
    ("SIGFPE", libc::SIGFPE),
    ("SIGKILL", libc::SIGKILL),
    ("SIGUSR1", libc::SIGUSR1),
    ("SIGSEGV", libc::SIGSEGV),
    ("SIGUSR2", libc::SIGUSR2),
    ("SIGPIPE", libc::SIGPIPE),
    ("SIGALRM", libc::SIGALRM),
    ("SIGTERM", libc::SIGTERM),
    ("SIGSTKFLT", libc::SIGSTKFLT),
    ("SIGCHLD", libc::SIGCHLD),
    ("SIGCLD", libc::SIGCHLD),
    ("SIGCONT", libc::SIGCONT),
    ("SIGSTOP", libc::SIGSTOP),
    ("SIGTSTP", libc::SIGTSTP),
    ("SIGTTIN", libc::SIGTTIN),
    ("SIGTTOU", libc::SIGTTOU),
    ("SIGURG", libc::SIGURG),
    ("SIGXCPU", libc::SIGXCPU),
    ("SIGXFSZ", libc::SIGXFSZ),
    ("SIGVTALRM", libc::SIGVTALRM),
    ("SIGPROF", libc::SIGPROF),
    ("SIGWINCH", libc::SIGWINCH),
    ("SIGIO", libc::SIGIO),
    ("SIGPOLL", libc::SIGPOLL),
    ("SIGPWR", libc::SIGPWR),
    ("SIGSYS", libc::SIGSYS),
];

/// The name of a signal: `SIGTERM`, `SIGRTMIN+3`; `None` for what is no signal of a program.
///
/// ```
/// # use engine::signals;
/// assert_eq!(signals::name(15).as_deref(), Some("SIGTERM"));
/// assert_eq!(signals::name(37).as_deref(), Some("SIGRTMIN+3"));
/// assert_eq!(signals::name(0), None);
/// ```
pub fn name(number: i32) -> Option<Cow<'static, str>> {
    if let Some((name, _)) = TABLE.iter().find(|(_, n)| *n == number) {
        return Some(Cow::Borrowed(name));
    }
    match number {
        RTMIN => Some(Cow::Borrowed("SIGRTMIN")),
        RTMAX => Some(Cow::Borrowed("SIGRTMAX")),
        n if (RTMIN..RTMAX).contains(&n) => Some(Cow::Owned(format!("SIGRTMIN+{}", n - RTMIN))),
        _ => None,
    }
}

/// A signal in words, whatever its number: its [`name`], or `signal 33`.
pub fn show(number: i32) -> Cow<'static, str> {
    name(number).unwrap_or_else(|| Cow::Owned(format!("signal {number}")))
}

/// The number of a signal written as `SIGTERM`, `TERM`, `sigterm`, `SIGRTMIN+3`, `RTMAX-1` or `15`.
///
/// `None` for anything else, numbers out of 1–64 among it. 32 and 33 are numbers a user may name,
/// though no program can be expected to understand them.
///
/// ```
/// # use engine::signals;
/// assert_eq!(signals::number("SIGQUIT"), Some(3));
/// assert_eq!(signals::number("quit"), Some(3));
/// assert_eq!(signals::number("SIGRTMIN+3"), Some(37));
/// assert_eq!(signals::number("SIGRTMIN+31"), None);
/// ```
pub fn number(text: &str) -> Option<i32> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().filter(|n| (1..=RTMAX).contains(n));
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = TABLE.iter().find(|(name, _)| &name[3..] == bare) {
        return Some(*number);
    }
    let number = if let Some(above) = bare.strip_prefix("RTMIN") {
        RTMIN + distance(above, '+')?
    } else {
        RTMAX - distance(bare.strip_prefix("RTMAX")?, '-')?
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

/// Names of the standard signals, for suggestions.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// `""` is 0, `"+3"` is 3 when `sign` is `+`.
fn distance(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.strip_prefix(sign)?;
    // At most two digits: nothing to overflow, and no second sign.
    let plain = (1..=2).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_has_a_name_that_leads_back_to_it() {
        for n in (1..=31).chain(RTMIN..=RTMAX) {
            let name = name(n).unwrap_or_else(|| panic!("{n} has no name"));
            assert_eq!(number(&name), Some(n), "{name}");
            assert_eq!(
                number(&name.to_lowercase()),
                Some(n),
                "{name} in lower case"
            );
            assert_eq!(number(&name[3..]), Some(n), "{name} without SIG");
            assert_eq!(number(&n.to_string()), Some(n));
        }
    }

    #[test]
    fn other_names_of_a_number_are_understood_but_not_shown() {
        for (other, shown) in [
            ("SIGCLD", "SIGCHLD"),
            ("SIGIOT", "SIGABRT"),
            ("SIGPOLL", "SIGIO"),
        ] {
            let n = number(other).expect(other);
            assert_eq!(name(n).as_deref(), Some(shown));
        }
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for text in [
            "",
            "0",
            "65",
            "-1",
            "+9",
            "99999999999999999999",
            "SIG",
            "SIGNONE",
            "SIGSIGTERM",
            "TERM ",
            "RTMIN-1",
            "RTMIN+",
            "RTMIN+31",
            "RTMIN++1",
            "RTMIN+-1",
            "RTMAX+1",
            "RTMAX-31",
            "RTMAX-999",
            "SIGTÉRM",
            "9\0",
        ] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_number_without_a_name_is_still_shown() {
        assert_eq!(show(libc::SIGSEGV), "SIGSEGV");
        assert_eq!(show(33), "signal 33");
        assert_eq!(show(-7), "signal -7");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            if let Some(n) = number(&text) {
                assert!((1..=RTMAX).contains(&n));
            }
        }
    }
}
