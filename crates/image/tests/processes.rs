//! The store, used by several processes at once. Each test runs itself again for them.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use image::{Claim, Descriptor, Digest, Error, Manifest, Record, Reference, Store};

const CONTENT: &[u8] = b"what all of them want";

/// This test again, in a process of its own, to do one thing.
fn another_process(test: &str, directory: &Path, what: &str) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture"])
        .env("STORE", directory)
        .env("WHAT", what)
        .stdout(Stdio::null())
        .spawn()
        .expect("this program")
}

/// What such a process is to do; `None` in the test itself.
fn told() -> Option<(Store, String)> {
    let (directory, what) = (std::env::var("STORE").ok()?, std::env::var("WHAT").ok()?);
    let store = Store::open(directory.as_ref()).expect("a store");
    Some((store, what))
}

/// Brings the blob in two pieces, if it is this process's turn, and finds it afterwards as long as it holds it.
fn bring(store: &Store) {
    let digest = Digest::of(CONTENT);
    let wanted = Descriptor::new("", digest.clone(), CONTENT.len() as u64);
    let held = match store.claim(&wanted, &mut |_| true).expect("a claim") {
        Claim::Present(blob) => blob,
        Claim::Mine(mut ingest) => {
            let from = usize::try_from(ingest.written()).expect("few bytes");
            let (first, second) = CONTENT[from..].split_at((CONTENT.len() - from) / 2);
            ingest.append(first).expect("the first half");
            ingest.append(second).expect("the second half");
            ingest.commit().expect("the blob, which is in use")
        }
        Claim::Given => unreachable!("nobody gives up"),
    };
    assert!(store.blob(&digest).expect("a look").is_some());
    drop(held);
}

#[test]
fn who_brings_a_blob_loses_it_to_no_prune() {
    const NAME: &str = "who_brings_a_blob_loses_it_to_no_prune";
    if let Some((store, what)) = told() {
        for _ in 0..1000 {
            match what.as_str() {
                "bring" => bring(&store),
                _ => drop(store.prune(Duration::ZERO).expect("a prune")),
            }
        }
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let store = Store::open(&path).expect("a store");
    let all: Vec<Child> = ["bring", "prune", "bring", "prune", "bring"]
        .iter()
        .map(|what| another_process(NAME, &path, what))
        .collect();
    for mut child in all {
        assert!(child.wait().expect("an end").success());
    }
    store.prune(Duration::ZERO).expect("a prune");
    let left = std::fs::read_dir(path.join("ingest")).expect("a directory");
    assert_eq!(left.count(), 0);
}

#[test]
fn the_turn_of_a_killed_process_is_free() {
    const NAME: &str = "the_turn_of_a_killed_process_is_free";
    let wanted = Descriptor::new("", Digest::of(CONTENT), CONTENT.len() as u64);
    if let Some((store, _)) = told() {
        let claim = store.claim(&wanted, &mut |_| true).expect("a claim");
        let Claim::Mine(mut ingest) = claim else {
            unreachable!("nobody else is there yet: {claim:?}");
        };
        ingest.append(&CONTENT[..5]).expect("some");
        std::thread::sleep(Duration::from_secs(600));
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let store = Store::open(&path).expect("a store");
    let mut child = another_process(NAME, &path, "bring");
    let part = path.join(format!("ingest/sha256-{}", Digest::of(CONTENT).hex()));
    while std::fs::metadata(&part).map_or(0, |part| part.len()) < 5 {
        assert!(child.try_wait().expect("a look").is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    let claim = store.claim(&wanted, &mut |so_far| so_far != 5);
    assert!(matches!(claim.expect("a claim"), Claim::Given));
    child.kill().expect("a signal");
    child.wait().expect("an end");
    let Claim::Mine(ingest) = store.claim(&wanted, &mut |_| false).expect("a claim") else {
        unreachable!("nobody has it any more");
    };
    assert_eq!(ingest.written(), 5);
    drop(ingest);
    let pruned = store.prune(Duration::ZERO).expect("a prune");
    assert_eq!((pruned.partial, pruned.bytes), (1, 5));
}

/// An image of one layer under a name, held by nothing but the name when this returns.
fn name_one(store: &Store, name: &Reference) -> Record {
    let blob = |media_type: &str, bytes: &[u8]| {
        Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64)
    };
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        Digest::of(CONTENT)
    );
    let layer = blob("application/vnd.oci.image.layer.v1.tar", CONTENT);
    let config_at = blob(
        "application/vnd.oci.image.config.v1+json",
        config.as_bytes(),
    );
    let manifest = Manifest::new(config_at.clone(), vec![layer.clone()]);
    let manifest = serde_json::to_vec(&manifest).expect("JSON");
    let target = blob("application/vnd.oci.image.manifest.v1+json", &manifest);
    let put = |at: &Descriptor, bytes: &[u8]| {
        loop {
            match store.put(at, bytes) {
                // There when it was looked for, and pruned before it was held.
                Err(Error::Absent { .. }) => {}
                put => return put.expect("a blob"),
            }
        }
    };
    let held = [
        put(&layer, CONTENT),
        put(&config_at, config.as_bytes()),
        put(&target, &manifest),
    ];
    let platform = "linux/amd64".parse().expect("a platform");
    let record = Record::new(name.clone(), &target, &target, platform);
    store.tag(&record, &held).expect("a name");
    record
}

#[test]
fn names_come_and_go_beside_prunes_and_keep_what_they_lead_to() {
    const NAME: &str = "names_come_and_go_beside_prunes_and_keep_what_they_lead_to";
    if let Some((store, what)) = told() {
        for round in 0..200 {
            if what == "prune" {
                let pruned = store.prune(Duration::ZERO).expect("a prune");
                assert_eq!(pruned.damaged, []);
                continue;
            }
            let name = what.parse().expect("a name");
            let record = name_one(&store, &name);
            let verified = store.verify_image(&record).expect("a verdict");
            assert!(verified.is_good(), "{what}, round {round}: {verified:?}");
            assert!(store.untag(&name).expect("forgotten"));
        }
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let store = Store::open(&path).expect("a store");
    let all: Vec<Child> = ["a:1", "prune", "b:1", "prune", "c:1"]
        .iter()
        .map(|what| another_process(NAME, &path, what))
        .collect();
    for mut child in all {
        assert!(child.wait().expect("an end").success());
    }
    assert_eq!(store.images().expect("names"), []);
}
