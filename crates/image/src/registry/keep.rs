//! Logins that are kept: entries of Docker's and podman's files are written and removed here.
//!
//! A file is read, changed and replaced by rename under a lock, so that of two logins at the same time none is lost.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::credentials::{CONFIG, Config, HUB, HUB_KEY, Login, plain, read};
use super::helper;
use crate::error::{Error, call, errno};
use crate::json;

/// A helper has two minutes.
const PATIENCE: Duration = Duration::from_secs(150);
const LOOK: Duration = Duration::from_millis(20);

/// Remembers a proof in a file, or with the helper that the file names. Everything else in the file stays.
///
/// # Errors
///
/// [`Error::Json`], [`Error::Credentials`], [`Error::Helper`], [`Error::Call`].
pub fn remember(path: &Path, registry: &str, login: &Login) -> Result<(), Error> {
    if let Login::Password { user, .. } = login
        && user.contains(':')
    {
        return Err(Error::Credentials {
            path: path.to_owned(),
            why: "a user's name has no colon",
        });
    }
    let key = if registry == HUB { HUB_KEY } else { registry };
    let target = target(path);
    directory(&target)?;
    let _lock = Lock::new(&target)?;
    change(
        &target,
        |config, helper| {
            let entry = match (helper, login) {
                (Some(helper), _) => {
                    helper::store(helper, key, login)?;
                    json!({})
                }
                (None, Login::Password { user, password }) => {
                    json!({ "auth": STANDARD.encode(format!("{user}:{password}")) })
                }
                (None, Login::Identity(token)) => json!({ "identitytoken": token }),
            };
            // Under another spelling an old proof would be found before this one.
            config.retain(|key, _| plain(key) != registry);
            config.insert(key.to_owned(), entry);
            Ok(true)
        },
        registry,
    )
    .map(drop)
}

/// Forgets the proofs for a registry; `false` if there were none.
///
/// # Errors
///
/// As [`remember`].
pub fn forget(path: &Path, registry: &str) -> Result<bool, Error> {
    if read(path)?.is_none() {
        return Ok(false);
    }
    let target = target(path);
    let _lock = Lock::new(&target)?;
    let key = if registry == HUB { HUB_KEY } else { registry };
    change(
        &target,
        |config, helper| {
            let before = config.len();
            config.retain(|key, _| plain(key) != registry);
            let erased = match helper {
                Some(helper) => helper::erase(helper, key)?,
                None => false,
            };
            Ok(config.len() != before || erased)
        },
        registry,
    )
}

/// Edits the `auths` of a file, and replaces it by rename if that was a change.
fn change(
    path: &Path,
    edit: impl FnOnce(&mut serde_json::Map<String, Value>, Option<&str>) -> Result<bool, Error>,
    registry: &str,
) -> Result<bool, Error> {
    let what = path.display().to_string();
    let refuse = |why| Error::Credentials {
        path: path.to_owned(),
        why,
    };
    let mut config: Value = match read(path)? {
        Some(bytes) => json::parse(&what, &CONFIG, &bytes)?,
        None => json!({}),
    };
    // What could not be read afterwards is not written to.
    let helper = Config::of(path, &config)?
        .helper(registry)
        .map(str::to_owned);
    let object = config
        .as_object_mut()
        .ok_or_else(|| refuse("is not a JSON object"))?;
    let auths = object
        .entry("auths")
        .or_insert_with(|| json!({}))
        .as_object_mut()
        .ok_or_else(|| refuse("its auths are not a JSON object"))?;
    if !edit(auths, helper.as_deref())? {
        return Ok(false);
    }
    let mut text =
        serde_json::to_vec_pretty(&config).map_err(|source| Error::Json { what, source })?;
    text.push(b'\n');
    replace(path, &text)?;
    Ok(true)
}

/// Where the file is: a link into somebody's collection of settings stays a link.
fn target(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Makes the directory of a file.
fn directory(target: &Path) -> Result<(), Error> {
    let parent = target.parent();
    let Some(directory) = parent.filter(|directory| !directory.as_os_str().is_empty()) else {
        return Ok(());
    };
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let made = builder.recursive(true).create(directory);
    made.map_err(|error| call(errno(&error), || format!("mkdir({directory:?})")))
}

/// Writes a file that only its owner can read, whole or not at all.
fn replace(target: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |what: &'static str| {
        move |error: std::io::Error| call(errno(&error), || format!("{what}({target:?})"))
    };
    let new = beside(target, &format!(".new-{}", std::process::id()));
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed("openat"))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let renamed = written.and_then(|()| fs::rename(&new, target));
    renamed.map_err(|error| {
        let _ = fs::remove_file(&new);
        failed("rename")(error)
    })
}

fn beside(target: &Path, ending: &str) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Nobody else changes the file as long as this lives: an exclusive flock(2) on a file beside it, for the file
/// itself is replaced. Docker and podman know nothing of it.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Waits for it longer than a helper may ask its user.
    fn new(target: &Path) -> Result<Self, Error> {
        let path = beside(target, ".lock");
        let failed = |what: &'static str| {
            let path = &path;
            move |error: std::io::Error| call(errno(&error), || format!("{what}({path:?})"))
        };
        let begun = Instant::now();
        loop {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600);
            let nofollow = rustix::fs::OFlags::NOFOLLOW.bits();
            options.custom_flags(nofollow.cast_signed());
            let file = options.open(&path).map_err(failed("openat"))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if begun.elapsed() > PATIENCE => {
                    return Err(Error::Credentials {
                        path: target.to_owned(),
                        why: "another process has been changing it for minutes",
                    });
                }
                Err(TryLockError::WouldBlock) => {
                    thread::sleep(LOOK);
                    continue;
                }
                Err(TryLockError::Error(error)) => return Err(failed("flock")(error)),
            }
            // The one before removed it when it was done, and the name may be another's by now.
            let ours = file.metadata().map_err(failed("fstat"))?;
            let there = fs::symlink_metadata(&path);
            if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for Lock {
    /// Best effort, and before the lock is given up.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
