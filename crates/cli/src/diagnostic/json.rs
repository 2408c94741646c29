//! Diagnostics for editors and CI.

use serde::Serialize;

use super::{Diagnostic, Report, Source};

#[derive(Serialize)]
struct Entry<'a> {
    file: &'a str,
    /// `null` with the other positions when the error is about the whole file.
    line: Option<u32>,
    column: Option<u32>,
    end_line: Option<u32>,
    end_column: Option<u32>,
    severity: &'static str,
    code: &'static str,
    message: &'a str,
    label: &'a str,
    help: Option<&'a str>,
}

/// All reports as one JSON array, `[]` when there is none. Lines and columns count from 1, columns
/// in characters; the end is the place just behind the last character.
#[must_use]
pub fn json<'a>(reports: impl IntoIterator<Item = &'a Report> + Clone) -> String {
    let mut more = Vec::new();
    for report in reports.clone() {
        if report.omitted > 0 {
            more.push((&report.source, super::render::omitted(report.omitted)));
        }
    }
    let entries: Vec<Entry<'_>> = reports
        .into_iter()
        .flat_map(|r| r.diagnostics.iter().map(|d| entry(&r.source, d)))
        .chain(
            more.iter()
                .map(|(source, message)| whole_file(source, message)),
        )
        .collect();
    let mut text = serde_json::to_string_pretty(&entries).expect("strings and numbers serialise");
    text.push('\n');
    text
}

fn entry<'a>(source: &'a Source, diagnostic: &'a Diagnostic) -> Entry<'a> {
    let span = diagnostic.span.as_ref();
    let (start, end) = (
        span.map(|s| source.position(s.start)),
        span.map(|s| source.position(s.end)),
    );
    Entry {
        file: source.name(),
        line: start.map(|p| p.line),
        column: start.map(|p| p.column),
        end_line: end.map(|p| p.line),
        end_column: end.map(|p| p.column),
        severity: "error",
        code: diagnostic.code.as_str(),
        message: &diagnostic.message,
        label: &diagnostic.label,
        help: diagnostic.help.as_deref(),
    }
}

fn whole_file<'a>(source: &'a Source, message: &'a str) -> Entry<'a> {
    Entry {
        file: source.name(),
        line: None,
        column: None,
        end_line: None,
        end_column: None,
        severity: "error",
        code: "omitted",
        message,
        label: "",
        help: None,
    }
}
