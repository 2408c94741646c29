//! Layers read while they come, from registries that keep them waiting or misbehave.

#[path = "faulty/server.rs"]
mod server;

use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use image::{
    Came, Claim, Coming, Descriptor, Digest, Error, Growing, Platform, Pulled, Quiet, Reference,
    Registry, Settings, Store, pull_meanwhile,
};
use server::{Act, Image, Request, Server, head};

/// A pull of a server's `a/b:1` into a store of its own.
struct Scene {
    directory: tempfile::TempDir,
    server: Server,
}

impl Scene {
    fn new(act: impl Fn(&Request) -> Act + Send + Sync + 'static) -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
            server: Server::start(act),
        }
    }

    fn store(&self) -> Store {
        Store::open(&self.directory.path().join("store")).expect("a store")
    }

    fn pull<T>(
        &self,
        meanwhile: impl FnOnce(&Coming<'_>) -> T,
    ) -> Result<(Pulled, Option<T>), Error> {
        self.pull_with(|coming| Ok(meanwhile(coming)))
    }

    fn pull_with<T>(
        &self,
        meanwhile: impl FnOnce(&Coming<'_>) -> Result<T, Error>,
    ) -> Result<(Pulled, Option<T>), Error> {
        let settings = Settings {
            plain_http: vec![self.server.host()],
            backoff: Duration::from_millis(1),
            stall: Duration::from_secs(10),
            ..Settings::default()
        };
        let registry = Registry::new(settings).expect("a client");
        let name: Reference = format!("{}/a/b:1", self.server.host())
            .parse()
            .expect("a name");
        let amd64: Platform = "linux/amd64".parse().expect("a platform");
        pull_meanwhile(&self.store(), &registry, &name, &amd64, &Quiet, meanwhile)
    }

    fn left_in_ingest(&self) -> usize {
        left_in(&self.directory.path().join("store/ingest"))
    }
}

fn left_in(directory: &Path) -> usize {
    std::fs::read_dir(directory).expect("a directory").count()
}

fn growing<'a>(coming: &'a Coming<'_>, at: usize) -> Growing<'a> {
    match coming.layer(at) {
        Some(Came::Growing(growing)) => growing,
        other => panic!("{other:?}"),
    }
}

/// A signal that a server waits for, at most some time.
fn signal() -> (Sender<()>, Arc<Mutex<Receiver<()>>>) {
    let (sender, receiver) = channel();
    (sender, Arc::new(Mutex::new(receiver)))
}

fn heard(signal: &Mutex<Receiver<()>>) {
    let signal = signal.lock().expect("no panic");
    signal
        .recv_timeout(Duration::from_secs(10))
        .expect("a signal");
}

/// A layer that comes in two halves; the second waits for a signal.
fn halves(request: &Request, layer: &[u8], until: &Arc<Mutex<Receiver<()>>>) -> Act {
    assert_eq!(request.range, None);
    let (first, second) = layer.split_at(layer.len() / 2);
    let (second, until) = (second.to_vec(), until.clone());
    let first = [head(layer.len()), first.to_vec()].concat();
    Act::Wait(
        first,
        Box::new(move || {
            heard(&until);
            second
        }),
    )
}

#[test]
fn a_layer_is_read_before_its_end_was_sent() {
    let image = Image::large();
    let (told, until) = signal();
    let (served, layer) = (image.clone(), image.layers[0].clone());
    let scene = Scene::new(move |request| match served.asked(request) {
        Some(_) => halves(request, &served.layers[0], &until),
        None => served.serve(request),
    });
    let (pulled, read) = scene
        .pull(|coming| {
            assert_eq!(coming.config().diff_ids, [Digest::of(&layer)]);
            assert_eq!(coming.manifest().layers.len(), 1);
            let mut growing = growing(coming, 0);
            let mut bytes = vec![0; layer.len() / 2];
            growing.read_exact(&mut bytes).expect("the first half");
            told.send(()).expect("a server");
            growing.read_to_end(&mut bytes).expect("the rest");
            assert!(coming.whole(0));
            bytes
        })
        .expect("an image");
    assert_eq!(pulled.record.target.digest, image.digest());
    assert!(read.expect("it came") == image.layers[0]);
    assert_eq!(scene.left_in_ingest(), 0);
    // What is there does not come.
    let again = scene.pull(|_| panic!("it is there")).expect("an image");
    assert!(again.0.was_present && again.1.is_none());
}

#[test]
fn a_download_that_goes_on_after_a_cut_is_one_stream() {
    let image = Image::large();
    let (told, until) = signal();
    let served = image.clone();
    let scene = Scene::new(move |request| {
        match served.asked(request) {
            Some(at) if request.before == 0 => {
                let layer = &served.layers[at];
                let half = layer[..layer.len() / 2].to_vec();
                return Act::Raw([head(layer.len()), half].concat());
            }
            Some(_) => heard(&until),
            None => {}
        }
        served.serve(request)
    });
    let (_, read) = scene
        .pull(|coming| {
            let mut growing = growing(coming, 0);
            told.send(()).expect("a server");
            let mut bytes = Vec::new();
            growing.read_to_end(&mut bytes).map(|_| bytes)
        })
        .expect("an image");
    assert!(read.expect("it came").expect("to its end") == image.layers[0]);
}

#[test]
fn what_comes_again_from_the_beginning_is_no_end_of_what_came_before() {
    let image = Image::large();
    let (told, until) = signal();
    let served = image.clone();
    let scene = Scene::new(
        move |request| match (served.asked(request), request.before) {
            (Some(at), 0) => {
                let wrong = vec![b'x'; served.layers[at].len()];
                match halves(request, &wrong, &until) {
                    // The end of the connection in the middle.
                    Act::Wait(first, rest) => Act::Wait(first, Box::new(|| rest()[..0].to_vec())),
                    other => other,
                }
            }
            // A server that does not know of ranges.
            (Some(at), _) => Act::Answer(200, vec![], served.layers[at].clone()),
            _ => served.serve(request),
        },
    );
    let (_, read) = scene
        .pull(|coming| {
            let mut growing = growing(coming, 0);
            let mut bytes = vec![0; image.layers[0].len() / 2];
            growing.read_exact(&mut bytes).expect("the first half");
            told.send(()).expect("a server");
            let broken = growing.read_to_end(&mut bytes).expect_err("other bytes");
            (bytes[0], broken.kind(), coming.whole(0))
        })
        .expect("an image");
    assert_eq!(read, Some((b'x', ErrorKind::ConnectionAborted, true)));
    assert_eq!(scene.left_in_ingest(), 0);
}

#[test]
fn a_wrong_whole_is_followed_by_the_right_one() {
    let image = Image::large();
    let (told, until) = signal();
    let served = image.clone();
    let scene = Scene::new(move |request| {
        match (served.asked(request), request.before) {
            // Half of another blob, and the connection breaks: the rest has the right bytes, and the whole has not.
            (Some(at), 0) => {
                let layer = &served.layers[at];
                let half = vec![b'x'; layer.len() / 2];
                return Act::Raw([head(layer.len()), half].concat());
            }
            (Some(_), 1) => heard(&until),
            _ => {}
        }
        served.serve(request)
    });
    let (_, whole) = scene
        .pull(|coming| {
            let mut growing = growing(coming, 0);
            told.send(()).expect("a server");
            let mut bytes = Vec::new();
            let read = growing.read_to_end(&mut bytes);
            // As fast as it came, or overtaken; the right ones in no case.
            assert!(read.is_err() || bytes != image.layers[0]);
            coming.whole(0)
        })
        .expect("an image");
    assert_eq!(whole, Some(true));
    let layer = image.layer(0).parse().expect("a digest");
    assert!(scene.store().blob(&layer).expect("a store").is_some());
    assert_eq!(scene.left_in_ingest(), 0);
}

#[test]
fn a_pull_that_fails_ends_every_wait() {
    let parts: Vec<Vec<u8>> = (0..6).map(|at| vec![at; 1000]).collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let image = Image::new(&parts);
    let served = image.clone();
    let scene = Scene::new(move |request| match served.asked(request) {
        Some(1) => Act::Answer(403, vec![], vec![]),
        _ => served.serve(request),
    });
    let (seen, waited) = channel();
    let error = scene
        .pull(|coming| {
            let came = coming.layer(5).map(|_| coming.whole(5));
            let begun = coming.whole(1);
            seen.send((came, begun, coming.is_over())).expect("room");
        })
        .expect_err("forbidden");
    assert!(
        matches!(error, Error::Status { status: 403, .. }),
        "{error}"
    );
    let (came, begun, is_over) = waited.recv().expect("an end");
    assert!(!begun && is_over && came != Some(true), "{came:?}");
}

#[test]
fn what_fails_meanwhile_ends_the_pull_and_the_image_gets_no_name() {
    let image = Image::large();
    let served = image.clone();
    let scene = Scene::new(move |request| match served.asked(request) {
        // It would take minutes.
        Some(_) => Act::Drip(head(served.layers[0].len()), Duration::from_millis(50)),
        None => served.serve(request),
    });
    let begun = Instant::now();
    let error = scene
        .pull_with(|coming| match coming.layer(0) {
            Some(Came::Growing(_)) => Err::<(), _>(Error::GivenUp {
                what: "unpacking".to_owned(),
            }),
            other => panic!("{other:?}"),
        })
        .expect_err("the other half failed");
    assert!(
        matches!(&error, Error::GivenUp { what } if what == "unpacking"),
        "{error}"
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(scene.store().images().expect("names"), []);
}

#[test]
fn what_another_brings_is_waited_for_until_it_is_whole() {
    let image = Image::new(&[b"layer"]);
    let served = image.clone();
    let scene = Scene::new(move |request| {
        assert_eq!(served.asked(request), None, "the other one brings it");
        served.serve(request)
    });
    let store = scene.store();
    let (digest, size) = (Digest::of(b"layer"), 5);
    let wanted = Descriptor::new("application/octet-stream", digest, size);
    let Claim::Mine(mut ingest) = store.claim(&wanted, &mut |_| true).expect("a store") else {
        panic!("it is nobody's");
    };
    ingest.append(b"lay").expect("room");
    let (_, whole) = scene
        .pull(|coming| {
            std::thread::sleep(Duration::from_millis(50));
            ingest.append(b"er").expect("room");
            ingest.commit().expect("a blob");
            matches!(coming.layer(0), Some(Came::Whole))
        })
        .expect("an image");
    assert_eq!(whole, Some(true));
}
