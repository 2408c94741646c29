//! Results for people and for programs.

use clap::ValueEnum;
use serde::Serialize;

/// Option of every command that tells something.
#[derive(Debug, clap::Args)]
pub(super) struct Shown {
    /// How it is shown
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

/// JSON as people can read it too, with an end of line.
pub(super) fn pretty(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("no map with keys but strings");
    text.push('\n');
    text
}

/// Rows under each other, every column as wide as it must be.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at| {
        let cells = rows.iter().filter_map(|row: &Vec<String>| row.get(at));
        cells
            .map(|cell: &String| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_and_lines_end_with_text() {
        let row = |cells: &[&str]| cells.iter().map(|&cell| cell.to_owned()).collect();
        let rows = [row(&["a", "bbb", "c"]), row(&["aaa", "b", ""])];
        assert_eq!(columns(&rows), "a    bbb  c\naaa  b\n");
    }
}
