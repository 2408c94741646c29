//! Archives and directories that nobody honest makes.

use std::fs;
use std::io::Read as _;

use image::archive::{Input, load};
use image::{Digest, Error, Platform, Quiet};

use super::made::Parts;
use super::parts::{need, run};
use super::tarball::{Head, dir, file, hard, long, symlink, tar};
use super::{from_stream, full, one, store, text};

/// Refused with `why`, in a store of its own: what one archive brings must not complete the next.
#[track_caller]
fn refused(entries: &[Vec<u8>], why: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path(), "store");
    let error = from_stream(&store, &tar(entries)[..], "").expect_err(why);
    assert!(full(&error).contains(why), "{why}: {}", full(&error));
    assert_eq!(store.images().expect("names"), [], "{why}");
    assert_eq!(store.usage().expect("a store").partial, 0, "{why}");
}

#[test]
fn names_that_leave_the_archive_come_twice_or_are_none_are_refused() {
    let good = Parts::new().layout();
    let with = |entry: Vec<u8>, why: &str| refused(&[vec![entry], good.clone()].concat(), why);
    with(file("/etc/passwd", ""), "\"/etc/passwd\": is absolute");
    with(file("../x", ""), "\"../x\": contains ..");
    with(file("blobs/../x", ""), "\"blobs/../x\": contains ..");
    with(dir("blobs/.."), "\"blobs/..\": contains ..");
    with(
        symlink("x", "/etc/passwd"),
        "\"x\": the target of the link is absolute",
    );
    with(
        symlink("a/x", "../../y"),
        "\"a/x\": the target of the link leads out",
    );
    with(hard("x", "../y"), "\"x\": the target of the link leads out");
    with(symlink("blobs", "elsewhere"), "lies below \"blobs\"");
    with(
        Head::new(b"x", b'3').device(1, 3).bytes(),
        "\"x\": is neither",
    );
    with(Head::new(b"x", b'6').bytes(), "\"x\": is neither");
    with(file("a\u{1b}[2J", ""), "control character");
    with(
        [long(b'L', &[b'n'; 300]), file("x", "")].concat(),
        "255 bytes",
    );
    with(good[0].clone(), "comes twice");
    with(good[4].clone(), "\"index.json\": comes twice");
    with(file("./index.json", "{}"), "index.json\": comes twice");
    with(symlink("index.json", "x"), "\"index.json\": comes twice");
    with(file("blobs/sha256/abc", ""), "64 hexadecimal");
    with(file("blobs/md5/abc", ""), "neither sha256 nor sha512");
    let large = Head::new(b"index.json", b'0').size(5 << 20).bytes();
    with(large, "\"index.json\": has 5242880 bytes");
    let many: Vec<Vec<u8>> = (0..16_500).map(|at| dir(&format!("d{at}"))).collect();
    refused(&many, "\"d16384\": comes after 16384 others");
}

#[test]
fn layouts_whose_parts_do_not_fit_are_refused() {
    let parts = Parts::new();
    let good = parts.layout();
    let without = |at: usize, why: &str| {
        let mut entries = good.clone();
        entries.remove(at);
        refused(&entries, why);
    };
    without(0, "is not in the store");
    without(3, "is not in the store");
    without(4, "\"manifest.json\": is missing, and so is index.json");
    without(5, "\"oci-layout\": is missing");
    let instead = |at: usize, entry: Vec<u8>, why: &str| {
        let mut entries = good.clone();
        entries[at] = entry;
        refused(&entries, why);
    };
    let blob = file(&Parts::path(&parts.layers[0]), "other");
    instead(
        0,
        blob,
        &format!("{}: the bytes", Digest::of(&parts.layers[0])),
    );
    let version = file("oci-layout", r#"{"imageLayoutVersion":"2"}"#);
    instead(5, version, "not 1.0.0");
    let index = |text: &str, why: &str| instead(4, file("index.json", text), why);
    index("{", "index.json is not the JSON");
    index(&parts.index("b"), "give one");
    index(&parts.manifest(), "index.json: ");
    let sizes = parts.index("a:1").replace("\"size\":", "\"size\":1");
    index(&sizes, "bytes by its descriptor");
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let note = r#","annotations":{"io.containerd.image.name":"docker.io/library/a:1"}"#;
    let second = Parts::descriptor(manifest, b"other", note);
    let twice = parts
        .index("a:1")
        .replace("}]}", &format!("}},{second}]}}"));
    index(&twice, "gives the same name to");
}

#[test]
fn archives_of_docker_whose_parts_do_not_fit_are_refused() {
    let parts = Parts::new();
    let layer = |name: &str, at: usize| {
        Head::new(name.as_bytes(), b'0')
            .data(&parts.layers[at])
            .bytes()
    };
    let docker = |two: Vec<u8>, name: &str, why: &str| {
        let manifest = parts.docker("config", "a:1", ["1", name]);
        refused(
            &[layer("1", 0), two, file("config", &parts.config), manifest],
            why,
        );
    };
    docker(layer("2", 0), "2", "\"2\": is sha256:");
    docker(file("2", "\u{fd}"), "2", "\"2\": is sha256:");
    docker(dir("2"), "2", "\"2\": is not in the archive");
    docker(layer("2", 1), "../2", "\"../2\": contains ..");
    docker(layer("2", 1), "/2", "\"/2\": is absolute");
    docker(symlink("2", "2"), "2", "\"2\": is a link to a link");
    docker(symlink("2", "3"), "2", "\"2\": is not in the archive");
    let xz = Head::new(b"2", b'0').data(b"\xfd7zXZ\0\0").bytes();
    docker(xz, "2", "\"2\": is xz");
    let name = format!("{}.json", Digest::of(b"").hex());
    let entries = [
        layer("1", 0),
        layer("2", 1),
        file(&name, &parts.config),
        parts.docker(&name, "a:1", ["1", "2"]),
    ];
    refused(&entries, "by its content");
}

#[test]
fn streams_that_are_cut_or_inflate_without_end_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path(), "store");
    let good = tar(&Parts::new().layout());
    // In the header of an entry.
    let error = from_stream(&store, &good[..good.len() / 2 + 100], "").expect_err("cut");
    assert!(
        full(&error).contains("unexpected end at byte"),
        "{}",
        full(&error)
    );
    let best = flate2::Compression::best();
    let bomb = |start: &[u8]| {
        let endless = start.chain(std::io::repeat(0).take(200 << 20));
        let error = from_stream(&store, flate2::read::GzEncoder::new(endless, best), "");
        let error = error.expect_err("a bomb");
        assert!(full(&error).contains("more than 250"), "{}", full(&error));
    };
    bomb(&[]);
    bomb(&Head::new(b"layer.tar", b'0').size(200 << 20).bytes());
}

#[test]
fn a_byte_that_differs_is_found_or_makes_no_difference() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path(), "store");
    let parts = Parts::new();
    let good = tar(&parts.layout());
    let wanted = Digest::of(parts.manifest().as_bytes());
    let mut refused = 0;
    for at in (0..good.len()).step_by(37) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        match from_stream(&store, &bad[..], "") {
            Ok(images) => assert_eq!(images[0].record.target.digest, wanted, "byte {at}"),
            Err(_) => refused += 1,
        }
    }
    // The rest lies in the padding of entries.
    assert!(refused > 150, "{refused} of {}", good.len() / 37);
}

#[test]
fn an_archive_that_is_cut_anywhere_is_refused_and_leaves_no_part_of_a_blob() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path(), "store");
    let good = tar(&Parts::new().layout());
    for length in (0..good.len()).step_by(256) {
        match from_stream(&store, &good[..length], "") {
            // All that is missing are zeros after the last entry's data.
            Ok(_) => assert!(length + 512 > good.len() - 1024, "cut to {length}"),
            Err(Error::Tar { .. } | Error::Archive { .. }) => {}
            Err(error) => panic!("cut to {length}: {error}"),
        }
        assert_eq!(
            store.usage().expect("a store").partial,
            0,
            "cut to {length}"
        );
    }
}

#[test]
fn a_false_entry_is_refused_where_the_store_has_the_true_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path(), "store");
    let parts = Parts::new();
    let mut entries = parts.layout();
    one(from_stream(&store, &tar(&entries)[..], ""));
    entries[0] = Head::new(Parts::path(&parts.layers[0]).as_bytes(), b'0')
        .data(&vec![0; parts.layers[0].len()])
        .bytes();
    let error = from_stream(&store, &tar(&entries)[..], "").expect_err("another layer");
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
}

#[test]
fn a_directory_leads_nowhere_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path(), "store");
    let parts = Parts::new();
    let at = directory.path().join("layout");
    need("tar", "tar");
    let make = || {
        let _ = fs::remove_dir_all(&at);
        fs::create_dir(&at).expect("a directory");
        let archive = directory.path().join("layout.tar");
        fs::write(&archive, tar(&parts.layout())).expect("an archive");
        run("tar", &["-xf", &text(&archive), "-C", &text(&at)]);
    };
    let loaded = || {
        load(
            &store,
            Input::Directory(&at),
            None,
            &Platform::host(),
            &Quiet,
        )
    };
    let layer = at.join(Parts::path(&parts.layers[0]));
    make();
    fs::write(&layer, &parts.layers[1]).expect("a file");
    let error = loaded().expect_err("another layer");
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    make();
    fs::rename(&layer, directory.path().join("layer")).expect("rename");
    std::os::unix::fs::symlink("../../../layer", &layer).expect("a link");
    let error = loaded().expect_err("a link out of it").to_string();
    assert!(error.ends_with("leads out of the directory"), "{error}");
    make();
    fs::remove_file(&layer).expect("a file");
    let error = loaded().expect_err("a hole").to_string();
    assert!(error.ends_with("is missing"), "{error}");
    run("mkfifo", &[&text(&layer)]);
    let error = loaded().expect_err("a pipe").to_string();
    assert!(error.ends_with("is not a regular file"), "{error}");
    assert_eq!(store.usage().expect("a store").partial, 0);
    make();
    one(loaded());
}
