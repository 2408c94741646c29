//! `registries.toml`: how registries are reached that are not as everybody's; `images.toml`: what images may take.

use std::collections::BTreeMap;
use std::path::PathBuf;

use image::{Credentials, Settings};
use serde::Deserialize;

use super::Problem;
use super::file::{read_text, wrong};

/// More than this is no such file.
const MAX: u64 = 64 << 10;

/// What stands in one.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct File {
    /// Registries without TLS.
    plain_http: Vec<String>,
    /// Authorities besides the host's own: files or directories.
    ca: Vec<PathBuf>,
    /// Hosts that are asked before a registry.
    mirrors: BTreeMap<String, Vec<String>>,
    /// Hosts that get a registry's credentials to make tokens from.
    token_servers: Vec<String>,
}

/// What stands in `images.toml`.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Kept {
    /// On disk, like "20GiB".
    budget: Option<String>,
}

/// Bytes that images may take on disk before those go that nobody uses. The user's file counts before the machine's.
pub(crate) fn budget() -> Result<Option<u64>, Problem> {
    let mut budget = None;
    for path in places("images.toml") {
        let Some(text) = read_text(&path, MAX)? else {
            continue;
        };
        let one: Kept = toml::from_str(&text).map_err(|source| wrong(&path, source))?;
        if let Some(size) = one.budget {
            let failed = |why| wrong(&path, std::io::Error::other(format!("budget: {why}")));
            budget = Some(crate::manifest::size(&size).map_err(failed)?);
        }
    }
    Ok(budget)
}

/// The machine's file, the user's after it, and the user's credentials.
pub(crate) fn read() -> Result<Settings, Problem> {
    let mut all = File::default();
    for path in places("registries.toml") {
        if let Some(text) = read_text(&path, MAX)? {
            let one: File = toml::from_str(&text).map_err(|source| wrong(&path, source))?;
            all.plain_http.extend(one.plain_http);
            all.ca.extend(one.ca);
            all.mirrors.extend(one.mirrors);
            all.token_servers.extend(one.token_servers);
        }
    }
    Ok(Settings {
        credentials: Credentials::from_environment(),
        plain_http: all.plain_http,
        mirrors: all.mirrors,
        ca: all.ca,
        token_servers: all.token_servers,
        ..Settings::default()
    })
}

/// Where a login is kept: podman's file if the caller names one, else Docker's.
pub(crate) fn login_file() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    variable("REGISTRY_AUTH_FILE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(variable("DOCKER_CONFIG")?).join("config.json")))
        .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".docker/config.json")))
}

/// All files that a login may be in.
pub(crate) fn login_files() -> Vec<PathBuf> {
    Credentials::from_environment().files().to_vec()
}

fn places(file: &str) -> Vec<PathBuf> {
    let absolute = |name| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let user = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    [Some(PathBuf::from("/etc")), user]
        .into_iter()
        .flatten()
        .map(|at| at.join("ctr").join(file))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_all_that_images_may_be_told() {
        let kept: Kept = toml::from_str("budget = \"20GiB\"").expect("a good file");
        assert_eq!(kept.budget.as_deref(), Some("20GiB"));
        toml::from_str::<Kept>("budjet = \"20GiB\"").expect_err("no such key");
    }

    #[test]
    fn every_key_is_read_and_no_other_is_taken() {
        let file: File = toml::from_str(
            "plain-http = [\"registry.lan:5000\"]\nca = [\"/etc/ctr/ca.pem\"]\n\
             token-servers = [\"auth.lan\"]\n[mirrors]\n\"docker.io\" = [\"mirror.lan\"]\n",
        )
        .expect("a good file");
        let mirrors = [("docker.io".to_owned(), vec!["mirror.lan".to_owned()])];
        let expected = File {
            plain_http: vec!["registry.lan:5000".into()],
            ca: vec!["/etc/ctr/ca.pem".into()],
            mirrors: mirrors.into(),
            token_servers: vec!["auth.lan".into()],
        };
        assert_eq!(file, expected);
        let error = toml::from_str::<File>("insecure = true").expect_err("no such key");
        assert!(
            error.to_string().contains("unknown field `insecure`"),
            "{error}"
        );
    }
}
