//! Who we are at which registry: the files of Docker ([config.json]) and podman ([auth.json]), and the
//! helper programs that they name.
//!
//! [config.json]: https://docs.docker.com/reference/cli/docker/login/
//! [auth.json]: https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::helper;
use crate::error::{Error, call, errno};
use crate::json::{self, FREE, Keys, MAX_DOCUMENT};

/// As files and helpers call Docker Hub.
pub(super) const HUB_KEY: &str = "https://index.docker.io/v1/";
pub(super) const HUB: &str = "docker.io";

/// A proof of identity.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A name and a password.
    Password {
        /// The name; it has no colon.
        user: String,
        /// The password.
        password: String,
    },
    /// A token that stands for both, to be shown to the token server.
    Identity(String),
}

/// Secrets end in no log.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "Password {{ user: {user:?}, .. }}"),
            Self::Identity(_) => f.write_str("Identity(..)"),
        }
    }
}

impl Login {
    pub(super) fn basic(&self) -> Option<String> {
        match self {
            Self::Password { user, password } => Some(format!(
                "Basic {}",
                STANDARD.encode(format!("{user}:{password}"))
            )),
            Self::Identity(_) => None,
        }
    }
}

/// Where proofs of identity are looked for: first what was given, then file by file.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    given: BTreeMap<String, Login>,
    files: Vec<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

pub(super) static CONFIG: Keys = Keys::object(&[
    ("auths", &AUTHS),
    ("credsStore", &FREE),
    ("credHelpers", &FREE),
]);

/// By registry.
static AUTHS: Keys = Keys::each(&AUTH);

static AUTH: Keys = Keys::object(&[
    ("auth", &FREE),
    ("username", &FREE),
    ("password", &FREE),
    ("identitytoken", &FREE),
]);

impl Credentials {
    /// Of these files, in this order.
    pub fn from_files(files: Vec<PathBuf>) -> Self {
        Self {
            given: BTreeMap::new(),
            files,
        }
    }

    /// Of the files where podman and Docker look: `$REGISTRY_AUTH_FILE`,
    /// `$XDG_RUNTIME_DIR/containers/auth.json`, `~/.config/containers/auth.json`, and
    /// `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`.
    pub fn from_environment() -> Self {
        let variable = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let home = variable("HOME");
        let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let files = [
            variable("REGISTRY_AUTH_FILE"),
            variable("XDG_RUNTIME_DIR").map(|at| at.join("containers/auth.json")),
            variable("XDG_CONFIG_HOME")
                .map(|at| at.join("containers/auth.json"))
                .or_else(|| below_home(".config/containers/auth.json")),
            variable("DOCKER_CONFIG")
                .map(|at| at.join("config.json"))
                .or_else(|| below_home(".docker/config.json")),
        ];
        Self::from_files(files.into_iter().flatten().collect())
    }

    /// The files, in the order in which they are read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// With a proof for a registry that goes before all files.
    #[must_use]
    pub fn with(mut self, registry: &str, login: Login) -> Self {
        self.given.insert(registry.to_owned(), login);
        self
    }

    /// The proof for a repository; podman's files may hold one for a part of a registry.
    ///
    /// # Errors
    ///
    /// [`Error::Credentials`], [`Error::Json`] and [`Error::Helper`]: a proof that cannot be had is no
    /// reason to ask as a stranger.
    pub fn login(&self, registry: &str, repository: &str) -> Result<Option<Login>, Error> {
        if let Some(login) = self.given.get(registry) {
            return Ok(Some(login.clone()));
        }
        for path in &self.files {
            let Some(bytes) = read(path)? else { continue };
            let value: Value = json::parse(&path.display().to_string(), &CONFIG, &bytes)?;
            let config = Config::of(path, &value)?;
            if let Some(login) = config.login(path, registry, repository)? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }
}

impl Config {
    /// What a file says, if it is written as others write it.
    pub(super) fn of(path: &Path, value: &Value) -> Result<Self, Error> {
        // Not the reader's words: they would quote the value that is of the wrong kind.
        let config = Self::deserialize(value).ok();
        config.ok_or_else(|| Error::Credentials {
            path: path.to_owned(),
            why: "is not written as Docker and podman write it",
        })
    }

    /// The helper that a registry's proofs are kept with, if it is not the file itself.
    pub(super) fn helper(&self, registry: &str) -> Option<&str> {
        let mut own = self.cred_helpers.iter();
        let own = own.find(|(key, _)| plain(key) == registry);
        let helper = own.map(|(_, helper)| helper).or(self.creds_store.as_ref());
        helper
            .map(String::as_str)
            .filter(|helper| !helper.is_empty())
    }

    fn login(&self, path: &Path, registry: &str, repository: &str) -> Result<Option<Login>, Error> {
        let server = if registry == HUB { HUB_KEY } else { registry };
        let helper = self
            .cred_helpers
            .iter()
            .find(|(key, _)| plain(key) == registry);
        // An empty one says: for this registry none, whatever the others have.
        let store = match helper {
            Some((_, helper)) if helper.is_empty() => None,
            Some((_, helper)) => return helper::get(helper, server),
            None => self.creds_store.as_ref(),
        };
        // From `registry/a/b` up to `registry`.
        let full = format!("{registry}/{repository}");
        let mut wanted = full.trim_end_matches('/');
        loop {
            let found = self.auths.iter().find(|(key, _)| plain(key) == wanted);
            if let Some(login) = found
                .map(|(_, auth)| auth.login(path))
                .transpose()?
                .flatten()
            {
                return Ok(Some(login));
            }
            match wanted.rsplit_once('/') {
                Some((shorter, _)) => wanted = shorter,
                None => break,
            }
        }
        match store {
            Some(helper) if !helper.is_empty() => helper::get(helper, server),
            _ => Ok(None),
        }
    }
}

impl Auth {
    fn login(&self, path: &Path) -> Result<Option<Login>, Error> {
        let refuse = |why| Error::Credentials {
            path: path.to_owned(),
            why,
        };
        if let Some(token) = self
            .identitytoken
            .as_ref()
            .filter(|token| !token.is_empty())
        {
            return Ok(Some(Login::Identity(token.clone())));
        }
        let Some(auth) = self.auth.as_ref().filter(|auth| !auth.is_empty()) else {
            let both = self.username.clone().zip(self.password.clone());
            return Ok(both.map(|(user, password)| Login::Password { user, password }));
        };
        // Not the decoder's words: they would quote a part of the secret.
        let bytes = STANDARD
            .decode(auth)
            .ok()
            .ok_or_else(|| refuse("an auth is not base64"))?;
        let text = String::from_utf8(bytes)
            .ok()
            .ok_or_else(|| refuse("an auth is not UTF-8"))?;
        let (user, password) = text
            .split_once(':')
            .ok_or_else(|| refuse("an auth has no colon between user and password"))?;
        // Docker pads with NUL bytes.
        let password = password.trim_matches('\0').to_owned();
        Ok(Some(Login::Password {
            user: user.to_owned(),
            password,
        }))
    }
}

/// A key of a file as we call the registry.
pub(super) fn plain(key: &str) -> &str {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key
        .strip_suffix("/v1")
        .or_else(|| key.strip_suffix("/v2"))
        .unwrap_or(key);
    match key {
        "index.docker.io" | "registry-1.docker.io" => HUB,
        _ => key,
    }
}

pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let failed = |error: std::io::Error| call(errno(&error), || format!("read({path:?})"));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_DOCUMENT + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok((!bytes.trim_ascii().is_empty()).then_some(bytes))
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
