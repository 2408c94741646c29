//! The first line of a script, [`execve(2)`], "Interpreter scripts".
//!
//! Read exactly as the kernel's [`load_script`] reads it: 256 bytes, of which an interpreter's path
//! that does not end within them is refused, and a carriage return is part of the name.
//!
//! [`execve(2)`]: https://man7.org/linux/man-pages/man2/execve.2.html
//! [`load_script`]: https://elixir.bootlin.com/linux/v6.12/source/fs/binfmt_script.c

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// `BINPRM_BUF_SIZE`: what the kernel looks at.
const BUFFER: usize = 256;

/// What the first line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shebang {
    /// It does not start with `#!`.
    None,
    /// The interpreter, up to the first space.
    Interpreter(PathBuf),
    /// Nothing after `#!`.
    Empty,
    /// The interpreter's path does not end within 256 bytes.
    TooLong,
}

pub(super) fn parse(head: &[u8]) -> Shebang {
    let Some(rest) = head.strip_prefix(b"#!") else {
        return Shebang::None;
    };
    let window = &rest[..rest.len().min(BUFFER - 2)];
    let (line, cut) = match window.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&window[..end], false),
        None => (window, rest.len() >= BUFFER - 2),
    };
    let start = line
        .iter()
        .position(|byte| !matches!(byte, b' ' | b'\t'))
        .unwrap_or(line.len());
    let name = &line[start..];
    let end = name
        .iter()
        .position(|byte| matches!(byte, b' ' | b'\t' | 0));
    match (&name[..end.unwrap_or(name.len())], end, cut) {
        ([], ..) => Shebang::Empty,
        (_, None, true) => Shebang::TooLong,
        (name, ..) => Shebang::Interpreter(PathBuf::from(OsStr::from_bytes(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_is_what_the_kernel_takes_for_it() {
        let interpreter = |path: &str| Shebang::Interpreter(PathBuf::from(path));
        let long = format!("#!/{}\n", "x".repeat(300));
        let fits = format!("#!/{} {}\n", "x".repeat(200), "y".repeat(200));
        for (head, expected) in [
            ("#!/bin/sh\necho", interpreter("/bin/sh")),
            ("#! \t/usr/bin/env python3\n", interpreter("/usr/bin/env")),
            ("#!/bin/sh", interpreter("/bin/sh")),
            ("#!/bin/sh\r\necho", interpreter("/bin/sh\r")),
            ("#!/bin/sh -e\r\n", interpreter("/bin/sh")),
            ("#!sh\n", interpreter("sh")),
            ("#!\n/bin/sh", Shebang::Empty),
            ("#!   \n", Shebang::Empty),
            ("#!", Shebang::Empty),
            ("#", Shebang::None),
            ("", Shebang::None),
            (" #!/bin/sh\n", Shebang::None),
            ("#!/a\0b\n", interpreter("/a")),
            (&long, Shebang::TooLong),
            (&fits, interpreter(&format!("/{}", "x".repeat(200)))),
        ] {
            assert_eq!(parse(head.as_bytes()), expected, "{head:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn an_interpreter_is_never_empty_and_never_long(
            head in proptest::collection::vec(proptest::num::u8::ANY, 0..400),
        ) {
            let mut script = b"#!".to_vec();
            script.extend(head);
            if let Shebang::Interpreter(path) = parse(&script) {
                assert!((1..BUFFER).contains(&path.as_os_str().len()));
            }
        }
    }
}
