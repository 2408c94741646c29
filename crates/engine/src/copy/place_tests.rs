//! Streams of strangers, and what becomes of them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use image::layer::Tarball;

use super::super::pack::{Source, pack};
use super::super::{land, open_here};
use super::*;

struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    /// A directory `to`, and a file and a directory beside it that nobody may change.
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("to")).expect("to");
        fs::create_dir(dir.path().join("outside")).expect("outside");
        fs::write(dir.path().join("outside/victim"), "alive").expect("victim");
        Self { dir }
    }

    fn to(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("to").join(name)
    }

    fn place(&self, stream: &[u8]) -> Result<u64, Error> {
        let path = self.to("");
        let ask = land::Ask {
            path: std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()),
            source: None,
            owners: false,
            mode: 0o1777,
        };
        let done = place(&land::land(&open_here, ask)?, stream);
        let outside = fs::read_dir(self.dir.path().join("outside")).expect("outside");
        assert_eq!(outside.count(), 1, "something was made outside");
        let victim = fs::read_to_string(self.dir.path().join("outside/victim"));
        assert_eq!(victim.expect("the victim"), "alive");
        done
    }
}

fn file(path: &str, text: &str) -> (Entry, Vec<u8>) {
    let mut entry = Entry::new(Kind::File, path.into());
    entry.mode = 0o644;
    entry.size = text.len() as u64;
    (entry, text.into())
}

fn link(kind: Kind, path: &str, target: &str) -> (Entry, Vec<u8>) {
    let mut entry = Entry::new(kind, path.into());
    entry.link = target.into();
    (entry, Vec::new())
}

fn stream(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut out = Tarball::new(&mut bytes);
    for (entry, data) in entries {
        out.entry(entry).expect("to memory");
        out.data(data).expect("to memory");
        out.pad(data.len() as u64).expect("to memory");
    }
    out.end().expect("to memory");
    bytes
}

#[test]
fn no_link_of_a_stream_leads_out() {
    for target in ["../outside", "/", "."] {
        let scene = Scene::new();
        let entries = [link(Kind::Symlink, "l", target), file("l/x", "hostile")];
        let done = scene.place(&stream(&entries));
        let errno = Errno::LOOP;
        assert!(
            matches!(&done, Err(Error::Call { errno: e, .. }) if *e == errno),
            "{target}: {done:?}"
        );
    }
}

#[test]
fn a_link_with_the_name_of_a_file_is_replaced_and_not_followed() {
    let scene = Scene::new();
    symlink("../outside/victim", scene.to("f")).expect("a link");
    scene.place(&stream(&[file("f", "new")])).expect("placed");
    assert_eq!(fs::read_to_string(scene.to("f")).expect("f"), "new");
    assert!(!scene.to("f").is_symlink());
    let entries = [
        link(Kind::Symlink, "g", "../outside/victim"),
        file("g", "new"),
    ];
    scene.place(&stream(&entries)).expect("placed");
}

#[test]
fn names_that_climb_or_are_absolute_are_refused() {
    for name in ["../x", "/x", "a/../../x", ".."] {
        let done = Scene::new().place(&stream(&[file(name, "")]));
        assert!(matches!(done, Err(Error::Refused { .. })), "{name}");
    }
    for target in ["../outside/victim", "/etc/passwd"] {
        let entry = link(Kind::HardLink, "h", target);
        let done = Scene::new().place(&stream(&[entry]));
        assert!(matches!(done, Err(Error::Refused { .. })), "{target}");
    }
}

#[test]
fn a_directory_is_no_file_and_a_file_no_directory() {
    let scene = Scene::new();
    fs::create_dir(scene.to("d")).expect("d");
    fs::write(scene.to("f"), "kept").expect("f");
    let directory = (Entry::new(Kind::Directory, b"f/".to_vec()), Vec::new());
    for entry in [file("d", ""), directory] {
        let done = scene.place(&stream(&[entry]));
        assert!(matches!(done, Err(Error::Refused { .. })), "{done:?}");
    }
    assert_eq!(fs::read_to_string(scene.to("f")).expect("f"), "kept");
}

#[test]
fn a_stream_that_breaks_off_is_an_error() {
    let whole = stream(&[file("f", &"x".repeat(2000))]);
    let done = Scene::new().place(&whole[..1500]);
    assert!(matches!(done, Err(Error::Stream(_))), "{done:?}");
}

/// A tree with something of everything.
fn grow(root: &Path) {
    fs::create_dir_all(root.join("d/closed")).expect("directories");
    fs::write(root.join("d/f"), "text").expect("f");
    fs::hard_link(root.join("d/f"), root.join("g")).expect("g");
    symlink("/nowhere", root.join("l")).expect("l");
    fs::write(root.join("d/closed/s"), "").expect("s");
    let mode = |name: &str, mode| {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).expect(name);
    };
    mode("d/closed/s", 0o6711);
    mode("d/closed", 0o555);
    let fifo = root.join("p");
    mknodat(rustix::fs::CWD, fifo, FileType::Fifo, Mode::RUSR, 0).expect("p");
}

#[test]
fn what_is_packed_is_placed_with_links_and_permissions_and_without_set_user_id() {
    let scene = Scene::new();
    let from = scene.dir.path().join("from");
    grow(&from);
    let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).expect("a socket");
    let source = Source {
        top: open_here(
            std::os::unix::ffi::OsStrExt::as_bytes(from.as_os_str()),
            OFlags::PATH,
        )
        .expect("from"),
        prefix: b"copy".to_vec(),
    };
    let mut bytes = Vec::new();
    assert_eq!(pack(&source, &mut bytes).expect("packed"), 1);
    assert_eq!(scene.place(&bytes).expect("placed"), 0);
    let facts = |name: &str| fs::symlink_metadata(scene.to("copy").join(name)).expect(name);
    assert_eq!(facts("d/f").ino(), facts("g").ino());
    assert_eq!(facts("d/closed").mode() & 0o7777, 0o555);
    assert_eq!(facts("d/closed/s").mode() & 0o7777, 0o711);
    assert_eq!(
        fs::read_link(scene.to("copy/l")).expect("l"),
        Path::new("/nowhere")
    );
    assert_eq!(facts("p").mode() & libc::S_IFMT, libc::S_IFIFO);
    assert!(!scene.to("copy/socket").exists());
    let was = fs::metadata(from.join("d/f")).expect("d/f");
    assert_eq!(facts("g").mtime_nsec(), was.mtime_nsec());
}
