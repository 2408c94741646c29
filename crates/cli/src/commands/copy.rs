//! `ctr cp`: files between a running container and this machine.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use engine::Options;
use engine::container::{self, Container};
use engine::copy;

use crate::args::Global;
use crate::exit::{self, CommandResult};
use crate::output;

/// Arguments of `ctr cp`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "One of the two is a container's, written NAME:PATH; the other is a path of this machine (./a:b, when a \
                  colon is in it), or - for a tar stream. A directory that is there gets the copy under its own name, \
                  or what is in the source when that ends with /. — anything else is the copy's name. A file or a link \
                  of that name is replaced."
)]
pub struct Args {
    /// What is copied
    #[arg(value_name = "SOURCE")]
    from: OsString,
    /// Where to
    #[arg(value_name = "DEST")]
    to: OsString,
    /// Keep owners, as the container sees them, and the set-user-ID bits of what comes out
    #[arg(short, long)]
    archive: bool,
    /// Follow the link that SOURCE is
    #[arg(short = 'L', long)]
    follow_link: bool,
}

/// One of the two places.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Container { name: &'a str, path: &'a [u8] },
    Stream,
    Here(&'a Path),
}

impl<'a> Place<'a> {
    fn of(text: &'a OsStr) -> Self {
        let bytes = text.as_bytes();
        if bytes == b"-" {
            return Self::Stream;
        }
        let colon = bytes.iter().position(|byte| *byte == b':');
        let name = colon.and_then(|at| str::from_utf8(&bytes[..at]).ok());
        // What no container can be called is a path with a colon in it.
        let could_be = |name: &&str| {
            let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            name.bytes().next().is_some_and(letter)
                && name
                    .bytes()
                    .all(|byte| letter(byte) || b"_.-".contains(&byte))
        };
        match (name.filter(could_be), colon) {
            (Some(name), Some(at)) => Self::Container {
                name,
                path: &bytes[at + 1..],
            },
            _ => Self::Here(text.as_ref()),
        }
    }
}

pub(super) fn run(args: &Args, global: &Global) -> CommandResult {
    let (from, to) = (Place::of(&args.from), Place::of(&args.to));
    let (name, path) = match (&from, &to) {
        (Place::Container { .. }, Place::Container { .. }) => {
            return Ok(wrong(
                "both are a container's; `ctr cp A:PATH - | ctr cp - B:PATH`",
            ));
        }
        (Place::Container { name, path }, _) | (_, Place::Container { name, path }) => {
            (*name, *path)
        }
        _ => return Ok(wrong("one of the two is a container's: NAME:PATH")),
    };
    if path.is_empty() {
        return Ok(wrong("after NAME: there is a path, `/` for all"));
    }
    if matches!(to, Place::Stream) && io::stdout().is_terminal() {
        return Ok(wrong("a tar archive is nothing for a terminal"));
    }
    if matches!(from, Place::Stream) && io::stdin().is_terminal() {
        return Ok(wrong("a tar archive does not come from a terminal"));
    }
    let options = Options::of_caller(global.root.as_deref());
    let container = match Container::find(&options, name) {
        Ok(container) => container,
        Err(error @ container::Error::NotRunning { .. }) => {
            output::error(&error);
            let (shown, colon) = (
                format!("{name}:"),
                "a path of this machine with a colon in it is written with ./",
            );
            output::stderr(&format!("  help: `{shown}…` is a container's; {colon}\n"));
            return Ok(exit::ENGINE);
        }
        Err(error) => {
            output::error(&error);
            return Ok(exit::ENGINE);
        }
    };
    let how = copy::Options {
        owners: args.archive,
        follow: args.follow_link,
    };
    let done = match (from, to) {
        (Place::Container { .. }, Place::Here(to)) => copy::to_host(&container, path, to, how),
        (Place::Container { .. }, _) => {
            copy::to_stream(&container, path, &mut io::stdout().lock(), how)
        }
        (Place::Here(from), _) => copy::from_host(&container, from, path, how),
        _ => copy::from_stream(&container, &mut io::stdin().lock(), path, how),
    };
    match done {
        Ok(0) => {}
        Ok(skipped) if global.quiet => tracing::debug!(skipped, "sockets and device nodes"),
        Ok(skipped) => output::stderr(&format!(
            "ctr: `{name}`: {skipped} sockets and device nodes are left out\n"
        )),
        Err(error) => {
            output::error(&error);
            return Ok(exit::ENGINE);
        }
    }
    Ok(exit::SUCCESS)
}

fn wrong(why: &str) -> u8 {
    output::stderr(&format!("ctr: {why}\n"));
    exit::BAD_INPUT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_containers_when_a_name_stands_before_a_colon() {
        let container = |name, path| Place::Container { name, path };
        for (text, place) in [
            ("web:/etc", container("web", b"/etc")),
            ("web-1.x:a:b", container("web-1.x", b"a:b")),
            ("web:", container("web", b"")),
            ("-", Place::Stream),
            ("./web:x", Place::Here("./web:x".as_ref())),
            ("/a:b", Place::Here("/a:b".as_ref())),
            ("Web:x", Place::Here("Web:x".as_ref())),
            ("plain", Place::Here("plain".as_ref())),
        ] {
            assert_eq!(Place::of(text.as_ref()), place, "{text}");
        }
    }
}
