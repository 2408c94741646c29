//! Registries that misbehave, each in one way, and what a pull makes of it.

#[path = "faulty/server.rs"]
mod server;

use std::error::Error as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use image::{
    Claim, Credentials, Descriptor, Digest, Error, Login, Platform, Progress, Pulled, Quiet,
    Reference, Registry, Settings, Store, pull,
};
use server::{Act, Image, MANIFEST, Request, Server, head};

fn settings(servers: &[&Server]) -> Settings {
    Settings {
        plain_http: servers.iter().map(|server| server.host()).collect(),
        backoff: Duration::from_millis(1),
        // Long enough for a machine that is busy with something else.
        stall: Duration::from_secs(10),
        patience: Duration::from_secs(2),
        ..Settings::default()
    }
}

fn name(server: &Server) -> Reference {
    format!("{}/a/b:1", server.host()).parse().expect("a name")
}

fn amd64() -> Platform {
    "linux/amd64".parse().expect("a platform")
}

fn pull_into(directory: &Path, server: &Server) -> Result<Pulled, Error> {
    pull_with(settings(&[server]), directory, server)
}

fn pull_with(settings: Settings, directory: &Path, server: &Server) -> Result<Pulled, Error> {
    let store = Store::open(&directory.join("store")).expect("a store");
    let registry = Registry::new(settings).expect("a client");
    pull(&store, &registry, &name(server), &amd64(), &Quiet)
}

fn is_layer(request: &Request, image: &Image) -> bool {
    request.path.ends_with(&image.layer(0))
}

/// A server of an image that does something else for requests for its layer.
fn with_layer(
    image: &Image,
    act: impl Fn(&Request, &[u8]) -> Option<Act> + Send + Sync + 'static,
) -> Server {
    let image = image.clone();
    Server::start(move |request| {
        let other = is_layer(request, &image)
            .then(|| act(request, &image.layers[0]))
            .flatten();
        other.unwrap_or_else(|| image.serve(request))
    })
}

fn full(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

fn left_in(directory: &Path, place: &str) -> Vec<String> {
    let entries = fs::read_dir(directory.join("store").join(place)).expect("a directory");
    entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

#[track_caller]
fn refused(server: &Server, why: &str) -> Error {
    let directory = tempfile::tempdir().expect("a directory");
    let begun = Instant::now();
    let error = pull_into(directory.path(), server).expect_err(why);
    assert!(full(&error).contains(why), "{}", full(&error));
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(left_in(directory.path(), "images"), [""; 0]);
    error
}

#[track_caller]
fn works(image: &Image, server: &Server) {
    works_with(settings(&[server]), image, server);
}

#[track_caller]
fn works_with(settings: Settings, image: &Image, server: &Server) {
    let directory = tempfile::tempdir().expect("a directory");
    let pulled = pull_with(settings, directory.path(), server)
        .unwrap_or_else(|error| panic!("{}", full(&error)));
    assert_eq!(pulled.record.target.digest, image.digest());
    let blob = directory
        .path()
        .join("store/blobs/sha256")
        .join(&image.layer(0)["sha256:".len()..]);
    assert_eq!(fs::read(blob).expect("the layer"), image.layers[0]);
    assert_eq!(left_in(directory.path(), "ingest"), [""; 0]);
}

#[test]
fn a_present_image_costs_one_head() {
    let image = Image::new(&[b"layer"]);
    let server = with_layer(&image, |_, _| None);
    let directory = tempfile::tempdir().expect("a directory");
    assert!(
        !pull_into(directory.path(), &server)
            .expect("an image")
            .was_present
    );
    let before = server.log().len();
    let again = pull_into(directory.path(), &server).expect("an image");
    assert!(again.was_present && again.held.len() >= 3);
    let after: Vec<String> = server.log()[before..]
        .iter()
        .map(|request| request.method.clone())
        .collect();
    assert_eq!(after, ["HEAD"]);
}

#[test]
fn a_connection_that_breaks_is_gone_on_with_where_it_stopped() {
    let image = Image::large();
    let server = with_layer(&image, |request, layer| {
        let part = layer.len() / 2;
        let bytes = [head(layer.len()), layer[..part].to_vec()].concat();
        match request.before {
            0 => Some(Act::Raw(bytes)),
            _ => None,
        }
    });
    works(&image, &server);
    let ranges: Vec<_> = server
        .log()
        .into_iter()
        .filter(|r| is_layer(r, &image))
        .map(|r| r.range)
        .collect();
    assert_eq!(ranges, [None, Some((image.layers[0].len() / 2) as u64)]);
}

#[test]
fn resets_and_errors_of_servers_are_tried_again() {
    let image = Image::large();
    let server = with_layer(&image, |request, layer| match request.before {
        0 => Some(Act::Reset(vec![])),
        1 => Some(Act::Answer(500, vec![], vec![])),
        2 => Some(Act::Reset(
            [head(layer.len()), layer[..100_000].to_vec()].concat(),
        )),
        3 => Some(Act::Raw(b"garbage\r\n\r\n".to_vec())),
        _ => None,
    });
    works(&image, &server);
}

#[test]
fn a_part_is_kept_from_one_run_to_the_next() {
    let image = Image::large();
    let half = image.layers[0].len() / 2;
    let server = with_layer(&image, move |request, layer| {
        (request.before < 3).then(|| match request.before {
            0 => Act::Raw([head(layer.len()), layer[..half].to_vec()].concat()),
            _ => Act::Answer(403, vec![], vec![]),
        })
    });
    let directory = tempfile::tempdir().expect("a directory");
    for _ in 0..2 {
        let error = pull_into(directory.path(), &server).expect_err("forbidden");
        assert!(
            matches!(error, Error::Status { status: 403, .. }),
            "{error}"
        );
        assert_eq!(left_in(directory.path(), "ingest").len(), 1);
    }
    pull_into(directory.path(), &server).expect("an image");
    let last = server
        .log()
        .into_iter()
        .rfind(|request| is_layer(request, &image))
        .expect("a request");
    assert_eq!(last.range, Some(half as u64));
}

#[test]
fn a_server_that_fails_for_ever_is_given_up() {
    let image = Image::new(&[b"layer"]);
    let body = br#"{"errors":[{"code":"UNAVAILABLE","message":"tea\u001b[31m"}]}"#;
    let server = with_layer(&image, |_, _| Some(Act::Answer(503, vec![], body.to_vec())));
    let error = refused(&server, ": 503 UNAVAILABLE: tea\\u{1b}[31m");
    assert!(
        matches!(error, Error::Status { status: 503, .. }),
        "{error}"
    );
    assert_eq!(server.count("GET", &image.layer(0)), 6);
}

#[test]
fn a_stall_is_given_up_and_so_is_a_drip() {
    let image = Image::large();
    let server = with_layer(&image, |request, layer| match request.before {
        0 => Some(Act::Drip(
            [head(layer.len()), layer[..9].to_vec()].concat(),
            Duration::from_secs(60),
        )),
        1 => Some(Act::Drip(vec![], Duration::from_secs(60))),
        2 => Some(Act::Drip(
            [head(layer.len()), layer[..9].to_vec()].concat(),
            Duration::from_millis(20),
        )),
        _ => None,
    });
    let settings = Settings {
        stall: Duration::from_secs(1),
        ..settings(&[&server])
    };
    // What dripped in was wrong, which the digest tells: it is brought anew.
    works_with(settings, &image, &server);
    assert!(server.count("GET", &image.layer(0)) >= 4);
}

#[test]
fn retry_after_is_heard_within_reason() {
    let image = Image::new(&[b"layer"]);
    let answer = |seconds: &str| {
        Some(Act::Answer(
            429,
            vec![("retry-after", seconds.to_owned())],
            vec![],
        ))
    };
    let server = with_layer(&image, move |request, _| {
        if request.before == 0 {
            answer("1")
        } else {
            None
        }
    });
    let begun = Instant::now();
    works(&image, &server);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let server = with_layer(&image, move |_, _| answer("1000000000"));
    let error = refused(&server, ": 429");
    assert_eq!(server.count("GET", &image.layer(0)), 1);
    assert!(error.hint().is_some());
}

#[test]
fn wrong_bytes_are_refused_and_nothing_stays() {
    let image = Image::large();
    let served = |change: fn(&mut Vec<u8>)| {
        with_layer(&image, move |_, layer| {
            let mut layer = layer.to_vec();
            change(&mut layer);
            Some(Act::Answer(200, vec![], layer))
        })
    };
    for (server, why) in [
        (
            served(|layer| *layer.last_mut().expect("a byte") ^= 1),
            "the bytes that came are sha256:",
        ),
        (served(|layer| layer.push(0)), "and 3145729 came"),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let error = pull_into(directory.path(), &server).expect_err(why);
        assert!(full(&error).contains(why), "{}", full(&error));
        assert_eq!(left_in(directory.path(), "ingest"), [""; 0]);
    }
    let server = served(|layer| layer.truncate(layer.len() - 1));
    refused(&server, "ended after 3145727 of 3145728 bytes");
}

#[test]
fn a_body_without_end_is_cut() {
    let image = Image::new(&[b"layer"]);
    let chunked = |head: &str, chunk: Vec<u8>, count: usize| {
        let mut bytes =
            format!("HTTP/1.1 200 x\r\n{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
        for _ in 0..count {
            bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
            bytes.extend(&chunk);
            bytes.extend(b"\r\n");
        }
        Act::Raw(bytes)
    };
    let server = with_layer(&image, move |_, _| {
        Some(chunked("", vec![b'x'; 65_536], 2000))
    });
    refused(&server, "and 6 came");
    let server = Server::start(move |_| {
        chunked(
            &format!("content-type: {MANIFEST}\r\n"),
            vec![b' '; 65_536],
            200,
        )
    });
    refused(&server, "longer than 4194304 bytes");
}

#[test]
fn a_wrong_range_is_thrown_away() {
    let image = Image::large();
    for how in 0..4 {
        let server = with_layer(&image, move |request, layer| {
            let length = layer.len();
            if request.before == 0 {
                return Some(Act::Raw(
                    [head(length), layer[..length / 2].to_vec()].concat(),
                ));
            }
            let range = |range: String, body: &[u8]| {
                Some(Act::Answer(
                    206,
                    vec![("content-range", range)],
                    body.to_vec(),
                ))
            };
            match (request.range, how) {
                (None, _) => None,
                (Some(from), 0) => {
                    range(format!("bytes {}-{}/{length}", from + 1, length - 1), b"x")
                }
                (Some(_), 1) => range("bytes */*".to_owned(), b"x"),
                (Some(_), 2) => Some(Act::Answer(416, vec![], vec![])),
                (Some(_), _) => Some(Act::Answer(200, vec![], layer.to_vec())),
            }
        });
        works(&image, &server);
    }
}

#[test]
fn a_tag_that_moves_between_head_and_get_changes_nothing() {
    let (first, second) = (Image::new(&[b"first"]), Image::new(&[b"second"]));
    let (old, new) = (first.clone(), second.clone());
    let server = Server::start(move |request| {
        let is_tag = request.path.ends_with("/1");
        match is_tag && request.method == "GET" {
            true => new.serve(request),
            false => old.serve(request),
        }
    });
    works(&first, &server);
    // And one that answers another document than its digest says.
    let (old, new) = (first.clone(), second.clone());
    let server = Server::start(move |request| match request.method.as_str() {
        "HEAD" => old.serve(request),
        _ => Act::Answer(
            200,
            vec![("content-type", MANIFEST.to_owned())],
            new.manifest.clone(),
        ),
    });
    let error = refused(&server, "the bytes that came are");
    assert!(
        matches!(&error, Error::Mismatch { wanted, got } if *wanted == first.digest() && *got == second.digest()),
        "{error}"
    );
}

#[test]
fn what_is_no_registry_says_so() {
    let page = |_: &Request| {
        Act::Answer(
            200,
            vec![("content-type", "text/html".to_owned())],
            b"<html>".to_vec(),
        )
    };
    refused(
        &Server::start(page),
        "is \"text/html\", no image and no index",
    );
    refused(
        &Server::start(|_| Act::Answer(404, vec![], vec![])),
        ": 404",
    );
    let nobody = Server::start(|_| Act::Raw(vec![]));
    refused(&nobody, "HEAD http://127.0.0.1:");
    assert_eq!(nobody.log().len(), 6);
    let schema_1 = |_: &Request| {
        let media_type = "application/vnd.docker.distribution.manifest.v1+prettyjws".to_owned();
        Act::Answer(
            200,
            vec![("content-type", media_type)],
            br#"{"schemaVersion":1}"#.to_vec(),
        )
    };
    refused(&Server::start(schema_1), "schema 1");
    let head =
        |_: &Request| Act::Answer(200, vec![("www-authenticate", "x".repeat(1 << 20))], vec![]);
    refused(&Server::start(head), "HEAD http://127.0.0.1:");
}

#[test]
fn the_manifest_for_the_machine_is_taken_from_an_index() {
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    let image = Image::new(&[b"layer"]);
    let of = |os: &str, architecture: &str, digest: &str, size: usize| {
        format!(
            r#"{{"mediaType":"{MANIFEST}","digest":"{digest}","size":{size},
                "platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#
        )
    };
    let (other, own) = (image.layer(0), image.digest().to_string());
    let index = |manifests: &[String]| {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#,
            manifests.join(",")
        )
    };
    let serve = |index: String| {
        let image = image.clone();
        Server::start(move |request| {
            match request.path.ends_with("/1") || request.path.ends_with(&digest_of(&index)) {
                true => Act::Answer(
                    200,
                    vec![("content-type", INDEX.to_owned())],
                    index.clone().into_bytes(),
                ),
                false => image.serve(request),
            }
        })
    };
    let attestation = of("unknown", "unknown", &other, 9);
    let server = serve(index(&[
        attestation.clone(),
        of("linux", "amd64", &own, image.manifest.len()),
    ]));
    let directory = tempfile::tempdir().expect("a directory");
    let pulled = pull_into(directory.path(), &server).expect("an image");
    assert_eq!(pulled.record.manifest.digest, image.digest());
    assert_ne!(pulled.record.target.digest, image.digest());

    let server = serve(index(&[of("linux", "s390x", &own, 1), attestation]));
    refused(&server, "no linux/amd64; it has linux/s390x");
    let server = serve(index(&[of("linux", "amd64", &own, 7)]));
    refused(&server, "has 7 bytes by its descriptor");
    // The same where the manifest is there already.
    let error = pull_into(directory.path(), &server).expect_err("another size");
    assert!(
        full(&error).contains("has 7 bytes by its descriptor"),
        "{}",
        full(&error)
    );
    let nested = of("linux", "amd64", &other, 9).replace(MANIFEST, INDEX);
    refused(
        &serve(index(&[nested])),
        "an index in an index is not followed",
    );
    // The configuration has the last word, before any layer is brought.
    let directory = tempfile::tempdir().expect("a directory");
    let server = with_layer(&image, |_, _| None);
    let store = Store::open(&directory.path().join("store")).expect("a store");
    let registry = Registry::new(settings(&[&server])).expect("a client");
    let arm = "linux/arm64".parse().expect("a platform");
    let error = pull(&store, &registry, &name(&server), &arm, &Quiet).expect_err("another machine");
    assert_eq!(error.to_string(), "no linux/arm64/v8; it has linux/amd64");
    assert_eq!(server.count("GET", &image.layer(0)), 0);
}

fn digest_of(text: &str) -> String {
    image::Digest::of(text.as_bytes()).to_string()
}

#[test]
fn redirects_are_bounded_and_lead_nowhere_inside() {
    let image = Image::new(&[b"layer"]);
    let to = |location: &'static str| {
        with_layer(&image, move |_, _| {
            Some(Act::Answer(
                307,
                vec![("location", location.to_owned())],
                vec![],
            ))
        })
    };
    let endless = {
        let at = format!("/v2/a/b/blobs/{}", image.layer(0));
        with_layer(&image, move |_, _| {
            Some(Act::Answer(302, vec![("location", at.clone())], vec![]))
        })
    };
    refused(&endless, "redirects more than 5 times");
    assert_eq!(endless.count("GET", &image.layer(0)), 6);
    refused(
        &to("http://169.254.169.254/latest/meta-data"),
        "inside of this machine",
    );
    refused(&to("file:///etc/passwd"), "neither https: nor http:");
    refused(&to("//evil.example/"), "without a scheme");
    refused(&to(""), "redirects to \"\"");
}

#[test]
fn no_layer_is_sent_to_an_address_inside() {
    let image = Image::new(&[b"layer"]);
    let own = image.clone();
    let server = Server::start(move |request| match request.method.as_str() {
        "GET" => own.serve(request),
        "HEAD" if request.path.contains("/manifests/") => own.serve(request),
        "HEAD" => Act::Answer(404, vec![], vec![]),
        _ => {
            let location = "http://169.254.169.254/latest".to_owned();
            Act::Answer(202, vec![("location", location)], vec![])
        }
    });
    let directory = tempfile::tempdir().expect("a directory");
    let pulled = pull_into(directory.path(), &server).expect("an image");
    let store = Store::open(&directory.path().join("store")).expect("the store");
    let registry = Registry::new(settings(&[&server])).expect("a client");
    let (at, name) = (&pulled.record.manifest, name(&server));
    let error = registry.push(&store, at, &name, None, &mut |_, _| {});
    let error = error.expect_err("an address inside").to_string();
    assert!(
        error.ends_with("which is an address inside of this machine"),
        "{error}"
    );
}

#[test]
fn credentials_do_not_follow_a_redirect_to_another_origin() {
    let image = Image::new(&[b"layer"]);
    let elsewhere = with_layer(&image, |_, _| None);
    let to = format!("http://{}/elsewhere/{}", elsewhere.host(), image.layer(0));
    let own = image.clone();
    let server = Server::start(move |request| {
        if request.authorization.is_none() {
            return Act::Answer(
                401,
                vec![("www-authenticate", "Basic realm=x".to_owned())],
                vec![],
            );
        }
        match is_layer(request, &own) {
            true => Act::Answer(307, vec![("location", to.clone())], vec![]),
            false => own.serve(request),
        }
    });
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(&directory.path().join("store")).expect("a store");
    let login = Login::Password {
        user: "me".to_owned(),
        password: "secret".to_owned(),
    };
    let credentials = Credentials::default().with(&server.host(), login);
    let registry = Registry::new(Settings {
        credentials,
        ..settings(&[&server])
    })
    .expect("a client");
    pull(&store, &registry, &name(&server), &amd64(), &Quiet).expect("an image");
    assert!(
        server
            .log()
            .iter()
            .filter(|r| r.method == "GET")
            .all(|r| r.authorization.is_some())
    );
    let there = elsewhere.log();
    assert_eq!(there.len(), 1);
    assert_eq!(there[0].authorization, None);
}

#[test]
fn a_challenge_that_leads_astray_gets_no_credentials() {
    let thief = Server::start(|_| Act::Answer(200, vec![], br#"{"token":"t"}"#.to_vec()));
    let seen = thief.host();
    for (realm, why) in [
        (format!("http://{seen}/token"), ": 401"),
        ("file:///etc/passwd".to_owned(), "neither https: nor http:"),
        (
            "http://169.254.169.254/token".to_owned(),
            "inside of this machine",
        ),
    ] {
        let server = Server::start(move |_| {
            Act::Answer(
                401,
                vec![("www-authenticate", format!("Bearer realm=\"{realm}\""))],
                vec![],
            )
        });
        let error = refused(&server, why);
        assert!(!full(&error).contains("secret"));
    }
    assert!(
        thief
            .log()
            .iter()
            .all(|request| request.authorization.is_none())
    );
}

#[test]
fn many_pulls_bring_each_blob_once() {
    let image = Image::large();
    let slow = Arc::new(AtomicUsize::new(0));
    let at_once = slow.clone();
    let server = with_layer(&image, move |_, _| {
        at_once.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(300));
        None
    });
    let directory = tempfile::tempdir().expect("a directory");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| pull_into(directory.path(), &server).expect("an image"));
        }
    });
    assert_eq!(slow.load(Ordering::Relaxed), 1);
    assert_eq!(server.count("GET", &image.layer(0)), 1);
}

#[test]
fn a_mirror_is_asked_first_and_the_registry_when_it_fails() {
    let image = Image::large();
    let server = with_layer(&image, |_, _| None);
    let mirror = with_layer(&image, |_, layer| {
        Some(Act::Raw(
            [head(layer.len()), layer[..1 << 20].to_vec()].concat(),
        ))
    });
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(&directory.path().join("store")).expect("a store");
    let mut settings = settings(&[&server, &mirror]);
    settings.mirrors.insert(server.host(), vec![mirror.host()]);
    let registry = Registry::new(settings).expect("a client");
    pull(&store, &registry, &name(&server), &amd64(), &Quiet).expect("an image");
    let asked: Vec<_> = server
        .log()
        .into_iter()
        .map(|request| request.range)
        .collect();
    assert_eq!(asked, [Some(1 << 20)]);
}

#[test]
fn a_mirror_that_has_something_else_is_passed_over() {
    let image = Image::large();
    for change in [
        (|layer: &mut Vec<u8>| *layer.last_mut().expect("a byte") ^= 1) as fn(&mut Vec<u8>),
        |layer| layer.push(0),
    ] {
        let server = with_layer(&image, |_, _| None);
        let mirror = with_layer(&image, move |_, layer| {
            let mut layer = layer.to_vec();
            change(&mut layer);
            Some(Act::Answer(200, vec![], layer))
        });
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(&directory.path().join("store")).expect("a store");
        let mut settings = settings(&[&server, &mirror]);
        settings.mirrors.insert(server.host(), vec![mirror.host()]);
        let registry = Registry::new(settings).expect("a client");
        pull(&store, &registry, &name(&server), &amd64(), &Quiet).expect("an image");
        let ranges: Vec<_> = server.log().iter().map(|request| request.range).collect();
        assert_eq!(ranges, [None]);
        assert_eq!(mirror.count("GET", &image.layer(0)), 1);
    }
}

/// Wants no more of a blob than so many bytes.
struct Impatient(u64);

impl Progress for Impatient {
    fn bytes(&self, _digest: &Digest, so_far: u64, _shared: bool) -> bool {
        so_far < self.0
    }
}

#[test]
fn a_pull_that_is_given_up_says_so_and_keeps_what_came() {
    let image = Image::large();
    let server = with_layer(&image, |_, _| None);
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(&directory.path().join("store")).expect("a store");
    let registry = Registry::new(settings(&[&server])).expect("a client");
    let pull = || {
        pull(
            &store,
            &registry,
            &name(&server),
            &amd64(),
            &Impatient(1 << 20),
        )
    };
    let check = |result: Result<Pulled, Error>| {
        let error = result.expect_err("given up");
        let layer = image.layer(0);
        assert!(
            matches!(&error, Error::GivenUp { what } if *what == layer),
            "{error}"
        );
        let mut left = left_in(directory.path(), "ingest");
        left.retain(|name| !name.ends_with(".lock"));
        assert_eq!(left.len(), 1);
    };
    check(pull());
    // The same while another brings it.
    let layer = &image.layers[0];
    let wanted = Descriptor::new("", Digest::of(layer), layer.len() as u64);
    let claim = store.claim(&wanted, &mut |_| false).expect("a claim");
    assert!(matches!(claim, Claim::Mine(_)), "{claim:?}");
    check(pull());
}

/// This test again, in a process of its own: with a server's address it only pulls.
fn another_process(name: &str, directory: &Path, server: &Server) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", name, "--nocapture"]);
    command
        .env("PULL_FROM", server.host())
        .env("PULL_INTO", directory)
        .stdout(Stdio::null());
    command
}

/// What such a process does; `false` in the test itself.
fn is_another_process() -> bool {
    let (Ok(host), Ok(directory)) = (std::env::var("PULL_FROM"), std::env::var("PULL_INTO")) else {
        return false;
    };
    let settings = Settings {
        plain_http: vec![host.clone()],
        ..Settings::default()
    };
    let store = Store::open(&Path::new(&directory).join("store")).expect("a store");
    let name = format!("{host}/a/b:1").parse().expect("a name");
    pull(
        &store,
        &Registry::new(settings).expect("a client"),
        &name,
        &amd64(),
        &Quiet,
    )
    .expect("an image");
    true
}

#[test]
fn many_processes_bring_each_blob_once() {
    if is_another_process() {
        return;
    }
    let image = Image::large();
    let server = with_layer(&image, |_, _| {
        std::thread::sleep(Duration::from_millis(500));
        None
    });
    let directory = tempfile::tempdir().expect("a directory");
    let one = || {
        another_process(
            "many_processes_bring_each_blob_once",
            directory.path(),
            &server,
        )
    };
    let children: Vec<_> = (0..4).map(|_| one().spawn().expect("a process")).collect();
    for mut child in children {
        assert!(child.wait().expect("its end").success());
    }
    assert_eq!(server.count("GET", &image.layer(0)), 1);
    assert_eq!(
        server.count("GET", &image::Digest::of(&image.config).to_string()),
        1
    );
}

#[test]
fn what_a_killed_process_had_brought_is_gone_on_with() {
    if is_another_process() {
        return;
    }
    let image = Image::large();
    let half = image.layers[0].len() / 2;
    let server = with_layer(&image, move |request, layer| {
        let begun = [head(layer.len()), layer[..half].to_vec()].concat();
        (request.before == 0).then(|| Act::Drip(begun, Duration::from_secs(60)))
    });
    let directory = tempfile::tempdir().expect("a directory");
    let name = "what_a_killed_process_had_brought_is_gone_on_with";
    let mut child = another_process(name, directory.path(), &server)
        .spawn()
        .expect("a process");
    let part = directory
        .path()
        .join("store/ingest")
        .join(image.layer(0).replace(':', "-"));
    let begun = Instant::now();
    while fs::metadata(&part).map_or(0, |metadata| metadata.len()) < half as u64 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing came");
        std::thread::sleep(Duration::from_millis(10));
    }
    // The one who waits goes on when the other one dies.
    let waiting = another_process(name, directory.path(), &server).spawn();
    std::thread::sleep(Duration::from_millis(200));
    child.kill().expect("killed");
    child.wait().expect("its end");
    assert!(
        waiting
            .expect("a process")
            .wait()
            .expect("its end")
            .success()
    );
    let ranges: Vec<_> = server
        .log()
        .into_iter()
        .filter(|r| is_layer(r, &image))
        .map(|r| r.range)
        .collect();
    assert_eq!(ranges, [None, Some(half as u64)]);
}

#[test]
fn a_token_that_has_run_out_is_renewed_once_and_then_it_is_a_refusal() {
    let image = Image::new(&[b"layer"]);
    let tokens = Arc::new(AtomicUsize::new(0));
    let given = tokens.clone();
    let giver = Server::start(move |_| {
        let token = given.fetch_add(1, Ordering::Relaxed);
        Act::Answer(
            200,
            vec![],
            format!(r#"{{"access_token":"t{token}"}}"#).into_bytes(),
        )
    });
    let realm = format!("http://{}/token", giver.host());
    for (good, works) in [
        (["Bearer t0", "Bearer t1"], true),
        (["Bearer t2", "none"], false),
    ] {
        let (realm, own) = (realm.clone(), image.clone());
        let server = Server::start(move |request| {
            // The first token is good for documents, the second for layers.
            let wanted = good[usize::from(is_layer(request, &own))];
            if request.authorization.as_deref() == Some(wanted) {
                return own.serve(request);
            }
            let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
            Act::Answer(401, vec![("www-authenticate", challenge)], vec![])
        });
        let directory = tempfile::tempdir().expect("a directory");
        match pull_into(directory.path(), &server) {
            Ok(_) => assert!(works),
            Err(error) => {
                assert!(
                    !works && matches!(error, Error::Status { status: 401, .. }),
                    "{}",
                    full(&error)
                );
                assert_eq!(server.count("GET", &image.layer(0)), 2);
            }
        }
    }
    assert_eq!(tokens.load(Ordering::Relaxed), 4);
    assert!(
        giver
            .log()
            .iter()
            .all(|request| request.path.ends_with("scope=repository:a/b:pull"))
    );
}

/// What a disk did to a blob is mended by the next pull, whichever blob it is.
#[test]
fn a_pull_brings_anew_what_is_damaged() {
    let image = Image::new(&[b"a layer"]);
    let server = with_layer(&image, |_, _| None);
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(&directory.path().join("store")).expect("a store");
    let registry = Registry::new(settings(&[&server])).expect("a client");
    let pull = || pull(&store, &registry, &name(&server), &amd64(), &Quiet).expect("an image");
    let pulled = pull();
    let record = pulled.record.clone();
    let parts = [
        &record.manifest,
        &pulled.manifest.config,
        &pulled.manifest.layers[0],
    ];
    for part in parts {
        let at = directory.path().join("store/blobs/sha256");
        let at = at.join(part.digest.hex());
        let good = fs::read(&at).expect("a blob");
        let mut bad = vec![good[..good.len() - 1].to_vec()];
        // Of a layer, a pull only looks at the size.
        if part.digest != pulled.manifest.layers[0].digest {
            bad.push(vec![b'x'; good.len()]);
        }
        for bad in bad {
            fs::write(&at, bad).expect("damaged");
            let verified = store.verify_image(&record).expect("a verdict");
            assert_eq!(verified.damaged, std::slice::from_ref(&part.digest));
            let error = image::present(&store, &record.name, &record.target.digest, &amd64());
            let error = error.expect_err("damaged");
            assert!(
                matches!(&error, Error::Damaged { digest, .. } if *digest == part.digest),
                "{error}"
            );
            assert!(!pull().was_present);
            assert!(store.verify_image(&record).expect("a verdict").is_good());
            assert!(pull().was_present);
        }
    }
    let records = directory.path().join("store/images");
    let file = fs::read_dir(records).expect("names").next().expect("one");
    fs::write(file.expect("one").path(), "{").expect("damaged");
    pull();
    assert!(store.image(&record.name).expect("mended").is_some());
}

/// Has enough some time after it was first asked to wait.
struct Tired(std::sync::OnceLock<Instant>);

impl Progress for Tired {
    fn go_on(&self) -> bool {
        self.0.get_or_init(Instant::now).elapsed() < Duration::from_millis(150)
    }
}

/// How long a pull goes on after somebody has had enough, and what it then says.
#[track_caller]
fn given_up(settings: Settings, directory: &Path, server: &Server, wanted: &str) {
    let store = Store::open(&directory.join("store")).expect("a store");
    let registry = Registry::new(settings).expect("a client");
    let tired = Tired(std::sync::OnceLock::new());
    let pulled = pull(&store, &registry, &name(server), &amd64(), &tired);
    let error = pulled.expect_err("given up");
    assert!(
        matches!(&error, Error::GivenUp { what } if what.contains(wanted)),
        "{}",
        full(&error)
    );
    let asked = tired.0.get().expect("it was asked");
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );
}

#[test]
fn waiting_is_given_up_soon_wherever_it_is() {
    let image = Image::new(&[b"a layer"]);
    let long = |server: &Server| Settings {
        backoff: Duration::from_secs(60),
        patience: Duration::from_secs(600),
        ..settings(&[server])
    };
    let busy = |seconds: Option<&str>| {
        let after = seconds.map(|seconds| ("retry-after", seconds.to_owned()));
        Act::Answer(503, after.into_iter().collect(), vec![])
    };
    for seconds in [None, Some("200")] {
        let server = Server::start(move |_| busy(seconds));
        let directory = tempfile::tempdir().expect("a directory");
        given_up(long(&server), directory.path(), &server, "/a/b:1");

        let server = with_layer(&image, move |_, _| Some(busy(seconds)));
        let directory = tempfile::tempdir().expect("a directory");
        given_up(long(&server), directory.path(), &server, &image.layer(0));
    }
    // Another process has the layer, or the manifest, and brings nothing of it.
    let server = with_layer(&image, |_, _| None);
    for bytes in [&image.layers[0], &image.manifest] {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(&directory.path().join("store")).expect("a store");
        let wanted = Descriptor::new("", Digest::of(bytes), bytes.len() as u64);
        let claim = store.claim(&wanted, &mut |_| false).expect("a claim");
        assert!(matches!(claim, Claim::Mine(_)), "{claim:?}");
        let digest = wanted.digest.to_string();
        given_up(long(&server), directory.path(), &server, &digest);
    }
}

#[test]
fn a_document_that_never_ends_is_given_up_in_time_whatever_its_speed() {
    let image = Image::new(&[b"a layer"]);
    let manifest = image.manifest.clone();
    let of_manifest = |act: fn() -> Act| {
        let manifest = manifest.clone();
        Server::start(move |request| match request.method.as_str() {
            "HEAD" => Act::Answer(
                200,
                vec![("docker-content-digest", Digest::of(&manifest).to_string())],
                vec![],
            ),
            _ => act(),
        })
    };
    let drips = || {
        let head = format!("HTTP/1.1 200 x\r\ncontent-type: {MANIFEST}\r\n\r\n{{");
        Act::Drip(head.into_bytes(), Duration::from_millis(20))
    };
    // Busy for ever: the attempts alone would take half an hour.
    let busy = || Act::Answer(503, vec![("retry-after", "1".to_owned())], vec![]);
    for (act, why) in [(drips as fn() -> Act, "took too long"), (busy, "503")] {
        let server = of_manifest(act);
        let settings = Settings {
            document: Duration::from_millis(1500),
            attempts: 2000,
            ..settings(&[&server])
        };
        let directory = tempfile::tempdir().expect("a directory");
        let begun = Instant::now();
        let error = full(&pull_with(settings, directory.path(), &server).expect_err("in time"));
        assert!(error.contains(why), "{error}");
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(6), "{took:?}: {error}");
    }
}
