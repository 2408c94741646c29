//! Logging, set up only when somebody asked for it: the set-up costs more than reading a manifest.

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Send log lines to standard error when `verbose` is above 0 or a format was named; else do
/// nothing, so that every `tracing` call stays one load and a branch.
pub fn start(verbose: u8, format: Option<Format>) {
    if verbose == 0 && format.is_none() {
        return;
    }
    let level = match verbose {
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(crate::output::colour_on_stderr());
    // Failing means that a subscriber is there already, which then gets the lines.
    let _ = match format.unwrap_or(Format::Text) {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
}
