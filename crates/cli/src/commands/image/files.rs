//! Images in files, and file systems as images.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, IsTerminal, Read, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use image::archive::{self, Input, Output, Root};
use image::{Platform, Pulled};

use super::{Export, Import, Kind, Load, Save, Stop};
use crate::images::{Images, Problem, Show};

/// A file of the caller's that something goes wrong with.
fn wrong(path: &Path, source: io::Error) -> Stop {
    Stop::Problem(Problem::File {
        path: path.to_owned(),
        source,
    })
}

/// Nobody wants an archive on a terminal.
fn no_terminal(stream: &impl IsTerminal, option: &'static str) -> Result<(), Stop> {
    match stream.is_terminal() {
        true => Err(Stop::Problem(Problem::Terminal { option })),
        false => Ok(()),
    }
}

/// Where an archive goes. A regular file gets its name when it is whole; of one that does not become so nothing is left,
/// unless a signal ends us: then it is a `.ctr-…` beside it.
enum Target {
    Stdout(io::Stdout),
    /// A device or a pipe.
    Special(File),
    New(PathBuf, tempfile::NamedTempFile),
}

impl Target {
    fn new(path: Option<&Path>) -> Result<Self, Stop> {
        let Some(path) = path else {
            let stdout = io::stdout();
            no_terminal(&stdout, "--output PATH")?;
            return Ok(Self::Stdout(stdout));
        };
        if path.metadata().is_ok_and(|there| !there.is_file()) {
            let file = File::options().write(true).open(path);
            return file
                .map(Self::Special)
                .map_err(|source| wrong(path, source));
        }
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new()
            .prefix(".ctr-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(parent)
            .map_err(|source| wrong(path, source))?;
        Ok(Self::New(path.to_owned(), file))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stdout(stdout) => stdout.as_fd(),
            Self::Special(file) => file.as_fd(),
            Self::New(_, file) => file.as_fd(),
        }
    }

    /// The archive is whole.
    fn keep(self) -> Result<(), Stop> {
        match self {
            Self::New(path, file) => file
                .persist(&path)
                .map(drop)
                .map_err(|error| wrong(&path, error.error)),
            Self::Stdout(_) | Self::Special(_) => Ok(()),
        }
    }
}

pub(super) fn save(images: &Images, asked: &Save) -> Result<String, Stop> {
    for name in &asked.names {
        images.must(name)?;
    }
    if asked.kind == Kind::OciDir {
        let path = asked.output.as_deref();
        let path = path.ok_or(Stop::Problem(Problem::NoDirectory))?;
        archive::save(&images.store, &asked.names, Output::Directory(path))?;
        return Ok(String::new());
    }
    let target = Target::new(asked.output.as_deref())?;
    let path = asked.output.as_deref().unwrap_or(Path::new("-"));
    let file = target.fd().try_clone_to_owned();
    let file = File::from(file.map_err(|source| wrong(path, source))?);
    let mut writer = BufWriter::with_capacity(256 << 10, file);
    let output = match asked.kind {
        Kind::OciArchive => Output::Layout(&mut writer),
        _ => Output::Docker(&mut writer),
    };
    archive::save(&images.store, &asked.names, output)?;
    writer.flush().map_err(|source| wrong(path, source))?;
    target.keep()?;
    Ok(String::new())
}

/// A stream of the caller's.
fn source(path: Option<&Path>) -> Result<Box<dyn Read>, Stop> {
    match path {
        None => {
            no_terminal(&io::stdin(), "--input PATH")?;
            Ok(Box::new(io::stdin()))
        }
        Some(path) => {
            let file = File::open(path).map_err(|source| wrong(path, source))?;
            Ok(Box::new(file))
        }
    }
}

pub(super) fn load(images: &Images, asked: &Load, quiet: bool) -> Result<String, Stop> {
    let show = Show::new(quiet);
    let host = Platform::host();
    let platform = asked.platform.as_ref().unwrap_or(&host);
    let mut stream;
    let input = match &asked.input {
        Some(path) if path.is_dir() => Input::Directory(path),
        path => {
            stream = source(path.as_deref())?;
            Input::Stream(&mut stream)
        }
    };
    // One that cannot be unpacked gets no name. What was unpacked is in use until the image has it.
    let mut in_use = None;
    let mut check = |image: &Pulled| -> Result<(), Problem> {
        if asked.platform.is_none() {
            drop(in_use.replace(images.unpack(image, &show)?));
        }
        Ok(())
    };
    let (store, name) = (&images.store, asked.name.as_ref());
    let loaded = archive::load_checked(store, input, name, platform, &show, &mut check)?;
    show.done();
    let mut text = String::new();
    for pulled in loaded {
        let (name, digest) = (pulled.record.name.familiar(), &pulled.record.target.digest);
        text.push_str(&match quiet {
            true => format!("{digest}\n"),
            false => format!("{name} loaded: {digest}\n"),
        });
    }
    images.keep_to_budget(quiet);
    Ok(text)
}

pub(super) fn import(images: &Images, asked: &Import, quiet: bool) -> Result<String, Stop> {
    let mut stream = source(asked.input.as_deref())?;
    let changes: Vec<_> = asked
        .changes
        .iter()
        .flat_map(|lines| lines.0.clone())
        .collect();
    let mut root = Root::new(&asked.name);
    root.changes = &changes;
    root.comment = asked.message.as_deref();
    root.created = Some(SystemTime::now());
    let imported = archive::import(&images.store, &mut stream, &root)?;
    let digest = &imported.record.target.digest;
    let _layers = images.unpack(&imported, &Show::new(true))?;
    images.store.tag(&imported.record, &imported.held)?;
    images.keep_to_budget(quiet);
    Ok(format!("{digest}\n"))
}

pub(super) fn export(images: &Images, asked: &Export, quiet: bool) -> Result<String, Stop> {
    let pulled = images.must(&asked.name)?;
    let ready = images.unpacked(pulled, &Show::new(quiet))?;
    let target = Target::new(asked.output.as_deref())?;
    ready.export(target.fd())?;
    target.keep()?;
    Ok(String::new())
}
