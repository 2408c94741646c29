//! Images for the commands: the store of the caller, the registries as this machine is set up, and an image made
//! ready to run.

mod budget;
mod file;
mod lock;
mod progress;
mod settings;

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use engine::Options;
use engine::layers::{self, Layers};
use image::{Digest, Error, Platform, Pulled, Record, Reference, Registry, Store};

pub(crate) use lock::Lock;
pub(crate) use progress::{Show, age, bytes};
pub(crate) use settings::{login_file, login_files, read as settings};

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The store, a registry, a document.
    #[error(transparent)]
    Image(#[from] Error),
    /// Its layers.
    #[error(transparent)]
    Layers(#[from] layers::Error),
    /// How registries are reached.
    #[error("{}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The place of the store cannot be made.
    #[error("mkdir({path:?})")]
    Place {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The name leads to nothing here.
    #[error("no image `{name}` is here{}", near.as_ref().map_or(String::new(), |near| format!("; `{near}` is")))]
    Unknown {
        /// As it was written, in its usual short form.
        name: String,
        /// One that is here and looks like it.
        near: Option<String>,
    },
    /// A file that images are read from or written to.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An archive would go to a terminal, or come from one.
    #[error("an archive is nothing for a terminal")]
    Terminal {
        /// What names a file instead.
        option: &'static str,
    },
    /// An image layout is a directory, and none is named.
    #[error("an image layout is a directory, and standard output is none")]
    NoDirectory,
    /// A start was asked for that takes nothing but what is locked.
    #[error("`{name}` is not locked for {platform} in {}", path.display())]
    NotLocked {
        /// Its usual short form.
        name: String,
        /// This machine's.
        platform: Platform,
        /// The lock.
        path: PathBuf,
    },
    /// A manifest without an image.
    #[error("{manifest} names no image")]
    NoImage {
        /// Its name.
        manifest: String,
    },
    /// There is no home directory to keep a login in.
    #[error("no place to keep a login: neither $HOME nor $DOCKER_CONFIG is set")]
    NoHome,
    /// Nobody can be asked for a name.
    #[error("a login needs a user, and there is no terminal to ask at")]
    NoUser,
    /// It was pulled, and its layers are no directories yet, or no longer.
    #[error("the image `{name}` is here, but not whole and unpacked for this machine")]
    Packed {
        /// Its usual short form.
        name: String,
    },
}

impl Problem {
    /// The way out, where the message does not say it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Image(error) => error.hint().map(Into::into),
            Self::Layers(error) => error.hint().map(Into::into),
            Self::Unknown { name, .. } | Self::Packed { name } => {
                Some(format!("`ctr image pull {name}`"))
            }
            Self::Terminal { option } => Some(format!("name a file: `{option}`, or use a pipe")),
            Self::NotLocked { .. } => {
                Some("`ctr image update MANIFEST` locks what it is now".into())
            }
            Self::NoUser => Some("`--username NAME --password-stdin`".into()),
            Self::NoDirectory => Some("name it: `--output DIRECTORY`".into()),
            Self::Settings { .. }
            | Self::Place { .. }
            | Self::File { .. }
            | Self::NoHome
            | Self::NoImage { .. } => None,
        }
    }
}

/// The images of the caller.
#[derive(Debug)]
pub(crate) struct Images {
    pub(crate) store: Store,
}

/// An image that a manifest asks for.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    name: &'a Reference,
    /// What a lock says that the name stands for.
    digest: Option<Digest>,
}

impl<'a> Wanted<'a> {
    /// An image of a manifest in `folder`. With `locked` nothing is taken that the lock there does not name.
    pub(crate) fn of(name: &'a Reference, folder: &Path, locked: bool) -> Result<Self, Problem> {
        if name.digest().is_some() {
            return Ok(Self { name, digest: None });
        }
        let lock = Lock::read(folder)?;
        let host = Platform::host();
        let digest = lock.digest(name, &host).cloned();
        if locked && digest.is_none() {
            return Err(Problem::NotLocked {
                name: name.familiar(),
                platform: host,
                path: lock.path().to_owned(),
            });
        }
        Ok(Self { name, digest })
    }
}

/// An image that can be run, and stays as long as this lives.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) pulled: Pulled,
    pub(crate) layers: Layers,
}

impl Ready {
    /// Its layers, topmost first.
    pub(crate) fn directories(&self) -> Result<Vec<PathBuf>, Problem> {
        Ok(self.layers.directories()?)
    }

    /// Writes them as one archive.
    pub(crate) fn export(&self, out: BorrowedFd<'_>) -> Result<(), Problem> {
        Ok(layers::export(&self.layers, out)?)
    }
}

impl Images {
    /// Opens the store, and makes it when it is missing.
    pub(crate) fn open(options: &Options) -> Result<Self, Problem> {
        let path = options.data_root.join("images");
        std::fs::create_dir_all(&options.data_root).map_err(|source| Problem::Place {
            path: options.data_root.clone(),
            source,
        })?;
        Ok(Self {
            store: Store::open(&path)?,
        })
    }

    /// The registries, as this machine and this user have set them up.
    pub(crate) fn registry(&self) -> Result<Registry, Problem> {
        Ok(Registry::new(settings::read()?)?)
    }

    /// What a name leads to.
    pub(crate) fn record(&self, name: &Reference) -> Result<Record, Problem> {
        if let Some(record) = self.store.image(name)? {
            return Ok(record);
        }
        let all = self.store.images()?;
        let familiar = name.familiar();
        let near = all
            .iter()
            .map(|record| record.name.familiar())
            .map(|known| (strsim::damerau_levenshtein(&known, &familiar), known))
            .filter(|(distance, _)| *distance <= 3)
            .min();
        Err(Problem::Unknown {
            name: familiar,
            near: near.map(|(_, known)| known),
        })
    }

    /// An image that is here whole, for the platform it was pulled for.
    pub(crate) fn here(&self, name: &Reference) -> Result<Option<Pulled>, Problem> {
        match self.store.image(name)? {
            Some(record) => Ok(image::recorded(&self.store, record)?),
            None => Ok(None),
        }
    }

    /// The same, where one must be.
    pub(crate) fn must(&self, name: &Reference) -> Result<Pulled, Problem> {
        let record = self.record(name)?;
        let digest = record.target.digest.clone();
        Ok(image::recorded(&self.store, record)?.ok_or(Error::Absent { digest })?)
    }

    /// Brings what a name leads to now.
    pub(crate) fn pull(
        &self,
        name: &Reference,
        platform: &Platform,
        show: &Show,
    ) -> Result<Pulled, Problem> {
        let registry = self.registry()?;
        let pulled = image::pull(&self.store, &registry, name, platform, show)?;
        show.done();
        Ok(pulled)
    }

    /// The same for this machine, and its layers unpacked while they come.
    pub(crate) fn pull_unpacked(&self, name: &Reference, show: &Show) -> Result<Ready, Problem> {
        let registry = self.registry()?;
        let mut heard = unpacking(show);
        let (pulled, layers) = layers::pull(&self.store, &registry, name, show, &mut heard)?;
        show.done();
        Ok(Ready { pulled, layers })
    }

    /// What of it can be run on this machine and is here whole.
    fn runnable(&self, wanted: &Wanted<'_>) -> Result<Option<Pulled>, Problem> {
        let host = Platform::host();
        let Some(digest) = &wanted.digest else {
            return Ok(image::local(&self.store, wanted.name, &host)?);
        };
        // The tag may lead elsewhere by now, and then the content is here by its digest.
        if let Some(there) = image::present(&self.store, wanted.name, digest, &host)? {
            return Ok(Some(there));
        }
        let exact = wanted.name.with_digest(digest.clone());
        Ok(image::present(&self.store, &exact, digest, &host)?)
    }

    /// An image to be run: as it is here, or pulled for this machine if it is not.
    pub(crate) fn ready(&self, wanted: &Wanted<'_>, show: &Show) -> Result<Ready, Problem> {
        match self.runnable(wanted) {
            Ok(Some(pulled)) => self.unpacked(pulled, show),
            // What is damaged is brought anew.
            Ok(None) | Err(Problem::Image(Error::Damaged { .. })) => {
                let name = match &wanted.digest {
                    Some(digest) => wanted.name.with_digest(digest.clone()),
                    None => wanted.name.clone(),
                };
                self.pull_unpacked(&name, show)
            }
            Err(problem) => Err(problem),
        }
    }

    /// An image that is here, pulled and unpacked: nothing is done for it.
    pub(crate) fn as_it_is(&self, wanted: &Wanted<'_>) -> Result<Ready, Problem> {
        let packed = || Problem::Packed {
            name: wanted.name.familiar(),
        };
        let Some(pulled) = self.runnable(wanted)? else {
            self.record(wanted.name)?;
            return Err(packed());
        };
        let layers = layers::present(&self.store, &pulled)?.ok_or_else(packed)?;
        Ok(Ready { pulled, layers })
    }

    /// With its layers unpacked.
    pub(crate) fn unpacked(&self, pulled: Pulled, show: &Show) -> Result<Ready, Problem> {
        let layers = self.unpack(&pulled, show)?;
        Ok(Ready { pulled, layers })
    }

    /// Its layers, unpacked.
    pub(crate) fn unpack(&self, pulled: &Pulled, show: &Show) -> Result<Layers, Problem> {
        let layers = layers::unpack(&self.store, pulled, &mut unpacking(show))?;
        show.done();
        Ok(layers)
    }
}

fn unpacking(show: &Show) -> impl FnMut(usize, &image::Descriptor, u64) {
    |_at, layer, so_far| show.unpacking(layer, so_far)
}
