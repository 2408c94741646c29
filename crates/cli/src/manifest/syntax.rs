//! From text to the spanned document, and its errors in words.
//!
//! The parser goes on after an error, and what it then makes of the rest is a guess. So of what the
//! walk finds only that is kept which lies before the first error; a key defined twice is no guess.

use toml::Spanned;
use toml::de::DeTable;

use crate::diagnostic::{Code, Diagnostic, Source, Span, quoted};

/// The document, and what of it is not TOML.
pub(crate) struct Document<'t> {
    pub(crate) table: Spanned<DeTable<'t>>,
    errors: Vec<toml::de::Error>,
}

/// Parse all of `text`. Nesting ends at 80 levels, set in the parser.
pub(crate) fn parse(text: &str) -> Document<'_> {
    let (table, errors) = DeTable::parse_recoverable(text);
    Document { table, errors }
}

const DUPLICATE: &str = "duplicate key";
const RECURSION: &str = "recursion limit";

impl Document<'_> {
    /// The errors of the text and those found by the walk.
    pub(crate) fn errors_with(&self, source: &Source, found: Vec<Diagnostic>) -> Vec<Diagnostic> {
        let mut errors = Vec::new();
        let mut guessed_from = None;
        let mut last_line = 0;
        let mut spans: Vec<_> = self
            .errors
            .iter()
            .map(|e| (span_of(e, source), e))
            .collect();
        spans.sort_by_key(|(span, _)| span.start);
        for (span, error) in spans {
            let line = source.line(span.start);
            if error.message() == DUPLICATE {
                errors.push(duplicate(source, span));
                continue;
            }
            guessed_from =
                Some(guessed_from.map_or(span.start, |start: usize| start.min(span.start)));
            // What follows on the same line follows from the first.
            if line != last_line {
                last_line = line;
                errors.push(invalid(error.message(), span));
            }
        }
        let Some(start) = guessed_from else {
            errors.extend(found);
            return errors;
        };
        let line_start = source.line_span(source.line(start)).start;
        let certain = |d: &Diagnostic| d.span.as_ref().is_some_and(|s| s.end < line_start);
        errors.extend(
            found
                .into_iter()
                .filter(|d| d.code != Code::MissingKey && certain(d)),
        );
        errors
    }
}

fn span_of(error: &toml::de::Error, source: &Source) -> Span {
    let length = source.text().len();
    match error.span() {
        Some(span) => span.start.min(length)..span.end.min(length),
        // Only a key with too many dots comes without a place.
        None => {
            let mut lines = (1..)
                .map(|line| source.line_span(line))
                .take_while(|s| s.start < length);
            let dotted = |span: &Span| source.text()[span.clone()].matches('.').count() >= 79;
            lines.find(dotted).unwrap_or(0..0)
        }
    }
}

fn duplicate(source: &Source, span: Span) -> Diagnostic {
    Diagnostic {
        code: Code::Syntax,
        message: format!("duplicate key {}", quoted(&source.text()[span.clone()])),
        span: Some(span),
        label: "already defined above".into(),
        related: Vec::new(),
        help: None,
    }
}

fn invalid(message: &str, span: Span) -> Diagnostic {
    let label = match message {
        RECURSION => "a key with too many dots",
        message if message.starts_with("cannot recurse further") => "nested too deeply",
        message => message,
    };
    Diagnostic {
        code: Code::Syntax,
        message: "invalid TOML".into(),
        span: Some(span),
        label: label.into(),
        related: Vec::new(),
        help: None,
    }
}
