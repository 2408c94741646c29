//! `ctr diff` and `ctr commit`: what a running container has changed of its image, to be seen or to be kept.

use std::time::SystemTime;

use ::image::Reference;
use ::image::archive::{Change as Instruction, Draft, assemble};
use engine::Options;
use engine::changes::{Change, Changed, Difference, Error};
use engine::container::{self, Container};
use serde::Serialize;

use super::image::said;
use super::shown::{Format, Shown, pretty};
use crate::args::Global;
use crate::exit::{self, CommandResult};
use crate::images::{Images, Problem};
use crate::output;

/// Arguments of `ctr diff`.
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// A running container
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    shown: Shown,
}

/// Arguments of `ctr commit`.
#[derive(Debug, clap::Args)]
pub struct CommitArgs {
    /// A running container
    #[arg(value_name = "NAME")]
    name: String,
    /// The name of the new image; what it led to before keeps no name
    #[arg(value_name = "IMAGE", value_parser = reference)]
    image: Reference,
    /// What is said about it in the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Who made it
    #[arg(short, long, value_name = "TEXT")]
    author: Option<String>,
    /// A line of a Dockerfile that changes what the image runs: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER,
    /// VOLUME or WORKDIR
    #[arg(short, long = "change", value_name = "INSTRUCTION", value_parser = instructions)]
    changes: Vec<Instructions>,
}

/// What one `--change` says: `ENV A=1 B=2` are two.
#[derive(Debug, Clone)]
struct Instructions(Vec<Instruction>);

fn reference(text: &str) -> Result<Reference, String> {
    text.parse()
        .map_err(|error: ::image::Error| error.to_string())
}

fn instructions(text: &str) -> Result<Instructions, String> {
    Instruction::parse(text)
        .map(Instructions)
        .map_err(|error| error.to_string())
}

/// Why there is nothing to be shown.
enum Stop {
    Container(container::Error),
    Changes(Error),
    Problem(Problem),
}

impl From<container::Error> for Stop {
    fn from(error: container::Error) -> Self {
        Self::Container(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Changes(error)
    }
}

impl From<Problem> for Stop {
    fn from(error: Problem) -> Self {
        Self::Problem(error)
    }
}

fn end(done: Result<String, Stop>) -> CommandResult {
    match done {
        Ok(text) => {
            output::stdout(&text)?;
            return Ok(exit::SUCCESS);
        }
        Err(Stop::Container(error)) => output::error(&error),
        Err(Stop::Changes(error)) => {
            output::error(&error);
            if let Some(hint) = error.hint() {
                output::stderr(&format!("  help: {hint}\n"));
            }
        }
        Err(Stop::Problem(problem)) => return Ok(said(&problem)),
    }
    Ok(exit::ENGINE)
}

pub(super) fn diff(args: &DiffArgs, global: &Global) -> CommandResult {
    end(listed(args, global))
}

fn listed(args: &DiffArgs, global: &Global) -> Result<String, Stop> {
    let options = Options::of_caller(global.root.as_deref());
    let container = Container::find(&options, &args.name)?;
    let images = Images::open(&options)?;
    let all = Changed::of(&container, &images.store)?.list()?;
    Ok(match args.shown.format {
        Format::Json => pretty(&all.iter().map(Line::of).collect::<Vec<_>>()),
        Format::Text => all
            .iter()
            .map(|Change { path, how }| format!("{} {}\n", letter(*how), text(path)))
            .collect(),
    })
}

fn letter(how: Difference) -> char {
    match how {
        Difference::Added => 'A',
        Difference::Changed => 'C',
        Difference::Deleted => 'D',
    }
}

/// A path for a terminal: what that would act on is escaped, and so is what is no text.
fn text(path: &[u8]) -> String {
    let mut text = String::new();
    for chunk in path.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\\' => text.push_str("\\\\"),
                letter if letter.is_control() => text.extend(letter.escape_default()),
                letter => text.push(letter),
            }
        }
        text.push_str(&chunk.invalid().escape_ascii().to_string());
    }
    text
}

/// A change for programs.
#[derive(Serialize)]
struct Line<'a> {
    kind: &'static str,
    path: std::borrow::Cow<'a, str>,
    /// The path as it is, where that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<&'a [u8]>,
}

impl<'a> Line<'a> {
    fn of(change: &'a Change) -> Self {
        Self {
            kind: match change.how {
                Difference::Added => "added",
                Difference::Changed => "changed",
                Difference::Deleted => "deleted",
            },
            path: String::from_utf8_lossy(&change.path),
            bytes: str::from_utf8(&change.path)
                .is_err()
                .then_some(&change.path[..]),
        }
    }
}

pub(super) fn commit(args: &CommitArgs, global: &Global) -> CommandResult {
    end(committed(args, global))
}

fn committed(args: &CommitArgs, global: &Global) -> Result<String, Stop> {
    let options = Options::of_caller(global.root.as_deref());
    let container = Container::find(&options, &args.name)?;
    let images = Images::open(&options)?;
    let changed = Changed::of(&container, &images.store)?;
    let (layer, skipped) = changed.layer(&images.store)?;
    if skipped > 0 && !global.quiet {
        output::stderr(&format!(
            "ctr: `{}`: {skipped} sockets and device nodes are left out, which no layer holds\n",
            args.name
        ));
    }
    let changes = args.changes.iter().flat_map(|change| change.0.clone());
    let changes: Vec<Instruction> = changes.collect();
    let made_by = format!("ctr commit {}", args.name);
    let mut draft = Draft::new(&args.image);
    draft.base = Some(&changed.image);
    draft.layers = vec![layer];
    draft.changes = &changes;
    draft.author = args.author.as_deref();
    draft.comment = args.message.as_deref();
    draft.created_by = Some(&made_by);
    draft.created = Some(SystemTime::now());
    let made = assemble(&images.store, draft).map_err(Problem::from)?;
    let named = images.store.tag(&made.record, &made.held);
    named.map_err(Problem::from)?;
    images.keep_to_budget(global.quiet);
    let digest = &made.record.target.digest;
    Ok(match global.quiet {
        true => format!("{digest}\n"),
        false => format!("{} committed: {digest}\n", args.image.familiar()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_with_what_a_terminal_acts_on_escaped() {
        for (path, shown) in [
            (&b"/a b/\xc3\xa9"[..], "/a b/é"),
            (b"/\x1b[2J\n", "/\\u{1b}[2J\\n"),
            (b"/\xff\\", "/\\xff\\\\"),
        ] {
            assert_eq!(text(path), shown);
        }
    }

    #[test]
    fn a_path_that_is_no_text_is_kept_whole_for_programs() {
        let line = |path: &[u8]| {
            let (path, how) = (path.to_vec(), Difference::Added);
            serde_json::to_value(Line::of(&Change { path, how })).expect("JSON")
        };
        let plain = serde_json::json!({"kind": "added", "path": "/a\n"});
        assert_eq!(line(b"/a\n"), plain);
        assert_eq!(line(b"/\xff")["bytes"], serde_json::json!([47, 255]));
    }
}
