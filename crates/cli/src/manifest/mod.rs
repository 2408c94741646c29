//! Reading a manifest: bounded, in one pass, with every error.

use std::path::{Path, PathBuf};

use ::image::Reference;
use engine::spec::Spec;
use model::RootSource;

use crate::diagnostic::{Report, Source};

mod file;
mod host;
mod image;
mod keys;
mod lower;
mod model;
mod mount;
mod network;
mod process;
mod resources;
pub mod schema;
mod security;
mod syntax;
mod top;
mod user_namespace;
mod value;
mod walk;

#[cfg(test)]
mod tests;

pub use host::Options;
pub use image::Image;
pub use model::Manifest;

/// A network's name, for the command line.
///
/// # Errors
/// Why it cannot be one.
pub fn network_name(text: &str) -> Result<String, String> {
    network::network_name(text).map_err(|rule| rule.label)
}

/// A prefix, for the command line.
///
/// # Errors
/// Why it is none.
pub fn network_prefix(text: &str) -> Result<ipnet::IpNet, String> {
    value::net::prefix(text).map_err(|rule| rule.label)
}

/// A length of time, for the command line.
///
/// # Errors
/// Why it is none.
pub fn time(text: &str) -> Result<std::time::Duration, String> {
    value::time::time(text).map_err(|rule| rule.label)
}

/// A number of bytes, for the command line and for settings.
///
/// # Errors
/// Why it is none.
pub fn size(text: &str) -> Result<u64, String> {
    value::size::size(text).map_err(|rule| rule.label)
}

/// A manifest without errors, and the text it came from, which failures at run time quote.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The file.
    pub source: Source,
    /// What it says.
    pub manifest: Manifest,
    /// Its folder, absolute.
    pub folder: PathBuf,
}

/// Read the manifest at `path`, a regular file of at most 1 MiB.
///
/// Relative paths in it count from its folder. The host is only looked at: sources of mounts must
/// exist, variables must be set.
///
/// # Errors
/// Every error of the file, at least one.
pub fn load(path: &Path, options: &Options) -> Result<Loaded, Box<Report>> {
    let name = path.display().to_string();
    let text = match file::read(path) {
        Ok(text) => text,
        Err(e) => return Err(Box::new(Report::of_file(name, e.message, e.help))),
    };
    let folder =
        folder(path).map_err(|message| Box::new(Report::of_file(name.clone(), message, None)))?;
    tracing::debug!(manifest = name, bytes = text.len(), "read");
    parse(Source::new(name, text), path, &folder, options)
}

/// The same with the text in hand; `path` gives the default name.
pub(crate) fn parse(
    source: Source,
    path: &Path,
    folder: &Path,
    options: &Options,
) -> Result<Loaded, Box<Report>> {
    let document = syntax::parse(source.text());
    let reader = walk::Reader::default();
    let host = host::Host { folder, options };
    let manifest = top::read(&reader, document.table.get_ref(), path, &host);
    let errors = document.errors_with(&source, reader.into_found());
    match manifest {
        Some(manifest) if errors.is_empty() => Ok(Loaded {
            source,
            manifest,
            folder: folder.to_owned(),
        }),
        _ => Err(Box::new(Report::new(source, errors))),
    }
}

fn folder(path: &Path) -> Result<PathBuf, String> {
    let absolute =
        std::path::absolute(path).map_err(|e| format!("cannot find the manifest's folder: {e}"))?;
    Ok(absolute
        .parent()
        .map_or_else(|| PathBuf::from("/"), Path::to_path_buf))
}

impl Loaded {
    /// The image it names.
    #[must_use]
    pub fn image(&self) -> Option<&Reference> {
        match &self.manifest.root.value {
            RootSource::Image(name) => Some(name),
            RootSource::Here(_) => None,
        }
    }

    /// Where its root is named, counted from 1.
    #[must_use]
    pub fn image_line(&self) -> Option<u32> {
        let span = self.manifest.root.span.as_ref()?;
        Some(self.source.line(span.start))
    }

    /// The container it describes; `args` follow the manifest's own arguments. Without the `image` that it
    /// names, what that would say is missing.
    ///
    /// # Errors
    /// When `args` hold what no program can be given, or make the command line too long; when the image names
    /// nothing to run and the manifest neither.
    pub fn spec(&self, args: &[String], image: Option<&Image<'_>>) -> Result<Spec, Box<Report>> {
        lower::spec(self, args, image)
    }
}
