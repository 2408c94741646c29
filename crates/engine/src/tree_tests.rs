//! A root of several layers, made of files.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{FileType, Mode, XattrFlags};
use rustix::io::Errno;

use super::{Tree, Walk};

/// Layers, topmost first.
struct Layers {
    dirs: Vec<tempfile::TempDir>,
    fds: Vec<OwnedFd>,
}

impl Layers {
    fn new(count: usize) -> Self {
        let dirs: Vec<_> = (0..count)
            .map(|_| tempfile::tempdir().expect("directory"))
            .collect();
        let fds = dirs
            .iter()
            .map(|dir| fs::File::open(dir.path()).expect("open").into())
            .collect();
        Self { dirs, fds }
    }

    fn file(&self, layer: usize, path: &str) {
        let at = self.dirs[layer].path().join(path);
        fs::create_dir_all(at.parent().expect("parent")).expect("directories");
        fs::write(at, format!("{layer}")).expect("file");
    }

    fn whiteout(&self, layer: usize, path: &str) {
        let at = self.dirs[layer].path().join(path);
        fs::create_dir_all(at.parent().expect("parent")).expect("directories");
        let kind = FileType::CharacterDevice;
        rustix::fs::mknodat(rustix::fs::CWD, &at, kind, Mode::empty(), 0).expect("mknod");
    }

    fn opaque(&self, layer: usize, path: &str) {
        let at = self.dirs[layer].path().join(path);
        fs::create_dir_all(&at).expect("directories");
        rustix::fs::setxattr(&at, c"user.overlay.opaque", b"y", XattrFlags::empty())
            .expect("setxattr");
    }

    fn with<T>(&self, ask: impl FnOnce(Tree<'_>) -> T) -> T {
        let fds: Vec<_> = self.fds.iter().map(AsFd::as_fd).collect();
        ask(Tree::new(&fds))
    }

    /// What is read at a path.
    #[track_caller]
    fn check(&self, path: &str, wanted: Result<&str, Errno>) {
        let read = |fd: OwnedFd| {
            let name = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
            fs::read_to_string(name).expect("read")
        };
        let found = self.with(|tree| tree.find(Path::new(path)).map(read));
        assert_eq!(found.as_deref(), wanted.as_deref(), "find {path}");
        let walked = self.with(|tree| match tree.walk(Path::new(path)) {
            Walk::Found(found) => Ok(read(found.fd)),
            Walk::Missing { .. } => Err(Errno::NOENT),
            Walk::NotDirectory { .. } => Err(Errno::NOTDIR),
            Walk::Loop { .. } => Err(Errno::LOOP),
            Walk::Failed(errno) => Err(errno),
        });
        assert_eq!(walked.as_deref(), wanted.as_deref(), "walk {path}");
        // Where it can be asked, a directory knows the same of what is in it, links aside.
        let (parent, name) = path.rsplit_once('/').expect("an absolute path");
        let asked = self.with(|tree| Ok(tree.directory(Path::new(parent))?.stat(name)));
        let there = match asked {
            Ok(there) => there.map(|stat| FileType::from_raw_mode(stat.st_mode)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return,
            Err(errno) => panic!("directory {parent}: {errno}"),
        };
        match there {
            Ok(FileType::Symlink) => {}
            there => assert_eq!(there.is_ok(), wanted.is_ok(), "{path}"),
        }
    }
}

#[test]
fn the_highest_layer_that_has_a_file_gives_it() {
    let layers = Layers::new(3);
    layers.file(1, "etc/passwd");
    layers.file(2, "etc/passwd");
    layers.file(2, "etc/group");
    layers.check("/etc/passwd", Ok("1"));
    layers.check("/etc/group", Ok("2"));
    layers.check("/etc/shadow", Err(Errno::NOENT));
    let stat = |name: &str| layers.with(|tree| tree.directory(Path::new("etc"))?.stat(name));
    assert!(stat("passwd").is_ok() && stat("group").is_ok());
    assert_eq!(stat("shadow").map(drop), Err(Errno::NOENT));
    layers.check("/etc/group/x", Err(Errno::NOTDIR));
}

#[test]
fn what_a_whiteout_hides_is_not_there() {
    let layers = Layers::new(3);
    layers.whiteout(0, "etc/passwd");
    layers.whiteout(1, "usr");
    layers.file(2, "etc/passwd");
    layers.file(2, "usr/bin/env");
    layers.file(0, "usr/bin/sh");
    layers.check("/etc/passwd", Err(Errno::NOENT));
    layers.check("/usr/bin/env", Err(Errno::NOENT));
    layers.check("/usr/bin/sh", Ok("0"));
}

#[test]
fn an_opaque_directory_hides_what_is_below_it() {
    let layers = Layers::new(2);
    layers.opaque(0, "etc");
    layers.file(0, "etc/group");
    layers.file(1, "etc/passwd");
    layers.file(1, "usr/passwd");
    layers.check("/etc/passwd", Err(Errno::NOENT));
    layers.check("/etc/group", Ok("0"));
    layers.check("/usr/passwd", Ok("1"));
}

#[test]
fn a_file_in_the_place_of_a_directory_hides_it() {
    let layers = Layers::new(2);
    layers.file(0, "etc");
    layers.file(1, "etc/passwd");
    layers.check("/etc/passwd", Err(Errno::NOTDIR));
}

#[test]
fn links_lead_through_all_layers_and_not_outside() {
    let layers = Layers::new(3);
    layers.file(0, "x");
    symlink("../usr/lib/passwd", layers.dirs[0].path().join("passwd")).expect("link");
    symlink("/etc-real", layers.dirs[1].path().join("etc")).expect("link");
    layers.file(2, "usr/lib/passwd");
    layers.file(2, "etc-real/group");
    symlink("circle", layers.dirs[2].path().join("circle")).expect("link");
    layers.check("/passwd", Ok("2"));
    layers.check("/etc/group", Ok("2"));
    layers.check("/circle", Err(Errno::LOOP));
    layers.check("/../../x", Ok("0"));
}

#[test]
fn names_are_those_that_overlayfs_would_show() {
    let layers = Layers::new(3);
    layers.file(0, "bin/a");
    layers.whiteout(0, "bin/b");
    layers.file(1, "bin/b");
    layers.file(1, "bin/c");
    layers.opaque(1, "bin");
    layers.file(2, "bin/d");
    let names = layers.with(|tree| tree.names(Path::new("/bin")));
    assert_eq!(names, ["a", "c"]);
}
