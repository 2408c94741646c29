//! `ctr image`: bring images here, look at them, name them, send them away, remove them.

mod change;
mod files;
mod held;
mod registry;
mod show;
mod update;
mod verify;

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use engine::Options;
use image::archive::Change;
use image::{Platform, Reference};

pub(super) use held::{Held, as_it_is, ready};

use super::shown::Shown;
use crate::args::Global;
use crate::exit::{self, CommandResult, Error};
use crate::images::{Images, Problem};
use crate::output;

/// Arguments of `ctr image`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring an image from its registry, and unpack it
    Pull(Pull),
    /// Send an image to the registry that its name says
    Push(Push),
    /// List the images that are here
    Ls(Shown),
    /// Show an image's documents: what it runs, for which machine, of which layers
    Inspect(Named),
    /// Show the steps that an image was built in
    History(Named),
    /// Give an image another name
    Tag(Tag),
    /// Remove names; what no name leads to is removed by `prune`
    Rm(Names),
    /// Remove what no name leads to and nobody uses
    Prune(Prune),
    /// Lock what the images of manifests are now, and show what has changed
    Update(Update),
    /// Read all of an image's content again, and say what is damaged
    Verify(Verify),
    /// Show what the images take on disk, and who holds what
    Df(Shown),
    /// Write images into a file that Docker, podman and skopeo read
    Save(Save),
    /// Take images from such a file, or from an image layout
    Load(Load),
    /// Make an image of a root file system
    Import(Import),
    /// Write an image's root file system as a tar archive
    Export(Export),
}

#[derive(Debug, clap::Args)]
struct Pull {
    /// Its name, like nginx:1.27 or registry.lan:5000/app@sha256:…
    #[arg(value_name = "IMAGE", value_parser = reference)]
    name: Reference,
    /// For another machine than this, like linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    platform: Option<Platform>,
}

#[derive(Debug, clap::Args)]
struct Push {
    /// Its name here
    #[arg(value_name = "IMAGE", value_parser = reference)]
    name: Reference,
    /// The name it gets there, when it is another
    #[arg(value_name = "DESTINATION", value_parser = reference)]
    to: Option<Reference>,
}

#[derive(Debug, clap::Args)]
struct Named {
    /// Which
    #[arg(value_name = "IMAGE", value_parser = reference)]
    name: Reference,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, clap::Args)]
struct Names {
    /// Which
    #[arg(required = true, value_name = "IMAGE", value_parser = reference)]
    names: Vec<Reference>,
}

#[derive(Debug, clap::Args)]
struct Tag {
    /// An image that is here
    #[arg(value_name = "IMAGE", value_parser = reference)]
    name: Reference,
    /// Its other name
    #[arg(value_name = "NEW", value_parser = reference)]
    new: Reference,
}

#[derive(Debug, clap::Args)]
struct Prune {
    /// Downloads that were broken off go as well when they are older than this; until then the next pull goes on with
    /// them
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = time)]
    older_than: Duration,
    /// What images may take on disk, like 20GiB: beyond it those go as well that came from a registry and that no
    /// container uses, the longest unused first
    #[arg(long, value_name = "SIZE", value_parser = size)]
    budget: Option<u64>,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, clap::Args)]
struct Update {
    /// Their images are looked up at their registries and written to `ctr.lock` beside them
    #[arg(required = true, value_name = "MANIFEST")]
    manifests: Vec<PathBuf>,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// Which; all of them when none is named
    #[arg(value_name = "IMAGE", value_parser = reference)]
    names: Vec<Reference>,
    /// Remove what is damaged, so that the next pull brings it anew
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    shown: Shown,
}

/// A kind of file that holds images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// What `docker load` reads; it is an image layout too
    DockerArchive,
    /// An image layout in a tar archive
    OciArchive,
    /// An image layout, which is a directory
    OciDir,
}

#[derive(Debug, clap::Args)]
struct Save {
    /// Which
    #[arg(required = true, value_name = "IMAGE", value_parser = reference)]
    names: Vec<Reference>,
    /// Where to; standard output when it is left out
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// What to write
    #[arg(long, value_enum, default_value_t = Kind::DockerArchive)]
    kind: Kind,
}

#[derive(Debug, clap::Args)]
struct Load {
    /// A file or an image layout; standard input when it is left out
    #[arg(short, long, value_name = "PATH")]
    input: Option<PathBuf>,
    /// The one image that is wanted, or the name for one that has none
    #[arg(value_name = "IMAGE", value_parser = reference)]
    name: Option<Reference>,
    /// For another machine than this, like linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    platform: Option<Platform>,
}

#[derive(Debug, clap::Args)]
struct Import {
    /// The image's name
    #[arg(value_name = "IMAGE", value_parser = reference)]
    name: Reference,
    /// A tar archive, packed or not; standard input when it is left out
    #[arg(short, long, value_name = "PATH")]
    input: Option<PathBuf>,
    /// A line of a Dockerfile about what is run, like 'CMD ["nginx"]'; CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL,
    /// USER, VOLUME or WORKDIR
    #[arg(short, long = "change", value_name = "LINE", value_parser = change_line)]
    changes: Vec<Lines>,
    /// Stands in the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Export {
    /// Which
    #[arg(value_name = "IMAGE", value_parser = reference)]
    name: Reference,
    /// Where to; standard output when it is left out
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
}

/// What one `--change` asks for.
#[derive(Debug, Clone)]
struct Lines(Vec<Change>);

fn change_line(text: &str) -> Result<Lines, String> {
    Change::parse(text)
        .map(Lines)
        .map_err(|error| error.to_string())
}

fn reference(text: &str) -> Result<Reference, String> {
    text.parse()
        .map_err(|error: image::Error| error.to_string())
}

fn platform(text: &str) -> Result<Platform, String> {
    text.parse()
        .map_err(|error: image::Error| error.to_string())
}

fn time(text: &str) -> Result<Duration, String> {
    crate::manifest::time(text)
}

fn size(text: &str) -> Result<u64, String> {
    crate::manifest::size(text)
}

pub(super) fn run(args: &Args, global: &Global) -> CommandResult {
    let options = Options::of_caller(global.root.as_deref());
    match done(&args.command, &options, global) {
        Ok(text) => {
            output::stdout(&text)?;
            Ok(exit::SUCCESS)
        }
        Err(Stop::Said(code)) => Ok(code),
        Err(Stop::Problem(problem)) => Ok(said(&problem)),
        Err(Stop::Other(error)) => Err(error),
    }
}

/// Shows why an image cannot be had, and the way out.
pub(super) fn said(problem: &Problem) -> u8 {
    output::error(problem);
    if let Some(hint) = problem.hint() {
        output::stderr(&format!("  help: {hint}\n"));
    }
    exit::ENGINE
}

/// Why a command ends early.
enum Stop {
    Problem(Problem),
    Other(Error),
    /// All is said.
    Said(u8),
}

impl<E: Into<Problem>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

/// What is to be printed.
fn done(command: &Command, options: &Options, global: &Global) -> Result<String, Stop> {
    let images = Images::open(options)?;
    match command {
        Command::Pull(asked) => registry::pull(&images, asked, global.quiet),
        Command::Push(asked) => registry::push(&images, asked, global.quiet),
        Command::Ls(shown) => show::list(&images, shown.format),
        Command::Inspect(asked) => show::inspect(&images, &asked.name, asked.shown.format),
        Command::History(asked) => show::history(&images, &asked.name, asked.shown.format),
        Command::Df(shown) => show::usage(&images, shown.format),
        Command::Tag(asked) => change::tag(&images, &asked.name, &asked.new),
        Command::Rm(asked) => change::remove(&images, &asked.names),
        Command::Prune(asked) => change::prune(&images, asked),
        Command::Update(asked) => update::update(&images, asked, global),
        Command::Verify(asked) => verify::verify(&images, asked),
        Command::Save(asked) => files::save(&images, asked),
        Command::Load(asked) => files::load(&images, asked, global.quiet),
        Command::Import(asked) => files::import(&images, asked, global.quiet),
        Command::Export(asked) => files::export(&images, asked, global.quiet),
    }
}
