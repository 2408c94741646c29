//! Which images go when there is not room for all.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use super::names::record_file;
use super::tests::{image, store};
use super::*;
use crate::chain::ChainId;
use crate::reference::Reference;

const HOUR: Duration = Duration::from_secs(3600);

/// An image of 100 kB that nobody uses, last used so many hours ago.
fn old(store: &Store, name: &str, hours: u32, pulled: bool) -> Reference {
    let content = name.repeat(100_000 / name.len());
    let held = image(store, name, content.as_bytes());
    let name: Reference = name.parse().expect("a name");
    let mut record = store.image(&name).expect("a look").expect("the image");
    record.pulled = pulled;
    store.tag(&record, &held).expect("a name");
    let used = SystemTime::now() - HOUR * hours;
    record_of(store, &name).set_modified(used).expect("a time");
    name
}

fn record_of(store: &Store, name: &Reference) -> File {
    let path = store.path().join("images").join(record_file(name));
    File::options().write(true).open(path).expect("a record")
}

fn names(store: &Store) -> Vec<String> {
    let images = store.images().expect("names");
    images.iter().map(|image| image.name.familiar()).collect()
}

fn shrink(store: &Store, budget: u64) -> Vec<String> {
    let (gone, _) = store.shrink(budget, Duration::MAX).expect("shrunk");
    gone.iter().map(Reference::familiar).collect()
}

#[test]
fn the_longest_unused_go_until_the_rest_fits() {
    let (_directory, store) = store();
    old(&store, "a:1", 5, true);
    old(&store, "b:1", 20, true);
    old(&store, "c:1", 10, true);
    assert_eq!(shrink(&store, 400_000), [""; 0]);
    assert_eq!(shrink(&store, 250_000), ["b:1"]);
    assert_eq!(names(&store), ["a:1", "c:1"]);
    assert!(store.usage().expect("usage").on_disk() <= 250_000);
    let (gone, pruned) = store.shrink(0, Duration::MAX).expect("shrunk");
    assert_eq!((gone.len(), pruned.blobs.len()), (2, 6));
    assert_eq!(store.usage().expect("usage").on_disk(), 0);
}

#[test]
fn what_no_pull_brings_back_and_what_is_in_use_stays() {
    let (_directory, store) = store();
    old(&store, "made-here:1", 50, false);
    let used = old(&store, "used:1", 40, true);
    old(&store, "idle:1", 30, true);
    let record = store.image(&used).expect("a look").expect("the image");
    let pulled = crate::pull::recorded(&store, record).expect("a look");
    assert_eq!(shrink(&store, 0), ["idle:1"]);
    assert_eq!(names(&store), ["made-here:1", "used:1"]);
    drop(pulled);
    assert_eq!(shrink(&store, 0), ["used:1"]);
}

#[test]
fn what_another_name_holds_frees_nothing() {
    let (_directory, store) = store();
    let name = old(&store, "a:1", 20, true);
    let record = store.image(&name).expect("a look").expect("the image");
    let pulled = crate::pull::recorded(&store, record.clone()).expect("a look");
    let mut other = record;
    other.name = "same:1".parse().expect("a name");
    store
        .tag(&other, &pulled.expect("there").held)
        .expect("a name");
    old(&store, "b:1", 1, true);
    // By its other name it was used just now.
    assert_eq!(shrink(&store, 150_000), ["b:1"]);
    // Both names, since one alone makes no room.
    assert_eq!(shrink(&store, 0), ["a:1", "same:1"]);
}

#[test]
fn unpacked_layers_count_with_what_they_take_on_disk() {
    let (_directory, store) = store();
    let name = old(&store, "a:1", 20, true);
    let content = "a:1".repeat(100_000 / 3);
    let id = ChainId::all(&[Digest::of(content.as_bytes())]).remove(0);
    let staging = store.stage().expect("a directory");
    let at = staging.path();
    fs::create_dir(at.join("d")).expect("a directory");
    fs::write(at.join("d/f"), vec![1; 300_000]).expect("a file");
    fs::hard_link(at.join("d/f"), at.join("d/g")).expect("its other name");
    let layer = staging.publish(&id).expect("the layer");
    let size = layer.size().expect("a size");
    assert!((300_000..400_000).contains(&size), "{size}");
    drop(layer);
    assert_eq!(shrink(&store, 500_000), [""; 0]);
    assert_eq!(shrink(&store, 350_000), [name.familiar()]);
    assert!(store.layer(&id).expect("a look").is_none());
}

#[test]
fn a_use_is_noted_once_an_hour() {
    let (_directory, store) = store();
    let name = old(&store, "a:1", 20, true);
    let last = || {
        let file = record_of(&store, &name).metadata().expect("a record");
        file.modified()
            .expect("a time")
            .elapsed()
            .expect("the past")
    };
    store.used(&name).expect("noted");
    assert!(last() < HOUR);
    let recently = SystemTime::now() - HOUR / 2;
    record_of(&store, &name)
        .set_modified(recently)
        .expect("a time");
    store.used(&name).expect("noted");
    assert!(last() >= HOUR / 2);
    store
        .used(&"none:1".parse().expect("a name"))
        .expect("nothing to note");
}
