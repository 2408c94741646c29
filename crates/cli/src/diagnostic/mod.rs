//! Errors of a file: what, where, and what to do, shown as text or as JSON.
//!
//! A [`Source`] is the file's text, a [`Diagnostic`] one error in it, a [`Report`] all of them.
//! [`failure`] shows a line of a manifest that asked for something the kernel refused at run time.

use std::ops::Range;

mod json;
mod render;
mod source;

pub use json::json;
pub use render::failure;
pub use source::{Position, Source};

/// Bytes of the file's text.
pub type Span = Range<usize>;

/// So many errors of one file are kept; the rest is counted. A megabyte of junk is not worth a
/// gigabyte of messages.
pub(crate) const LIMIT: usize = 100;

/// What kind of error it is, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The file cannot be read, or is not a manifest at all.
    File,
    /// Not TOML.
    Syntax,
    /// A key that is not known at this place.
    UnknownKey,
    /// A key or value that a later release brings.
    NotSupported,
    /// A required key is missing.
    MissingKey,
    /// A number where a string belongs, and the like.
    WrongType,
    /// The right type, but a value that cannot be.
    BadValue,
    /// Each is right, but not both together.
    Conflict,
    /// The host does not have what the manifest names.
    NotFound,
}

impl Code {
    /// As JSON shows it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Syntax => "syntax",
            Self::UnknownKey => "unknown-key",
            Self::NotSupported => "not-supported",
            Self::MissingKey => "missing-key",
            Self::WrongType => "wrong-type",
            Self::BadValue => "bad-value",
            Self::Conflict => "conflict",
            Self::NotFound => "not-found",
        }
    }
}

/// One error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its kind.
    pub code: Code,
    /// What is wrong, in one line.
    pub message: String,
    /// Where; `None` when it is about the whole file.
    pub span: Option<Span>,
    /// Beside the caret: the rule, or a suggestion.
    pub label: String,
    /// Other places that have to do with it.
    pub related: Vec<(Span, String)>,
    /// What to do.
    pub help: Option<String>,
}

/// All errors of one file, by position.
#[derive(Debug, Clone)]
pub struct Report {
    /// The file; its text is empty when it could not be read.
    pub source: Source,
    /// At least one.
    pub diagnostics: Vec<Diagnostic>,
    /// So many more were found and are not in `diagnostics`.
    pub omitted: usize,
}

impl Report {
    /// Sort by position and cut off after the first hundred.
    #[must_use]
    pub fn new(source: Source, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by_key(|d| d.span.as_ref().map_or((0, 0), |s| (s.start, s.end)));
        let omitted = diagnostics.len().saturating_sub(LIMIT);
        diagnostics.truncate(LIMIT);
        Self {
            source,
            diagnostics,
            omitted,
        }
    }

    /// One error about the whole file.
    #[must_use]
    pub fn of_file(name: String, message: String, help: Option<String>) -> Self {
        let (span, label, related) = (None, String::new(), Vec::new());
        let diagnostic = Diagnostic {
            code: Code::File,
            message,
            span,
            label,
            related,
            help,
        };
        Self::new(Source::new(name, String::new()), vec![diagnostic])
    }

    /// As text for people, each error with its line and a caret.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        render::report(self, colour)
    }
}

/// Outside text between backticks: control characters escaped, and no longer than a line.
#[must_use]
pub fn quoted(text: &str) -> String {
    escaped(text, 60)
}

/// A path between backticks: control characters escaped.
#[must_use]
pub fn quoted_path(path: &std::path::Path) -> String {
    escaped(&path.to_string_lossy(), usize::MAX)
}

fn escaped(text: &str, most: usize) -> String {
    let mut out = String::from("`");
    for (i, c) in text.chars().enumerate() {
        if i == most {
            out.push('…');
            break;
        }
        if c.is_control() || is_invisible(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out.push('`');
    out
}

/// Characters that reorder or hide the text around them on a terminal.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_escapes_what_would_move_a_terminal() {
        assert_eq!(quoted("memroy"), "`memroy`");
        assert_eq!(quoted("a\u{1b}[31m\n"), "`a\\u{1b}[31m\\u{a}`");
        assert_eq!(quoted("a\u{202e}b"), "`a\\u{202e}b`");
        assert_eq!(quoted(&"x".repeat(100)), format!("`{}…`", "x".repeat(60)));
    }

    #[test]
    fn a_report_is_sorted_and_bounded() {
        let at = |n: usize| Diagnostic {
            code: Code::Syntax,
            message: n.to_string(),
            span: Some(n..n),
            label: String::new(),
            related: Vec::new(),
            help: None,
        };
        let source = Source::new("x".into(), "y".repeat(200));
        let report = Report::new(source, (0..150).rev().map(at).collect());
        assert_eq!(report.diagnostics.len(), LIMIT);
        assert_eq!(report.omitted, 50);
        assert_eq!(report.diagnostics[0].message, "0");
    }
}
