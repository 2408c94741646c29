//! The store, on a real directory.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::chain::ChainId;
use crate::descriptor::Descriptor;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::media::{OCI_CONFIG, OCI_MANIFEST};

pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

pub(super) fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(&directory.path().join("images")).expect("a store");
    (directory, store)
}

pub(super) fn blob(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64)
}

pub(super) fn mine<'a>(store: &'a Store, wanted: &Descriptor) -> Box<Ingest<'a>> {
    match store.claim(wanted, &mut |_| false).expect("a claim") {
        Claim::Mine(ingest) => ingest,
        other => panic!("{other:?}"),
    }
}

pub(super) fn ingested(store: &Store) -> Vec<String> {
    files::names(&store.ingest, "ingest".as_ref()).expect("names")
}

/// An image of one layer, under a name.
pub(super) fn image(store: &Store, name: &str, content: &[u8]) -> Vec<Blob> {
    let layer = blob(LAYER, content);
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(content).to_string()] },
    })
    .to_string();
    let config_at = blob(OCI_CONFIG, config.as_bytes());
    let manifest = Manifest::new(config_at.clone(), vec![layer.clone()]);
    let manifest = serde_json::to_vec(&manifest).expect("JSON");
    let target = blob(OCI_MANIFEST, &manifest);
    let held = vec![
        store.put(&layer, content).expect("the layer"),
        store
            .put(&config_at, config.as_bytes())
            .expect("the config"),
        store.put(&target, &manifest).expect("the manifest"),
    ];
    let platform = "linux/amd64".parse().expect("a platform");
    let record = Record::new(name.parse().expect("a name"), &target, &target, platform);
    store.tag(&record, &held).expect("a name");
    held
}

#[test]
fn a_blob_is_there_only_when_it_is_whole_and_right() {
    let (_directory, store) = store();
    let wanted = blob(LAYER, b"hello");
    let mut ingest = mine(&store, &wanted);
    ingest.append(b"hel").expect("some");
    assert!(store.blob(&wanted.digest).expect("a look").is_none());
    ingest.append(b"lo").expect("the rest");
    let mut text = String::new();
    ingest
        .commit()
        .expect("the blob")
        .read_to_string(&mut text)
        .expect("its bytes");
    assert_eq!(text, "hello");
    assert_eq!(ingested(&store), [""; 0]);
    let again = store.claim(&wanted, &mut |_| false).expect("a claim");
    assert!(matches!(again, Claim::Present(_)), "{again:?}");
}

/// A lock that is made another one is given up for a moment.
#[test]
fn what_is_written_has_the_lock_that_it_will_be_used_with() {
    let (directory, store) = store();
    let _ingest = mine(&store, &blob(LAYER, b"hello"));
    let _writer = store.writer().expect("a writer");
    let _staging = store.stage().expect("a directory");
    let mut seen = 0;
    for name in ingested(&store) {
        if name.ends_with(".lock") {
            continue;
        }
        let at = directory.path().join("images/ingest").join(name);
        let other = fs::File::open(at).expect("what is written");
        other.try_lock().expect_err("in use");
        other.try_lock_shared().expect("the same lock");
        seen += 1;
    }
    assert_eq!(seen, 3);
}

#[test]
fn a_wrong_blob_leaves_nothing() {
    let (_directory, store) = store();
    let wanted = blob(LAYER, b"hello");
    let mut ingest = mine(&store, &wanted);
    ingest.append(b"hellO").expect("bytes");
    let error = ingest.commit().expect_err("another digest");
    assert!(
        matches!(&error, Error::Mismatch { got, .. } if *got == Digest::of(b"hellO")),
        "{error}"
    );
    let mut ingest = mine(&store, &wanted);
    ingest.append(b"hell").expect("bytes");
    let error = ingest.commit().expect_err("too short");
    assert!(
        matches!(
            error,
            Error::Size {
                got: 4,
                wanted: 5,
                ..
            }
        ),
        "{error}"
    );
    let mut ingest = mine(&store, &wanted);
    let error = ingest.append(b"hello!").expect_err("too long");
    assert!(
        matches!(
            error,
            Error::Size {
                got: 6,
                wanted: 5,
                ..
            }
        ),
        "{error}"
    );
    ingest.discard().expect("gone");
    assert_eq!(ingested(&store), [""; 0]);
    assert!(store.blob(&wanted.digest).expect("a look").is_none());
}

#[test]
fn what_came_so_far_is_kept_hashed_anew_and_gone_on_with() {
    let (directory, store) = store();
    let wanted = blob(LAYER, b"hello");
    let mut ingest = mine(&store, &wanted);
    ingest.append(b"hel").expect("some");
    drop(ingest);
    drop(store);
    let store = Store::open(&directory.path().join("images")).expect("the same store");
    let mut ingest = mine(&store, &wanted);
    assert_eq!(ingest.written(), 3);
    ingest.append(b"lo").expect("the rest");
    ingest.commit().expect("the blob");

    // As long as the blob, or longer, and wrong: of no use.
    let other = blob(LAYER, b"12345");
    for left in ["abcde", "123456"] {
        let ingest = mine(&store, &other);
        let at = directory
            .path()
            .join("images/ingest")
            .join(&ingested(&store)[0]);
        fs::write(at, left).expect("written behind its back");
        drop(ingest);
        assert_eq!(mine(&store, &other).written(), 0, "{left}");
    }
}

#[test]
fn whoever_wants_the_same_waits_and_finds_it() {
    let (_directory, store) = store();
    let wanted = blob(LAYER, b"hello");
    let mut ingest = mine(&store, &wanted);
    ingest.append(b"hel").expect("some");
    let given = store
        .claim(&wanted, &mut |so_far| so_far != 3)
        .expect("a claim");
    assert!(matches!(given, Claim::Given), "{given:?}");
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| store.claim(&wanted, &mut |_| true).expect("a claim")))
            .collect();
        ingest.append(b"lo").expect("the rest");
        ingest.commit().expect("the blob");
        for waiter in waiters {
            let claim = waiter.join().expect("a thread");
            assert!(matches!(claim, Claim::Present(_)), "{claim:?}");
        }
    });
}

#[test]
fn prune_takes_what_no_name_leads_to_and_nobody_uses() {
    let (_directory, store) = store();
    drop(image(&store, "a:1", b"shared by two"));
    drop(image(&store, "b:1", b"of one"));
    let loose = store.put(&blob(LAYER, b"loose"), b"loose").expect("a blob");
    let pruned = store.prune(Duration::MAX).expect("a prune");
    assert_eq!((pruned.blobs.len(), pruned.busy), (0, 1));
    drop(loose);
    let pruned = store.prune(Duration::MAX).expect("a prune");
    assert_eq!(
        (pruned.blobs, pruned.bytes),
        (vec![Digest::of(b"loose")], 5)
    );

    let b = "b:1".parse().expect("a name");
    let of_b = store.usage().expect("usage").blobs;
    let of_b = of_b
        .iter()
        .find(|blob| blob.digest == Digest::of(b"of one"))
        .expect("its layer");
    assert_eq!(of_b.holders, [b]);
    assert!(store.untag(&of_b.holders[0]).expect("untagged"));
    assert!(!store.untag(&of_b.holders[0]).expect("untagged"));
    assert_eq!(store.prune(Duration::MAX).expect("a prune").blobs.len(), 3);
    assert_eq!(store.usage().expect("usage").blobs.len(), 3);
    assert_eq!(store.images().expect("names").len(), 1);
}

#[test]
fn prune_never_takes_what_a_name_was_just_given_to() {
    let (_directory, store) = store();
    let stop = std::sync::atomic::AtomicBool::new(false);
    /// A failure must not leave the other thread running.
    struct Stop<'a>(&'a std::sync::atomic::AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let stopper = Stop(&stop);
        let pruner = scope.spawn(|| {
            let mut taken = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                taken += store.prune(Duration::MAX).expect("a prune").blobs.len();
            }
            taken
        });
        for round in 0..60 {
            // The same content each time, so that old blobs are found and held again.
            let held = image(&store, "a:1", b"content");
            drop(held);
            for blob in &store.usage().expect("usage").blobs {
                assert_eq!(blob.holders.len(), 1, "round {round}: {blob:?}");
            }
            let digest = Digest::of(b"content");
            assert!(
                store.blob(&digest).expect("a look").is_some(),
                "round {round}"
            );
            store
                .untag(&"a:1".parse().expect("a name"))
                .expect("untagged");
        }
        drop(stopper);
        pruner.join().expect("the pruner");
    });
}

/// A prune that finds a name for what it has locked must not wait for its own lock.
#[test]
fn names_are_read_while_their_documents_are_locked() {
    let (directory, store) = store();
    drop(image(&store, "a:1", b"content"));
    let blobs = directory.path().join("images/blobs/sha256");
    let locked: Vec<_> = fs::read_dir(blobs)
        .expect("blobs")
        .map(|blob| {
            let file = fs::File::open(blob.expect("a blob").path()).expect("a file");
            file.lock().expect("an exclusive lock");
            file
        })
        .collect();
    assert_eq!(locked.len(), 3);
    let usage = store.usage().expect("usage");
    assert!(
        usage.blobs.iter().all(|blob| blob.holders.len() == 1),
        "{usage:?}"
    );
    assert_eq!(
        store.prune(Duration::MAX).expect("a prune"),
        Pruned::default()
    );
}

#[test]
fn prune_takes_what_was_abandoned_and_not_what_is_written() {
    let (_directory, store) = store();
    let mut kept = mine(&store, &blob(LAYER, b"12345"));
    kept.append(b"123").expect("some");
    let mut left = mine(&store, &blob(LAYER, b"abcde"));
    left.append(b"abc").expect("some");
    drop(left);
    assert_eq!(
        store
            .prune(Duration::from_secs(3600))
            .expect("a prune")
            .partial,
        0
    );
    let pruned = store.prune(Duration::ZERO).expect("a prune");
    assert_eq!((pruned.partial, pruned.bytes), (1, 3));
    assert_eq!(store.usage().expect("usage").partial, 3);
}

#[test]
fn a_layer_appears_whole_and_stays_while_it_is_used() {
    let (directory, store) = store();
    let id = ChainId::all(&[Digest::of(b"a layer")]).remove(0);
    assert!(store.layer(&id).expect("a look").is_none());
    let first = store.stage().expect("a directory");
    let inner = directory
        .path()
        .join("images/ingest")
        .join(&ingested(&store)[0]);
    let second = store.stage().expect("a directory");
    // Deeper than a recursion with a descriptor each would get, and closed to its owner.
    let mut deep = inner.clone();
    for _ in 0..300 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).expect("a deep tree");
    fs::write(deep.join("file"), "x").expect("a file");
    symlink("/", inner.join("link")).expect("a link");
    fs::set_permissions(inner.join("d"), fs::Permissions::from_mode(0o000)).expect("chmod");
    let layer = first.publish(&id).expect("the layer");
    drop(second.publish(&id).expect("the same layer"));
    assert_eq!(ingested(&store), [""; 0]);
    assert_eq!(store.prune(Duration::MAX).expect("a prune").busy, 1);
    drop(layer);
    let pruned = store.prune(Duration::MAX).expect("a prune");
    assert_eq!(pruned.layers, [id]);
    assert_eq!(ingested(&store), [""; 0]);
}

#[test]
fn a_store_that_others_can_read_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("images");
    drop(Store::open(&path).expect("a store"));
    for inner in ["", "blobs", "blobs/sha256", "ingest", "images", "layers"] {
        let mode = fs::metadata(path.join(inner))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o700, "{inner}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    let error = Store::open(&path).expect_err("open to others");
    assert!(error.to_string().contains("is open to others"), "{error}");
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let (directory, store) = store();
    let digest = Digest::of(b"x");
    let at = directory
        .path()
        .join("images/blobs/sha256")
        .join(digest.hex());
    symlink("/etc/passwd", &at).expect("a link");
    assert_eq!(
        store.blob(&digest).expect_err("a link").errno(),
        Some(Errno::LOOP)
    );
    fs::remove_file(&at).expect("removed");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &at,
        rustix::fs::FileType::Fifo,
        PRIVATE_FILE,
        0,
    )
    .expect("a FIFO");
    let error = store.blob(&digest).expect_err("a FIFO");
    assert!(
        error.to_string().ends_with("is not a regular file"),
        "{error}"
    );
    fs::remove_file(&at).expect("removed");
    fs::write(&at, "y").expect("another's bytes");
    let error = store.document(&digest).expect_err("damaged");
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[test]
fn a_blob_of_our_own_is_named_when_it_is_whole() {
    let (_directory, store) = store();
    let mut writer = store.writer().expect("a writer");
    writer.write_all(b"hello").expect("bytes");
    drop(writer);
    assert_eq!(ingested(&store), [""; 0]);
    let mut writer = store.writer().expect("a writer");
    writer.write_all(b"hello").expect("bytes");
    let blob = writer.finish().expect("a blob");
    assert_eq!((blob.digest(), blob.size()), (&Digest::of(b"hello"), 5));
}

#[test]
fn a_name_whose_record_is_damaged_can_be_forgotten() {
    let (directory, store) = store();
    drop(image(&store, "a:1", b"content"));
    let images = directory.path().join("images/images");
    let record = fs::read_dir(images).expect("names").next().expect("one");
    fs::write(record.expect("one").path(), "{").expect("damaged");
    let name = "a:1".parse().expect("a name");
    store.image(&name).expect_err("damaged");
    assert!(store.untag(&name).expect("forgotten"));
    assert!(!store.untag(&name).expect("forgotten"));
    assert_eq!(store.prune(Duration::MAX).expect("a prune").blobs.len(), 3);
}

#[test]
fn prunes_at_the_same_time_remove_the_same_tree() {
    let (directory, store) = store();
    for round in 0..5 {
        // Left by a process that died while it unpacked, and by one that died while it removed.
        for name in ["layer-1", "dead-1"] {
            let mut deep = directory.path().join("images/ingest").join(name);
            for at in 0..60 {
                deep.push("d");
                fs::create_dir_all(deep.join(format!("e{at}/f"))).expect("a tree");
                fs::write(deep.join("file"), "x").expect("a file");
            }
        }
        std::thread::scope(|scope| {
            let prunes: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| store.prune(Duration::ZERO)))
                .collect();
            for prune in prunes {
                prune.join().expect("a thread").expect("a prune");
            }
        });
        assert_eq!(ingested(&store), [""; 0], "round {round}");
    }
}

#[test]
fn a_prune_disturbs_nobody_who_begins() {
    let (_directory, store) = store();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    store.prune(Duration::ZERO).expect("a prune");
                }
            });
        }
        let begun: Result<Vec<_>, _> = (0..300)
            .map(|_| {
                store.stage()?.discard()?;
                store.writer().map(drop)
            })
            .collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        begun.expect("three hundred times");
    });
}

/// The time of a layer's root is the layer's own, and old.
#[test]
fn what_is_young_is_not_abandoned_whatever_time_it_has() {
    let (directory, store) = store();
    let hour = Duration::from_secs(3600);
    let ingest = directory.path().join("images/ingest");
    drop(store.stage().expect("a directory"));
    let name = &ingested(&store)[0];
    let root = fs::File::open(ingest.join(name)).expect("the directory");
    root.set_modified(std::time::UNIX_EPOCH).expect("its time");
    assert_eq!(store.prune(hour).expect("a prune").partial, 0);
    // What is being removed already is removed at once.
    fs::rename(ingest.join(name), ingest.join("dead-1")).expect("renamed");
    assert_eq!(store.prune(hour).expect("a prune").partial, 1);
}

#[test]
fn a_layer_is_held_by_the_images_that_have_it_on_the_same_layers() {
    let (_directory, store) = store();
    drop(image(&store, "a:1", b"content"));
    let [content, below] = [&b"content"[..], b"below"].map(Digest::of);
    let own = ChainId::all(std::slice::from_ref(&content)).remove(0);
    let other = ChainId::all(&[below, content]).remove(1);
    for id in [&own, &other] {
        let staging = store.stage().expect("a directory");
        drop(staging.publish(id).expect("the layer"));
    }
    let usage = store.usage().expect("usage").layers;
    let holders = |id: &ChainId| {
        usage
            .iter()
            .find(|known| known.id == *id)
            .map(|known| known.holders.len())
    };
    assert_eq!((holders(&own), holders(&other)), (Some(1), Some(0)));
    assert_eq!(store.prune(Duration::MAX).expect("a prune").layers, [other]);
    assert!(store.layer(&own).expect("a look").is_some());
}
