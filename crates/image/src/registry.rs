//! Registries, by the OCI [distribution specification], and those of before.
//!
//! Everything that comes is bounded and checked against what was asked for; whatever a registry answers,
//! the worst is an error. Calls wait: a caller that wants several things at once has several threads.
//!
//! [distribution specification]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md

pub(crate) mod challenge;
mod credentials;
mod helper;
mod http;
mod keep;
mod proxy;
mod push;
mod read;
mod retry;
mod settings;
mod tls;
mod token;
mod url;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

pub use credentials::{Credentials, Login};
pub use keep::{forget, remember};
pub use push::Sent;
pub use settings::Settings;

use crate::error::Error;
use crate::reference::Reference;
use http::{Ask, Http, Reply};
use token::{Tokens, Wanted};
use url::{Url, is_loopback};

/// Docker Hub's name, and the host that speaks for it.
const HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// A client of all registries. Can be shared by threads.
pub struct Registry {
    settings: Settings,
    http: Http,
    tokens: Tokens,
    /// Whether a host speaks TLS.
    tls: Mutex<HashMap<String, bool>>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// A repository at one host.
struct Place {
    base: Url,
    /// As credentials are filed.
    registry: String,
    repository: String,
    scopes: Vec<String>,
}

impl Registry {
    /// A client with these settings.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] and [`Error::Call`]: an authority or a proxy that cannot be used.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let http = Http::new(&settings)?;
        Ok(Self {
            settings,
            http,
            tokens: Tokens::default(),
            tls: Mutex::default(),
        })
    }

    /// Whether a registry is one, and takes the proof of identity that the settings have for it.
    ///
    /// # Errors
    ///
    /// [`Error::Status`] with 401 if it does not; all else that a request can end with.
    pub fn check(&self, registry: &str) -> Result<(), Error> {
        let place = self.place(registry, "", &[])?;
        let reply = self.ask(&place, "GET", &place.base.clone(), &[])?;
        match reply.status {
            200 => Ok(()),
            _ => Err(reply.refusal()),
        }
    }

    /// Where a repository can be read: its mirrors, and then itself.
    fn places(&self, reference: &Reference) -> Result<Vec<Place>, Error> {
        let scopes = [format!("repository:{}:pull", reference.repository())];
        let mirrors = self
            .settings
            .mirrors
            .get(reference.registry())
            .map(Vec::as_slice);
        let hosts = mirrors.unwrap_or_default().iter().map(String::as_str);
        hosts
            .chain([reference.registry()])
            .map(|host| self.place(host, reference.repository(), &scopes))
            .collect()
    }

    fn place(&self, registry: &str, repository: &str, scopes: &[String]) -> Result<Place, Error> {
        let host = if registry == HUB.0 { HUB.1 } else { registry };
        crate::reference::check_host(host).map_err(|why| Error::Setting {
            what: "registry",
            value: crate::error::shown(host),
            why: why.to_owned(),
        })?;
        let base = Url {
            tls: self.speaks_tls(host)?,
            host: host.to_owned(),
            path: "/v2/".to_owned(),
        };
        Ok(Place {
            base,
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            scopes: scopes.to_vec(),
        })
    }

    /// TLS everywhere, but where the settings say otherwise, and on loopback where nobody speaks it.
    fn speaks_tls(&self, host: &str) -> Result<bool, Error> {
        if self.settings.plain_http.iter().any(|plain| plain == host) {
            return Ok(false);
        }
        if !is_loopback(host) {
            return Ok(true);
        }
        let mut known = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tls) = known.get(host) {
            return Ok(*tls);
        }
        let url = Url {
            tls: true,
            host: host.to_owned(),
            path: "/v2/".to_owned(),
        };
        let asked = self.http.send(Ask {
            method: "GET",
            url: &url,
            headers: &[],
            authorization: None,
            body: None,
        });
        let tls = match asked {
            Ok(_) => true,
            // A certificate that is not trusted is no reason to do without.
            Err(error) if retry::is_untrusted(&error) => return Err(error),
            Err(error) if retry::is_refused(&error) => return Err(error),
            Err(_) => false,
        };
        known.insert(host.to_owned(), tls);
        Ok(tls)
    }

    /// Asks once; an answer to a challenge is not counted.
    fn ask(
        &self,
        place: &Place,
        method: &'static str,
        url: &Url,
        headers: &[(&'static str, String)],
    ) -> Result<Reply, Error> {
        let mut header = self.tokens.cached(&place.base, &place.scopes);
        for renewed in [false, true] {
            let authorization = header.as_deref();
            let reply = self.http.send(Ask {
                method,
                url,
                headers,
                authorization,
                body: None,
            })?;
            // Only who has a right to our credentials may ask for them.
            if reply.status != 401 || renewed || !reply.url.is_of_origin(&place.base) {
                return Ok(reply);
            }
            let challenges = reply
                .header_values("www-authenticate")
                .map(challenge::parse);
            let challenge = challenges
                .reduce(|first, next| first.or(next))
                .unwrap_or_else(|| Err(reply.answer("asks for a login without saying how")))?;
            let login = self
                .settings
                .credentials
                .login(&place.registry, &place.repository)?;
            let wanted = Wanted {
                base: &place.base,
                scopes: &place.scopes,
                login,
            };
            let with = (&self.http, &self.settings);
            match self
                .tokens
                .renew(with, &wanted, &challenge, authorization)?
            {
                Some(renewed) => header = Some(renewed),
                None => return Ok(reply),
            }
        }
        unreachable!("the second answer is returned whatever it is")
    }
}

impl Place {
    fn url(&self, kind: &str, selector: &str) -> Url {
        let path = format!("/v2/{}/{kind}/{selector}", self.repository);
        Url {
            path,
            ..self.base.clone()
        }
    }
}
