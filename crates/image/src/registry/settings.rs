//! How registries are reached.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::credentials::Credentials;

/// How registries are reached. [`Default`] is what suits strangers: TLS, this host's authorities, no
/// credentials.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who we are there.
    pub credentials: Credentials,
    /// Registries without TLS, as references name them: `registry.lan:5000`. Loopback needs no entry: TLS
    /// is tried there first, and plain HTTP if nobody speaks TLS.
    pub plain_http: Vec<String>,
    /// For each registry, hosts that are asked before it, in this order; only for reading.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Authorities besides the host's own: PEM files, or directories of `*.crt` and `*.pem`.
    pub ca: Vec<PathBuf>,
    /// Hosts of token servers that get the credentials of registries of another domain.
    pub token_servers: Vec<String>,
    /// Requests for the same thing before giving up, at least 1.
    pub attempts: u32,
    /// Between the first two of them; doubled each time.
    pub backoff: Duration,
    /// The longest `Retry-After` that is waited for.
    pub patience: Duration,
    /// Without progress for this long, a connection is given up.
    pub stall: Duration,
    /// For one document, with all attempts and waiting between them: the last request may take one stall longer.
    pub document: Duration,
    /// What we call ourselves.
    pub user_agent: String,
}

impl Settings {
    /// When a document that is asked for now must be there. Nobody waits for longer than a day, and what is more
    /// could not be added to a time.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.document.min(Duration::from_secs(24 * 3600))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            plain_http: Vec::new(),
            mirrors: BTreeMap::new(),
            ca: Vec::new(),
            token_servers: Vec::new(),
            attempts: 6,
            backoff: Duration::from_millis(250),
            patience: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            document: Duration::from_secs(300),
            user_agent: concat!("ctr/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}
