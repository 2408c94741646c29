//! `ctr info`: what this machine offers containers, what it lacks, and what to do about that.

use std::fmt::Write;

use clap::ValueEnum;
use engine::info::{Info, State};

use crate::args::Global;
use crate::exit::{self, CommandResult};
use crate::output;

/// Arguments of `ctr info`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How it is shown
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn run(args: &Args, global: &Global) -> CommandResult {
    let info = engine::info::info(&engine::Options::of_caller(global.root.as_deref()));
    output::stdout(&match args.format {
        Format::Text => text(&info, global.quiet),
        Format::Json => json(&info),
    })?;
    Ok(exit::SUCCESS)
}

/// By topic, a line a finding; below one that is not ok what needs it and what to do, once where one
/// remedy helps several. `quiet`: those only.
fn text(info: &Info, quiet: bool) -> String {
    let count = |state| info.findings.iter().filter(|f| f.state == state).count();
    let width = info.findings.iter().map(|f| f.name.chars().count()).max();
    let width = width.unwrap_or(0);
    let mut out = format!("Linux {}, {}\n", info.kernel, info.architecture);
    let mut topic = None;
    let mut above = None;
    for finding in &info.findings {
        if quiet && finding.state == State::Ok {
            continue;
        }
        // Writing to a String cannot fail.
        if topic != Some(finding.topic) {
            topic = Some(finding.topic);
            above = None;
            let _ = writeln!(out, "\n{}", finding.topic.name());
        }
        let (state, name) = (finding.state.name(), finding.name);
        let _ = writeln!(out, "  {state:<7}  {name:<width$}  {}", finding.detail);
        if let Some(remedy) = &finding.remedy {
            let _ = writeln!(out, "{:11}for: {}", "", finding.purpose);
            let known = above.replace(remedy) == Some(remedy);
            let remedy = if known { "as above" } else { remedy };
            let _ = writeln!(out, "{:11}do:  {remedy}", "");
        }
    }
    let [ok, limited, missing] = [State::Ok, State::Limited, State::Missing].map(count);
    let _ = writeln!(out, "\n{ok} ok, {limited} limited, {missing} missing");
    out
}

fn json(info: &Info) -> String {
    let mut text = serde_json::to_string_pretty(info).expect("strings and names are always JSON");
    text.push('\n');
    text
}
