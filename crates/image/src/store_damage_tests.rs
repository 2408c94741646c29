//! The store, with what a disk has changed in it.

use std::fs;
use std::time::Duration;

use super::tests::{LAYER, blob, image, ingested, mine, store};
use super::*;
use crate::chain::ChainId;
use crate::descriptor::Descriptor;
use crate::error::Error;

/// Changes what is in the file of a blob.
fn damage(directory: &tempfile::TempDir, digest: &Digest, bytes: &[u8]) {
    let at = directory.path().join("images/blobs/sha256");
    fs::write(at.join(digest.hex()), bytes).expect("written behind its back");
}

#[test]
fn a_damaged_blob_is_found_and_removed_and_a_good_one_is_not() {
    let (directory, store) = store();
    let held = image(&store, "a:1", b"content");
    let [layer, config, manifest] = [0, 1, 2].map(|at| held[at].digest().clone());
    let name = "a:1".parse().expect("a name");
    let record = store.image(&name).expect("a look").expect("the name");
    let good = store.verify_image(&record).expect("a verdict");
    let bytes = held.iter().map(Blob::size).sum::<u64>();
    assert_eq!((good.blobs, good.bytes, good.is_good()), (3, bytes, true));

    damage(&directory, &layer, b"cOntent");
    fs::remove_file(
        directory
            .path()
            .join("images/blobs/sha256")
            .join(config.hex()),
    )
    .expect("removed");
    let bad = store.verify_image(&record).expect("a verdict");
    assert_eq!(
        (bad.blobs, &bad.damaged[..], &bad.absent[..]),
        (1, &[layer.clone()][..], &[config.clone()][..])
    );
    let error = store.verify(&layer).expect_err("damaged");
    assert!(
        error
            .to_string()
            .contains("is damaged in the store: its bytes are"),
        "{error}"
    );
    // Still in use by `held`: that keeps nobody from mending it.
    let asked = [layer.clone(), config, manifest.clone()];
    let removed = store.remove_damaged(&asked).expect("removed");
    assert_eq!(removed, std::slice::from_ref(&layer));
    assert!(store.blob(&layer).expect("a look").is_none());
    assert_eq!(store.verify(&manifest).expect("left alone"), held[2].size());
    assert_eq!(ingested(&store), [""; 0]);

    damage(&directory, &manifest, b"{}");
    let bad = store.verify_image(&record).expect("a verdict");
    assert_eq!((bad.blobs, bad.damaged), (0, vec![manifest]));
}

#[test]
fn a_blob_of_another_size_is_replaced_only_if_it_is_damaged() {
    let (directory, store) = store();
    let wanted = blob(LAYER, b"content");
    let held = store.put(&wanted, b"content").expect("the blob");
    // A document that lies about the size takes it from nobody.
    let lie = Descriptor::new(LAYER, wanted.digest.clone(), 3);
    let error = store.claim(&lie, &mut |_| true).expect_err("a lie");
    assert!(matches!(error, Error::Size { got: 7, .. }), "{error}");
    assert!(store.blob(&wanted.digest).expect("a look").is_some());

    damage(&directory, &wanted.digest, b"cont");
    let mut ingest = mine(&store, &wanted);
    ingest.append(b"content").expect("bytes");
    ingest.commit().expect("the blob");
    store.verify(&wanted.digest).expect("right again");
    drop(held);
    // Of the same size: who has the bytes at hand looks.
    damage(&directory, &wanted.digest, b"CONTENT");
    drop(store.put(&wanted, b"content").expect("the blob"));
    store.verify(&wanted.digest).expect("right again");
}

/// What prune and usage say of a damaged file, and whether a loose blob and a loose layer are removed then.
#[track_caller]
fn kept_with(file: &str, digest: Option<&Digest>, removed: (usize, usize)) {
    let (directory, store) = store();
    let held = image(&store, "a:1", b"content");
    let digests: Vec<Digest> = held.iter().map(|blob| blob.digest().clone()).collect();
    drop(held);
    drop(store.put(&blob(LAYER, b"loose"), b"loose").expect("a blob"));
    let loose = ChainId::all(&[Digest::of(b"loose")]).remove(0);
    let own = ChainId::all(&[Digest::of(b"content")]).remove(0);
    for id in [&loose, &own] {
        drop(store.stage().expect("a directory").publish(id).expect("it"));
    }
    let path = match digest {
        Some(digest) => directory
            .path()
            .join("images/blobs/sha256")
            .join(digest.hex()),
        None => {
            let images = fs::read_dir(directory.path().join("images/images"));
            let first = images.expect("names").next().expect("one");
            first.expect("one").path()
        }
    };
    let before = fs::read(&path).expect("a file");
    fs::write(&path, "{").expect("damaged");
    let usage = store.usage().expect("usage");
    let pruned = store.prune(Duration::MAX).expect("a prune");
    assert_eq!((pruned.blobs.len(), pruned.layers.len()), removed, "{file}");
    assert_eq!(pruned.damaged, usage.damaged, "{file}");
    let [damage] = &pruned.damaged[..] else {
        panic!("{file}: {:?}", pruned.damaged);
    };
    assert_eq!((&damage.path, damage.digest.as_ref()), (&path, digest));
    assert_eq!(damage.image.is_some(), digest.is_some(), "{file}");
    // Mended, all that belongs to the image is there, and nothing else is kept.
    fs::write(&path, before).expect("mended");
    let pruned = store.prune(Duration::MAX).expect("a prune");
    assert_eq!(pruned.damaged, []);
    let left = store.usage().expect("usage");
    assert_eq!((left.blobs.len(), left.layers.len()), (3, 1), "{file}");
    assert!(digests.iter().all(|digest| store.verify(digest).is_ok()));
}

#[test]
fn prune_reports_damage_and_keeps_what_it_may_have_led_to() {
    let content = Digest::of(b"content");
    let (_directory, store) = store();
    let held = image(&store, "a:1", b"content");
    kept_with("record", None, (0, 0));
    kept_with("manifest", Some(held[2].digest()), (0, 0));
    kept_with("config", Some(held[1].digest()), (1, 0));
    kept_with("layer", Some(&content), (1, 1));
}
