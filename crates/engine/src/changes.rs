//! What a running container has changed of its image: as a list, or as one more layer.
//!
//! Its upper directory is on a tmpfs that nobody outside can see, so its root is compared with an overlay of the same
//! layers, see [`Changes::Overlays`](image::layer::Changes). What is mounted in the root is no part of it. The
//! processes stand still meanwhile where the container has a cgroup.

use std::io::{self, Read, Write};
use std::time::Duration;

use image::{Blob, Pulled, Store};
use nix::sys::signal::{SigSet, Signal};

use crate::container::Container;
use crate::inside::{self, Work};
use crate::layers::{self, Layers};

pub use image::layer::Difference;

/// Bytes of all names of a list together.
const MAX_NAMES: u64 = 256 << 20;

/// A process that cannot be stopped is waited for so long.
const FREEZE: Duration = Duration::from_secs(5);

/// Why the changes cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Its root is made of no image.
    #[error(
        "the root of the container `{name}` is not made of an image, so there is nothing to compare it with"
    )]
    NoImage {
        /// The container.
        name: String,
    },
    /// The image is not in this store, or not whole.
    #[error("the image `{image}` that the container `{name}` was started from is not here")]
    ImageGone {
        /// The container.
        name: String,
        /// Its image.
        image: String,
    },
    /// Its layers.
    #[error(transparent)]
    Layers(#[from] layers::Error),
    /// The process that looked.
    #[error(transparent)]
    Inside(#[from] inside::Error),
    /// Its processes cannot be stopped meanwhile.
    #[error("cannot freeze the container `{name}`")]
    Freeze {
        /// The container.
        name: String,
        /// Why.
        #[source]
        source: cgroup::Error,
    },
    /// More than can be listed.
    #[error("the names of what changed take more than {MAX_NAMES} bytes")]
    TooMany,
    /// What came could not be read, or not be written to the store.
    #[error("{what}")]
    Io {
        /// What was done.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// The way out, where the message does not say it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoImage { .. } => Some(
                "a directory is changed in place and holds its changes itself; with `image = …` in the manifest they \
                 are kept apart",
            ),
            Self::ImageGone { .. } => Some("the same --root as for `ctr run` is needed"),
            Self::Layers(error) => error.hint(),
            _ => None,
        }
    }
}

/// One path that is otherwise than in the image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Bytes as the kernel has them, from the container's `/` on.
    pub path: Vec<u8>,
    /// How.
    pub how: Difference,
}

/// A container and the image that it was started from, unpacked and in use.
#[derive(Debug)]
pub struct Changed<'a> {
    container: &'a Container,
    /// The image as it was then, wherever its name leads by now.
    pub image: Pulled,
    layers: Layers,
}

impl<'a> Changed<'a> {
    /// Finds the container's image in the store.
    ///
    /// # Errors
    /// [`Error::NoImage`], [`Error::ImageGone`], [`Error::Layers`].
    pub fn of(container: &'a Container, store: &Store) -> Result<Self, Error> {
        let name = || container.name().to_owned();
        let record = container.image();
        let record = record.ok_or_else(|| Error::NoImage { name: name() })?;
        let gone = || Error::ImageGone {
            name: name(),
            image: record.name.familiar(),
        };
        let image = image::recorded(store, record.clone()).map_err(layers::Error::from)?;
        let image = image.ok_or_else(gone)?;
        let layers = layers::present(store, &image)?.ok_or_else(gone)?;
        Ok(Self {
            container,
            image,
            layers,
        })
    }

    /// What has changed, sorted by path.
    ///
    /// # Errors
    /// [`Error`].
    pub fn list(&self) -> Result<Vec<Change>, Error> {
        let frozen = Frozen::new(self.container)?;
        let mut work = inside::list(self.container, &self.layers)?;
        let mut bytes = Vec::new();
        let read = (&mut work.pipe).take(MAX_NAMES + 1).read_to_end(&mut bytes);
        if bytes.len() as u64 > MAX_NAMES {
            return Err(Error::TooMany);
        }
        ended(work, read.map(drop))?;
        drop(frozen);
        let mut all: Vec<_> = bytes.split(|byte| *byte == 0).filter_map(change).collect();
        all.sort();
        Ok(all)
    }

    /// Writes what has changed to the store, as a layer. Also says how many sockets and device nodes it lacks, which
    /// no layer holds.
    ///
    /// # Errors
    /// [`Error`].
    pub fn layer(&self, store: &Store) -> Result<(Blob, u64), Error> {
        let failed = |error| Error::Layers(layers::Error::Image(error));
        let mut writer = store.writer().map_err(failed)?;
        let frozen = Frozen::new(self.container)?;
        let mut work = inside::layer(self.container, &self.layers)?;
        let copied = io::copy(&mut work.pipe, &mut writer).and_then(|_| writer.flush());
        let skipped = ended(work, copied)?;
        drop(frozen);
        Ok((writer.finish().map_err(failed)?, skipped))
    }
}

/// The cause is what the process says; what became of its bytes counts when it has nothing to say.
fn ended(work: Work, read: io::Result<()>) -> Result<u64, Error> {
    let what = "cannot pass on what the container has changed";
    match (work.end(), read) {
        (Ok(skipped), Ok(())) => Ok(skipped),
        (_, Err(source)) => Err(Error::Io { what, source }),
        (Err(error), Ok(())) => Err(error.into()),
    }
}

fn change(bytes: &[u8]) -> Option<Change> {
    let (letter, path) = bytes.split_first()?;
    let how = match letter {
        b'A' => Difference::Added,
        b'C' => Difference::Changed,
        _ => Difference::Deleted,
    };
    Some(Change {
        path: [b"/", path].concat(),
        how,
    })
}

/// A container whose processes stand still as long as this lives.
struct Frozen {
    /// `None` without a cgroup of its own: then they go on. `None` as well where somebody else has stopped them.
    group: Option<cgroup::Group>,
    /// Of two that look at the same container one waits: thawing would be for both.
    _turn: Option<std::fs::File>,
    /// What would end us in between, and leave it frozen, waits.
    before: SigSet,
}

impl Frozen {
    fn new(container: &Container) -> Result<Self, Error> {
        let mut ending = SigSet::empty();
        for signal in [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
        ] {
            ending.add(signal);
        }
        let mut frozen = Self {
            group: None,
            _turn: None,
            before: ending
                .thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)
                .unwrap_or(SigSet::empty()),
        };
        if let Some(dir) = &container.record.cgroup {
            let failed = |source| Error::Io {
                what: "cannot wait for who looks at the container now",
                source,
            };
            let turn = std::fs::File::open(dir).map_err(failed)?;
            turn.lock().map_err(failed)?;
            frozen._turn = Some(turn);
        }
        let stopped = |dir: &std::path::PathBuf| {
            let text = crate::observe::read_bounded(&dir.join("cgroup.freeze"), 64);
            text.is_ok_and(|text| text.starts_with(b"1"))
        };
        if let Some(dir) = container.record.cgroup.as_ref().filter(|dir| !stopped(dir)) {
            let failed = |source| Error::Freeze {
                name: container.name().to_owned(),
                source,
            };
            let group = cgroup::Group::open(dir).map_err(failed)?;
            // Before it is tried: a request that is given up stands.
            frozen.group.insert(group).freeze(FREEZE).map_err(failed)?;
        }
        Ok(frozen)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Some(group) = &self.group
            && let Err(error) = group.thaw(FREEZE)
        {
            tracing::warn!(%error, "cannot thaw the container");
        }
        // What has waited comes now.
        let _ = self.before.thread_set_mask();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_read_as_it_was_written() {
        let line = |how, path: &[u8]| {
            Some(Change {
                path: path.to_vec(),
                how,
            })
        };
        assert_eq!(change(b"Aetc/x"), line(Difference::Added, b"/etc/x"));
        assert_eq!(change(b"C\xff\n"), line(Difference::Changed, b"/\xff\n"));
        assert_eq!(change(b"Da"), line(Difference::Deleted, b"/a"));
        assert_eq!(change(b""), None);
    }
}
