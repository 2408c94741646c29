//! What is saved: skopeo and umoci read it, and so do we.

use std::fs;
use std::path::Path;

use image::archive::{Input, Output, load, save};
use image::{Digest, Error, Platform, Pulled, Quiet, Store};

use super::made::Parts;
use super::parts::{layout, run};
use super::tarball::{file, tar};
use super::{digests, digests_of, from_stream, full, one, raw, reference, store, text};

/// A store with umoci's image, of two names.
fn filled(directory: &Path) -> (Store, Pulled) {
    let layout = layout(directory);
    let store = store(directory, "store");
    let mut images = ["a/b:1", "localhost:5000/c:2"].map(|name| {
        let (input, name) = (Input::Directory(&layout), reference(name));
        one(load(&store, input, Some(&name), &Platform::host(), &Quiet))
    });
    let [first, _] = &mut images;
    first.held.clear();
    let [first, _] = images;
    (store, first)
}

/// The layers as skopeo unpacks them, lowest first, and the configuration.
fn read_by_skopeo(from: &str, directory: &Path) -> Vec<String> {
    let to = format!("dir:{}", text(directory));
    let copy = ["--insecure-policy", "copy", "--dest-decompress", from, &to];
    run("skopeo", &copy);
    let manifest = fs::read(directory.join("manifest.json")).expect("a manifest");
    digests(&serde_json::from_slice(&manifest).expect("a manifest"))
}

#[test]
fn a_layout_is_read_by_umoci_and_skopeo_with_every_digest_as_it_was() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, image) = filled(directory.path());
    let at = directory.path().join("saved");
    let names = [image.record.name.clone(), reference("localhost:5000/c:2")];
    save(&store, &names, Output::Directory(&at)).expect("a directory");
    let list = run("umoci", &["list", "--layout", &text(&at)]);
    let mut list: Vec<&str> = list.lines().collect();
    list.sort_unstable();
    assert_eq!(list, ["docker.io/a/b:1", "localhost:5000/c:2"]);
    let (digest, manifest) = raw(&format!("oci:{}:docker.io/a/b:1", text(&at)));
    assert_eq!(digest, image.record.manifest.digest);
    assert_eq!(digests(&manifest), digests_of(&image));
    let bundle = directory.path().join("bundle");
    let from = format!("{}:docker.io/a/b:1", text(&at));
    run(
        "umoci",
        &["unpack", "--rootless", "--image", &from, &text(&bundle)],
    );
    let motd = fs::read_to_string(bundle.join("rootfs/data/etc/motd")).expect("a file");
    assert!(motd.starts_with("hello\n"));
    let other = super::store(directory.path(), "other");
    let again = load(
        &other,
        Input::Directory(&at),
        None,
        &Platform::host(),
        &Quiet,
    );
    let again = again.expect("two images");
    assert_eq!(
        again.iter().map(|one| &one.record.name).collect::<Vec<_>>(),
        [&names[0], &names[1]]
    );
    assert_eq!(again[0].record.target, image.record.target);
}

#[test]
fn archives_are_read_by_skopeo_by_both_of_their_documents() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, image) = filled(directory.path());
    let names = [image.record.name.clone()];
    let written = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).expect("an archive");
        text(&path)
    };
    let (mut layout, mut docker) = (Vec::new(), Vec::new());
    save(&store, &names, Output::Layout(&mut layout)).expect("to memory");
    save(&store, &names, Output::Docker(&mut docker)).expect("to memory");
    let layout_at = written("layout.tar", &layout);
    let docker_at = written("docker.tar", &docker);
    for place in [
        format!("oci-archive:{layout_at}"),
        format!("oci-archive:{docker_at}:docker.io/a/b:1"),
    ] {
        let (digest, manifest) = raw(&place);
        assert_eq!(digest, image.record.manifest.digest, "{place}");
        assert_eq!(digests(&manifest), digests_of(&image), "{place}");
    }
    let unpacked = directory.path().join("unpacked");
    fs::create_dir(&unpacked).expect("a directory");
    let read = read_by_skopeo(&format!("docker-archive:{docker_at}:a/b:1"), &unpacked);
    assert_eq!(read[0], image.manifest.config.digest.to_string());
    let ids: Vec<String> = image
        .config
        .diff_ids
        .iter()
        .map(Digest::to_string)
        .collect();
    assert_eq!(read[1..], ids);
    for bytes in [&layout, &docker] {
        let other = super::store(directory.path(), Digest::of(bytes).short());
        let again = one(from_stream(&other, &bytes[..], ""));
        assert_eq!(again.record.name, image.record.name);
        assert_eq!(again.record.target, image.record.target);
    }
}

#[test]
fn the_same_images_give_the_same_bytes() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, image) = filled(directory.path());
    let first = image.record.name;
    let second = reference("localhost:5000/c:2");
    let bytes = |names: &[image::Reference]| {
        let mut out = Vec::new();
        save(&store, names, Output::Docker(&mut out)).expect("to memory");
        out
    };
    let one = bytes(&[first.clone(), second.clone()]);
    assert_eq!(one, bytes(&[second.clone(), first.clone(), second.clone()]));
    let listed = directory.path().join("listed.tar");
    fs::write(&listed, &one).expect("an archive");
    let list = run("tar", &["--utc", "-tvf", &text(&listed)]);
    let names: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split(' ').next_back())
        .collect();
    assert!(names.is_sorted(), "{list}");
    assert!(
        list.lines().all(|line| line.contains("1970-01-01 00:00")),
        "{list}"
    );
    // One image of two names, as Docker writes it.
    let docker = run("tar", &["-xOf", &text(&listed), "manifest.json"]);
    let docker: serde_json::Value = serde_json::from_str(&docker).expect("JSON");
    let tags = serde_json::json!(["a/b:1", "localhost:5000/c:2"]);
    assert_eq!(docker.as_array().map(Vec::len), Some(1));
    assert_eq!(docker[0]["RepoTags"], tags);
    let text = run("tar", &["-xOf", &text(&listed), "repositories"]);
    let top = image.manifest.layers[1].digest.hex();
    let wanted = serde_json::json!({"a/b": {"1": top}, "localhost:5000/c": {"2": top}});
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON"),
        wanted
    );
}

#[test]
fn an_image_in_words_of_docker_keeps_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path(), "store");
    let parts = Parts::new();
    let docker = |text: String| {
        let mut text = text;
        for (oci, docker) in [
            (
                "oci.image.manifest.v1+json",
                "docker.distribution.manifest.v2+json",
            ),
            ("oci.image.config.v1+json", "docker.container.image.v1+json"),
            ("oci.image.layer.v1.tar", "docker.image.rootfs.diff.tar"),
        ] {
            text = text.replace(oci, docker);
        }
        let media_type = r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config""#;
        text.replace(r#"{"schemaVersion":2,"config""#, media_type)
    };
    let manifest = docker(parts.manifest());
    let digest = Digest::of(manifest.as_bytes());
    let ours = Parts::descriptor(
        "application/vnd.oci.image.manifest.v1+json",
        parts.manifest().as_bytes(),
        "",
    );
    let theirs = Parts::descriptor(
        "application/vnd.docker.distribution.manifest.v2+json",
        manifest.as_bytes(),
        "",
    );
    let index = parts
        .index("a:1")
        .replace(ours.trim_end_matches('}'), theirs.trim_end_matches('}'));
    let mut entries = parts.layout();
    entries[3] = Parts::blob(manifest.as_bytes());
    entries[4] = file("index.json", &index);
    let image = one(from_stream(&store, &tar(&entries)[..], ""));
    assert_eq!(image.record.target.digest, digest);
    let path = directory.path().join("saved.tar");
    let mut out = fs::File::create(&path).expect("a file");
    save(
        &store,
        std::slice::from_ref(&image.record.name),
        Output::Docker(&mut out),
    )
    .expect("an archive");
    assert_eq!(raw(&format!("oci-archive:{}", text(&path))).0, digest);
    for from in ["oci-archive", "docker-archive"] {
        let unpacked = directory.path().join(from);
        fs::create_dir(&unpacked).expect("a directory");
        let read = read_by_skopeo(&format!("{from}:{}", text(&path)), &unpacked);
        assert_eq!(read, digests_of(&image), "{from}");
    }
}

#[test]
fn what_cannot_be_saved_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path(), "store");
    let parts = Parts::new();
    one(from_stream(&store, &tar(&parts.layout())[..], ""));
    let names = [reference("a:1")];
    let saved = |names: &[image::Reference], output: Output<'_>| {
        save(&store, names, output).expect_err("nothing to be saved")
    };
    let error = saved(&[reference("b")], Output::Layout(&mut Vec::new()));
    assert!(
        error
            .to_string()
            .contains("docker.io/library/b:latest is not in"),
        "{error}"
    );
    let error = saved(&[], Output::Layout(&mut Vec::new()));
    assert!(error.to_string().ends_with("no image"), "{error}");
    let error = saved(&names, Output::Directory(directory.path()));
    assert!(
        error.to_string().ends_with("which must be empty"),
        "{error}"
    );
    let mut little = [0; 4000];
    let error = saved(&names, Output::Docker(&mut &mut little[..]));
    assert!(
        full(&error).starts_with("write(the archive)"),
        "{}",
        full(&error)
    );
    let blob = directory
        .path()
        .join("store")
        .join(Parts::path(&parts.layers[0]));
    fs::write(&blob, vec![0; parts.layers[0].len()]).expect("a damaged blob");
    let error = saved(&names, Output::Layout(&mut Vec::new()));
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    fs::remove_file(&blob).expect("a blob");
    let error = saved(&names, Output::Layout(&mut Vec::new()));
    assert!(matches!(error, Error::Absent { .. }), "{error}");
}
