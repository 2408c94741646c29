//! What an image says, where the manifest says nothing.

use std::path::PathBuf;

use engine::spec::{self, At, Origin};
use image::{Id, ImageConfig};

use super::model::{Given, RootSource};
use super::value::path;
use crate::diagnostic::{Code, Diagnostic, Report, Source, quoted};

/// An image that is here, unpacked.
#[derive(Debug)]
pub struct Image<'a> {
    /// Its configuration.
    pub config: &'a ImageConfig,
    /// Its name and what that leads to, when it is one of a store.
    pub record: Option<image::Record>,
    /// Its layers, topmost first.
    pub lowers: Vec<PathBuf>,
}

/// A value that the image asked for.
pub(super) fn of_image<T>(value: T) -> At<T> {
    At {
        value,
        origin: Origin::Image,
    }
}

impl Image<'_> {
    pub(super) fn user(&self) -> Option<At<spec::User>> {
        let image::User { user, group } = self.config.user.clone()?;
        let group = group.map(|group| match group {
            Id::Number(gid) => spec::Group::Id(gid),
            Id::Name(name) => spec::Group::Name(name),
        });
        Some(of_image(match user {
            Id::Number(uid) => spec::User::Id { uid, group },
            Id::Name(user) => spec::User::Name { user, group },
        }))
    }

    /// An image is held to the manifest's rules, so that the engine meets nothing else.
    pub(super) fn workdir(
        &self,
        source: &Source,
        image: &Given<RootSource>,
    ) -> Result<At<PathBuf>, Box<Report>> {
        let Some(text) = &self.config.working_dir else {
            return Ok(At::default_of(PathBuf::from("/")));
        };
        path::workdir(text).map(of_image).map_err(|rule| {
            let wrong = Diagnostic {
                code: Code::BadValue,
                message: format!("the image's working directory is {}", quoted(text)),
                span: Some(image.place()),
                label: rule.label,
                related: Vec::new(),
                help: Some("name another with `workdir`".to_owned()),
            };
            Box::new(Report::new(source.clone(), vec![wrong]))
        })
    }
}
