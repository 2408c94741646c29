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
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "crt" || extension == "pem")
        {
            files.push(file);
        }
        if files.len() > MAX_FILES {
            let why = format!("has more than {MAX_FILES} files *.crt and *.pem");
            return Err(refuse(path, why));
        }
    }
    files.sort();
    Ok(files)
}

fn in_file(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let failed = |error: std::io::Error| call(errno(&error), || format!("read({path:?})"));
    let mut pem = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_PEM + 1)
        .read_to_end(&mut pem)
        .map_err(failed)?;
    // What was cut off could be the one authority that is needed.
    if pem.len() as u64 > MAX_PEM {
        return Err(refuse(path, format!("is larger than {MAX_PEM} bytes")));
    }
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        match item.map_err(|error| refuse(path, error.to_string()))? {
            PemItem::Certificate(certificate) => found.push(certificate),
            PemItem::PrivateKey(_) => {}
            _ => {}
        }
    }
    match found.is_empty() {
        true => Err(refuse(path, "holds no certificate".to_owned())),
        false => Ok(found),
    }
}

fn refuse(path: &Path, why: String) -> Error {
    Error::Setting {
        what: "ca",
        value: path.display().to_string(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(path: &Path, why: &str) {
        let error = roots(&[path.to_owned()]).expect_err(why).to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn what_is_more_than_is_read_is_refused_and_not_cut() {
        let directory = tempfile::tempdir().expect("a directory");
        let key = rcgen::generate_simple_self_signed(["a.example".to_owned()]).expect("a pair");
        let mut pem = key.cert.pem().into_bytes();
        let file = directory.path().join("a.pem");
        pem.resize(MAX_PEM as usize, b'\n');
        std::fs::write(&file, &pem).expect("a file");
        assert_eq!(in_file(&file).expect("one that is just right").len(), 1);
        pem.push(b'\n');
        std::fs::write(&file, &pem).expect("a file");
        refused(&file, "is larger than 8388608 bytes");
        for at in 0..=MAX_FILES {
            std::fs::write(directory.path().join(format!("{at}.crt")), "").expect("a file");
        }
        refused(directory.path(), "has more than 1024 files");
    }
}
