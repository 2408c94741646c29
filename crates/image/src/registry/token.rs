//! Answers to challenges: `Authorization` headers, kept for as long as they are good.
//!
//! Tokens are had as the distribution project's [token specification] says. Credentials go to the registry
//! itself, and to a token server that belongs to it: of the same host or domain, or one that the settings
//! name.
//!
//! [token specification]: https://distribution.github.io/distribution/spec/auth/token/

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use super::challenge::Challenge;
use super::credentials::Login;
use super::http::{Ask, Http, Reply};
use super::settings::Settings;
use super::url::{self, Url};
use crate::error::{Error, shown};

const MAX_ANSWER: u64 = 256 * 1024;

/// By origin and scopes.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<String, String>>);

/// Whose token, and for what.
pub(super) struct Wanted<'a> {
    pub(super) base: &'a Url,
    pub(super) scopes: &'a [String],
    pub(super) login: Option<Login>,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Wanted<'_> {
    fn key(&self) -> String {
        format!("{} {}", self.base.origin(), self.scopes.join(" "))
    }
}

impl Tokens {
    pub(super) fn cached(&self, base: &Url, scopes: &[String]) -> Option<String> {
        let key = Wanted {
            base,
            scopes,
            login: None,
        }
        .key();
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned()
    }

    /// A header that answers a challenge, made after `refused` was not good enough. Others that want the
    /// same wait, and get the same.
    pub(super) fn renew(
        &self,
        (http, settings): (&Http, &Settings),
        wanted: &Wanted<'_>,
        challenge: &Challenge,
        refused: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = wanted.key();
        if let Some(other) = cache
            .get(&key)
            .filter(|other| Some(other.as_str()) != refused)
        {
            return Ok(Some(other.clone()));
        }
        let header = match challenge {
            Challenge::Basic => wanted.login.as_ref().and_then(Login::basic),
            Challenge::Bearer {
                realm,
                service,
                scope,
            } => Some(bearer(
                (http, settings),
                wanted,
                realm,
                service.as_deref(),
                scope.as_deref(),
            )?),
        };
        match &header {
            Some(header) => cache.insert(key, header.clone()),
            None => cache.remove(&key),
        };
        Ok(header)
    }
}

fn bearer(
    with: (&Http, &Settings),
    wanted: &Wanted<'_>,
    realm: &str,
    service: Option<&str>,
    scope: Option<&str>,
) -> Result<String, Error> {
    let url = realm_of(realm, wanted.base)?;
    let login = wanted
        .login
        .as_ref()
        .filter(|_| is_trusted(&url, wanted.base, with.1));
    let scopes: Vec<&str> = match wanted.scopes {
        // A registry that is only asked whether it is one knows best what for.
        [] => scope.into_iter().collect(),
        scopes => scopes.iter().map(String::as_str).collect(),
    };
    let reply = match login {
        Some(Login::Identity(token)) => by_identity(with.0, &url, token, (service, &scopes))?,
        login => by_name(with.0, url, login, (service, &scopes))?,
    };
    if reply.status != 200 {
        return Err(reply.refusal());
    }
    let none = reply.answer("gives no token");
    let until = with.1.deadline();
    let answer: Option<Answer> = serde_json::from_slice(&reply.bytes(MAX_ANSWER, until)?).ok();
    let token = answer.and_then(|answer| answer.token.or(answer.access_token));
    let is_header =
        |token: &String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    match token.filter(is_header) {
        Some(token) => Ok(format!("Bearer {token}")),
        None => Err(none),
    }
}

/// The token server's address, if a registry may name such a one.
fn realm_of(realm: &str, registry: &Url) -> Result<Url, Error> {
    let refuse = |why| Error::Challenge {
        text: shown(realm),
        why,
    };
    let url = Url::parse(realm).map_err(refuse)?;
    if registry.tls && !url.tls {
        return Err(refuse("the realm has no TLS, and the registry has"));
    }
    if url::is_inside(&url.host, &registry.host) {
        return Err(refuse("the realm is an address inside of this machine"));
    }
    Ok(url)
}

/// With a token that stands for somebody, by OAuth 2's refresh grant.
fn by_identity(
    http: &Http,
    url: &Url,
    token: &str,
    (service, scopes): (Option<&str>, &[&str]),
) -> Result<Reply, Error> {
    let mut form = format!(
        "grant_type=refresh_token&client_id=ctr&refresh_token={}",
        escaped(token)
    );
    if let Some(service) = service {
        form.push_str(&format!("&service={}", escaped(service)));
    }
    if !scopes.is_empty() {
        form.push_str(&format!("&scope={}", escaped(&scopes.join(" "))));
    }
    let headers = [(
        "content-type",
        "application/x-www-form-urlencoded".to_owned(),
    )];
    let mut body = form.as_bytes();
    let length = body.len() as u64;
    let body = Some((&mut body as &mut dyn Read, length));
    http.send(Ask {
        method: "POST",
        url,
        headers: &headers,
        authorization: None,
        body,
    })
}

/// With a name and a password, or as anybody.
fn by_name(
    http: &Http,
    mut url: Url,
    login: Option<&Login>,
    (service, scopes): (Option<&str>, &[&str]),
) -> Result<Reply, Error> {
    if let Some(service) = service {
        url = url.with("service", service);
    }
    for scope in scopes {
        url = url.with("scope", scope);
    }
    let basic = login.and_then(Login::basic);
    let authorization = basic.as_deref();
    http.send(Ask {
        method: "GET",
        url: &url,
        headers: &[],
        authorization,
        body: None,
    })
}

/// Whether a registry's credentials may go to a token server.
fn is_trusted(realm: &Url, registry: &Url, settings: &Settings) -> bool {
    let (theirs, own) = (url::name(&realm.host), url::name(&registry.host));
    theirs == own
        || (realm.tls && domain(theirs).is_some() && domain(theirs) == domain(own))
        || settings.token_servers.contains(&realm.host)
}

/// The part of a name that somebody registered: its last two labels, or three where the last but one is
/// as short as those of `co.uk`.
fn domain(name: &str) -> Option<&str> {
    if name.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    let labels: Vec<&str> = name.split('.').collect();
    let second = labels.len().checked_sub(2).map(|at| labels[at])?;
    let count = if second.len() > 3 { 2 } else { 3 };
    let at = labels.len().checked_sub(count)?;
    let skipped: usize = labels[..at].iter().map(|label| label.len() + 1).sum();
    name.get(skipped..)
}

fn escaped(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_to_the_registry_and_its_own_token_server() {
        let settings = Settings {
            token_servers: vec!["authn.other.example".to_owned()],
            ..Settings::default()
        };
        for (registry, realm, trusted) in [
            (
                "https://registry-1.docker.io",
                "https://auth.docker.io/token",
                true,
            ),
            (
                "https://registry.gitlab.com",
                "https://gitlab.com/jwt/auth",
                true,
            ),
            ("https://a.example:5000", "https://a.example/token", true),
            (
                "https://a.example",
                "https://authn.other.example/token",
                true,
            ),
            ("https://a.example", "https://evil.test/token", false),
            ("https://a.co.uk", "https://b.co.uk/token", false),
            ("https://r.a.co.uk", "https://auth.a.co.uk/token", true),
            ("https://10.0.0.1", "https://10.9.0.1/token", false),
            ("http://127.0.0.1:1", "http://127.0.0.1:2/token", true),
            (
                "http://registry.lan.home",
                "http://auth.lan.home/token",
                false,
            ),
        ] {
            let url = |text| Url::parse(text).expect("an address");
            assert_eq!(
                is_trusted(&url(realm), &url(registry), &settings),
                trusted,
                "{registry} {realm}"
            );
        }
    }
}
