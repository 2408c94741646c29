//! What can go wrong with an image, wherever it comes from.

use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;

use crate::digest::Digest;
use crate::layer;
use crate::platform::Platform;

/// Whatever error lies below ours: its type is a library's, and no part of this interface.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// A name, a document, a store or a registry that cannot be used.
///
/// Text of others is quoted with its control characters escaped, and cut at 64 characters.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A digest that is none, or of an algorithm that is not used.
    #[error("{text:?} is no digest: {why}")]
    Digest {
        /// What was given.
        text: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// The name of an image that is none.
    #[error("{text:?} does not name an image: {why}")]
    Reference {
        /// What was given.
        text: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// A platform that is none.
    #[error("{text:?} is no platform: {why}")]
    Platform {
        /// What was given.
        text: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// Bytes that should be a JSON document, and are not.
    #[error("{what} is not the JSON document that it should be")]
    Json {
        /// Which document.
        what: String,
        /// Where it stops being one.
        #[source]
        source: serde_json::Error,
    },
    /// A document that says something it must not say.
    #[error("{what}: {why}")]
    Document {
        /// Which document.
        what: String,
        /// The rule that it breaks.
        why: String,
    },
    /// A value of an image's configuration that cannot be honoured.
    #[error("image config: {key} {value:?}: {why}")]
    Config {
        /// The key, as the configuration spells it.
        key: &'static str,
        /// Its value.
        value: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// An image that is not made for what is asked.
    #[error("no {wanted}; it has {has}")]
    NoPlatform {
        /// What was asked for.
        wanted: Platform,
        /// What there is, in the order of the index.
        has: String,
    },
    /// Bytes that are not what their digest says.
    #[error("{wanted}: the bytes that came are {got}")]
    Mismatch {
        /// The digest that was asked for.
        wanted: Digest,
        /// The digest of what came.
        got: Digest,
    },
    /// More or fewer bytes than the descriptor says.
    #[error("{digest}: has {wanted} bytes by its descriptor, and {got} came")]
    Size {
        /// The blob.
        digest: Digest,
        /// Bytes, by the descriptor.
        wanted: u64,
        /// Bytes that came; one more than wanted stands for any excess.
        got: u64,
    },
    /// A system call on the store or on a file of credentials failed.
    #[error("{call}")]
    Call {
        /// As strace would spell it.
        call: String,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// A blob that a document names and the store does not have.
    #[error("{digest} is not in the store")]
    Absent {
        /// The blob.
        digest: Digest,
    },
    /// A blob in the store that is not what its name says: a disk or a person changed it.
    #[error("{digest} is damaged in the store: {why}")]
    Damaged {
        /// The blob.
        digest: Digest,
        /// How that shows.
        why: String,
    },
    /// Something that the caller did not want to wait for any longer.
    #[error("{what} was given up before it was whole")]
    GivenUp {
        /// A blob's digest, or an image's name.
        what: String,
    },
    /// An archive or a directory of images that breaks a rule.
    #[error("archive entry {entry:?}: {why}")]
    Archive {
        /// The entry.
        entry: String,
        /// The rule that it breaks.
        why: String,
    },
    /// An archive of images, or of a root file system, that cannot be read.
    #[error("the archive cannot be read")]
    Tar {
        /// Why.
        #[source]
        source: layer::Error,
    },
    /// Something in the store that this program did not put there so.
    #[error("{path:?}: {why}")]
    Store {
        /// Below the store's directory.
        path: PathBuf,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// No answer, or one cut off.
    #[error("{method} {url}")]
    Transport {
        /// The request's method.
        method: &'static str,
        /// Its address, without a query: that of a redirect may hold a signature.
        url: String,
        /// What happened.
        #[source]
        source: Source,
    },
    /// An answer that is a refusal.
    #[error("{method} {url}: {status}{detail}")]
    Status {
        /// The request's method.
        method: &'static str,
        /// Its address, without a query.
        url: String,
        /// The status of HTTP.
        status: u16,
        /// What the registry says about it, or empty.
        detail: String,
        /// How long the registry asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// An answer that HTTP or the distribution specification does not allow here.
    #[error("{method} {url}: {why}")]
    Answer {
        /// The request's method.
        method: &'static str,
        /// Its address, without a query.
        url: String,
        /// The rule that it breaks.
        why: String,
    },
    /// A `WWW-Authenticate` header that cannot be followed.
    #[error("www-authenticate {text:?}: {why}")]
    Challenge {
        /// The header, or its beginning.
        text: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// A file of credentials that cannot be used.
    #[error("{path:?}: {why}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// A credential helper that gave none.
    #[error("{program} {action}: {why}")]
    Helper {
        /// The program.
        program: String,
        /// `get`, `store` or `erase`.
        action: &'static str,
        /// What it did instead.
        why: String,
    },
    /// A setting of the client's that cannot be used.
    #[error("{what} {value:?}: {why}")]
    Setting {
        /// Which setting.
        what: &'static str,
        /// Its value.
        value: String,
        /// The rule that it breaks.
        why: String,
    },
}

impl Error {
    /// The kernel's answer, where it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call { errno, .. } => Some(*errno),
            Self::Tar { source } => source.errno(),
            _ => None,
        }
    }

    /// What to look at, where the message alone would mislead.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            // Registries answer so for what does not exist, too: they do not tell strangers.
            Self::Status {
                status: 401 | 403, ..
            } => Some("the image may not exist, or needs a login to its registry"),
            Self::Status {
                status: 404, url, ..
            } if url.contains("/manifests/") => Some("the registry has no image of this name"),
            Self::Tar { source } => source.hint(),
            Self::Status { status: 429, .. } => {
                Some("the registry counts requests; those of a login count separately")
            }
            Self::Damaged { .. } => Some("pulling the image once more replaces it"),
            _ => None,
        }
    }

    /// It is about what lies in the store, and no fault of the machine at this moment: trying again would
    /// end the same.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            // What a file system that lost data answers, and what a link or a socket in a file's place does.
            Self::Call { errno, .. } => [
                Errno::IO,
                Errno::BADMSG,
                Errno::UCLEAN,
                Errno::LOOP,
                Errno::NXIO,
            ]
            .contains(errno),
            _ => true,
        }
    }
}

/// A failed system call, spelled by the caller.
pub(crate) fn call(errno: Errno, call: impl FnOnce() -> String) -> Error {
    Error::Call {
        call: call(),
        errno,
    }
}

/// The errno of an error of `std::io`; what has none came from Rust, and is EIO.
pub(crate) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// The beginning of a text of others, as an error shows it.
pub(crate) fn shown(text: &str) -> String {
    let mut end = text.char_indices().map(|(at, _)| at);
    match end.nth(64) {
        Some(at) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
