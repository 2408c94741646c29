//! `ctr.lock`, beside a manifest: which content an image's name stands for.
//!
//! A tag can be moved by whoever may push. A start takes what stands here, `ctr image update` alone changes it.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use image::{Digest, Platform, Reference};
use serde::{Deserialize, Serialize};

use super::Problem;
use super::file::{read_text, wrong};

const NAME: &str = "ctr.lock";

/// More than this is no such file.
const MAX: u64 = 1 << 20;

const HEAD: &str = "# Which content the names of images stand for. Written by `ctr image update`, to be kept with the manifests.\n\n";

/// The images that are locked in a folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lock {
    path: PathBuf,
    file: File,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: Version,
    #[serde(default)]
    image: Vec<Locked>,
}

/// Another one would mean something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct Version;

impl From<Version> for u32 {
    fn from(_: Version) -> Self {
        1
    }
}

impl TryFrom<u32> for Version {
    type Error = String;

    fn try_from(version: u32) -> Result<Self, String> {
        match version {
            1 => Ok(Self),
            other => Err(format!("version {other} is not known here, 1 is")),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Locked {
    name: Reference,
    #[serde(with = "as_text")]
    platform: Platform,
    digest: Digest,
}

/// A platform as the command line has it.
mod as_text {
    use image::Platform;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(platform: &Platform, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(platform)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Platform, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Lock {
    /// That of a folder; without entries where there is none.
    pub(crate) fn read(folder: &Path) -> Result<Self, Problem> {
        let path = folder.join(NAME);
        let file = match read_text(&path, MAX)? {
            Some(text) => toml::from_str(&text).map_err(|source| wrong(&path, source))?,
            None => File {
                version: Version,
                image: Vec::new(),
            },
        };
        Ok(Self { path, file })
    }

    /// Until what it gives is dropped, nobody else changes the lock of a folder.
    pub(crate) fn turn(folder: &Path) -> Result<std::fs::File, Problem> {
        std::fs::File::open(folder)
            .and_then(|folder| folder.lock().map(|()| folder))
            .map_err(|source| Problem::File {
                path: folder.to_owned(),
                source,
            })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What a name stands for.
    pub(crate) fn digest(&self, name: &Reference, platform: &Platform) -> Option<&Digest> {
        let mut all = self.file.image.iter();
        all.find(|one| one.name == *name && one.platform == *platform)
            .map(|one| &one.digest)
    }

    /// From now on; answers what it stood for.
    pub(crate) fn set(
        &mut self,
        name: &Reference,
        platform: &Platform,
        digest: &Digest,
    ) -> Option<Digest> {
        let mut all = self.file.image.iter_mut();
        let known = all.find(|one| one.name == *name && one.platform == *platform);
        if let Some(known) = known {
            return Some(std::mem::replace(&mut known.digest, digest.clone()));
        }
        self.file.image.push(Locked {
            name: name.clone(),
            platform: platform.clone(),
            digest: digest.clone(),
        });
        let key = |one: &Locked| (one.name.to_string(), one.platform.to_string());
        self.file.image.sort_by_key(key);
        None
    }

    /// Replaces the file: whoever reads it meanwhile has the old one or the new one.
    pub(crate) fn write(&self) -> Result<(), Problem> {
        let text = toml::to_string(&self.file).map_err(|source| wrong(&self.path, source))?;
        let failed = |source| Problem::File {
            path: self.path.clone(),
            source,
        };
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new()
            .prefix(".ctr-lock-")
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(failed)?;
        file.write_all(HEAD.as_bytes())
            .and_then(|()| file.write_all(text.as_bytes()))
            .and_then(|()| file.as_file().sync_all())
            .map_err(failed)?;
        file.persist(&self.path)
            .map(drop)
            .map_err(|error| failed(error.error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Reference {
        text.parse().expect("a name")
    }

    #[test]
    fn what_is_written_is_read_again_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut lock = Lock::read(folder.path()).expect("none is empty");
        let (host, arm) = (
            "linux/amd64".parse().expect("a platform"),
            "linux/arm64".parse().expect("a platform"),
        );
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        assert_eq!(lock.set(&name("web:1"), &host, &one), None);
        assert_eq!(lock.set(&name("db:1"), &host, &one), None);
        assert_eq!(lock.set(&name("web:1"), &arm, &one), None);
        assert_eq!(lock.set(&name("web:1"), &host, &two), Some(one.clone()));
        lock.write().expect("written");
        let again = Lock::read(folder.path()).expect("it is there");
        assert_eq!(again, lock);
        assert_eq!(again.digest(&name("web:1"), &host), Some(&two));
        assert_eq!(again.digest(&name("web:1"), &arm), Some(&one));
        assert_eq!(again.digest(&name("web:2"), &host), None);
        let text = std::fs::read_to_string(folder.path().join(NAME)).expect("text");
        let wanted = format!(
            "[[image]]\nname = \"docker.io/library/web:1\"\nplatform = \"linux/arm64/v8\"\ndigest = \"{one}\"\n"
        );
        assert!(text.ends_with(&wanted), "{text}");
        assert!(text.find("db:1") < text.find("web:1"), "{text}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("ls").count(), 1);
    }

    #[test]
    fn what_is_no_lock_is_refused_by_name() {
        for (text, why) in [
            ("version = 2\n", "version 2 is not known"),
            ("image = []\n", "missing field `version`"),
            ("version = 1\nimages = []\n", "unknown field `images`"),
            (
                "version = 1\n[[image]]\nname = \"web\"\nplatform = \"linux/amd64\"\ndigest = \"sha256:1\"\n",
                "digest",
            ),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::write(folder.path().join(NAME), text).expect("write");
            let error = Lock::read(folder.path()).expect_err(text);
            let error = crate::output::chain(&error);
            assert!(error.contains(why) && error.contains(NAME), "{error}");
        }
    }
}
