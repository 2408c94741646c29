//! Whom we trust: this host's authorities, and those that are named besides.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::error::{Error, call, errno};

/// Of one file, bytes; Debian's whole bundle has 220 KiB.
const MAX_PEM: u64 = 8 << 20;
const MAX_FILES: usize = 1024;

/// The host's authorities and those in `extra`: PEM files, or directories of files `*.crt` and `*.pem`.
pub(super) fn roots(extra: &[PathBuf]) -> Result<RootCerts, Error> {
    // What cannot be read of the host's is left out: a connection that needs it says so.
    let mut all: Vec<Certificate<'static>> = rustls_native_certs::load_native_certs()
        .certs
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    for path in extra {
        let mut files = vec![path.clone()];
        if path.is_dir() {
            files = in_directory(path)?;
        }
        for file in files {
            all.extend(in_file(&file)?);
        }
    }
    Ok(RootCerts::Specific(Arc::new(all)))
}

pub(super) fn config(roots: &RootCerts) -> TlsConfig {
    TlsConfig::builder()
        .root_certs(roots.clone())
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

fn in_directory(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error: std::io::Error| call(errno(&error), || format!("getdents64({path:?})"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)?.take(MAX_FILES) {
        let file = entry.map_err(failed)?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "crt" || extension == "pem")
        {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn in_file(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let refuse = |why: String| Error::Setting {
        what: "ca",
        value: path.display().to_string(),
        why,
    };
    let failed = |error: std::io::Error| call(errno(&error), || format!("read({path:?})"));
    let mut pem = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_PEM).read_to_end(&mut pem).map_err(failed)?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        match item.map_err(|error| refuse(error.to_string()))? {
            PemItem::Certificate(certificate) => found.push(certificate),
            PemItem::PrivateKey(_) => {}
            _ => {}
        }
    }
    match found.is_empty() {
        true => Err(refuse("holds no certificate".to_owned())),
        false => Ok(found),
    }
}
