//! Debian's docker-registry, skopeo and umoci: what they make is pulled, what is pushed they read.

#[path = "registry/parts.rs"]
mod parts;

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use image::layer::Compression;
use image::{
    Blob, Credentials, Descriptor, Digest, Error, Login, Platform, Progress, Quiet, Reference,
    Registry, Sent, Settings, Store, forget, layer_compression, pull, remember,
};
use parts::{Certificates, Debian, HTPASSWD, TokenServer, layout, run};

fn reference(debian: &Debian, name: &str) -> Reference {
    format!("{}/{name}", debian.host).parse().expect("a name")
}

fn store(directory: &Path, name: &str) -> Store {
    Store::open(&directory.join(name)).expect("a store")
}

fn client(settings: Settings) -> Registry {
    Registry::new(settings).expect("a client")
}

fn me() -> Login {
    Login::Password {
        user: "me".to_owned(),
        password: "secret".to_owned(),
    }
}

fn known_as_me(debian: &Debian) -> Credentials {
    Credentials::default().with(&debian.host, me())
}

/// skopeo puts the layout's image there.
fn fill(layout: &Path, debian: &Debian, name: &str, arguments: &[&str]) {
    let from = format!("oci:{}:1", layout.display());
    let to = format!("docker://{}/{name}", debian.host);
    let all = [
        &["--insecure-policy", "copy", "--dest-tls-verify=false"],
        arguments,
        &[&from, &to],
    ]
    .concat();
    run("skopeo", &all);
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Progress for Heard {
    fn blobs(&self, blobs: &[Descriptor]) {
        self.0
            .lock()
            .expect("the log")
            .push(format!("{} blobs", blobs.len()));
    }

    fn layer(&self, at: usize, layer: &Descriptor, blob: &Blob) -> Result<(), Error> {
        assert_eq!((&layer.digest, layer.size), (blob.digest(), blob.size()));
        self.0.lock().expect("the log").push(format!("layer {at}"));
        Ok(())
    }
}

#[test]
fn images_of_both_formats_are_pulled_from_loopback_without_tls() {
    let directory = tempfile::tempdir().expect("a directory");
    let layout = layout(directory.path());
    let debian = Debian::start(directory.path(), "", "");
    fill(&layout, &debian, "a/b:oci", &["--format", "oci"]);
    fill(&layout, &debian, "a/b:docker", &["--format", "v2s2"]);
    let store = store(directory.path(), "store");
    // No setting allows plain HTTP: it is found out that nobody speaks TLS there.
    let registry = client(Settings::default());
    for tag in ["oci", "docker"] {
        let heard = Heard::default();
        let name = reference(&debian, &format!("a/b:{tag}"));
        let pulled = pull(&store, &registry, &name, &Platform::host(), &heard).expect("an image");
        assert_eq!(pulled.config.cmd, ["/bin/true"]);
        assert!(
            pulled
                .config
                .env
                .contains(&("GREETING".to_owned(), "hello".to_owned()))
        );
        assert_eq!(pulled.config.diff_ids.len(), 2);
        assert!(
            pulled.record.target.media_type.contains(tag),
            "{:?}",
            pulled.record.target
        );
        for layer in &pulled.manifest.layers {
            assert_eq!(layer_compression(&layer.media_type), Ok(Compression::Gzip));
        }
        let mut heard = heard.0.into_inner().expect("the log");
        heard.sort();
        assert_eq!(heard, ["3 blobs", "layer 0", "layer 1"]);
        let again = pull(&store, &registry, &name, &Platform::host(), &Quiet).expect("an image");
        assert!(again.was_present);
        let exact = name.with_digest(pulled.record.target.digest.clone());
        let exact = pull(&store, &registry, &exact, &Platform::host(), &Quiet).expect("an image");
        assert_eq!(exact.record.target, pulled.record.target);
    }
    let missing = pull(
        &store,
        &registry,
        &reference(&debian, "a/b:none"),
        &Platform::host(),
        &Quiet,
    );
    let error = missing.expect_err("no such tag");
    assert!(
        matches!(error, Error::Status { status: 404, .. }),
        "{error}"
    );
    assert!(error.hint().is_some());
}

#[test]
fn what_is_pushed_is_what_was_pulled_byte_for_byte() {
    let directory = tempfile::tempdir().expect("a directory");
    let layout = layout(directory.path());
    let debian = Debian::start(directory.path(), "", "");
    fill(&layout, &debian, "from/here:1", &["--format", "oci"]);
    let store = store(directory.path(), "store");
    let registry = client(Settings::default());
    let name = reference(&debian, "from/here:1");
    let pulled = pull(&store, &registry, &name, &Platform::host(), &Quiet).expect("an image");
    let send = |registry: &Registry, to: &Reference, from: Option<&Reference>| {
        let mut sent = Vec::new();
        registry
            .push(&store, &pulled.record.manifest, to, from, &mut |_, how| {
                sent.push(how)
            })
            .unwrap_or_else(|error| panic!("{error}"));
        sent
    };
    let to = reference(&debian, "to/there:2");
    assert_eq!(send(&registry, &to, None), [Sent::Whole; 3]);
    assert_eq!(send(&registry, &to, None), [Sent::Present; 3]);
    let mounted = reference(&debian, "to/elsewhere:2");
    assert_eq!(send(&registry, &mounted, Some(&name)), [Sent::Mounted; 3]);
    let other = Debian::start(directory.path(), "", "");
    assert_eq!(
        send(&registry, &reference(&other, "to/there:2"), Some(&name)),
        [Sent::Whole; 3]
    );

    // skopeo reads it, and has the very same bytes.
    let out = directory.path().join("out");
    let from = format!("docker://{}/to/there:2", other.host);
    let to = format!("oci:{}:2", out.display());
    run(
        "skopeo",
        &[
            "--insecure-policy",
            "copy",
            "--src-tls-verify=false",
            &from,
            &to,
        ],
    );
    for blob in &pulled.held {
        let copy = fs::read(out.join("blobs/sha256").join(blob.digest().hex())).expect("a blob");
        assert_eq!(Digest::of(&copy), *blob.digest());
    }
    // And umoci unpacks it.
    let bundle = directory.path().join("bundle");
    let image = format!("{}:2", out.display());
    run(
        "umoci",
        &[
            "unpack",
            "--rootless",
            "--image",
            &image,
            bundle.to_str().expect("a path"),
        ],
    );
    let motd = fs::read_to_string(bundle.join("rootfs/srv/etc/motd")).expect("a file");
    assert_eq!(motd, "hello\n".repeat(1000));
}

#[test]
fn tls_and_a_password_are_asked_for_and_given() {
    let directory = tempfile::tempdir().expect("a directory");
    let layout = layout(directory.path());
    let certificates = Certificates::new(directory.path());
    let htpasswd = directory.path().join("htpasswd");
    fs::write(&htpasswd, format!("{HTPASSWD}\n")).expect("a file");
    let beside = format!(
        "auth:\n  htpasswd:\n    realm: it\n    path: {}\n",
        htpasswd.display()
    );
    let debian = Debian::start(directory.path(), &certificates.http(), &beside);
    fill(&layout, &debian, "a:1", &["--dest-creds=me:secret"]);
    let store = store(directory.path(), "store");
    let name = reference(&debian, "a:1");
    let get = |settings| pull(&store, &client(settings), &name, &Platform::host(), &Quiet);
    let trusting = || Settings {
        ca: vec![certificates.authority.clone()],
        ..Settings::default()
    };

    // An authority that nobody knows is no reason to do without TLS.
    let error = get(Settings::default()).expect_err("an unknown authority");
    let below = std::error::Error::source(&error)
        .map(ToString::to_string)
        .unwrap_or_default();
    assert!(
        matches!(error, Error::Transport { .. }) && below.contains("UnknownIssuer"),
        "{error}: {below}"
    );

    let error = get(trusting()).expect_err("a stranger");
    assert!(
        matches!(error, Error::Status { status: 401, .. }),
        "{error}"
    );
    let wrong = Login::Password {
        user: "me".to_owned(),
        password: "wrong".to_owned(),
    };
    let credentials = Credentials::default().with(&debian.host, wrong);
    let error = get(Settings {
        credentials,
        ..trusting()
    })
    .expect_err("a wrong password");
    assert!(
        matches!(error, Error::Status { status: 401, .. }),
        "{error}"
    );

    // As login does it: the proof is tried, and then remembered.
    let file = directory.path().join("auth.json");
    client(Settings {
        credentials: known_as_me(&debian),
        ..trusting()
    })
    .check(&debian.host)
    .expect("a login");
    remember(&file, &debian.host, &me()).expect("remembered");
    let credentials = Credentials::from_files(vec![file.clone()]);
    get(Settings {
        credentials: credentials.clone(),
        ..trusting()
    })
    .expect("an image");
    assert!(forget(&file, &debian.host).expect("forgotten"));
    let error = get(Settings {
        credentials,
        ..trusting()
    })
    .expect_err("a stranger again");
    assert!(
        matches!(error, Error::Status { status: 401, .. }),
        "{error}"
    );
    let text = fs::read_to_string(&file).expect("the file");
    assert!(!text.contains("auth\":"), "{text}");
}

#[test]
fn tokens_are_had_for_what_is_wanted_and_used_for_all_of_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let layout = layout(directory.path());
    let tokens = TokenServer::start(directory.path());
    let debian = Debian::start(directory.path(), "", &tokens.beside);
    fill(&layout, &debian, "a/b:1", &["--dest-creds=me:secret"]);
    let by_skopeo = tokens.asked().len();
    let store = store(directory.path(), "store");
    let name = reference(&debian, "a/b:1");

    // Anybody may read: one token serves the manifest, the configuration and the layers.
    let pulled = pull(
        &store,
        &client(Settings::default()),
        &name,
        &Platform::host(),
        &Quiet,
    );
    let pulled = pulled.expect("an image");
    let asked = tokens.asked()[by_skopeo..].to_vec();
    let want = "GET /token?service=the%20registry&scope=repository:a/b:pull HTTP/1.1 anybody";
    assert_eq!(asked, [want]);

    let to = reference(&debian, "c/d:2");
    let send = |settings| {
        let registry = client(settings);
        let mut sent = Vec::new();
        let manifest = &pulled.record.manifest;
        let done = registry.push(&store, manifest, &to, Some(&name), &mut |_, how| {
            sent.push(how)
        });
        done.map(|()| sent)
    };
    let error = send(Settings::default()).expect_err("a stranger");
    assert!(
        matches!(error, Error::Status { status: 401, .. }),
        "{error}"
    );
    let credentials = known_as_me(&debian);
    assert_eq!(
        send(Settings {
            credentials,
            ..Settings::default()
        })
        .expect("sent"),
        [Sent::Mounted; 3]
    );
    let last = tokens.asked().pop().expect("a request");
    let want = "scope=repository:c/d:pull%2Cpush&scope=repository:a/b:pull HTTP/1.1 me";
    assert!(last.ends_with(want), "{last}");
}
