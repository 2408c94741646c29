//! Names: of the container, of the host inside it, of environment variables, of signals.

use crate::diagnostic::quoted;
use crate::manifest::keys::closest;
use crate::manifest::walk::Rule;

/// Words that mean something else where a container's name may stand.
const RESERVED: [&str; 6] = ["host", "none", "self", "ctr", "ids", "net"];

/// A container's name: part of paths, cgroups and messages.
pub(crate) fn container(text: &str) -> Result<String, Rule> {
    let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let rest = |c: char| first(c) || matches!(c, '_' | '.' | '-');
    if text.is_empty() {
        return Err("a name has at least one character".into());
    }
    if text.len() > 63 {
        return Err("a name has at most 63 characters".into());
    }
    if !text.starts_with(first) || !text.chars().all(rest) {
        let rule =
            Rule::from("a name has a-z, 0-9, `_`, `.`, `-`, and starts with a letter or digit");
        let lower = text.to_ascii_lowercase().replace([' ', '/'], "-");
        return Err(
            if lower != text && lower.starts_with(first) && lower.chars().all(rest) {
                rule.help(format!("did you mean {}?", quoted(&lower)))
            } else {
                rule
            },
        );
    }
    if RESERVED.contains(&text) {
        return Err("this word is reserved".into());
    }
    Ok(text.to_owned())
}

/// A host name: RFC 1123's letters, in the 64 bytes that [`sethostname(2)`] takes.
///
/// [`sethostname(2)`]: https://man7.org/linux/man-pages/man2/sethostname.2.html
pub(crate) fn host(text: &str) -> Result<String, Rule> {
    if text.len() > 64 {
        return Err("a host name has at most 64 bytes".into());
    }
    let label = |l: &str| {
        let inner = l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        inner && !l.is_empty() && l.len() <= 63 && !l.starts_with('-') && !l.ends_with('-')
    };
    if !text.split('.').all(label) {
        return Err(
            "a host name has letters, digits and `-` between single dots, \
                    and no part starts or ends with `-`"
                .into(),
        );
    }
    Ok(text.to_owned())
}

/// The name of an environment variable.
pub(crate) fn variable(text: &str) -> Result<(), Rule> {
    if text.is_empty() {
        return Err("a variable has a name".into());
    }
    if text.contains('=') {
        return Err("a variable's name cannot hold `=`".into());
    }
    if text.chars().any(char::is_control) {
        return Err("a variable's name cannot hold control characters".into());
    }
    Ok(())
}

/// A signal by its name, `SIGTERM`.
pub(crate) fn signal(text: &str) -> Result<i32, Rule> {
    let number =
        engine::signals::number(text).filter(|_| !text.bytes().all(|b| b.is_ascii_digit()));
    if let Some(number) = number {
        // One way to write it: the man page's.
        if text.starts_with("SIG") && !text.bytes().any(|b| b.is_ascii_lowercase()) {
            return Ok(number);
        }
        let name = engine::signals::show(number);
        return Err(format!("did you mean {}?", quoted(&name)).into());
    }
    let upper = text.to_ascii_uppercase();
    Err(match closest(&upper, engine::signals::names()) {
        Some(close) => format!("no such signal; did you mean {}?", quoted(close)).into(),
        None => "no such signal; names are those of signal(7), like \"SIGTERM\"".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::value::tests::check;

    #[test]
    fn container_names_are_checked_not_sanitised() {
        let (long, longest) = ("x".repeat(64), "x".repeat(63));
        let shown = format!("{longest:?}");
        check(
            container,
            &[
                ("web", Ok("\"web\"")),
                ("0.a_b-c", Ok("\"0.a_b-c\"")),
                (&longest, Ok(&shown)),
                (&long, Err("63")),
                ("", Err("at least one")),
                ("Web", Err("did you mean `web`?")),
                ("my web", Err("did you mean `my-web`?")),
                ("-x", Err("starts with a letter or digit")),
                (".", Err("starts with a letter or digit")),
                ("..", Err("starts with a letter or digit")),
                ("a/b", Err("did you mean `a-b`?")),
                ("../x", Err("starts with a letter or digit")),
                ("bücher", Err("a name has a-z")),
                ("a\nb", Err("a name has a-z")),
                ("host", Err("reserved")),
                ("none", Err("reserved")),
                ("self", Err("reserved")),
                ("ctr", Err("reserved")),
            ],
        );
    }

    #[test]
    fn host_names_fit_the_kernel_and_rfc_1123() {
        let (a, b) = (
            format!("{}.{}", "a".repeat(32), "b".repeat(31)),
            "a".repeat(65),
        );
        let shown = format!("{a:?}");
        check(
            host,
            &[
                ("web", Ok("\"web\"")),
                ("Web-1.example.org", Ok("\"Web-1.example.org\"")),
                (&a, Ok(&shown)),
                (&b, Err("64 bytes")),
                (&b[..64], Err("a host name has")),
                ("", Err("a host name has")),
                ("a..b", Err("single dots")),
                ("..", Err("single dots")),
                ("a\nb", Err("a host name has")),
                ("a_b", Err("a host name has")),
                ("-a", Err("starts or ends")),
                ("a-", Err("starts or ends")),
                (".a", Err("single dots")),
            ],
        );
    }

    #[test]
    fn variable_names_cannot_split_the_environment() {
        check(
            variable,
            &[
                ("PATH", Ok("()")),
                ("a.b", Ok("()")),
                ("", Err("has a name")),
                ("A=B", Err("`=`")),
                ("A\nB", Err("control")),
            ],
        );
    }

    #[test]
    fn signals_are_written_as_the_man_page_does() {
        check(
            signal,
            &[
                ("SIGTERM", Ok("15")),
                ("SIGRTMIN+3", Ok("37")),
                ("QUIT", Err("did you mean `SIGQUIT`?")),
                ("sigquit", Err("did you mean `SIGQUIT`?")),
                ("SIGTREM", Err("did you mean `SIGTERM`?")),
                ("15", Err("no such signal")),
                ("", Err("no such signal")),
                ("SIGRTMIN+31", Err("no such signal")),
                ("BOOM", Err("no such signal")),
            ],
        );
    }
}
