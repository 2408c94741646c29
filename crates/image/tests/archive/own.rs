//! Images of our own making: of a root file system, and of another image.

use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use image::archive::{Change, Draft, Input, Output, Root, assemble, import, load, save};
use image::layer::{Changes, Limits, diff};
use image::{Blob, Digest, Error, Platform, Pulled, Quiet, Store};
use serde_json::{Value, json};

use super::parts::{layout, run};
use super::tarball::{dir, file, tar};
use super::{full, one, reference, store, text};

fn changes(instructions: &[&str]) -> Vec<Change> {
    let parsed = instructions.iter().map(|text| Change::parse(text));
    parsed
        .flat_map(|changes| changes.expect("a change"))
        .collect()
}

fn root() -> Vec<u8> {
    tar(&[dir("./"), dir("./etc/"), file("./etc/motd", "hello\n")])
}

/// The configuration as skopeo reads it from what is saved, and where umoci unpacked the image.
fn judged(store: &Store, image: &Pulled, directory: &Path) -> (Value, std::path::PathBuf) {
    let at = directory.join("saved");
    let _ = fs::remove_dir_all(&at);
    let names = [image.record.name.clone()];
    save(store, &names, Output::Directory(&at)).expect("a directory");
    let name = format!("{}:{}", text(&at), image.record.name);
    let config = run(
        "skopeo",
        &["inspect", "--config", "--raw", &format!("oci:{name}")],
    );
    let bundle = directory.join("bundle");
    let _ = fs::remove_dir_all(&bundle);
    run(
        "umoci",
        &["unpack", "--rootless", "--image", &name, &text(&bundle)],
    );
    (
        serde_json::from_str(&config).expect("JSON"),
        bundle.join("rootfs"),
    )
}

#[test]
fn a_root_file_system_becomes_the_same_image_however_it_is_packed() {
    let directory = tempfile::tempdir().expect("a directory");
    let plain = root();
    let gzip = flate2::read::GzEncoder::new(&plain[..], flate2::Compression::fast());
    let zstd = zstd::encode_all(&plain[..], 1).expect("to memory");
    let changes = changes(&[
        "CMD [\"/bin/true\"]",
        "ENV A=b",
        "EXPOSE 80",
        "WORKDIR /etc",
        "USER 5:6",
    ]);
    let name = reference("own:1");
    let mut root = Root::new(&name);
    root.changes = &changes;
    root.comment = Some("a test");
    root.created = Some(UNIX_EPOCH + Duration::from_secs(951_782_400));
    let inputs: [Box<dyn Read>; 3] = [Box::new(&plain[..]), Box::new(gzip), Box::new(&zstd[..])];
    let mut targets = Vec::new();
    for (at, mut input) in inputs.into_iter().enumerate() {
        let store = store(directory.path(), &format!("store-{at}"));
        let image = import(&store, &mut input, &root).expect("an image");
        assert_eq!(image.config.diff_ids, [Digest::of(&plain)]);
        assert_eq!(image.config.cmd, ["/bin/true"]);
        assert_eq!(store.image(&name).expect("a look"), None);
        store.tag(&image.record, &image.held).expect("a name");
        let (config, unpacked) = judged(&store, &image, directory.path());
        let motd = fs::read_to_string(unpacked.join("etc/motd")).expect("a file");
        assert_eq!(motd, "hello\n");
        let created = "2000-02-29T00:00:00Z";
        let wanted = json!({
            "os": "linux", "architecture": Platform::host().architecture, "created": created,
            "config": {
                "Cmd": ["/bin/true"], "Env": ["A=b"], "ExposedPorts": {"80/tcp": {}},
                "WorkingDir": "/etc", "User": "5:6",
            },
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&plain)]},
            "history": [{"created": created, "comment": "a test"}],
        });
        assert_eq!(without_variant(config), wanted);
        targets.push(image.record.target.digest.clone());
    }
    assert!(targets.iter().all(|digest| *digest == targets[0]));
}

/// Some processors have one.
fn without_variant(mut config: Value) -> Value {
    if let Some(config) = config.as_object_mut() {
        config.remove("variant");
    }
    config
}

/// A layer that adds a file and takes one away.
fn layer(store: &Store, directory: &Path) -> Blob {
    let [before, after] = ["before", "after"].map(|name| {
        let path = directory.join(name);
        fs::create_dir_all(path.join("data/etc")).expect("a directory");
        path
    });
    fs::write(before.join("data/etc/motd"), "").expect("a file");
    fs::write(after.join("data/new"), "new\n").expect("a file");
    let [before, after] = [before, after].map(|path| File::open(path).expect("a directory"));
    let trees = Changes::Trees {
        before: before.as_fd(),
        after: after.as_fd(),
    };
    let mut writer = store.writer().expect("a blob");
    diff(trees, &mut writer, &Limits::default()).expect("a layer");
    writer.finish().expect("a blob")
}

#[test]
fn a_layer_and_changes_make_a_new_image_of_an_old_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path(), "store");
    let layout = layout(directory.path());
    let name = reference("base:1");
    let input = Input::Directory(&layout);
    let base = one(load(&store, input, Some(&name), &Platform::host(), &Quiet));
    let before: Value =
        serde_json::from_slice(&store.document(&base.manifest.config.digest).expect("it"))
            .expect("JSON");
    let changes = changes(&["ENTRYPOINT [\"/bin/new\"]", "LABEL a=b"]);
    let name = reference("made:1");
    let mut draft = Draft::new(&name);
    draft.base = Some(&base);
    let added = layer(&store, directory.path());
    let id = added.digest().to_string();
    draft.layers = vec![added];
    draft.changes = &changes;
    draft.author = Some("me");
    draft.comment = Some("a test");
    draft.created_by = Some("sh");
    let image = assemble(&store, draft).expect("an image");
    store.tag(&image.record, &image.held).expect("a name");
    assert_eq!(image.manifest.layers[..2], base.manifest.layers);
    let (config, unpacked) = judged(&store, &image, directory.path());
    assert_eq!(
        fs::read_to_string(unpacked.join("data/new")).expect("a file"),
        "new\n"
    );
    assert!(!unpacked.join("data/etc/motd").exists());
    assert!(unpacked.join("srv/etc/motd").exists());
    let mut wanted = before;
    let map = wanted.as_object_mut().expect("an object");
    map.remove("created");
    map.insert("author".to_owned(), json!("me"));
    let inner = map["config"].as_object_mut().expect("an object");
    inner.remove("Cmd");
    inner.insert("Entrypoint".to_owned(), json!(["/bin/new"]));
    inner.insert("Labels".to_owned(), json!({"a": "b"}));
    let ids = map["rootfs"]["diff_ids"].as_array_mut().expect("a list");
    ids.push(json!(id));
    let step = json!({"created_by": "sh", "author": "me", "comment": "a test"});
    map["history"].as_array_mut().expect("a list").push(step);
    assert_eq!(config, wanted);
    // Without a layer it is the same root, and the history says so.
    let name = reference("made:2");
    let mut draft = Draft::new(&name);
    draft.base = Some(&image);
    let again = assemble(&store, draft).expect("an image");
    store.tag(&again.record, &again.held).expect("a name");
    assert_eq!(again.manifest.layers, image.manifest.layers);
    assert!(again.config.history.last().expect("a step").empty_layer);
    assert_eq!(again.config.entrypoint, ["/bin/new"]);
    // All of it is in use: nothing of what has just lost its name goes.
    assert!(store.untag(&name).expect("a name"));
    assert_eq!(store.prune(Duration::ZERO).expect("a prune").blobs, []);
}

#[test]
fn roots_that_are_no_layers_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path(), "store");
    let name = reference("own:1");
    let root = root();
    let refused = |input: &[u8], why: &str| {
        let error = import(&store, &mut &input[..], &Root::new(&name)).expect_err(why);
        assert!(full(&error).contains(why), "{why}: {}", full(&error));
    };
    refused(b"", "unexpected end");
    refused(&root[..700], "unexpected end");
    refused(
        &tar(&[file("../x", "")]),
        "\"../x\": its name contains `..`",
    );
    refused(b"\xfd7zXZ\0\0", "xz");
    refused(&[&root[..], b"more"].concat(), "follow the end");
    let usage = store.usage().expect("a store");
    assert_eq!((usage.blobs, usage.partial), (Vec::new(), 0));
}

#[test]
fn drafts_that_lead_to_no_image_are_refused_and_leave_no_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path(), "store");
    let name = reference("own:1");
    let blob = |bytes: &[u8]| {
        let mut writer = store.writer().expect("a blob");
        writer.write_all(bytes).expect("a blob");
        writer.finish().expect("a blob")
    };
    let refused = |layers: Vec<Blob>, instruction: &str, why: &str| {
        let changes = changes(&[instruction]);
        let mut draft = Draft::new(&name);
        (draft.layers, draft.changes) = (layers, &changes);
        let error = assemble(&store, draft).expect_err(why);
        assert!(error.to_string().contains(why), "{why}: {error}");
        assert_eq!(store.images().expect("names"), []);
    };
    let plain = || blob(&root());
    refused(vec![plain()], "USER a,b", "User \"a,b\"");
    refused(vec![plain()], "VOLUME data", "is not absolute");
    refused(vec![plain()], "STOPSIGNAL SIGNONE", "no signal of Linux");
    refused(Vec::new(), "USER a", "has 0 layers");
    let many = (0..129).map(|_| plain()).collect();
    refused(many, "USER a", "has 129 layers");
    let packed = zstd::encode_all(&root()[..], 1).expect("to memory");
    refused(vec![blob(&packed)], "USER a", "is zstd");
    let exact = name.with_digest(Digest::of(b""));
    let error = assemble(&store, Draft::new(&exact)).expect_err("a digest");
    assert!(matches!(error, Error::Reference { .. }), "{error}");
}
