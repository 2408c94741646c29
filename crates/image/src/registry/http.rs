//! Requests to registries over [`ureq`]: redirects that are followed by our own rules, answers of
//! bounded length, and no waiting without end.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use ureq::http::{self, HeaderMap};
use ureq::{Agent, Body, SendBody};

use super::proxy;
use super::settings::Settings;
use super::tls;
use super::url::Url;
use crate::error::{Error, shown};

const MAX_REDIRECTS: usize = 5;
const CONNECT: Duration = Duration::from_secs(15);
/// Of a document, read at once.
const PIECE: usize = 16 * 1024;
/// Of an answer's head, bytes.
const MAX_HEAD: usize = 64 * 1024;
/// Of an error's explanation, bytes.
const MAX_DETAIL: u64 = 8 * 1024;
/// Fewer bytes than this in one stall time, and the answer has stalled, however regularly they drip.
const MIN_PROGRESS: u64 = 16 * 1024;

pub(super) struct Http {
    tls: Agent,
    plain: Agent,
    stall: Duration,
}

/// What is asked.
pub(super) struct Ask<'a> {
    pub(super) method: &'static str,
    pub(super) url: &'a Url,
    pub(super) headers: &'a [(&'static str, String)],
    /// Goes to the origin of `url` alone.
    pub(super) authorization: Option<&'a str>,
    /// A body and its length.
    pub(super) body: Option<(&'a mut dyn Read, u64)>,
}

/// An answer, its body not read yet.
pub(super) struct Reply {
    pub(super) method: &'static str,
    pub(super) url: Url,
    pub(super) status: u16,
    headers: HeaderMap,
    body: Body,
    stall: Duration,
}

impl Http {
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let roots = tls::roots(&settings.ca)?;
        let agent = |scheme| -> Result<Agent, Error> {
            let config = Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .user_agent(settings.user_agent.as_str())
                .max_response_header_size(MAX_HEAD)
                .proxy(proxy::from_environment(scheme)?)
                .tls_config(tls::config(&roots))
                .timeout_connect(Some(CONNECT.min(settings.stall * 2)))
                .timeout_recv_response(Some(settings.stall * 2))
                .timeout_per_read(Some(settings.stall))
                .timeout_per_write(Some(settings.stall))
                .build();
            Ok(config.new_agent())
        };
        Ok(Self {
            tls: agent("https")?,
            plain: agent("http")?,
            stall: settings.stall,
        })
    }

    /// Asks, and follows redirects of what has no body.
    pub(super) fn send(&self, mut ask: Ask<'_>) -> Result<Reply, Error> {
        let (method, first) = (ask.method, ask.url);
        let mut url = first.clone();
        for _ in 0..=MAX_REDIRECTS {
            let authorization = ask.authorization.filter(|_| url.is_of_origin(first));
            let reply = self.once(&url, authorization, &mut ask)?;
            if !matches!(reply.status, 301 | 302 | 303 | 307 | 308) || ask.body.is_some() {
                return Ok(reply);
            }
            let location = reply.header("location").unwrap_or_default();
            let refuse = |why: &str| {
                let why = format!("redirects to {:?}, which {why}", shown(location));
                Error::Answer {
                    method,
                    url: url.to_string(),
                    why,
                }
            };
            url = url.lead(first, location).map_err(refuse)?;
        }
        let why = format!("redirects more than {MAX_REDIRECTS} times");
        Err(Error::Answer {
            method,
            url: first.to_string(),
            why,
        })
    }

    fn once(
        &self,
        url: &Url,
        authorization: Option<&str>,
        ask: &mut Ask<'_>,
    ) -> Result<Reply, Error> {
        let method = ask.method;
        let failed = |source| Error::Transport {
            method,
            url: url.to_string(),
            source,
        };
        let mut builder = http::Request::builder().method(method).uri(url.full());
        for (name, value) in ask.headers {
            builder = builder.header(*name, value);
        }
        if let Some(authorization) = authorization {
            builder = builder.header("authorization", authorization);
        }
        let agent = if url.tls { &self.tls } else { &self.plain };
        let sent = match &mut ask.body {
            Some((reader, length)) => {
                builder = builder.header("content-length", *length);
                let body = SendBody::from_reader(*reader);
                agent.run(
                    builder
                        .body(body)
                        .map_err(|error| failed(Box::new(error)))?,
                )
            }
            None => agent.run(builder.body(()).map_err(|error| failed(Box::new(error)))?),
        };
        let (head, body) = sent.map_err(|error| failed(Box::new(error)))?.into_parts();
        let status = head.status.as_u16();
        Ok(Reply {
            method,
            url: url.clone(),
            status,
            headers: head.headers,
            body,
            stall: self.stall,
        })
    }
}

impl Reply {
    /// A header, if it is there and is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All values of a header.
    pub(super) fn header_values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
    }

    pub(super) fn answer(&self, why: impl Into<String>) -> Error {
        Error::Answer {
            method: self.method,
            url: self.url.to_string(),
            why: why.into(),
        }
    }

    /// The refusal that this is.
    pub(super) fn refusal(self) -> Error {
        let retry_after = self.header("retry-after").and_then(seconds);
        let (method, url, status) = (self.method, self.url.to_string(), self.status);
        let mut bytes = Vec::new();
        // Whatever can be had of the explanation: the status is the error.
        let _ = self.reader().take(MAX_DETAIL).read_to_end(&mut bytes);
        let detail = explanation(&bytes);
        Error::Status {
            method,
            url,
            status,
            detail,
            retry_after,
        }
    }

    /// The whole body, if it is not longer than `limit` and there before `until`: what comes at just the speed that
    /// is asked for would take hours for a document.
    pub(super) fn bytes(self, limit: u64, until: Instant) -> Result<Vec<u8>, Error> {
        let too_long = self.answer(format!("the answer is longer than {limit} bytes"));
        let (method, url) = (self.method, self.url.to_string());
        let failed = |error| Error::Transport {
            method,
            url: url.clone(),
            source: Box::new(error),
        };
        let mut bytes = Vec::new();
        let mut reader = self.reader().take(limit + 1);
        let mut piece = vec![0; PIECE];
        loop {
            match reader.read(&mut piece).map_err(failed)? {
                0 => break,
                count => bytes.extend_from_slice(&piece[..count]),
            }
            if Instant::now() > until {
                let why = format!("took too long: {} bytes came", bytes.len());
                return Err(failed(io::Error::new(io::ErrorKind::TimedOut, why)));
            }
        }
        match bytes.len() as u64 > limit {
            true => Err(too_long),
            false => Ok(bytes),
        }
    }

    /// The body, as long as it comes.
    pub(super) fn reader(self) -> Paced {
        let stall = self.stall;
        let inner = self.body.into_reader();
        Paced {
            inner,
            stall,
            since: Instant::now(),
            bytes: 0,
        }
    }
}

/// A body that has to come at some speed.
pub(super) struct Paced {
    inner: ureq::BodyReader<'static>,
    stall: Duration,
    since: Instant,
    bytes: u64,
}

impl Read for Paced {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes += count as u64;
        if self.bytes >= MIN_PROGRESS {
            (self.since, self.bytes) = (Instant::now(), 0);
        } else if count > 0 && self.since.elapsed() > self.stall {
            let why = format!("{} bytes in {:?}: stalled", self.bytes, self.stall);
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        Ok(count)
    }
}

/// `Retry-After` in seconds. A date is not taken: clocks differ, and registries send seconds.
fn seconds(header: &str) -> Option<Duration> {
    let header = header.trim();
    if header.is_empty() || !header.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Duration::from_secs(header.parse().unwrap_or(u64::MAX)))
}

/// What a registry says about a refusal, by the distribution specification's error codes.
fn explanation(bytes: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Errors {
        errors: Vec<Reason>,
    }
    #[derive(serde::Deserialize)]
    struct Reason {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(Errors { errors }) = serde_json::from_slice(bytes) else {
        return String::new();
    };
    match errors.first() {
        Some(Reason { code, message }) => {
            let plain = |text: &str| shown(text).escape_debug().to_string();
            format!(" {}: {}", plain(code), plain(message))
        }
        None => String::new(),
    }
}
