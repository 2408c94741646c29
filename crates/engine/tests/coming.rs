//! Layers unpacked while they come, from registries that keep them waiting or misbehave.
//!
//! A harness of its own: what unpacks is this program, started by its first thread and executed anew.

#[path = "../../image/tests/faulty/server.rs"]
mod server;
#[path = "../../image/tests/common/tarball.rs"]
mod tarball;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::layers::{self, Layers, sandbox};
use image::{
    Algorithm, Descriptor, Digest, Hasher, Manifest, Platform, Pulled, Quiet, Reference, Registry,
    Settings, Store,
};
use libtest_mimic::{Arguments, Trial};
use server::{Act, Image, Request, Server, head};
use tarball::{Head, file, tar};

macro_rules! trials {
    ($($test:ident,)*) => {
        vec![$(Trial::test(stringify!($test), || {
            $test();
            Ok(())
        }),)*]
    };
}

fn main() -> ExitCode {
    if std::env::args_os()
        .next()
        .is_some_and(|name| name == sandbox::NAME)
    {
        return sandbox::main().into();
    }
    let trials = trials![
        a_layer_is_unpacked_before_its_end_was_sent,
        a_download_that_goes_on_after_a_cut_is_unpacked_on,
        what_was_made_of_wrong_bytes_is_thrown_away,
        a_layer_of_another_digest_leaves_nothing,
        a_layer_of_another_diff_id_is_no_layer,
        a_layer_is_none_before_its_blob_is_one,
        layers_that_come_in_any_order_are_stacked_in_theirs,
        a_pull_that_fails_ends_what_unpacks,
    ];
    let mut arguments = Arguments::from_args();
    // Those of others would not be its first thread.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A server of an image, and a store.
struct Scene {
    directory: tempfile::TempDir,
    server: Option<Server>,
}

impl Scene {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
            server: None,
        }
    }

    fn serve(&mut self, act: impl Fn(&Request) -> Act + Send + Sync + 'static) {
        self.server = Some(Server::start(act));
    }

    fn at(&self, place: &str) -> PathBuf {
        self.directory.path().join("store").join(place)
    }

    fn store(&self) -> Store {
        Store::open(&self.at("")).expect("a store")
    }

    fn pull(&self) -> Result<(Pulled, Layers), layers::Error> {
        let host = self.server.as_ref().expect("a server").host();
        let settings = Settings {
            plain_http: vec![host.clone()],
            backoff: Duration::from_millis(1),
            stall: Duration::from_secs(10),
            ..Settings::default()
        };
        let registry = Registry::new(settings).expect("a client");
        let name: Reference = format!("{host}/a/b:1").parse().expect("a name");
        let mut heard = |_: usize, _: &Descriptor, _: u64| {};
        layers::pull(&self.store(), &registry, &name, &Quiet, &mut heard)
    }

    fn has_blob(&self, layer: &[u8]) -> bool {
        let blob = self.store().blob(&Digest::of(layer));
        blob.expect("a store").is_some()
    }
}

/// One entry at the beginning, one at the end, and between them what takes its time.
fn layer(name: &str, text: &str) -> Vec<u8> {
    let noise = "noise".repeat(600 << 10);
    tar(&[
        file(&format!("{name}-first"), text),
        file(&format!("{name}-noise"), &noise),
        file(&format!("{name}-last"), text),
    ])
}

fn image(layers: &[Vec<u8>]) -> Image {
    let ids: Vec<String> = layers.iter().map(|l| Digest::of(l).to_string()).collect();
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    Image::with(&Platform::host().architecture, &ids, &layers)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.into_string().expect("UTF-8"))
        .collect()
}

/// The directory, below `ingest/`, in which an entry of a layer has come to be; waits for it.
fn staged(ingest: &Path, entry: &str) -> Option<u64> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        for name in names(ingest) {
            let directory = ingest.join(name);
            if directory.join(entry).exists() {
                return Some(fs::metadata(directory).expect("a directory").ino());
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

fn read(directory: &Path, entry: &str) -> String {
    fs::read_to_string(directory.join(entry)).unwrap_or_else(|error| panic!("{entry}: {error}"))
}

fn inode(directory: &Path) -> u64 {
    fs::metadata(directory).expect("a directory").ino()
}

/// What a server saw, and its test asks for.
fn told<T>() -> (Arc<Mutex<Sender<T>>>, Receiver<T>) {
    let (sender, receiver) = channel();
    (Arc::new(Mutex::new(sender)), receiver)
}

fn tell<T>(to: &Mutex<Sender<T>>, what: T) {
    // Fails when the test is over.
    let _ = to.lock().expect("no panic").send(what);
}

fn a_layer_is_unpacked_before_its_end_was_sent() {
    let mut scene = Scene::new();
    let image = image(&[layer("a", "text")]);
    let (seen, sees) = told();
    let (served, ingest) = (image.clone(), scene.at("ingest"));
    scene.serve(move |request| match served.asked(request) {
        Some(at) => {
            let (first, rest) = served.layers[at].split_at(served.layers[at].len() / 2);
            let (rest, seen, ingest) = (rest.to_vec(), seen.clone(), ingest.clone());
            let first = [head(served.layers[at].len()), first.to_vec()].concat();
            let then = move || {
                tell(&seen, staged(&ingest, "a-first"));
                rest
            };
            Act::Wait(first, Box::new(then))
        }
        None => served.serve(request),
    });
    let (pulled, layers) = scene.pull().expect("an image");
    assert_eq!(pulled.record.target.digest, image.digest());
    let staged = sees.recv().expect("it was asked for");
    let directories = layers.directories().expect("a layer");
    assert_eq!(staged, Some(inode(&directories[0])), "before the end");
    for entry in ["a-first", "a-last"] {
        assert_eq!(read(&directories[0], entry), "text");
    }
    assert!(scene.has_blob(&image.layers[0]));
    assert_eq!(names(&scene.at("ingest")), [""; 0]);
}

fn a_download_that_goes_on_after_a_cut_is_unpacked_on() {
    let mut scene = Scene::new();
    let image = image(&[layer("a", "text")]);
    let (seen, sees) = told();
    let (served, ingest) = (image.clone(), scene.at("ingest"));
    scene.serve(move |request| {
        match (served.asked(request), request.range) {
            (Some(at), None) => {
                let layer = &served.layers[at];
                let half = layer[..layer.len() / 2].to_vec();
                return Act::Raw([head(layer.len()), half].concat());
            }
            (Some(_), Some(_)) => tell(&seen, staged(&ingest, "a-first")),
            (None, _) => {}
        }
        served.serve(request)
    });
    let (_, layers) = scene.pull().expect("an image");
    let directories = layers.directories().expect("a layer");
    let staged = sees.recv().expect("it was asked for");
    assert_eq!(staged, Some(inode(&directories[0])), "the same attempt");
    assert_eq!(read(&directories[0], "a-last"), "text");
    assert_eq!(names(&scene.at("ingest")), [""; 0]);
}

fn what_was_made_of_wrong_bytes_is_thrown_away() {
    // The rest after the wrong beginning, or all of it anew.
    for knows_ranges in [true, false] {
        let mut scene = Scene::new();
        let image = image(&[layer("a", "text")]);
        let (seen, sees) = told();
        let (served, ingest) = (image.clone(), scene.at("ingest"));
        scene.serve(move |request| {
            match (served.asked(request), request.before) {
                (Some(at), 0) => {
                    let other = layer("other", "else");
                    let length = served.layers[at].len();
                    return Act::Raw([head(length), other[..length / 2].to_vec()].concat());
                }
                (Some(_), 1) => tell(&seen, staged(&ingest, "other-first")),
                _ => {}
            }
            match (served.asked(request), knows_ranges) {
                (Some(at), false) => Act::Answer(200, vec![], served.layers[at].clone()),
                _ => served.serve(request),
            }
        });
        let (_, layers) = scene.pull().expect("an image");
        let directories = layers.directories().expect("a layer");
        let staged = sees.recv().expect("it was asked for");
        assert!(staged.is_some(), "the wrong ones were unpacked");
        assert_ne!(staged, Some(inode(&directories[0])), "another attempt");
        let mut entries = names(&directories[0]);
        entries.sort();
        assert_eq!(entries, ["a-first", "a-last", "a-noise"]);
        assert!(scene.has_blob(&image.layers[0]));
        assert_eq!(names(&scene.at("ingest")), [""; 0]);
    }
}

fn a_layer_of_another_digest_leaves_nothing() {
    let mut scene = Scene::new();
    // What is in a directory of a foreign id can be removed by few.
    let layer = |text| {
        let inner = Head::new(b"inner/", b'5').mode(0o755).owner(1000, 1000);
        tar(&[inner.bytes(), file("inner/file", text)])
    };
    let image = image(&[layer("text")]);
    let served = image.clone();
    scene.serve(move |request| match served.asked(request) {
        Some(_) => Act::Answer(200, vec![], layer("else")),
        None => served.serve(request),
    });
    let error = scene.pull().expect_err("other bytes");
    assert!(
        matches!(error, layers::Error::Image(image::Error::Mismatch { .. })),
        "{error}"
    );
    assert!(!scene.has_blob(&image.layers[0]) && !scene.has_blob(&layer("else")));
    for place in ["layers", "ingest", "images"] {
        assert_eq!(names(&scene.at(place)), [""; 0], "{place}");
    }
}

fn a_layer_of_another_diff_id_is_no_layer() {
    let mut scene = Scene::new();
    let layer = layer("a", "text");
    let ids = [Digest::of(b"another").to_string()];
    let image = Image::with(&Platform::host().architecture, &ids, &[&layer]);
    scene.serve(move |request| image.serve(request));
    let error = scene.pull().expect_err("another archive");
    assert!(matches!(error, layers::Error::DiffId { .. }), "{error}");
    // It was right to download it, and what it is of gets no name.
    assert!(scene.has_blob(&layer));
    for place in ["layers", "ingest", "images"] {
        assert_eq!(names(&scene.at(place)), [""; 0], "{place}");
    }
}

/// The process that unpacks takes SHA-256 of the blob and nothing else.
fn a_layer_is_none_before_its_blob_is_one() {
    let mut scene = Scene::new();
    let layer = layer("a", "text");
    let mut image = image(std::slice::from_ref(&layer));
    let sha512 = |bytes: &[u8]| {
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(bytes);
        hasher.finish()
    };
    let config = Descriptor::new(
        "application/vnd.oci.image.config.v1+json",
        Digest::of(&image.config),
        image.config.len() as u64,
    );
    let media_type = "application/vnd.oci.image.layer.v1.tar";
    let part = Descriptor::new(media_type, sha512(b"something else"), layer.len() as u64);
    let manifest = Manifest::new(config, vec![part]);
    image.manifest = serde_json::to_vec(&manifest).expect("JSON");
    let sent = layer.clone();
    scene.serve(move |request| match request.path.contains("sha512:") {
        true => Act::Answer(200, vec![], sent.clone()),
        false => image.serve(request),
    });
    let error = scene.pull().expect_err("other bytes");
    assert!(
        matches!(error, layers::Error::Image(image::Error::Mismatch { .. })),
        "{error}"
    );
    for place in ["layers", "ingest", "images"] {
        assert_eq!(names(&scene.at(place)), [""; 0], "{place}");
    }
}

fn layers_that_come_in_any_order_are_stacked_in_theirs() {
    let mut scene = Scene::new();
    let all: Vec<Vec<u8>> = (0..6)
        .map(|at| {
            let own = format!("own-{at}");
            tar(&[file("shared", &at.to_string()), file(&own, "text")])
        })
        .collect();
    let image = image(&all);
    let served = image.clone();
    let (others, came) = channel();
    let (others, came) = (Mutex::new(others), Mutex::new(came));
    scene.serve(move |request| {
        match served.asked(request) {
            // The lowest after all the others were asked for.
            Some(0) => {
                let came = came.lock().expect("no panic");
                for _ in 1..6 {
                    let waited = came.recv_timeout(Duration::from_secs(10));
                    waited.expect("another layer");
                }
            }
            Some(_) => tell(&others, ()),
            None => {}
        }
        served.serve(request)
    });
    let (_, layers) = scene.pull().expect("an image");
    let directories = layers.directories().expect("layers");
    let tops: Vec<String> = directories.iter().map(|d| read(d, "shared")).collect();
    assert_eq!(tops, ["5", "4", "3", "2", "1", "0"]);
    for (at, directory) in directories.iter().rev().enumerate() {
        assert_eq!(read(directory, &format!("own-{at}")), "text");
    }
    assert_eq!(names(&scene.at("ingest")), [""; 0]);
}

fn a_pull_that_fails_ends_what_unpacks() {
    let mut scene = Scene::new();
    let image = image(&[layer("a", "text"), layer("b", "text")]);
    let (seen, sees) = told();
    let (served, ingest) = (image.clone(), scene.at("ingest"));
    scene.serve(move |request| match served.asked(request) {
        Some(0) => {
            let layer = &served.layers[0];
            let bytes = [head(layer.len()), layer[..layer.len() / 2].to_vec()].concat();
            Act::Drip(bytes, Duration::from_millis(20))
        }
        Some(_) => {
            tell(&seen, staged(&ingest, "a-first").is_some());
            Act::Answer(403, vec![], vec![])
        }
        None => served.serve(request),
    });
    let error = scene.pull().expect_err("forbidden");
    let is_forbidden = matches!(
        error,
        layers::Error::Image(image::Error::Status { status: 403, .. })
    );
    assert!(is_forbidden, "{error}");
    assert_eq!(sees.recv(), Ok(true), "it was being unpacked");
    assert_eq!(names(&scene.at("layers")), [""; 0]);
    // Parts are kept for the next pull, and nothing that was made of them.
    let left = names(&scene.at("ingest"));
    let part = Digest::of(&image.layers[0]).to_string().replace(':', "-");
    assert!(left.contains(&part), "{left:?}");
    assert!(
        left.iter().all(|name| name.starts_with("sha256-")),
        "{left:?}"
    );
}
