//! The text of a file, and lines and columns in it.

use super::Span;

/// A file's name and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    name: String,
    text: String,
    /// Where each line starts.
    starts: Vec<usize>,
}

/// A place in a file as editors count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

impl Source {
    /// `name` as messages show it.
    #[must_use]
    pub fn new(name: String, text: String) -> Self {
        let ends = text
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'\n')
            .map(|(i, _)| i + 1);
        let starts = std::iter::once(0).chain(ends).collect();
        Self { name, text, starts }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line, from 1, that `offset` lies in.
    #[must_use]
    pub fn line(&self, offset: usize) -> u32 {
        let after = self.starts.partition_point(|start| *start <= offset);
        u32::try_from(after).unwrap_or(u32::MAX)
    }

    /// Line and column of `offset`.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let line = self.line(offset);
        let start = self.starts[line as usize - 1];
        let before = self.text.get(start..offset).unwrap_or_default();
        let column = u32::try_from(before.chars().count() + 1).unwrap_or(u32::MAX);
        Position { line, column }
    }

    /// The bytes of `line`, without its end; empty when there is no such line.
    #[must_use]
    pub fn line_span(&self, line: u32) -> Span {
        let index = line as usize;
        let Some(start) = index
            .checked_sub(1)
            .and_then(|i| self.starts.get(i))
            .copied()
        else {
            return self.text.len()..self.text.len();
        };
        let end = self
            .starts
            .get(index)
            .map_or(self.text.len(), |next| next - 1);
        let end = if self.text[start..end].ends_with('\r') {
            end - 1
        } else {
            end
        };
        start..end
    }

    /// What a byte order mark takes at the start of the text: nothing a person sees.
    pub(super) fn first_visible(&self) -> usize {
        if self.text.starts_with('\u{feff}') {
            '\u{feff}'.len_utf8()
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_and_lines_from_one() {
        let source = Source::new("x".into(), "äb\r\ncd\n".into());
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(2), Position { line: 1, column: 2 });
        assert_eq!(source.position(5), Position { line: 2, column: 1 });
        assert_eq!(source.position(8), Position { line: 3, column: 1 });
    }

    #[test]
    fn a_line_has_neither_its_lf_nor_its_crlf() {
        let source = Source::new("x".into(), "ab\r\ncd\n".into());
        assert_eq!(&source.text()[source.line_span(1)], "ab");
        assert_eq!(&source.text()[source.line_span(2)], "cd");
        assert_eq!(&source.text()[source.line_span(3)], "");
        assert_eq!(source.line_span(0), 7..7);
        assert_eq!(source.line_span(9), 7..7);
    }
}
