//! The one thing needed from `/proc/PID/stat`, `proc_pid_stat(5)`. No allocation: runs in the child.

/// Fields 48 and 49, `arg_start` and `arg_end`: where the arguments lie.
pub(crate) fn argument_area(text: &[u8]) -> Option<(usize, usize)> {
    // The name in field 2 can hold anything, brackets and spaces included, but no field after it.
    let name_end = text.iter().rposition(|byte| *byte == b')')?;
    let mut fields = text
        .get(name_end + 1..)?
        .split(|byte| *byte == b' ')
        .skip(1);
    // The first one left is field 3.
    let start = number(fields.nth(48 - 3)?)?;
    let end = number(fields.next()?)?;
    (start < end).then_some((start, end))
}

fn number(digits: &[u8]) -> Option<usize> {
    let mut value = 0usize;
    for digit in digits {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value = value.checked_mul(10)?.checked_add(digit.into())?;
    }
    (!digits.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, start: &str, end: &str) -> String {
        let between = "0 ".repeat(44);
        format!("7 ({name}) S {between}{start} {end} 9 10 0\n")
    }

    #[test]
    fn the_area_is_fields_48_and_49_whatever_the_name_is() {
        for name in ["sh", "a b", ") S 1 (", ""] {
            let text = line(name, "140720000", "140720010");
            assert_eq!(
                argument_area(text.as_bytes()),
                Some((140_720_000, 140_720_010)),
                "{name}"
            );
        }
    }

    #[test]
    fn zeros_and_short_lines_have_no_area() {
        assert_eq!(
            argument_area(line("sh", "0", "0").as_bytes()),
            None,
            "no right to see it"
        );
        assert_eq!(argument_area(b"7 (sh) S 1 2"), None);
        assert_eq!(argument_area(b""), None);
    }

    #[test]
    fn our_own_area_holds_our_arguments() {
        let text = std::fs::read("/proc/self/stat").expect("/proc");
        let (start, end) = argument_area(&text).expect("our own");
        let cmdline = std::fs::read("/proc/self/cmdline").expect("/proc");
        assert_eq!(end - start, cmdline.len());
    }
}
