//! How a failure of the engine is shown: the call, the line that asked for it, the way out.

use engine::spec::Origin;

use crate::diagnostic::{Report, Source, failure};
use crate::images::Problem;
use crate::manifest::Loaded;
use crate::{exit, output};

/// Show a manifest's errors; the exit code that goes with them.
pub(super) fn bad_manifest(report: &Report) -> u8 {
    output::stderr(&report.render(output::colour_on_stderr()));
    exit::BAD_INPUT
}

/// Show why a manifest's image cannot be had; the exit code that goes with it.
pub(super) fn image(loaded: &Loaded, problem: &Problem) -> u8 {
    let message = output::chain(problem);
    let (line, hint) = (loaded.image_line(), problem.hint());
    let colour = output::colour_on_stderr();
    let shown = failure(&loaded.source, line, &message, hint.as_deref(), colour);
    output::stderr(&shown);
    exit::ENGINE
}

/// Show why a container could not be run.
pub(super) fn show(source: &Source, name: &str, error: &engine::Error) {
    match error {
        engine::Error::Refused(problems) => refused(source, problems),
        engine::Error::Failed(cause) => {
            let message = format!("cannot start `{name}`: {cause}");
            one(
                source,
                cause.operation.origin,
                &message,
                cause.hint.as_deref(),
            );
            left(name, &cause.left);
        }
        engine::Error::Exec(cause) => {
            let message = format!("cannot start `{name}`: {}", cause.diagnosis);
            let origin = cause.diagnosis.origin().unwrap_or(cause.origin);
            one(source, origin, &message, None);
            left(name, &cause.left);
        }
        engine::Error::State(cause) => {
            let message = format!("cannot start `{name}`: {}", output::chain(cause));
            one(source, Origin::Default, &message, cause.hint().as_deref());
        }
        other => output::error(other),
    }
}

/// Show every problem a plan has.
pub(super) fn refused(source: &Source, problems: &[engine::Diagnostic]) {
    for problem in problems {
        one(
            source,
            problem.origin,
            &problem.message,
            problem.help.as_deref(),
        );
    }
}

fn one(source: &Source, origin: Origin, message: &str, hint: Option<&str>) {
    let line = match origin {
        Origin::Default | Origin::Image => None,
        Origin::Line(line) => Some(line),
    };
    output::stderr(&failure(
        source,
        line,
        message,
        hint,
        output::colour_on_stderr(),
    ));
}

fn left(name: &str, left: &[String]) {
    for what in left {
        output::stderr(&format!("ctr: `{name}`: could not be undone: {what}\n"));
    }
}
