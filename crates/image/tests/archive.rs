//! Images in files: what skopeo and umoci write is loaded, what is saved they read.

#[path = "archive/hostile.rs"]
mod hostile;
#[path = "archive/made.rs"]
mod made;
#[path = "archive/own.rs"]
mod own;
#[allow(dead_code, reason = "half of it is for registries")]
#[path = "registry/parts.rs"]
mod parts;
#[path = "archive/saved.rs"]
mod saved;
#[path = "common/tarball.rs"]
mod tarball;

use std::error::Error as _;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use image::archive::{Input, load, load_checked};
use image::{Digest, Error, Platform, Progress, Pulled, Quiet, Reference, Store};
use made::{LAYOUT, Parts};
use parts::{layout, run};
use tarball::{Head, dir, file, hard, symlink, tar};

fn store(directory: &Path, name: &str) -> Store {
    Store::open(&directory.join(name)).expect("a store")
}

fn reference(name: &str) -> Reference {
    name.parse().expect("a name")
}

fn from_stream(store: &Store, mut input: impl Read, name: &str) -> Result<Vec<Pulled>, Error> {
    let name = (!name.is_empty()).then(|| reference(name));
    let input = Input::Stream(&mut input);
    load(store, input, name.as_ref(), &Platform::host(), &Quiet)
}

#[track_caller]
fn one(images: Result<Vec<Pulled>, Error>) -> Pulled {
    let mut images = images.unwrap_or_else(|error| panic!("{}", full(&error)));
    assert_eq!(images.len(), 1);
    images.remove(0)
}

fn full(error: &Error) -> String {
    let source = error.source().map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

/// `skopeo copy`, from and to a file.
fn copy(from: &str, to: &str) {
    run("skopeo", &["--insecure-policy", "copy", from, to]);
}

fn raw(place: &str) -> (Digest, serde_json::Value) {
    let text = run("skopeo", &["inspect", "--raw", place]);
    let value = serde_json::from_str(&text).expect("a manifest");
    (Digest::of(text.as_bytes()), value)
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path").to_owned()
}

/// The digests that a manifest as JSON has: of its configuration, then of its layers.
fn digests(manifest: &serde_json::Value) -> Vec<String> {
    let of = |value: &serde_json::Value| value["digest"].as_str().expect("a digest").to_owned();
    let layers = manifest["layers"].as_array().expect("layers");
    [of(&manifest["config"])]
        .into_iter()
        .chain(layers.iter().map(of))
        .collect()
}

fn digests_of(image: &Pulled) -> Vec<String> {
    let digest = |descriptor: &image::Descriptor| descriptor.digest.to_string();
    [digest(&image.manifest.config)]
        .into_iter()
        .chain(image.manifest.layers.iter().map(digest))
        .collect()
}

#[test]
fn a_layout_that_umoci_makes_is_loaded_with_every_digest_as_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let layout = layout(directory.path());
    let store = store(directory.path(), "store");
    let name = reference("web:1");
    let image = || {
        let input = Input::Directory(&layout);
        one(load(&store, input, Some(&name), &Platform::host(), &Quiet))
    };
    let loaded = image();
    let (digest, manifest) = raw(&format!("oci:{}:1", text(&layout)));
    assert_eq!(loaded.record.target.digest, digest);
    assert_eq!(digests_of(&loaded), digests(&manifest));
    assert_eq!(loaded.config.cmd, ["/bin/true"]);
    assert_eq!(loaded.held.len(), 4);
    assert!(!loaded.was_present);
    assert!(image().was_present);
    let record = store.image(&name).expect("a record").expect("the name");
    assert_eq!(record, image().record);
    // It is one of umoci's names, which say no more than a tag.
    let nameless = load(
        &store,
        Input::Directory(&layout),
        None,
        &Platform::host(),
        &Quiet,
    );
    let error = nameless.expect_err("no name");
    assert!(error.to_string().contains("give one"), "{error}");
}

#[test]
fn what_is_not_agreed_to_gets_no_name_and_takes_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let layout = layout(directory.path());
    let store = store(directory.path(), "store");
    let name = reference("web:1");
    let load = |refuse: bool| {
        let mut check = |image: &Pulled| match refuse {
            true => Err(Error::Absent {
                digest: image.record.target.digest.clone(),
            }),
            false => Ok(()),
        };
        let input = Input::Directory(&layout);
        load_checked(
            &store,
            input,
            Some(&name),
            &Platform::host(),
            &Quiet,
            &mut check,
        )
    };
    load(true).expect_err("refused");
    assert_eq!(store.image(&name).expect("a look"), None);
    let first = one(load(false));
    let mut moved = first.record.clone();
    moved.updated = 1;
    store.tag(&moved, &first.held).expect("a name");
    load(true).expect_err("refused");
    assert_eq!(store.image(&name).expect("a look"), Some(moved));
}

#[test]
fn an_archive_that_skopeo_makes_is_loaded_from_a_stream_however_it_is_packed() {
    let directory = tempfile::tempdir().expect("a directory");
    let from = format!("oci:{}:1", text(&layout(directory.path())));
    let archive = directory.path().join("oci.tar");
    let place = format!("oci-archive:{}", text(&archive));
    copy(&from, &format!("{place}:a/b:2"));
    let (digest, manifest) = raw(&place);
    let plain = fs::read(&archive).expect("the archive");
    let gzip = flate2::read::GzEncoder::new(&plain[..], flate2::Compression::fast());
    let zstd = zstd::encode_all(&plain[..], 1).expect("to memory");
    let inputs: [(&str, Box<dyn Read>); 3] = [
        ("plain", Box::new(&plain[..])),
        ("gzip", Box::new(gzip)),
        ("zstd", Box::new(&zstd[..])),
    ];
    for (packing, input) in inputs {
        let store = store(directory.path(), packing);
        let loaded = one(from_stream(&store, input, ""));
        assert_eq!(loaded.record.name, reference("a/b:2"), "{packing}");
        assert_eq!(loaded.record.target.digest, digest, "{packing}");
        assert_eq!(digests_of(&loaded), digests(&manifest), "{packing}");
    }
}

#[test]
fn what_skopeo_writes_as_docker_save_becomes_an_image_of_oci_with_plain_layers() {
    let directory = tempfile::tempdir().expect("a directory");
    let from = format!("oci:{}:1", text(&layout(directory.path())));
    let archive = directory.path().join("docker.tar");
    let place = format!("docker-archive:{}", text(&archive));
    copy(&from, &format!("{place}:a/b:2"));
    let store = store(directory.path(), "store");
    let loaded = one(from_stream(&store, File::open(&archive).expect("it"), ""));
    assert_eq!(loaded.record.name, reference("a/b:2"));
    // skopeo makes a manifest of it as well, in Docker's words: of the same parts.
    let (_, manifest) = raw(&place);
    assert_eq!(digests_of(&loaded), digests(&manifest));
    let layers = loaded.manifest.layers.iter().map(|layer| &layer.digest);
    assert!(layers.eq(&loaded.config.diff_ids));
    let error = from_stream(&store, File::open(&archive).expect("it"), "c").expect_err("no c");
    assert!(
        error.to_string().contains("it has docker.io/a/b:2"),
        "{error}"
    );
}

#[test]
fn an_archive_of_docker_of_old_is_loaded_with_its_links() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path(), "store");
    let parts = Parts::new();
    let config = format!("{}.json", Digest::of(parts.config.as_bytes()).hex());
    let layer = |name: &str, at: usize| {
        Head::new(name.as_bytes(), b'0')
            .data(&parts.layers[at])
            .bytes()
    };
    let archive = tar(&[
        file("repositories", "{}"),
        parts.docker(&config, "old:1", ["a/layer.tar", "c/layer.tar"]),
        dir("a/"),
        file("a/VERSION", "1.0"),
        file("a/json", "{}"),
        layer("a/layer.tar", 0),
        dir("b/"),
        layer("b/layer.tar", 1),
        symlink("c/layer.tar", "../b/layer.tar"),
        file(&config, &parts.config),
    ]);
    let loaded = one(from_stream(&store, &archive[..], ""));
    assert_eq!(loaded.record.name, reference("old:1"));
    assert_eq!(loaded.config.diff_ids.len(), 2);
    // Other tools pack the layers, and link hard.
    let packed = zstd::encode_all(&parts.layers[1][..], 1).expect("to memory");
    let archive = tar(&[
        Head::new(b"1", b'0').data(&parts.layers[0]).bytes(),
        Head::new(b"2", b'0').data(&packed).bytes(),
        hard("3", "2"),
        file("config", &parts.config),
        parts.docker("config", "packed:1", ["1", "3"]),
    ]);
    let loaded = one(from_stream(&store, &archive[..], "packed:1"));
    assert_eq!(loaded.manifest.layers[1].digest, Digest::of(&packed));
    assert!(loaded.manifest.layers[1].media_type.ends_with("+zstd"));
}

#[test]
fn an_archive_of_docker_of_today_says_the_same_in_both_of_its_documents() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path(), "store");
    let parts = Parts::new();
    let [one_, two] = [0, 1].map(|at: usize| Parts::path(&parts.layers[at]));
    let docker = |config: &str| {
        let config = Parts::path(config.as_bytes());
        parts.docker(&config, "a:1", [&one_, &two])
    };
    let mut entries = parts.layout();
    entries.push(docker(&parts.config));
    let loaded = one(from_stream(&store, &tar(&entries)[..], ""));
    assert_eq!(
        loaded.record.target.digest,
        Digest::of(parts.manifest().as_bytes())
    );
    let other = parts.config.replace("layers", "levels");
    entries.pop();
    entries.extend([Parts::blob(other.as_bytes()), docker(&other)]);
    let error = from_stream(&store, &tar(&entries)[..], "").expect_err("two images");
    assert!(
        error.to_string().contains("another image than index.json"),
        "{error}"
    );
}

#[test]
fn of_several_platforms_one_is_loaded_wherever_the_index_has_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let parts = Parts::new();
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let of = |platform: &str, bytes: &[u8], note: &str| {
        let platform = format!(r#","platform":{{"os":"linux","architecture":"{platform}"}}{note}"#);
        Parts::descriptor(manifest, bytes, &platform)
    };
    let note = r#","annotations":{"io.containerd.image.name":"localhost/a:1"}"#;
    let host = Platform::host().architecture;
    let flat = |note| {
        // The other one is not in the archive, as in those that Docker writes.
        let other = of("s390x", b"other", note);
        let ours = of(&host, parts.manifest().as_bytes(), note);
        format!(r#"{{"schemaVersion":2,"manifests":[{other},{ours}]}}"#)
    };
    let inner = flat("");
    let index = "application/vnd.oci.image.index.v1+json";
    let outer = Parts::descriptor(index, inner.as_bytes(), note);
    let outer = format!(r#"{{"schemaVersion":2,"manifests":[{outer}]}}"#);
    let wanted = Digest::of(parts.manifest().as_bytes());
    for (name, text, target) in [
        ("flat", flat(note), &wanted),
        ("nested", outer, &Digest::of(inner.as_bytes())),
    ] {
        let store = store(directory.path(), name);
        let mut entries = parts.layout();
        entries[4] = file("index.json", &text);
        entries.push(Parts::blob(inner.as_bytes()));
        let loaded = one(from_stream(&store, &tar(&entries)[..], ""));
        assert_eq!(loaded.record.name, reference("localhost/a:1"), "{name}");
        assert_eq!(loaded.record.manifest.digest, wanted, "{name}");
        assert_eq!(loaded.record.target.digest, *target, "{name}");
        let other = "linux/riscv64".parse().expect("a platform");
        let mut input = &tar(&entries)[..];
        let error = load(&store, Input::Stream(&mut input), None, &other, &Quiet);
        let error = error.expect_err("for no such machine").to_string();
        assert!(
            error.starts_with("no linux/riscv64; it has linux/s390x"),
            "{error}"
        );
    }
}

/// Prunes whenever it hears of something.
struct Pruner<'a>(&'a Store);

impl Progress for Pruner<'_> {
    fn blobs(&self, _blobs: &[image::Descriptor]) {
        self.0.prune(Duration::ZERO).expect("a prune");
    }

    fn bytes(&self, _digest: &Digest, _so_far: u64, _shared: bool) -> bool {
        self.0.prune(Duration::ZERO).is_ok()
    }
}

#[test]
fn a_prune_takes_nothing_from_an_image_that_is_being_loaded() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path(), "store");
    let parts = Parts::new();
    let layer = |at: usize| {
        let name = format!("{at}");
        let head = Head::new(name.as_bytes(), b'0');
        head.data(&parts.layers[at]).bytes()
    };
    let docker = [
        layer(0),
        layer(1),
        file("config", &parts.config),
        parts.docker("config", "a:1", ["0", "1"]),
    ];
    for entries in [&parts.layout()[..], &docker] {
        let archive = tar(entries);
        let mut input = &archive[..];
        let input = Input::Stream(&mut input);
        let loaded = load(&store, input, None, &Platform::host(), &Pruner(&store));
        let loaded = one(loaded);
        assert_eq!(loaded.held.len(), 4);
        assert!(store.untag(&loaded.record.name).expect("a name"));
        drop(loaded);
        assert_eq!(store.prune(Duration::ZERO).expect("a prune").blobs.len(), 4);
    }
}

const MANY: &str = "IMAGE_TEST_ARCHIVE_MANY";

/// The other process. It does nothing in an ordinary run of the tests.
#[test]
fn the_process_that_has_few_descriptors() {
    let Some(place) = std::env::var_os(MANY) else {
        return;
    };
    let place = PathBuf::from(place);
    let store = store(&place, "store");
    let file = File::open(place.join("many.tar")).expect("the archive");
    let images = from_stream(&store, file, "").expect("an archive of many images");
    assert_eq!(images.len(), 300);
    assert_eq!(store.images().expect("names").len(), 300);
    assert_eq!(images[0].held.len(), 4);
}

#[test]
fn more_than_a_thousand_blobs_take_few_descriptors() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut entries = vec![file("oci-layout", LAYOUT)];
    let mut manifests = Vec::new();
    for at in 0..300 {
        let mut parts = Parts::new();
        parts.layers = [0, 1].map(|layer| tar(&[file(&format!("{at}-{layer}"), "")]));
        let ids = [0, 1].map(|at: usize| Digest::of(&parts.layers[at]).to_string());
        let start = parts.config.find('[').expect("the diffIDs");
        parts.config.replace_range(start.., &format!("{ids:?}}}}}"));
        entries.extend(parts.layout().drain(..4));
        let index = parts.index(&format!("a:{at}"));
        let start = index.find('[').expect("the manifests") + 1;
        manifests.push(index[start..index.len() - 2].to_owned());
    }
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
        manifests.join(",")
    );
    entries.push(file("index.json", &index));
    fs::write(directory.path().join("many.tar"), tar(&entries)).expect("an archive");
    let status = Command::new("sh")
        .args(["-c", "ulimit -n 500 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().expect("this program"))
        .args(["the_process_that_has_few_descriptors", "--exact"])
        .env(MANY, directory.path())
        .status();
    assert!(status.expect("this program again").success());
}
