//! Proxies from the environment, by the names that curl and Docker read: `HTTPS_PROXY`, `HTTP_PROXY`,
//! `ALL_PROXY`, `NO_PROXY`, each in lower case too. This machine itself is never reached by a proxy.

use std::env;

use ureq::Proxy;

use crate::error::Error;

/// What is never asked of a proxy, besides `NO_PROXY`: all of 127.0.0.0/8 by its beginning, and an IPv6 address
/// as addresses spell it.
const LOCAL: [&str; 3] = ["localhost", "127.", "[::1]"];

/// The proxy for addresses of a scheme.
pub(super) fn from_environment(scheme: &str) -> Result<Option<Proxy>, Error> {
    let own = format!("{scheme}_proxy");
    let names = [
        own.to_ascii_uppercase(),
        own,
        "ALL_PROXY".to_owned(),
        "all_proxy".to_owned(),
    ];
    let set = names
        .iter()
        .find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()));
    let Some(value) = set else { return Ok(None) };
    let no_proxy = ["NO_PROXY", "no_proxy"]
        .iter()
        .find_map(|name| env::var(name).ok());
    build(&value, &no_proxy.unwrap_or_default()).map(Some)
}

fn build(value: &str, no_proxy: &str) -> Result<Proxy, Error> {
    // It may hold a password: only the part after that is shown.
    let shown = value.rsplit('@').next().unwrap_or_default().to_owned();
    let refuse = |error: ureq::Error| Error::Setting {
        what: "proxy",
        value: shown.clone(),
        why: error.to_string(),
    };
    let plain = Proxy::new(value).map_err(refuse)?;
    let mut builder = Proxy::builder(plain.protocol())
        .host(plain.host())
        .port(plain.port());
    if let Some(user) = plain.username() {
        builder = builder.username(user);
    }
    if let Some(password) = plain.password() {
        builder = builder.password(password);
    }
    for host in LOCAL.into_iter().chain(no_proxy.split(',').map(str::trim)) {
        if !host.is_empty() {
            builder = builder.no_proxy(host);
        }
    }
    builder.build().map_err(refuse)
}

#[cfg(test)]
mod tests {
    use ureq::http::Uri;

    use super::*;

    #[test]
    fn this_machine_and_the_exceptions_need_no_proxy() {
        let proxy = build(
            "http://user:secret@proxy.example:3128",
            "a.example, .inner.example",
        )
        .expect("a proxy");
        assert_eq!(
            (proxy.host(), proxy.port(), proxy.username()),
            ("proxy.example", 3128, Some("user"))
        );
        for (host, direct) in [
            ("https://localhost:5000/", true),
            ("https://127.0.0.1:5000/", true),
            ("https://127.9.9.9:5000/", true),
            ("https://[::1]:5000/", true),
            ("https://a.example/", true),
            ("https://x.inner.example/", true),
            ("https://b.example/", false),
        ] {
            let uri: Uri = host.parse().expect("an address");
            assert_eq!(proxy.is_no_proxy(&uri), direct, "{host}");
        }
    }

    #[test]
    fn a_bad_proxy_is_an_error_without_its_password() {
        let error = build("ftp://user:secret@proxy.example", "")
            .expect_err("no proxy")
            .to_string();
        assert!(
            error.contains("proxy.example") && !error.contains("secret"),
            "{error}"
        );
    }
}
