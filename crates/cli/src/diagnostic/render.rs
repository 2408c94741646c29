//! Diagnostics for people: message, place, the line itself, a caret.

use annotate_snippets::{
    AnnotationKind, Group, Level, Origin, Renderer, Snippet, renderer::DEFAULT_TERM_WIDTH,
};

use super::{Code, Diagnostic, Report, Source, Span};

/// Related places this far away (in lines) are named in words only, to keep the snippet small.
const WINDOW_LINES: u32 = 400;

pub(super) fn report(report: &Report, colour: bool) -> String {
    let mut out = String::new();
    for diagnostic in &report.diagnostics {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&one(&report.source, diagnostic, colour));
    }
    if report.omitted > 0 {
        out.push_str(&format!("\n{}\n", omitted(report.omitted)));
    }
    out
}

pub(super) fn omitted(count: usize) -> String {
    format!(
        "and {count} more error{}, not shown",
        if count == 1 { "" } else { "s" }
    )
}

fn one(source: &Source, diagnostic: &Diagnostic, colour: bool) -> String {
    let title = Level::ERROR.primary_title(diagnostic.message.as_str());
    let mut group = match &diagnostic.span {
        Some(span) if !is_absent(diagnostic) => title.element(snippet(
            source,
            span,
            &diagnostic.label,
            &diagnostic.related,
        )),
        _ => title.element(Origin::path(source.name())),
    };
    if is_absent(diagnostic) {
        group = group.element(Level::NOTE.message(diagnostic.label.as_str()));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let text = renderer(colour).render(&[group]);
    // Without line numbers the gutter is narrower by one.
    indented(
        &text,
        if is_absent(diagnostic) || diagnostic.span.is_none() {
            "  "
        } else {
            " "
        },
    )
}

/// What is missing from the file as a whole has no line to show.
fn is_absent(diagnostic: &Diagnostic) -> bool {
    diagnostic.code == Code::MissingKey && diagnostic.span == Some(0..0)
}

/// A failure at run time: what happened, the line of the manifest that asked for it, and a hint
/// where errno alone misleads. Without a line, or with one that the text does not have, only the
/// message and the hint.
///
/// ```
/// let source = cli::diagnostic::Source::new("web.toml".into(), "rootfs = \"host\"\n".into());
/// let text = cli::diagnostic::failure(&source, Some(1), "pivot_root(\".\", \".\"): EINVAL", None, false);
/// assert_eq!(
///     text,
///     concat!(
///         "error: pivot_root(\".\", \".\"): EINVAL\n",
///         "  --> web.toml:1:1\n",
///         "   |\n",
///         " 1 | rootfs = \"host\"\n",
///         "   | ^^^^^^^^^^^^^^^ asked for here\n",
///     )
/// );
/// ```
#[must_use]
pub fn failure(
    source: &Source,
    line: Option<u32>,
    message: &str,
    hint: Option<&str>,
    colour: bool,
) -> String {
    let span = line
        .map(|line| visible(source, source.line_span(line)))
        .filter(|s| !s.is_empty());
    let title = Level::ERROR.primary_title(message);
    let renderer = renderer(colour);
    let Some(span) = span else {
        // There is no gutter to hang the hint on: each is a report of its own.
        let hint = hint.map(|hint| Level::HELP.with_name("hint").primary_title(hint));
        let titles = std::iter::once(title).chain(hint).map(Group::with_title);
        return titles
            .map(|group| indented(&renderer.render(&[group]), ""))
            .collect();
    };
    let mut group = title.element(snippet(source, &span, "asked for here", &[]));
    if let Some(hint) = hint {
        group = group.element(Level::HELP.with_name("hint").message(hint));
    }
    indented(&renderer.render(&[group]), " ")
}

/// The part of a line that has ink.
fn visible(source: &Source, line: Span) -> Span {
    let text = &source.text()[line.clone()];
    let start = line.start + (text.len() - text.trim_start().len());
    start..(start + text.trim().len())
}

/// Only the lines concerned are handed to the renderer, which would else look at the whole file for
/// each error.
fn snippet<'a>(
    source: &'a Source,
    span: &Span,
    label: &'a str,
    related: &'a [(Span, String)],
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let own = source.line(span.start);
    let near = |s: &Span| source.line(s.start).abs_diff(own) <= WINDOW_LINES;
    let shown = || related.iter().filter(|(s, _)| near(s));
    let first = shown()
        .map(|(s, _)| source.line(s.start))
        .fold(own, u32::min);
    let last = shown()
        .map(|(s, _)| source.line(s.end))
        .fold(source.line(span.end), u32::max);
    let start = source.line_span(first).start.max(source.first_visible());
    let end = source.line_span(last).end.max(start);
    let within = |s: &Span| clamp(s.start, start, end)..clamp(s.end, start, end);
    let label = (!label.is_empty()).then_some(label);
    Snippet::source(&source.text()[start..end])
        .path(source.name())
        .line_start(first as usize)
        .annotation(AnnotationKind::Primary.span(within(span)).label(label))
        .annotations(
            shown().map(|(s, text)| AnnotationKind::Context.span(within(s)).label(text.as_str())),
        )
}

/// An offset of the file as one of the window `start..end`.
fn clamp(offset: usize, start: usize, end: usize) -> usize {
    offset.clamp(start, end) - start
}

fn renderer(colour: bool) -> Renderer {
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    renderer.term_width(DEFAULT_TERM_WIDTH)
}

/// Everything below the first line moves right: the arrow stands clear of the message.
fn indented(text: &str, by: &str) -> String {
    let mut out = String::new();
    for (i, line) in text.lines().enumerate() {
        if i > 0 {
            out.push_str(by);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source::new("web.toml".into(), "a = 1\n  [[mount]]  \nb = 2\n".into())
    }

    #[test]
    fn a_failure_shows_its_line_and_a_hint() {
        let message = "mount(\"overlay\", \"/run/ctr/web\", \"overlay\"): ELOOP";
        let hint = "two lowerdirs overlap";
        let shown = failure(&source(), Some(2), message, Some(hint), false);
        let expected = "\
error: mount(\"overlay\", \"/run/ctr/web\", \"overlay\"): ELOOP
  --> web.toml:2:3
   |
 2 |   [[mount]]
   |   ^^^^^^^^^ asked for here
   |
   = hint: two lowerdirs overlap
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_failure_nobody_asked_for_has_no_line() {
        let shown = failure(
            &source(),
            None,
            "clone3(...): EAGAIN",
            Some("pids.max"),
            false,
        );
        assert_eq!(shown, "error: clone3(...): EAGAIN\nhint: pids.max\n");
        let shown = failure(&source(), Some(99), "clone3(...): EAGAIN", None, false);
        assert_eq!(shown, "error: clone3(...): EAGAIN\n");
    }
}
