//! Standard output and standard error, and whether they like colours.
//!
//! The print macros panic when the reader has gone; these functions return the error, or drop it
//! where there is nobody left to tell.

use std::io::{self, IsTerminal, Write};

use crate::exit::Error;

/// Write all of `text` to standard output.
///
/// # Errors
/// [`Error::Output`], a broken pipe among it.
pub fn stdout(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Error::Output)
}

/// Write all of `text` to standard error. A failure is dropped: there is no second channel.
pub fn stderr(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Show an error and its causes: `ctr: cannot write `x`: permission denied`.
pub fn error(error: &dyn std::error::Error) {
    stderr(&format!("ctr: {}\n", chain(error)));
}

/// An error and its causes in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        line.push_str(&format!(": {e}"));
        cause = e.source();
    }
    line
}

/// Whether standard error gets colours: it is a terminal, and neither [`NO_COLOR`] nor `TERM=dumb`
/// is set.
///
/// [`NO_COLOR`]: https://no-color.org
#[must_use]
pub fn colour_on_stderr() -> bool {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
    !no_colour && !dumb && io::stderr().is_terminal()
}
